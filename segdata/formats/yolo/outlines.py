"""Objects ↔ the one outline that a line has: parts and holes joined by seams, numbers rounded so that the mask stays.

    outline → points    shares of the upright image → pixels of the stored one
    object → outline    its polygon, or the border of its mask; parts and holes joined where they are nearest

Seams and borders are those of `formats/shapes/seams.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray, IntArray
from segdata.core.masks import Masks
from segdata.core.polygons import MAX_BOUNDARY, Polygons, clip, rasterize
from segdata.core.rle import cropped, pointer_of, ranges
from segdata.formats.blocks import Block
from segdata.formats.shapes.seams import Points, border, joined
from segdata.sets import orientation as turning

_FEW = 8
"""Parts of an object of which it is seen whether they lie apart."""

# ---------------------------------------------------------------------- shares and pixels


def to_pixels(values: Points, orientation: int, height: int, width: int) -> Points:
    """Shares x0 y0 x1 y1 … of the upright image as pixels of the stored one, height × width."""
    upright = turning.upright_size(orientation, height, width)
    pixels = values.copy()
    pixels[0::2] *= upright[1]
    pixels[1::2] *= upright[0]
    if orientation != 1:
        pixels[0::2], pixels[1::2] = turning.turned_points(
            pixels[0::2].copy(), pixels[1::2].copy(), turning.back(orientation), *upright
        )
    return pixels


def to_shares(values: Points, orientation: int, height: int, width: int) -> Points:
    """The inverse of `to_pixels`."""
    shares = values.copy()
    if orientation != 1:
        shares[0::2], shares[1::2] = turning.turned_points(values[0::2], values[1::2], orientation, height, width)
    upright = turning.upright_size(orientation, height, width)
    shares[0::2] /= upright[1]
    shares[1::2] /= upright[0]
    return shares


def boxes_to_pixels(boxes: Points, orientation: int, height: int, width: int) -> Points:
    """(N, 4) cx cy w h as shares → x y width height in pixels of the stored image."""
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
    pixels = to_pixels(corners.reshape(-1), orientation, height, width).reshape(-1, 2, 2)
    low = pixels.min(axis=1)
    return np.concatenate([low, pixels.max(axis=1) - low], axis=1)


def boxes_to_shares(boxes: Points, orientation: int, height: int, width: int) -> Points:
    """The inverse of `boxes_to_pixels`."""
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    shares = to_shares(corners.reshape(-1), orientation, height, width).reshape(-1, 2, 2)
    return np.concatenate([shares.mean(axis=1), np.abs(shares[:, 1] - shares[:, 0])], axis=1)


def too_long(polygons: Polygons) -> int | None:
    """The first object of N whose one outline, in pixels, is too long to be drawn; None where there is none."""
    values = polygons.values
    points = np.diff(polygons.rings) // 2
    high = float(np.abs(values).max(initial=0))
    for index in np.flatnonzero(points * 2 * high > MAX_BOUNDARY).tolist():
        ring = values[polygons.rings[index] : polygons.rings[index + 1]].reshape(-1, 2)
        if np.abs(ring - np.roll(ring, 1, axis=0)).max(axis=1).sum() > MAX_BOUNDARY:
            return int(index)
    return None


# ---------------------------------------------------------------------- objects that can be written


_USUAL = 2 * 10**4
"""Pixels of the longer side up to which six decimals do."""


def decimals(height: int, width: int) -> int:
    """Decimals of shares that tell a fiftieth of a pixel apart."""
    digits = 6
    while max(height, width) > 2 * 10 ** (digits - 2):
        digits += 1
    return digits


def rounded(points: Points, sizes: IntArray) -> Points:
    """(P, 2) points in pixels that are shares of few decimals, and that pycocotools draws as those given.

    Args:
        sizes: (2,), or (P, 2), height and width of the image of each point.
    """
    scale = _scales(sizes)[..., None]
    size = sizes[..., ::-1].astype(np.float64)
    wanted = _fifths(points)
    steps = np.round(points * (scale / size)).clip(0, scale)
    pixels: Points = steps / scale * size
    for step in (1, -1):
        is_other = _fifths(pixels) != wanted
        if not is_other.any():
            break
        moved = (steps + step).clip(0, scale) / scale * size
        is_better = is_other & (_fifths(moved) == wanted)
        pixels[is_better] = moved[is_better]
    return pixels


def _scales(sizes: IntArray) -> IntArray:
    """(…) 10 to the decimals of images of these sizes, (…, 2)."""
    largest = sizes.max(axis=-1)
    if largest.max(initial=0) <= _USUAL:
        return np.full(largest.shape, 10**6)
    return np.array([10 ** decimals(int(size), 0) for size in largest.ravel()], np.int64).reshape(largest.shape)


def _fifths(points: Points) -> IntArray:
    """(P, 2) where pycocotools sees points, in fifths of a pixel."""
    return (5 * points + 0.5).astype(np.int64)


def outlined(block: Block) -> tuple[list[Points], BoolArray, npt.NDArray[np.float64]]:
    """One outline for each object that has a mask: its polygons where they give the mask back, else the mask's border.

    Returns:
        the outlines, (P, 2) each, without a point where there is none; (N,) whether an outline is of the object's one
        polygon; (N,) IoU of the mask that is drawn from it and the object's own.
    """
    objects = block.objects
    points, is_same = _of_polygons(objects.polygons, block.sizes)
    is_polygon = np.array([len(item) > 0 for item in points], bool)
    for index in np.flatnonzero(objects.has_mask & ~is_polygon).tolist():
        points[index] = _border(block, index)
    ious = np.ones(len(objects))
    # What is drawn as the mask was drawn needs no look.
    checked = np.flatnonzero(objects.has_mask & ~(is_same & block.is_drawn))
    if len(checked):
        wrong = checked[~_equal(_drawn(points, checked, block.sizes), objects.masks[checked])]
        for index in wrong[is_polygon[wrong]].tolist():
            points[index] = _border(block, index)
            is_polygon[index] = False
        if len(wrong):
            ious[wrong] = _ious(_drawn(points, wrong, block.sizes), objects.masks[wrong])
    is_polygon &= np.diff(objects.polygons.pointer) == 1
    return points, is_polygon, ious


def _of_polygons(polygons: Polygons, sizes: IntArray) -> tuple[list[Points], BoolArray]:
    """One outline of the polygons of each object, and whether it is drawn as they are: points are in the same fifths of a
    pixel, and parts lie apart, so that the seams between them, walked there and back, are all that was added.
    """
    points, first = polygons.values.reshape(-1, 2), polygons.rings // 2
    size_of_ring = sizes.repeat(np.diff(polygons.pointer), axis=0)
    size_of_point = size_of_ring.repeat(np.diff(first), axis=0)
    near = rounded(points, size_of_point)
    bounds = first.tolist()
    rings = [near[begin:end] for begin, end in itertools.pairwise(bounds)]
    is_out = ((points < 0) | (points > size_of_point[:, ::-1])).any(axis=1)
    is_other = is_out | (_fifths(near) != _fifths(points)).any(axis=1)
    has_other = np.zeros(len(rings), bool)
    has_other[np.searchsorted(first, np.flatnonzero(is_other), "right") - 1] = True
    for number in np.unique(np.searchsorted(first, np.flatnonzero(is_out), "right") - 1).tolist():
        height, width = size_of_ring[number].tolist()
        ring = clip(points[bounds[number] : bounds[number + 1]].reshape(-1), height, width, margin=0.0)
        rings[number] = rounded(np.array(ring, np.float64).reshape(-1, 2), size_of_ring[number])
    outlines: list[Points] = []
    is_same: list[bool] = []
    are_other = has_other.tolist()
    for begin, end in itertools.pairwise(polygons.pointer.tolist()):
        parts = [ring for ring in rings[begin:end] if len(ring)]
        outlines.append(parts[0] if len(parts) == 1 else joined(parts) if parts else np.zeros((0, 2)))
        is_same.append(bool(parts) and not any(are_other[begin:end]) and _are_apart(parts))
    return outlines, np.array(is_same, bool)


def _are_apart(rings: Sequence[Points]) -> bool:
    """Whether boxes around rings, a few at most, are a pixel apart: none covers what another does."""
    if len(rings) == 1:
        return True
    boxes = [(*ring.min(axis=0).tolist(), *ring.max(axis=0).tolist()) for ring in rings[:_FEW]]
    return len(rings) <= _FEW and all(
        a[2] + 1 < b[0] or b[2] + 1 < a[0] or a[3] + 1 < b[1] or b[3] + 1 < a[1]
        for a, b in itertools.combinations(boxes, 2)
    )


def _border(block: Block, index: int) -> Points:
    masks, number = block.masks_of(index)
    if not masks.areas[number]:
        return np.zeros((0, 2))
    return rounded(border(masks, number), block.sizes[index])


def _drawn(points: Sequence[Points], chosen: IntArray, sizes: IntArray) -> Masks:
    """The masks of the chosen outlines, by pycocotools' rule, as `Block.objects` has them."""
    parts = [points[index] for index in chosen.tolist()]
    lengths = np.array([2 * len(ring) for ring in parts], np.int64)
    has_points = lengths > 0
    values = np.concatenate([np.zeros((0, 2)), *parts]).reshape(-1)
    polygons = Polygons(values, pointer_of(lengths[has_points]), pointer_of(has_points))
    height, width = sizes[chosen].T
    boxes, runs, pointer = cropped(rasterize(polygons, height, width), len(chosen), height)
    return Masks(int(height.max()), int(width.max()), boxes, runs, pointer)


def _equal(one: Masks, other: Masks) -> BoolArray:
    """(N,) whether masks of two lists are equal."""
    lengths = np.diff(one.pointer)
    equal: BoolArray = (one.boxes_xywh == other.boxes_xywh).all(axis=1) & (lengths == np.diff(other.pointer))
    rows = np.flatnonzero(equal)
    mine, theirs = (masks.runs[ranges(masks.pointer[rows], lengths[rows])] for masks in (one, other))
    is_other = rows.repeat(lengths[rows])[mine != theirs]
    equal[is_other] = False
    return equal


def _ious(one: Masks, other: Masks) -> npt.NDArray[np.float64]:
    ious = np.ones(len(one))
    for index in np.flatnonzero(~_equal(one, other)).tolist():
        a, b = one[index] != 0, other[index] != 0
        ious[index] = np.count_nonzero(a & b) / max(int(np.count_nonzero(a | b)), 1)
    return ious
