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

from segdata.core.masks import Masks
from segdata.core.polygons import MAX_BOUNDARY, Polygons, clip
from segdata.core.rle import pointer_of
from segdata.core.sample import Instances
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


def decimals(height: int, width: int) -> int:
    """Decimals of shares that tell a fiftieth of a pixel apart."""
    digits = 6
    while max(height, width) > 2 * 10 ** (digits - 2):
        digits += 1
    return digits


def rounded(points: Points, height: int, width: int) -> Points:
    """(P, 2) points in pixels that are shares of few decimals, and that pycocotools draws as those given."""
    scale = 10 ** decimals(height, width)
    size = np.array([width, height], np.float64)
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


def _fifths(points: Points) -> npt.NDArray[np.int64]:
    """(P, 2) where pycocotools sees points, in fifths of a pixel."""
    return (5 * points + 0.5).astype(np.int64)


def outlined(instances: Instances) -> tuple[list[Points], npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """One outline for each object that has a mask: its polygons where they give the mask back, else the mask's border.

    Returns:
        the outlines, (P, 2) each, without a point where there is none; (N,) whether an outline is of the object's one
        polygon; (N,) IoU of the mask that is drawn from it and the object's own.
    """
    masks, height, width = instances.masks, instances.masks.height, instances.masks.width
    points, is_same = _of_polygons(instances.polygons, height, width)
    is_polygon = np.array([len(item) > 0 for item in points], bool)
    for index in np.flatnonzero(instances.has_mask & ~is_polygon).tolist():
        points[index] = _border(masks, index)
    ious = np.ones(len(masks))
    # What is drawn as the mask was drawn needs no look.
    checked = np.flatnonzero(~is_same if masks.drawn_from is instances.polygons else np.ones(len(masks), bool))
    if len(checked):
        drawn = _drawn([points[index] for index in checked.tolist()], height, width)
        wrong = checked[~_equal(drawn, masks if len(checked) == len(masks) else masks[checked])]
        for index in wrong[is_polygon[wrong]].tolist():
            points[index] = _border(masks, index)
            is_polygon[index] = False
        if len(wrong):
            ious[wrong] = _ious(_drawn([points[index] for index in wrong.tolist()], height, width), masks[wrong])
    is_polygon &= np.diff(instances.polygons.pointer) == 1
    return points, is_polygon, ious


def _of_polygons(polygons: Polygons, height: int, width: int) -> tuple[list[Points], npt.NDArray[np.bool_]]:
    """One outline of the polygons of each object, and whether it is drawn as they are: points are in the same fifths of a
    pixel, and parts lie apart, so that the seams between them, walked there and back, are all that was added.
    """
    points = polygons.values.reshape(-1, 2)
    near = rounded(points, height, width)
    first = polygons.rings // 2
    bounds = first.tolist()
    rings = [near[begin:end] for begin, end in itertools.pairwise(bounds)]
    is_out = ((points < 0) | (points > (width, height))).any(axis=1)
    is_other = is_out | (_fifths(near) != _fifths(points)).any(axis=1)
    has_other = np.zeros(len(rings), bool)
    has_other[np.searchsorted(first, np.flatnonzero(is_other), "right") - 1] = True
    for number in np.unique(np.searchsorted(first, np.flatnonzero(is_out), "right") - 1).tolist():
        ring = clip(points[bounds[number] : bounds[number + 1]].reshape(-1), height, width, margin=0.0)
        rings[number] = rounded(np.array(ring, np.float64).reshape(-1, 2), height, width)
    outlines: list[Points] = []
    is_same: list[bool] = []
    for begin, end in itertools.pairwise(polygons.pointer.tolist()):
        parts = [ring for ring in rings[begin:end] if len(ring)]
        outlines.append(parts[0] if len(parts) == 1 else joined(parts) if parts else np.zeros((0, 2)))
        is_same.append(bool(parts) and not has_other[begin:end].any() and _are_apart(parts))
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


def _border(masks: Masks, index: int) -> Points:
    if not masks.areas[index]:
        return np.zeros((0, 2))
    return rounded(border(masks, index), masks.height, masks.width)


def _drawn(points: Sequence[Points], height: int, width: int) -> Masks:
    lengths = np.array([2 * len(ring) for ring in points], np.int64)
    has_points = lengths > 0
    polygons = Polygons(
        np.concatenate([np.zeros((0, 2)), *points]).reshape(-1), pointer_of(lengths[has_points]), pointer_of(has_points)
    )
    return Masks.from_polygons(polygons, height, width)


def _equal(one: Masks, other: Masks) -> npt.NDArray[np.bool_]:
    """(N,) whether masks of two lists are equal."""
    if one == other:
        return np.ones(len(one), bool)
    bounds = zip(itertools.pairwise(one.pointer.tolist()), itertools.pairwise(other.pointer.tolist()), strict=True)
    is_same = [np.array_equal(one.runs[a:b], other.runs[c:d]) for (a, b), (c, d) in bounds]
    equal: npt.NDArray[np.bool_] = (one.boxes_xywh == other.boxes_xywh).all(axis=1) & np.array(is_same, bool)
    return equal


def _ious(one: Masks, other: Masks) -> npt.NDArray[np.float64]:
    ious = np.ones(len(one))
    for index in np.flatnonzero(~_equal(one, other)).tolist():
        a, b = one[index] != 0, other[index] != 0
        ious[index] = np.count_nonzero(a & b) / max(int(np.count_nonzero(a | b)), 1)
    return ious
