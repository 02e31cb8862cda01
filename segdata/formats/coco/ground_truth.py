"""COCO documents read for evaluation: columns of boxes, sizes and flags, masks as run-length strings when asked for.

An evaluator must not refuse what it can count: boxes that leave the image and sizes that are no sizes are remarked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from segdata.core.columns import Columns, Shapes
from segdata.core.findings import Findings
from segdata.errors import InvalidAnnotation
from segdata.formats.coco.documents import Document
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


class _Size(msgspec.Struct, gc=False):
    id: int
    height: int
    width: int


def sizes(source: Source, entries: Sequence[Entry]) -> npt.NDArray[np.int64]:
    """(N, 3) int64: number, height and width of every image."""
    decoder = msgspec.json.Decoder(_Size)
    documents: list[Document] = source.data
    found = []
    for entry in entries:
        document, index = entry.data.places[0]
        image = decoder.decode(documents[document].images[index])
        found.append((image.id, image.height, image.width))
    return np.array(found, np.int64).reshape(-1, 3)


_DECODER = msgspec.json.Decoder(_Annotation)


def columns(source: Source, entry: Entry, height: int, width: int, findings: Findings) -> Columns:
    """The objects of an image in the order of its document.

    Raises:
        InvalidAnnotation: a record that is no annotation, or a category that the document does not define.
    """
    document: Document = source.data[entry.data.places[0][0]]
    path = document.path
    if document.kind not in ("instances", "person_keypoints"):
        return Columns.none()
    places = document.of_image(entry.data.places[0][1])
    records = [_decoded(document.annotations[place], path, entry, place) for place in places]
    index_of = source.labels.index_of_id
    for place, record in zip(places, records, strict=True):
        if record.category_id not in index_of:
            raise InvalidAnnotation(
                "an annotation names a category that the document does not define",
                file=path,
                key=entry.key,
                place=f"annotation {record.id}, $.annotations[{place}]",
                why=f"category_id {record.category_id}; it defines {sorted(index_of)}"[:300],
                fix="add the category to the document, or remove the annotation",
            )
    none = [math.nan] * 4
    bbox = np.array([record.bbox or none for record in records], np.float64).reshape(-1, 4)
    area = np.array([record.area for record in records], np.float64)
    _remark(bbox, area, records, height, width, f"{document.name}: {entry.key}", findings)

    def shapes() -> Shapes:
        segmentations = [json_text.decode(record.segmentation, Any, path) for record in records]
        try:
            return Shapes.of_strings(strings_of(segmentations, height, width), height, width)
        except InvalidAnnotation as error:
            number = int(str(error.place).split()[-1])
            error.place = f"annotation {records[number].id}, $.annotations[{places[number]}]"
            raise error.located(file=path, key=entry.key) from error

    return Columns(
        np.array([index_of[record.category_id] for record in records], np.int64),
        np.array([record.id for record in records], np.int64),
        bbox,
        area,
        np.array([record.iscrowd != 0 for record in records], bool),
        np.zeros(len(records), bool),
        np.full(len(records), np.nan),
        np.array([bytes(record.segmentation) not in (b"null", b"[]", b"{}") for record in records], bool),
        shapes,
    )


def _decoded(raw: msgspec.Raw, path: Path, entry: Entry, place: int) -> _Annotation:
    try:
        record = _DECODER.decode(raw)
        if record.bbox and len(record.bbox) != 4:
            raise InvalidAnnotation("bbox is not four numbers", why=f"found {record.bbox!r}"[:200])
    except msgspec.MsgspecError as error:
        raise InvalidAnnotation(
            "an annotation record is not valid",
            file=path,
            key=entry.key,
            place=f"$.annotations[{place}]",
            why=str(error),
        ) from error
    except InvalidAnnotation as error:
        raise error.located(
            file=path, key=entry.key, place=f"annotation {record.id}, $.annotations[{place}]"
        ) from error
    return record


def _remark(
    bbox: npt.NDArray[np.float64],
    area: npt.NDArray[np.float64],
    records: Sequence[_Annotation],
    height: int,
    width: int,
    where: str,
    findings: Findings,
) -> None:
    far = (bbox[:, :2] < -1).any(1) | (bbox[:, :2] + bbox[:, 2:] > (width + 1, height + 1)).any(1)
    for kind, which in (
        ("box reaches more than one pixel past the image", far),
        ("box with a negative size", (bbox[:, 2:] < 0).any(1)),
        ("area below zero: the object is outside every range of sizes", area < 0),
        ("annotation number 0, whose matches COCO's evaluator never counts", [record.id == 0 for record in records]),
    ):
        if np.any(which):
            findings.remark(kind, where, int(np.sum(which)))
