"""What differs in the objects of many images at once, from the columns of two tables.

Objects are the same where `objects.compared` finds them to be, as far as that can be told without looking at every pair of an
image: by their numbers, where these number all objects of both packs and the boxes touch; else by equal masks (equal boxes,
where none has a mask). Where both sides of an image have objects left then, the image is left to `objects.compared`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from segdata.comparison.objects import FLAGS, Objects, Spaces
from segdata.comparison.tables import Array, other_parts, other_polygons, taken
from segdata.core.arrays import BoolArray, FloatArray, IntArray
from segdata.core.masks import Masks
from segdata.core.rle import Spans, pointer_of, ranges, uncropped
from segdata.core.sample import Records
from segdata.pack import layout
from segdata.pack.store import Shard
from segdata.pack.tables import MappedFile

_BITS = (layout.IS_CROWD, layout.IS_DIFFICULT, layout.IS_TRUNCATED, layout.IS_OCCLUDED, layout.HAS_MASK)

_AT_ONCE = 2048
"""Pairs of masks whose IoU is computed at once."""


@dataclass(frozen=True, eq=False)
class Columns:
    """The objects of I images of a shard: M of them, image after image.

    Attributes:
        rows: (I,) int64, the rows of the images.
    """

    shard: Shard
    rows: IntArray

    @cached_property
    def table(self) -> MappedFile:
        """The columns of the shard."""
        return self.shard.table

    @cached_property
    def counts(self) -> IntArray:
        """(I,) int64, how many objects each image has."""
        return np.asarray(np.diff(self.table["instance/pointer"])[self.rows])

    @cached_property
    def objects(self) -> IntArray:
        """(M,) int64, their rows in the columns of objects."""
        return ranges(self.table["instance/pointer"][self.rows], self.counts)

    @cached_property
    def image(self) -> IntArray:
        """(M,) int64, the position of each object's image."""
        return np.arange(len(self.rows)).repeat(self.counts)

    @cached_property
    def has_mask(self) -> BoolArray:
        """(M,) bool."""
        return np.asarray((self.column("flags") & layout.HAS_MASK) > 0)

    @cached_property
    def boxes(self) -> FloatArray:
        """(M, 4) float64 x0 y0 x1 y1, as `Instances.boxes` has them."""
        boxes = self.column("bbox").copy()
        boxes[:, 2:] += boxes[:, :2]
        frame = self.column("frame").astype(np.float64)
        frame[:, 2:] += frame[:, :2]
        return np.where(np.isnan(boxes), frame, boxes)

    def column(self, name: str, at: IntArray | None = None) -> Array:
        """(M, …) a column, or its rows of the objects `at`; NaN where the table does not have it."""
        rows = self.objects if at is None else self.objects[at]
        values = self.table[f"instance/{name}"]
        return np.full(len(rows), np.nan) if values is None else np.asarray(values[rows])

    def masks(self, at: IntArray) -> Masks:
        """The masks of the objects `at`, in an image of no size."""
        offset, rows = self.table["instance/run_offset"], self.objects[at]
        lengths = offset[rows + 1] - offset[rows]
        runs = taken(self.table["instance/run"], offset[rows], lengths)
        return Masks(0, 0, np.asarray(self.table["instance/frame"][rows]), np.asarray(runs), pointer_of(lengths))

    def records(self, at: IntArray) -> list[dict[str, Any]]:
        """What else the source says about the objects `at`."""
        name = "instance/extra"
        records = Records(self.table[name], self.table[f"{name}_offset"], self.shard.record(name))
        return [records[row] for row in self.objects[at].tolist()]


