"""COCO documents read as ground truth of an evaluation: columns of boxes, areas and flags; masks decoded when asked for.

An evaluator must not refuse what it can count: boxes that leave the image and areas below zero are remarks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from segdata.core.findings import Findings
from segdata.core.predictions import Columns, Shapes
from segdata.errors import InvalidAnnotation
from segdata.formats.coco.documents import Document
from segdata.formats.coco.rules import Values, counted, no_box, undefined_category
from segdata.formats.coco.segmentation import strings_of
from segdata.formats.contract import Entry, Source
from segdata.formats.shared import json_text

_NOTHING = msgspec.Raw(b"null")


class _Annotation(msgspec.Struct, gc=False):
    category_id: int
    id: int = -1
    iscrowd: int | bool = 0
    area: float = math.nan
    bbox: list[float] | None = None
    segmentation: msgspec.Raw = _NOTHING


_DECODER = msgspec.json.Decoder(_Annotation)


def sizes(source: Source, entries: Sequence[Entry]) -> npt.NDArray[np.int64]:
    """(N, 3) int64: id, height and width of every image."""
    documents: list[Document] = source.data
    images = []
    for entry in entries:
        document, index = entry.data[0]
        image = documents[document].image(index)
        images.append((image.id, image.height, image.width))
    return np.array(images, np.int64).reshape(-1, 3)


def text_ids(source: Source, entries: Sequence[Entry]) -> dict[str, int]:
    """Ids of images that are text, each with the position of its entry."""
    documents: list[Document] = source.data
    positions: dict[str, int] = {}
    for position, entry in enumerate(entries):
        number, index = entry.data[0]
        text = documents[number].image_record(index).get("id") if index in documents[number].corrected else None
        if isinstance(text, str):
            positions[text] = position
    return positions


def columns(source: Source, entry: Entry, height: int, width: int, findings: Findings) -> Columns:
    """The objects of an image in the order of its document.

    Raises:
        InvalidAnnotation: a record that is no annotation, or a category that the document does not define.
    """
    document: Document = source.data[entry.data[0][0]]
    path = document.path
    if document.kind not in ("instances", "person_keypoints"):
        return Columns.none()
    positions = document.of_image(entry.data[0][1])
    records = [_decoded(document.annotations[position], path, entry, position) for position in positions]
    index_of = dict(source.labels.index_of_id)
    if document.category_ids:
        index_of |= {number: index_of[other] for number, other in document.category_ids.items()}
    for position, record in zip(positions, records, strict=True):
        if record.category_id not in index_of:
            error = undefined_category(f"category_id {record.category_id}; it defines {sorted(index_of)}"[:300])
            name = f"annotation {record.id}, $.annotations[{position}]"
            raise error.located(file=path, key=entry.key, place=name)
    none = [math.nan] * 4
    ids = np.array([record.id for record in records], np.int64)
    bbox = np.array([record.bbox or none for record in records], np.float64).reshape(-1, 4)
    area = np.array([record.area for record in records], np.float64)
    for remark, count in counted(Values(height, width, box=bbox.T, area=area, id=ids)):
        findings.remark(remark, f"{document.name}: {entry.key}", count)

    def shapes() -> Shapes:
        segmentations = [json_text.decode(record.segmentation, Any, path) for record in records]
        try:
            return Shapes.of_strings(strings_of(segmentations, height, width), height, width)
        except InvalidAnnotation as error:
            number = int(str(error.place).split()[-1])
            error.place = f"annotation {records[number].id}, $.annotations[{positions[number]}]"
            raise error.located(file=path, key=entry.key) from error

    return Columns(
        category=np.array([index_of[record.category_id] for record in records], np.int64),
        id=ids,
        bbox=bbox,
        area=area,
        iscrowd=np.array([record.iscrowd != 0 for record in records], bool),
        difficult=np.zeros(len(records), bool),
        score=np.full(len(records), np.nan),
        has_mask=np.array([bytes(record.segmentation) not in (b"null", b"[]", b"{}") for record in records], bool),
        shapes=shapes,
    )


def _decoded(raw: msgspec.Raw, path: Path, entry: Entry, position: int) -> _Annotation:
    json_path = f"$.annotations[{position}]"
    try:
        record = _DECODER.decode(raw)
    except msgspec.MsgspecError as error:
        raise InvalidAnnotation(
            "an annotation record is not valid", file=path, key=entry.key, place=json_path, why=str(error)
        ) from error
    if record.bbox and len(record.bbox) != 4:
        raise no_box(record.bbox).located(file=path, key=entry.key, place=f"annotation {record.id}, {json_path}")
    return record
