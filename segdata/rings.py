"""Rings of points: how long they are, which part of them an image sees, and rings along pixel edges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MAX_BOUNDARY = 1 << 21
"""Longest outline of one ring that is drawn, in pixels: pycocotools needs about 100 bytes for each."""


def boundary_length(ring: Sequence[float], height: int, width: int) -> float:
    """Steps, in pixels, that drawing a ring x0 y0 x1 y1 … takes: the longer side of each edge, near the image."""
    reach = _reach(height, width)
    points = np.clip(np.asarray(ring, np.float64).reshape(-1, 2), -reach, reach)
    return float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum())


def _reach(height: int, width: int) -> int:
    return 16 * max(height, width, 64)


def is_near(ring: Sequence[float], height: int, width: int) -> bool:
    """Whether pycocotools can rasterise the ring as it is (its buffers grow with the length of every edge)."""
    reach = _reach(height, width)
    return -reach <= min(ring) and max(ring) <= reach


def clip(ring: Sequence[float], height: int, width: int) -> list[float]:
    """The part of a ring within one pixel of the image (Sutherland and Hodgman, 1974)."""
    points = list(zip(ring[0::2], ring[1::2], strict=True))
    for axis, bound, sign in ((0, -1.0, 1), (0, width + 1.0, -1), (1, -1.0, 1), (1, height + 1.0, -1)):
        clipped: list[tuple[float, float]] = []
        for here, there in zip(points, points[1:] + points[:1], strict=True):
            is_in, will_be = (here[axis] - bound) * sign >= 0, (there[axis] - bound) * sign >= 0
            if is_in:
                clipped.append(here)
            if is_in != will_be:
                share = (bound - here[axis]) / (there[axis] - here[axis])
                other = here[1 - axis] + share * (there[1 - axis] - here[1 - axis])
                clipped.append((bound, other) if axis == 0 else (other, bound))
        points = clipped
    return [value for point in points for value in point] if len(points) >= 3 else []


def chain(leaving: dict[tuple[int, int], list[tuple[int, int]]]) -> list[list[tuple[int, int]]]:
    """Chain directed unit edges into closed rings; at a corner where two meet, keep to the same pixel."""
    rings = []
    while leaving:
        first = min(leaving)
        ring = [first]
        at = first
        came: tuple[int, int] | None = None
        while True:
            choices = leaving[at]
            nth = 0
            if came is not None and len(choices) == 2:
                # The right turn (y down) stays with the pixel whose border is being followed.
                turned = (at[0] - came[1], at[1] + came[0])
                nth = choices.index(turned)
            to = choices.pop(nth)
            if not choices:
                del leaving[at]
            came = (to[0] - at[0], to[1] - at[1])
            at = to
            if at == first:
                break
            ring.append(at)
        rings.append(ring)
    return rings


def corners(ring: list[tuple[int, int]], x: int, y: int) -> npt.NDArray[np.int32]:
    """(P, 2) int32 corners of a ring of unit steps, moved by (x, y)."""
    points = np.array(ring, np.int32)
    before = points - np.roll(points, 1, axis=0)
    after = np.roll(points, -1, axis=0) - points
    corners: npt.NDArray[np.int32] = points[np.any(before != after, axis=1)] + np.array([x, y], np.int32)
    return corners