def compared(one: Columns, other: Columns, spaces: Spaces, *, by_id: bool) -> list[Objects | None]:
    """Compare the objects of pairs of images, I of them; None of a pair that must be looked at by itself.

    Args:
        by_id: whether numbers tell objects apart.
    """
    partner = _by_number(one, other) if by_id else _by_content(one, other)
    is_left = partner < 0
    is_other_left = np.ones(len(other.objects), bool)
    is_other_left[partner[~is_left]] = False
    count = len(one.rows)
    left, other_left = (
        np.bincount(one.image[is_left], minlength=count),
        np.bincount(other.image[is_other_left], minlength=count),
    )
    must_look = (left > 0) & (other_left > 0)
    mine = np.flatnonzero(~is_left)
    results: list[Objects | None] = [None if look else Objects() for look in must_look.tolist()]
    for side, at, name, labels in (
        (one, np.flatnonzero(is_left), "removed", spaces.one),
        (other, np.flatnonzero(is_other_left), "added", spaces.other),
    ):
        at = at[~must_look[side.image[at]]]
        for image, described in zip(side.image[at].tolist(), _described(side, at, labels), strict=True):
            getattr(results[image], name).append(described)
    mine = mine[~must_look[one.image[mine]]]
    changes, at = _changes(one, other, mine, partner[mine], spaces)
    for image, described, change in zip(one.image[at].tolist(), _described(one, at, spaces.one), changes, strict=True):
        result = results[image]
        assert result is not None
        if change:
            result.changed.append({**described, "changes": change})
    return results


# ---------------------------------------------------------------------- which is which


def _by_number(one: Columns, other: Columns) -> IntArray:
    """(M,) int64, of each object the one of the same image and number whose box touches, −1 where there is none."""
    partner = _joined(one, other, one.column("id"), other.column("id"))
    mine = np.flatnonzero(partner >= 0)
    boxes, others = one.boxes[mine], other.boxes[partner[mine]]
    low, high = np.maximum(boxes[:, :2], others[:, :2]), np.minimum(boxes[:, 2:], others[:, 2:])
    partner[mine[~(low <= high).all(axis=1)]] = -1
    return partner


def _by_content(one: Columns, other: Columns) -> IntArray:
    """(M,) int64, of each object the one of the same image with an equal mask, −1 where there is none, or several.

    Where none has a mask, boxes are compared. Of equal ones with an IoU of 1 the first pair, as in `objects.compared`.
    """
    codes = [_content(side) for side in (one, other)]
    partner = _joined(one, other, *codes)
    mine = np.flatnonzero(partner >= 0)
    theirs = partner[mine]
    is_same = one.has_mask[mine] == other.has_mask[theirs]
    is_same &= ~_other_masks(one, other, mine, theirs)
    are_boxes_same = (one.boxes[mine] == other.boxes[theirs]).all(axis=1)
    has_box = (one.boxes[mine, 2:] > one.boxes[mine, :2]).all(axis=1)
    has_pixels = (one.column("frame", mine)[:, 2:] > 0).all(axis=1)
    is_same &= np.where(one.has_mask[mine], has_pixels, are_boxes_same & has_box)
    # Objects with masks and others may have equal boxes: such images are looked at.
    kinds = [np.bincount(side.image[side.has_mask], minlength=len(side.rows)) for side in (one, other)]
    are_alike = ((kinds[0] == one.counts) & (kinds[1] == other.counts)) | ((kinds[0] == 0) & (kinds[1] == 0))
    partner[mine[~(is_same & are_alike[one.image[mine]])]] = -1
    return partner


def _content(side: Columns) -> IntArray:
    """(M,) int64, equal for objects with equal masks, or equal boxes where they have none; hardly ever for others."""
    masks = side.masks(np.arange(len(side.objects)))
    lengths = np.diff(masks.pointer)
    weight = (np.arange(int(lengths.max(initial=0))).astype(np.uint64) * np.uint64(2) + np.uint64(1)) * _ODD
    weight ^= weight >> np.uint64(29)
    place = ranges(np.zeros(len(lengths), np.int64), lengths)
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(masks.runs.astype(np.uint64) * weight[place])])
    code = (sums[masks.pointer[1:]] - sums[masks.pointer[:-1]]) * _ODD
    numbers = np.where(side.has_mask[:, None], masks.boxes_xywh.astype(np.float64), side.boxes)
    for axis in range(4):
        code = (code ^ (np.ascontiguousarray(numbers[:, axis]) + 0.0).view(np.uint64)) * _ODD
    codes: IntArray = (code ^ (code >> np.uint64(31))).view(np.int64)
    return codes


