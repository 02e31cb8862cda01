"""Panoptic PNGs and the records of their segments ↔ instances and label maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core import png
from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.sample import Instances
from segdata.errors import InvalidAnnotation, InvalidImage, SegdataError
from segdata.formats.shared.folder import read_bytes

_LARGEST = (1 << 24) - 1
"""The largest segment number that three bytes hold."""


def read_png(root: Path, name: str) -> png.LabelImage:
    """The PNG of an image under the root, in colour as it must be.

    Raises:
        InvalidImage: no PNG, damaged or grey.
    """
    try:
        stored = png.read_labels(read_bytes(root, name, "the document"))
    except SegdataError as error:
        raise error.located(file=root / name) from error
    if stored.values.ndim != 3:
        raise InvalidImage(
            "panoptic PNG is not in colour",
            file=root / name,
            why=f"PNG mode {stored.mode}; segment numbers are written as R + 256 G + 65536 B",
        )
    return stored


def check(segments: Sequence[Any], labels: LabelSpace) -> None:
    """Refuse records of segments that are not valid.

    Raises:
        InvalidAnnotation: no record, numbers out of range or twice, unknown categories.
    """
    seen: set[int] = set()
    for place, record in enumerate(segments):
        number: Any = record.get("id") if isinstance(record, dict) else None
        why = None
        if type(number) is not int or not 1 <= number <= _LARGEST:
            why = f"id {number!r} is not a whole number from 1 to {_LARGEST}"
        elif number in seen:
            why = f"id {number} occurs twice in this image"
        elif record.get("category_id") not in labels.index_of_id:
            why = f"category_id {record.get('category_id')!r} is not defined"
        elif record.get("iscrowd", 0) not in (0, 1):
            why = f"iscrowd is {record['iscrowd']!r}"
        elif type(record.get("area", 0)) not in (int, float) or record.get("area", 0) < 0:
            why = f"area is {record['area']!r}"
        elif not _is_box(record.get("bbox", [0, 0, 0, 0])):
            why = f"bbox is {record['bbox']!r}"[:100]
        if why is not None:
            raise InvalidAnnotation("a segment is not valid", why=f"segments_info[{place}]: {why}")
        seen.add(number)


def _is_box(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(type(value) in (int, float) for value in box)


def objects(
    colors: npt.NDArray[Any],
    segments: Sequence[Mapping[str, Any]],
    size: tuple[int, int],
    labels: LabelSpace,
    key: str,
    findings: Findings,
    *,
    predicted: bool = False,
) -> tuple[Instances, npt.NDArray[Any]]:
    """Segments as instances, in the document's order, and the label map that they make.

    Args:
        colors: (H, W, 3 or 4) uint8.
        segments: records that `check` has passed.
        predicted: whether a segment without pixels is refused (as the official evaluation does), not remarked.

    Raises:
        InvalidAnnotation: another size, or numbers that are in one of map and document alone.
    """
    if colors.shape[:2] != size:
        raise InvalidAnnotation(
            "panoptic PNG is of another size than the image",
            why=f"PNG {colors.shape[1]} × {colors.shape[0]}, image {size[1]} × {size[0]} (width × height)",
        )
    wide = colors[:, :, :3].astype(np.uint32)
    ids = wide[:, :, 0] + 256 * wide[:, :, 1] + 65536 * wide[:, :, 2]
    numbers = np.array([record["id"] for record in segments], np.int64)
    masks = Masks.from_id_map(ids, numbers)
    areas = masks.areas
    unknown = int(np.count_nonzero(ids)) - int(areas.sum())
    if unknown:
        extra = np.setdiff1d(ids, np.append(numbers, 0))
        raise InvalidAnnotation(
            "panoptic PNG holds segments that the document does not list",
            why=f"{unknown:,} pixels, number {int(extra[0])} among them",
            fix="list them in segments_info; numbers are R + 256 G + 65536 B (OpenCV writes B, G, R)",
        )
    empty = numbers[areas == 0]
    if len(empty) and predicted:
        raise InvalidAnnotation("a listed segment has no pixel in the PNG", why=f"number {int(empty[0])}")
    for number in empty.tolist():
        findings.remark("segment without a pixel: kept", f"{key}: {number}")
    category = [labels.index_of_id[record["category_id"]] for record in segments]
    semantic = np.full(size, labels.void, labels.dtype)
    masks.paint(category, semantic, np.arange(len(masks)))
    instances = Instances.build(
        category,
        masks,
        iscrowd=[record.get("iscrowd", 0) == 1 for record in segments],
        id=numbers,
        bbox=[record.get("bbox", [math.nan] * 4) for record in segments],
        area=[record.get("area", math.nan) for record in segments],
    )
    stated = ~np.isnan(instances.area) & (areas > 0)
    wrong = int((instances.area[stated] != areas[stated]).sum())
    if wrong and not predicted:
        findings.remark("area is not the number of pixels: kept", key, wrong)
    return instances, semantic


def records_of(instances: Instances, labels: LabelSpace) -> list[dict[str, Any]]:
    """Records of segments from the columns."""
    records = []
    for number, category, crowd, box, area in zip(
        instances.id.tolist(),
        instances.category.tolist(),
        instances.iscrowd.tolist(),
        instances.bbox.tolist(),
        instances.area.tolist(),
        strict=True,
    ):
        record = {"id": number, "category_id": labels[category].id, "iscrowd": int(crowd)}
        if not math.isnan(area):
            record["area"] = _whole(area)
        if not math.isnan(box[0]):
            record["bbox"] = [_whole(value) for value in box]
        records.append(record)
    return records


def _whole(value: float) -> float:
    return int(value) if value.is_integer() else value


def encode(instances: Instances, *, opaque: bool = False) -> bytes:
    """The PNG of segments that do not overlap, RGB, or RGBA when it is to have an opaque fourth channel."""
    masks = instances.masks
    ids = masks.paint(instances.id, np.zeros((masks.height, masks.width), np.uint32))
    channels = [ids & 255, ids >> 8 & 255, ids >> 16]
    if opaque:
        channels.append(np.full_like(ids, 255))
    return png.encode_png(np.stack(channels, -1).astype(np.uint8))
