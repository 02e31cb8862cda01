"""COCO documents read as ground truth of an evaluation: columns of boxes, areas and flags; masks decoded when asked for.

Records that are not as they should be are corrected as in a conversion (`corrections.py`). What is still odd then is a
remark: an evaluator must not refuse what it can count.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray, FloatArray
from segdata.core.findings import Findings
from segdata.core.predictions import Columns, Shapes
from segdata.errors import InvalidAnnotation
from segdata.formats.coco.corrections import BOX_FROM_MASK, corrected
from segdata.formats.coco.documents import Document, in_words
from segdata.formats.coco.rules import Values, counted, may_be_too_long, no_box, undefined_category
from segdata.formats.coco.segmentation import strings_of
from segdata.formats.contract import Entry, Source
from segdata.formats.shared import json_text

_NO_BOX = (math.nan,) * 4


class _RunLengths(msgspec.Struct, gc=False):
    size: list[int]
    counts: str | list[int]


class _Annotation(msgspec.Struct, gc=False):
    """A record as it should be, as far as an evaluation looks at it."""

    category_id: int
    id: int = -1
    iscrowd: int = 0
    area: float = math.nan
    bbox: tuple[float, float, float, float] | msgspec.UnsetType = msgspec.UNSET
    segmentation: list[Annotated[list[float], msgspec.Meta(min_length=6)]] | _RunLengths = []


class _OtherAnnotation(msgspec.Struct, gc=False):
    """Any other record that can be counted; its segmentation is looked at when masks are compared."""

    category_id: int
    id: int = -1
    iscrowd: int | bool = 0
    area: float = math.nan
    bbox: list[float] | None = None
    segmentation: Any = None


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
    where = _Where(document, entry, height, width, findings)
    records = _records(positions, where)
    index_of = dict(source.labels.index_of_id)
    if document.category_ids:
        index_of |= {number: index_of[other] for number, other in document.category_ids.items()}
    for position, record in zip(positions, records, strict=True):
        if record.category_id not in index_of:
            error = undefined_category(f"category_id {record.category_id}; it defines {sorted(index_of)}"[:300])
            raise error.located(file=path, key=entry.key, place=where.place(record.id, position))
    ids = np.array(
        [document.new_ids.get(at, record.id) for at, record in zip(positions, records, strict=True)], np.int64
    )
    bbox, area = _boxes(records), np.array([record.area for record in records], np.float64)
    has_mask = np.array([bool(record.segmentation) for record in records], bool)
    if any(isinstance(record, _OtherAnnotation) for record in records):
        _set_boxes_without_size(bbox, has_mask, records, where)
    for remark, count in counted(Values(height, width, box=bbox.T, area=area, id=ids)):
        findings.remark(remark, f"{document.name}: {entry.key}", count)

    def shapes() -> Shapes:
        segmentations = [_segmentation(record) for record in records]
        try:
            return Shapes.of_strings(strings_of(segmentations, height, width), height, width)
        except InvalidAnnotation as error:
            number = int(str(error.place).split()[-1])
            error.place = where.place(records[number].id, positions[number])
            raise error.located(file=path, key=entry.key) from error

    return Columns(
        category=np.array([index_of[record.category_id] for record in records], np.int64),
        id=ids,
        bbox=bbox,
        area=area,
        iscrowd=np.array([record.iscrowd != 0 for record in records], bool),
        difficult=np.zeros(len(records), bool),
        score=np.full(len(records), np.nan),
        has_mask=has_mask,
        shapes=shapes,
    )


# ---------------------------------------------------------------------- records


@dataclass(frozen=True)
class _Where:
    """The image whose records are read."""

    document: Document
    entry: Entry
    height: int
    width: int
    findings: Findings

    def place(self, number: Any, position: int) -> str:
        """An annotation, by its id and its position in the document."""
        return in_words(number, f"$.annotations[{position}]")


def _records(positions: Sequence[int], where: _Where) -> list[_Annotation | _OtherAnnotation]:
    """The records of an image; those that are not as they should be are corrected as a conversion corrects them."""
    records: list[_Annotation | _OtherAnnotation] = []
    for position in positions:
        try:
            record = _DECODER.decode(where.document.annotations[position])
            is_plain = _is_plain(record, where.height, where.width)
        except json_text.INVALID:
            is_plain = False
        records.append(record if is_plain else _meant(position, where))
    return records


def _is_plain(record: _Annotation, height: int, width: int) -> bool:
    """Whether nothing of a record can need a correction: a quick look, `corrected` decides about the others."""
    rings = record.segmentation if isinstance(record.segmentation, list) else []
    if record.area < 0 or any(len(ring) % 2 for ring in rings):
        return False
    if len(rings) > 1 and any(may_be_too_long(len(ring), min(ring), max(ring)) for ring in rings):
        return False
    if isinstance(record.bbox, msgspec.UnsetType):
        return True
    x, y, w, h = record.bbox
    if not (x >= -1 and y >= -1 and w > 0 and h > 0 and x + w <= width + 1 and y + h <= height + 1):
        return False
    # As corners it would be much smaller, and end where the polygons end (both follow from the IoUs in `corrections`).
    if not rings or not (w > x and h > y and (w - x) * (h - y) < 0.7 * w * h):
        return True
    right, bottom = (max(max(ring[axis::2]) for ring in rings) for axis in (0, 1))
    return abs(right - w) > 0.12 * (w - x) or abs(bottom - h) > 0.12 * (h - y)


def _meant(position: int, where: _Where) -> _OtherAnnotation:
    """A record as it is meant, with remarks on what was corrected.

    Raises:
        InvalidAnnotation: it is no annotation.
    """
    document = where.document
    original = document.annotation_record(position)
    place = where.place(original.get("id"), position)
    record, kinds = (original, []) if where.findings.strict else corrected(original, where.height, where.width)
    for kind in kinds:
        where.findings.remark(kind, f"{document.name}: {place}")
    if isinstance(record.get("bbox"), list) and record["bbox"] and len(record["bbox"]) != 4:
        raise no_box(record["bbox"]).located(file=document.path, key=where.entry.key, place=place)
    try:
        return msgspec.convert(record, _OtherAnnotation)
    except (msgspec.MsgspecError, UnicodeEncodeError) as error:
        raise InvalidAnnotation(
            "an annotation record is not valid",
            file=document.path,
            key=where.entry.key,
            place=f"$.annotations[{position}]",
            why=str(error),
        ) from error


def _boxes(records: Sequence[_Annotation | _OtherAnnotation]) -> FloatArray:
    """(N, 4) float64 as annotated, NaN where there is none."""
    return np.array([record.bbox or _NO_BOX for record in records], np.float64).reshape(-1, 4)


def _segmentation(record: _Annotation | _OtherAnnotation) -> Any:
    """As `strings_of` takes it."""
    item = record.segmentation
    return {"size": item.size, "counts": item.counts} if isinstance(item, _RunLengths) else item


def _set_boxes_without_size(
    bbox: FloatArray, has_mask: BoolArray, records: Sequence[_Annotation | _OtherAnnotation], where: _Where
) -> None:
    """Give boxes without width or height those of their masks, where these are two pixels wide and high."""
    without = np.flatnonzero(((bbox[:, 2] == 0) | (bbox[:, 3] == 0)) & has_mask)
    if not len(without) or where.findings.strict:
        return
    for row in without.tolist():
        with contextlib.suppress(InvalidAnnotation):  # refused where masks are compared
            string = strings_of([_segmentation(records[row])], where.height, where.width)
            (around,) = Shapes.of_strings(string, where.height, where.width).boxes_xywh
            if (around[2:] >= 2).all():
                bbox[row] = around
                where.findings.remark(BOX_FROM_MASK, f"{where.document.name}: {in_words(records[row].id)}")