_ODD = np.uint64(0x9E3779B97F4A7C15)


def _joined(one: Columns, other: Columns, numbers: IntArray, other_numbers: IntArray) -> IntArray:
    """(M,) int64, of each object the one of the same image with the same number, −1 where there is none.

    Of several with one number in an image, the first is that of the first, and so on.
    """
    _, code = np.unique(np.concatenate([numbers, other_numbers]), return_inverse=True)
    count = int(code.max(initial=0)) + 1
    codes = [code[: len(numbers)] + one.image * count, code[len(numbers) :] + other.image * count]
    orders = [np.argsort(values, kind="stable") for values in codes]
    values = [codes[side][orders[side]] for side in (0, 1)]
    nth = np.arange(len(values[0])) - np.searchsorted(values[0], values[0], "left")
    at = np.searchsorted(values[1], values[0], "left") + nth
    at_end = np.minimum(at, max(len(values[1]) - 1, 0))
    partner = np.full(len(numbers), -1)
    is_there = (at < len(values[1])) & (values[1][at_end] == values[0]) if len(values[1]) else np.zeros(len(at), bool)
    partner[orders[0][is_there]] = orders[1][at[is_there]]
    return partner


# ---------------------------------------------------------------------- what differs


def _changes(
    one: Columns, other: Columns, mine: IntArray, theirs: IntArray, spaces: Spaces
) -> tuple[list[dict[str, Any]], IntArray]:
    """What differs in pairs of objects, by kind; and which objects these are, in their order."""
    is_other: dict[str, BoolArray] = {
        "category": spaces.partner[one.column("category", mine)] != other.column("category", theirs),
        "flags": one.column("flags", mine) != other.column("flags", theirs),
        "mask": _other_masks(one, other, mine, theirs) & (one.has_mask[mine] | other.has_mask[theirs]),
        "polygons": other_polygons(one.table, other.table, one.objects[mine], other.objects[theirs]),
        "extra": _other_records(one, other, mine, theirs),
    }
    for name in ("id", "bbox", "area", "score"):
        values, others = one.column(name, mine), other.column(name, theirs)
        differs = values != others
        if name != "id":
            differs &= ~(np.isnan(values) & np.isnan(others))
        is_other["box" if name == "bbox" else name] = differs.any(axis=1) if differs.ndim > 1 else differs
    chosen = np.flatnonzero(np.logical_or.reduce(list(is_other.values())))
    mine, theirs = mine[chosen], theirs[chosen]
    changes: list[dict[str, Any]] = [{} for _ in chosen]
    for kind in ("category", "flags", "id", "box", "area", "score", "mask", "polygons", "extra"):
        at = np.flatnonzero(is_other[kind][chosen])
        for number, value in zip(at.tolist(), _values(kind, one, other, mine[at], theirs[at], spaces), strict=True):
            changes[number][kind] = value
    return changes, mine


def _values(kind: str, one: Columns, other: Columns, mine: IntArray, theirs: IntArray, spaces: Spaces) -> Sequence[Any]:
    """What is said of a kind of difference in pairs that have it."""
    if not len(mine) or kind in ("polygons", "extra"):
        return [True] * len(mine)
    if kind == "mask":
        return [{"iou": iou} for iou in _ious(one.masks(mine), other.masks(theirs))]
    if kind == "category":
        return [
            [spaces.one[category].name, spaces.other[to].name]
            for category, to in zip(one.column(kind, mine).tolist(), other.column(kind, theirs).tolist(), strict=True)
        ]
    if kind == "flags":
        pairs = zip(one.column(kind, mine).tolist(), other.column(kind, theirs).tolist(), strict=True)
        return [
            {name: [bool(a & bit), bool(b & bit)] for name, bit in zip(FLAGS, _BITS, strict=True) if (a ^ b) & bit}
            for a, b in pairs
        ]
    name = "bbox" if kind == "box" else kind
    return [list(pair) for pair in zip(_plain(one.column(name, mine)), _plain(other.column(name, theirs)), strict=True)]


