"""What differs in the objects of one image."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from segdata.core.arrays import BoolArray, FloatArray, IntArray
from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.sample import Instances

MIN_IOU = 0.5
"""Objects that no number pairs are the same from this IoU of their masks on."""

_AT_ONCE = 1 << 20
"""Pairs of objects whose IoU is computed at once."""

FLAGS = ("iscrowd", "difficult", "truncated", "occluded", "has_mask")


@dataclass(frozen=True)
class Objects:
    """What differs in the objects of an image.

    Attributes:
        removed, added: objects that one side alone has: id, category, box.
        changed: of objects that both have: the same of `one`, and `changes`, `[in one, in other]` of what differs.
    """

    removed: list[dict[str, Any]] = field(default_factory=list)
    added: list[dict[str, Any]] = field(default_factory=list)
    changed: list[dict[str, Any]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.removed or self.added or self.changed)


@dataclass(frozen=True)
class Spaces:
    """The label spaces of both packs.

    Attributes:
        partner: (C,) int64, category of `one` → the same of `other`, −1 for none.
    """

    one: LabelSpace
    other: LabelSpace
    partner: IntArray


def compared(one: Instances, other: Instances, spaces: Spaces, *, by_id: bool) -> Objects:
    """Compare the objects of an image in two packs.

    Args:
        by_id: whether numbers tell objects apart; else, and where they do not, their masks do.
    """
    mine, theirs = _matched(one, other, by_id=by_id)
    lone = np.setdiff1d(np.arange(len(one)), mine), np.setdiff1d(np.arange(len(other)), theirs)
    may_differ = _may_differ(one, other, mine, theirs, spaces)
    changes = [
        {**_described(one, index, spaces.one), "changes": difference}
        for index, to, is_other in zip(mine.tolist(), theirs.tolist(), may_differ.tolist(), strict=True)
        if is_other and (difference := _difference(one, other, index, to, spaces))
    ]
    return Objects(
        removed=[_described(one, index, spaces.one) for index in lone[0].tolist()],
        added=[_described(other, index, spaces.other) for index in lone[1].tolist()],
        changed=changes,
    )


def _described(instances: Instances, index: int, labels: LabelSpace) -> dict[str, Any]:
    return {
        "id": int(instances.id[index]),
        "category": labels[int(instances.category[index])].name,
        "box": _plain(instances.boxes[index]),
    }


# ---------------------------------------------------------------------- which is which


def _matched(one: Instances, other: Instances, *, by_id: bool) -> tuple[IntArray, IntArray]:
    """Pairs of objects: of the same number whose boxes touch; then by IoU, the highest first; then of the same number."""
    partner = np.full(len(one), -1)
    is_free = np.ones(len(other), bool)
    position = {number: index for index, number in enumerate(other.id.tolist())} if by_id else {}
    same = [(index, position[number]) for index, number in enumerate(one.id.tolist()) if number in position]
    touch = _touching(one.boxes[[index for index, _ in same]], other.boxes[[to for _, to in same]])
    for (index, to), do_touch in zip(same, touch.tolist(), strict=True):
        if do_touch:
            partner[index], is_free[to] = to, False
    rows, columns = np.flatnonzero(partner < 0), np.flatnonzero(is_free)
    for row, column in _overlapping(one.take(rows), other.take(columns)) if len(rows) and len(columns) else []:
        if partner[rows[row]] < 0 and is_free[columns[column]]:
            partner[rows[row]], is_free[columns[column]] = columns[column], False
    for index, to in same:
        if partner[index] < 0 and is_free[to]:
            partner[index], is_free[to] = to, False
    first = np.flatnonzero(partner >= 0)
    return first, partner[first]


def _touching(boxes: FloatArray, others: FloatArray) -> BoolArray:
    """(P,) bool, whether the boxes x0 y0 x1 y1 of each pair have at least a border in common."""
    low, high = np.maximum(boxes[:, :2], others[:, :2]), np.minimum(boxes[:, 2:], others[:, 2:])
    return np.asarray((low <= high).all(axis=1), bool)


def _overlapping(one: Instances, other: Instances) -> list[list[int]]:
    """Pairs (row, column) of objects with an IoU of `MIN_IOU` or more, the highest first."""
    step = max(_AT_ONCE // max(len(other), 1), 1)
    pairs: list[IntArray] = [np.zeros((0, 2), np.int64)]
    ious: list[FloatArray] = [np.zeros(0)]
    for begin in range(0, len(one), step):
        iou = _ious(one.take(np.arange(begin, min(begin + step, len(one)))), other)
        pair = np.argwhere(iou >= MIN_IOU)
        ious.append(iou[pair[:, 0], pair[:, 1]])
        pairs.append(pair + np.array([begin, 0]))
    order = np.argsort(-np.concatenate(ious), kind="stable")
    ordered: list[list[int]] = np.concatenate(pairs)[order].tolist()
    return ordered


def _ious(one: Instances, other: Instances) -> FloatArray:
    """(N, M) IoU of masks; of boxes where either has no mask, or the images are of different sizes."""
    from pycocotools import mask as coco_mask

    if not len(one) or not len(other):
        return np.zeros((len(one), len(other)))
    no_crowds = [0] * len(other)
    boxes = [np.column_stack((each[:, :2], each[:, 2:] - each[:, :2])) for each in (one.boxes, other.boxes)]
    iou = np.asarray(coco_mask.iou(*boxes, no_crowds), np.float64)
    if _size(one) == _size(other):
        of_masks = np.asarray(coco_mask.iou(one.masks.rle(), other.masks.rle(), no_crowds), np.float64)
        iou = np.where(one.has_mask[:, None] & other.has_mask[None], of_masks, iou)
    return np.nan_to_num(iou)


def _size(instances: Instances) -> tuple[int, int]:
    return instances.masks.height, instances.masks.width


# ---------------------------------------------------------------------- what differs


def _may_differ(one: Instances, other: Instances, mine: IntArray, theirs: IntArray, spaces: Spaces) -> BoolArray:
    """(P,) whether objects of a pair may differ: all, where a mask, a polygon or a record does."""
    everything = len(mine) == len(one) == len(other) and np.array_equal(mine, theirs)
    first, second = (one, other) if everything else (one.take(mine), other.take(theirs))
    rings = [(each.polygons.values, each.polygons.rings, each.polygons.pointer) for each in (first, second)]
    if (
        first.masks != second.masks
        or not all(itertools.starmap(np.array_equal, zip(*rings, strict=True)))
        or list(first.extra) != list(second.extra)
    ):
        return np.ones(len(mine), bool)
    is_other = spaces.partner[first.category] != second.category
    for name in (*FLAGS, "id"):
        is_other |= getattr(first, name) != getattr(second, name)
    for name in ("bbox", "area", "score"):
        values, others = getattr(first, name), getattr(second, name)
        differs = (values != others) & ~(np.isnan(values) & np.isnan(others))
        is_other |= differs.any(axis=1) if differs.ndim > 1 else differs
    return np.asarray(is_other, bool)


def _difference(one: Instances, other: Instances, index: int, to: int, spaces: Spaces) -> dict[str, Any]:
    """What differs between two objects, by kind."""
    changes: dict[str, Any] = {}
    if spaces.partner[one.category[index]] != other.category[to]:
        pair = spaces.one[int(one.category[index])], spaces.other[int(other.category[to])]
        changes["category"] = [category.name for category in pair]
    flags = {name: [bool(getattr(one, name)[index]), bool(getattr(other, name)[to])] for name in FLAGS}
    if any(mine != theirs for mine, theirs in flags.values()):
        changes["flags"] = {name: sides for name, sides in flags.items() if sides[0] != sides[1]}
    for name in ("id", "bbox", "area", "score"):
        values = getattr(one, name)[index], getattr(other, name)[to]
        if not np.array_equal(*values, equal_nan=name != "id"):
            changes["box" if name == "bbox" else name] = [_plain(value) for value in values]
    masks = one.masks[index : index + 1], other.masks[to : to + 1]
    if (one.has_mask[index] or other.has_mask[to]) and masks[0] != masks[1]:
        changes["mask"] = {"iou": _iou(*masks)}
    rings = [[ring.tolist() for ring in each.polygons[at]] for each, at in ((one, index), (other, to))]
    if rings[0] != rings[1]:
        changes["polygons"] = True
    if one.extra[index] != other.extra[to]:
        changes["extra"] = True
    return changes


def _iou(mask: Masks, other: Masks) -> float | None:
    """The IoU of two masks; None where the images are of different sizes."""
    from pycocotools import mask as coco_mask

    if (mask.height, mask.width) != (other.height, other.width):
        return None
    return float(np.nan_to_num(coco_mask.iou(mask.rle(), other.rle(), [0])[0, 0]))


def _plain(value: Any) -> Any:
    """A number or a list of numbers as JSON holds it; None for NaN."""
    if np.ndim(value):
        return [_plain(item) for item in value]
    number = value.item()
    return None if number != number else number
