"""COCO annotation records that are not as they should be, and say plainly what is meant: corrected, each with its remark.

A record that needs nothing is given back as it is. What is still wrong afterwards is left to `rules.check`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from segdata.core.polygons import MAX_BOUNDARY, boundary_length
from segdata.core.sample import Instances
from segdata.formats.coco.rules import is_beyond_images, is_box, is_number, is_ragged, may_be_too_long

BOX_FROM_MASK = "box without size: taken from its mask"
_NEAR = 8.0
"""Pixels that a box may reach past the image to be cut there, whatever else it could mean."""


def corrected(record: dict[str, Any], height: int, width: int) -> tuple[dict[str, Any], list[str]]:
    """A record whose meaning is beyond doubt, and what was corrected in it.

    Args:
        height, width: of the image, in pixels.
    """
    changed = dict(record)
    kinds = [*_numbers(changed), *_segmentation(changed, height, width)]
    kinds += _box(changed, height, width)
    return (changed, kinds) if kinds else (record, [])


def _numbers(record: dict[str, Any]) -> Iterator[str]:
    """Whole numbers written as text, fractions or true and false; areas that are none."""
    for name in ("id", "category_id"):
        if name in record and type(record[name]) is not int:
            number = whole_number(record[name])
            if number is not None:
                record[name] = number
                yield f"{name} is not written as a whole number"
    if "id" in record and record["id"] is None:
        del record["id"]
        yield "id is null, taken as missing"
    elif isinstance(record.get("id"), str):
        del record["id"]
        yield "annotation id is a text: numbered anew"
    crowd = record.get("iscrowd", 0)
    if type(crowd) is not int:
        flag = 0 if crowd is None else int(crowd) if isinstance(crowd, bool) else whole_number(crowd)
        if flag in (0, 1):
            record["iscrowd"] = flag
            yield "iscrowd is not written as 0 or 1"
    area = record.get("area", 0)
    if not is_number(area) or area < 0:
        del record["area"]
        value = _number(area)
        if value is not None and value >= 0:
            record["area"] = value
        yield "area is not a number ≥ 0: taken from the text or the mask"


def whole_number(value: Any) -> int | None:
    """The whole number that a text or float means; None where it means none."""
    number = _number(value)
    return int(number) if number is not None and number == int(number) else None


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value) if not value.strip().lstrip("-").isdecimal() else int(value)
        except ValueError:
            return None
    return value if is_number(value) else None


# ---------------------------------------------------------------------- segmentation


def _segmentation(record: dict[str, Any], height: int, width: int) -> Iterator[str]:
    """Other ways of writing rings, no mask and run lengths; rings that are no polygon beside others that are."""
    item = record.get("segmentation", [])
    if item is None or item in ("", {}) or (isinstance(item, list) and item and all(ring == [] for ring in item)):
        record["segmentation"] = []
        yield "segmentation of nothing, written otherwise than []"
    elif isinstance(item, dict):
        counts = item.get("counts")
        if isinstance(counts, list) and any(type(count) is float for count in counts):
            whole = [whole_number(count) for count in counts]
            if None not in whole:
                record["segmentation"] = {**item, "counts": whole}
                yield "run lengths are fractions"
    elif isinstance(item, list) and item:
        corners = _rectangle(item, record.get("bbox"))
        if corners is not None:
            record["segmentation"] = [corners]
            yield "ring of the four numbers of the box: a rectangle"
            return
        rings = _rings(item)
        if rings is not None:
            record["segmentation"] = item = rings
            yield "ring written as a flat list, or as a list of points"
        good = [ring for ring in item if _is_polygon(ring, height, width)]
        if good and len(good) < len(item):
            record["segmentation"] = good
            yield "ring that is no polygon, left out of its object"


def _rectangle(item: list[Any], box: Any) -> list[float] | None:
    """The corners of a lone ring that repeats the box, as x y width height or as two corners; None for any other."""
    ring = item[0] if len(item) == 1 and isinstance(item[0], list) else item
    if not is_box(ring) or not is_box(box):
        return None
    x, y, w, h = box
    if all(abs(mine - theirs) <= 1 for mine, theirs in zip(ring, (x, y, x + w, y + h), strict=True)):
        x0, y0, x1, y1 = ring
    elif all(abs(mine - theirs) <= 1 for mine, theirs in zip(ring, box, strict=True)):
        x0, y0, x1, y1 = ring[0], ring[1], ring[0] + ring[2], ring[1] + ring[3]
    else:
        return None
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def _is_ring(ring: Any) -> bool:
    return isinstance(ring, list) and not is_ragged(len(ring)) and all(map(is_number, ring))


def _is_polygon(ring: Any, height: int, width: int) -> bool:
    """Whether a ring can be drawn."""
    if not _is_ring(ring):
        return False
    low, high = min(ring), max(ring)
    is_long = may_be_too_long(len(ring), low, high) and boundary_length(ring, height, width) > MAX_BOUNDARY
    return not is_beyond_images(low, high) and not is_long


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value))


def _rings(item: list[Any]) -> list[list[float]] | None:
    """Rings of a flat list of numbers, of points, or of lists of points; None for any other."""
    if all(map(is_number, item)) and not is_ragged(len(item)):
        return [item]
    if len(item) >= 3 and all(map(_is_point, item)):
        return [list(itertools.chain.from_iterable(item))]
    if all(isinstance(ring, list) and len(ring) >= 3 and all(map(_is_point, ring)) for ring in item):
        return [list(itertools.chain.from_iterable(ring)) for ring in item]
    return None


# ---------------------------------------------------------------------- box


def _box(record: dict[str, Any], height: int, width: int) -> Iterator[str]:
    """A box that is none, is written as text or corners, has its corners in the wrong order, or leaves the image."""
    if "bbox" not in record:
        return
    box = record["bbox"]
    if isinstance(box, list) and len(box) == 4 and not is_box(box):
        numbers = [_number(value) for value in box]
        if None not in numbers:
            record["bbox"] = box = numbers
            yield "bbox is not written as numbers"
    has_mask = bool(record.get("segmentation"))
    if box is None or box in ([], {}) or (has_mask and not is_box(box)):
        del record["bbox"]
        if box != []:
            yield "bbox is no box: taken from the mask" if has_mask else "bbox of nothing, written otherwise than []"
        return
    if not is_box(box):
        return
    x, y, w, h = box
    outline = _outline(record["segmentation"]) if has_mask else None
    corners = (x, y, w - x, h - y)
    if outline is not None and _iou(corners, outline) > 0.9 and _iou((x, y, w, h), outline) < 0.6:
        record["bbox"] = list(corners)
        yield "bbox written as corners x0 y0 x1 y1, as its polygons show"
        return
    if w < 0 or h < 0:
        x, y, w, h = min(x, x + w), min(y, y + h), abs(w), abs(h)
        record["bbox"] = [x, y, w, h]
        yield "bbox with a negative size: its corners in the wrong order"
    past = max(-x, -y, x + w - width, y + h - height)
    could_be_corners = outline is None and 0 <= x <= box[2] <= width + 1 and 0 <= y <= box[3] <= height + 1
    if past <= 1 or (past > _NEAR and could_be_corners):
        return
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
    if x1 > x0 and y1 > y0:
        record["bbox"] = [x0, y0, x1 - x0, y1 - y0]
        yield "bbox reaches more than one pixel past the image: cut there"
    elif has_mask:
        del record["bbox"]
        yield "bbox wholly outside of the image: taken from the mask"


def _outline(segmentation: Any) -> tuple[float, float, float, float] | None:
    """x, y, width and height around polygons; None for run lengths and what is none."""
    if not isinstance(segmentation, list) or not all(map(_is_ring, segmentation)):
        return None
    x = list(itertools.chain.from_iterable(ring[0::2] for ring in segmentation))
    y = list(itertools.chain.from_iterable(ring[1::2] for ring in segmentation))
    return min(x), min(y), max(x) - min(x), max(y) - min(y)


def _iou(first: Sequence[float], second: Sequence[float]) -> float:
    sides = [
        min(a + c, b + d) - max(a, b) for a, b, c, d in zip(first[:2], second[:2], first[2:], second[2:], strict=True)
    ]
    common = max(sides[0], 0) * max(sides[1], 0)
    union = max(first[2], 0) * max(first[3], 0) + second[2] * second[3] - common
    return common / union if union > 0 else 0.0


def boxes_from_masks(instances: Instances) -> list[int]:
    """Set boxes without size to those of the masks, where these are two pixels wide and high; which objects these are."""
    has_no_size = (instances.bbox[:, 2] == 0) | (instances.bbox[:, 3] == 0)
    if not has_no_size.any():
        return []
    boxes = instances.masks.boxes.astype(np.float64)
    sides = boxes[:, 2:] - boxes[:, :2]
    chosen = np.flatnonzero(has_no_size & instances.has_mask & (sides >= 2).all(1))
    instances.bbox[chosen] = np.concatenate((boxes[:, :2], sides), axis=1)[chosen]
    indices: list[int] = chosen.tolist()
    return indices
