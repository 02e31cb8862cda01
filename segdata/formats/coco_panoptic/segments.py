"""Panoptic PNGs and the records of their segments ↔ `Instances` and label maps."""

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
from segdata.formats.coco.rules import is_box, is_number
from segdata.formats.shared.folder import read_bytes

LARGEST_ID = (1 << 24) - 1
"""The largest segment id that three bytes hold."""


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
        InvalidAnnotation: no record, ids out of range or twice, unknown categories, other values that are none.
    """
    seen: set[int] = set()
    for position, record in enumerate(segments):
        number: Any = record.get("id") if isinstance(record, dict) else None
        why = None
        if type(number) is not int or not 1 <= number <= LARGEST_ID:
            why = f"id {number!r} is not a whole number from 1 to {LARGEST_ID}"
        elif number in seen:
            why = f"id {number} occurs twice in this image"
        elif not is_number(record.get("category_id")) or record["category_id"] not in labels.index_of_id:
            why = f"category_id {record.get('category_id')!r} is not defined"
        elif record.get("iscrowd", 0) not in (0, 1):
            why = f"iscrowd is {record['iscrowd']!r}"
        elif not is_number(record.get("area", 0)) or record.get("area", 0) < 0:
            why = f"area is {record['area']!r}"
        elif not is_box(record.get("bbox", [0, 0, 0, 0])):
            why = f"bbox is {record['bbox']!r}"
        if why is not None:
            raise InvalidAnnotation("a segment is not valid", why=f"segments_info[{position}]: {why}"[:200])
        seen.add(number)


def instances_of(
    colors: npt.NDArray[Any], segments: Sequence[Mapping[str, Any]], labels: LabelSpace, size: tuple[int, int]
) -> Instances:
    """Segments as instances, in the document's order.

    Args:
        colors: (H, W, 3 or 4) uint8.
        segments: records that `check` has passed.
        size: height and width of the image.

    Raises:
        InvalidAnnotation: a PNG of another size, or with segments that the document does not list.
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
    unknown = int(np.count_nonzero(ids)) - int(masks.areas.sum())
    if unknown:
        extra = np.setdiff1d(ids, np.append(numbers, 0))
        raise InvalidAnnotation(
            "panoptic PNG holds segments that the document does not list",
            why=f"{unknown:,} pixels, number {int(extra[0])} among them",
            fix="list them in segments_info; numbers are R + 256 G + 65536 B (OpenCV writes B, G, R)",
        )
    return Instances.build(
        [labels.index_of_id[record["category_id"]] for record in segments],
        masks,
        iscrowd=[record.get("iscrowd", 0) == 1 for record in segments],
        id=numbers,
        bbox=[record.get("bbox", [math.nan] * 4) for record in segments],
        area=[record.get("area", math.nan) for record in segments],
    )


def label_map(instances: Instances, labels: LabelSpace) -> npt.NDArray[Any]:
    """(H, W) category indices of segments that do not overlap; void between them."""
    masks = instances.masks
    semantic = np.full((masks.height, masks.width), labels.void, labels.dtype)
    return masks.paint(instances.category, semantic, np.arange(len(masks)))


def require_pixels(instances: Instances) -> None:
    """Refuse predicted segments without a pixel, as the official evaluation does.

    Raises:
        InvalidAnnotation: there is one.
    """
    empty = instances.id[instances.masks.areas == 0]
    if len(empty):
        raise InvalidAnnotation("a listed segment has no pixel in the PNG", why=f"number {int(empty[0])}")


def remark(instances: Instances, key: str, findings: Findings) -> None:
    """Count segments of a dataset whose records do not agree with the PNG."""
    areas = instances.masks.areas
    for number in instances.id[areas == 0].tolist():
        findings.remark("segment without a pixel: kept", f"{key}: {number}")
    differs = ~np.isnan(instances.area) & (areas > 0) & (instances.area != areas)
    if differs.any():
        findings.remark("area is not the number of pixels: kept", key, int(differs.sum()))


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