def _described(side: Columns, at: IntArray, labels: Any) -> list[dict[str, Any]]:
    """Id, category and box of objects."""
    columns = side.column("id", at).tolist(), side.column("category", at).tolist(), _plain(side.boxes[at])
    return [
        {"id": number, "category": labels[category].name, "box": box}
        for number, category, box in zip(*columns, strict=True)
    ]


def _plain(values: Array) -> list[Any]:
    """Numbers, or lists of them, as JSON holds them; None for NaN."""
    plain: list[Any] = values.tolist()
    if values.dtype.kind != "f" or not np.isnan(values).any():
        return plain
    if values.ndim > 1:
        return [[None if number != number else number for number in item] for item in plain]
    return [None if number != number else number for number in plain]


def _other_masks(one: Columns, other: Columns, mine: IntArray, theirs: IntArray) -> BoolArray:
    """(P,) bool, whether masks differ."""
    sides = ((one, one.objects[mine]), (other, other.objects[theirs]))
    parts = [
        (
            side.table["instance/run"],
            side.table["instance/run_offset"][rows],
            side.table["instance/run_offset"][rows + 1],
        )
        for side, rows in sides
    ]
    is_other = (one.column("frame", mine) != other.column("frame", theirs)).any(axis=1)
    return np.asarray(is_other | other_parts(*parts), bool)


def _other_records(one: Columns, other: Columns, mine: IntArray, theirs: IntArray) -> BoolArray:
    """(P,) bool, whether what else the source says differs; the same may be written in two ways."""
    sides = ((one, one.objects[mine]), (other, other.objects[theirs]))
    parts = []
    for side, rows in sides:
        offset = side.table["instance/extra_offset"]
        parts.append((side.table["instance/extra"], offset[rows], offset[rows + 1]))
    is_other = other_parts(*parts)
    at = np.flatnonzero(is_other)
    records = zip(one.records(mine[at]), other.records(theirs[at]), strict=True)
    is_other[at] = [record != again for record, again in records]
    return is_other


def _ious(masks: Masks, others: Masks) -> list[float]:
    """The IoU of the masks of each pair, in images of one size."""
    ious: list[float] = []
    for begin in range(0, len(masks), _AT_ONCE):
        pair = masks[begin : begin + _AT_ONCE], others[begin : begin + _AT_ONCE]
        height = max(int(each.boxes[:, 3].max(initial=1)) for each in pair)
        width = max(int(each.boxes[:, 2].max(initial=1)) for each in pair)
        one, other = (uncropped(each.boxes_xywh, each.runs, each.pointer, height) for each in pair)
        common = _common(one, other, len(pair[0]), height * width)
        together = pair[0].areas + pair[1].areas - common
        ious += (common / np.maximum(together, 1)).tolist()
    return ious


def _common(one: Spans, other: Spans, count: int, stride: int) -> IntArray:
    """(N,) int64, the pixels that both masks of a pair have.

    Args:
        stride: more than any position in an image.
    """
    start, length, owner = one
    positions = other[0] + other[2] * stride
    before = pointer_of(other[1])

    def pixels(to: IntArray) -> IntArray:
        """How many pixels of all of the other masks lie before a position."""
        at = np.searchsorted(positions, to, "right") - 1
        known = np.maximum(at, 0)
        inside = before[known] + np.minimum(to - positions[known], other[1][known])
        return np.where(at >= 0, inside, 0)

    if not len(start) or not len(positions):
        return np.zeros(count, np.int64)
    begin = start + owner * stride
    return np.bincount(owner, pixels(begin + length) - pixels(begin), count).astype(np.int64)
