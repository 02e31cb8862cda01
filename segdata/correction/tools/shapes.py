"""Masks drawn, filled, reduced to their largest part, grown and shrunk; each is (H, W) bool."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from segdata.core.arrays import BoolArray
from segdata.core.masks import Masks
from segdata.core.polygons import MAX_BOUNDARY, boundary_length
from segdata.errors import UsageError

MAX_PIXELS = 1000
"""Most pixels that a mask grows or shrinks by."""


FARTHEST = 1e6
"""Largest coordinate of a ring."""


def polygon(rings: Sequence[Sequence[float]], height: int, width: int) -> BoolArray:
    """What rings x0 y0 x1 y1 … cover in an image of this size, as segdata draws all polygons.

    Raises:
        UsageError: a ring of less than three points, with a value that is no number, or longer than is drawn.
    """
    for ring in rings:
        if len(ring) < 6 or len(ring) % 2:
            raise UsageError("a ring has at least three points", why=f"found {len(ring)} numbers")
        if not np.all(np.abs(np.asarray(ring, np.float64)) <= FARTHEST):  # nor is one NaN
            raise UsageError("a ring leaves the image by more than can be meant")
        if boundary_length(ring, height, width) > MAX_BOUNDARY:
            raise UsageError("a ring is too long to be drawn")
    mask: BoolArray = Masks.from_polygons([rings], height, width)[0] != 0
    return mask


def filled(mask: BoolArray) -> BoolArray:
    """The mask with its holes: what no way of pixels side by side leads out of."""
    import cv2

    def fill(part: BoolArray) -> BoolArray:
        outside = np.pad(~part, 1, constant_values=True).astype(np.uint8)
        _, labels = cv2.connectedComponents(outside, connectivity=4)
        return np.asarray((labels != labels[0, 0])[1:-1, 1:-1], bool)

    return _within(mask, fill)


def largest(mask: BoolArray) -> BoolArray:
    """The largest part of the mask, corners joined; the first in reading order of several."""
    import cv2

    def choose(part: BoolArray) -> BoolArray:
        _, labels, statistics, _ = cv2.connectedComponentsWithStats(part.astype(np.uint8), connectivity=8)
        areas = statistics[1:, cv2.CC_STAT_AREA]
        first = [
            int(np.flatnonzero((labels == label + 1).reshape(-1))[0]) for label in np.flatnonzero(areas == areas.max())
        ]
        best = int(np.flatnonzero(areas == areas.max())[int(np.argmin(first))]) + 1
        return np.asarray(labels == best, bool)

    return _within(mask, choose)


def grown(mask: BoolArray, pixels: float) -> BoolArray:
    """The mask with everything that is no farther from it than this; negative: without what is that near to its outside.

    What lies beyond the image does not count as outside.

    Raises:
        UsageError: more than `MAX_PIXELS`, or no number.
    """
    import cv2

    if not math.isfinite(pixels) or abs(pixels) > MAX_PIXELS:
        raise UsageError(f"a mask grows or shrinks by {MAX_PIXELS} pixels at most", why=f"found {pixels}")

    def far_from(part: Any) -> Any:
        """Distance of each pixel to the nearest one of `part`."""
        return cv2.distanceTransform((~part).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)

    if pixels >= 0:
        return _within(mask, lambda part: np.asarray(far_from(part) <= pixels, bool), margin=math.ceil(pixels))
    return _within(
        mask, lambda part: part & np.asarray(far_from(~part) > -pixels, bool) if not part.all() else part, margin=1
    )


def _within(mask: BoolArray, change: Any, margin: int = 0) -> BoolArray:
    """Apply a change to the part of the image that the mask lies in."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return mask.copy()
    frame = (
        slice(max(int(rows[0]) - margin, 0), int(rows[-1]) + 1 + margin),
        slice(max(int(columns[0]) - margin, 0), int(columns[-1]) + 1 + margin),
    )
    changed = np.zeros_like(mask)
    changed[frame] = change(mask[frame])
    return changed
