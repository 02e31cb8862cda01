"""Outlines of masks, and the area of a ring."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from segdata.demo.synthetic.scene import Ring


def trace(mask: npt.NDArray[np.bool_], tolerance: float = 0.7) -> tuple[list[Ring], list[Ring]]:
    """Outer rings and holes of a mask (H, W) bool: rings (N, 2) float64 through the middles of the pixel edges."""
    padded = np.pad(mask, 1).astype(np.int8)
    down, right = np.diff(padded, axis=0)[:, 1:-1], np.diff(padded, axis=1)[1:-1]
    follow: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for steps, (dy, dx), (sy, sx) in (
        (down == 1, (0, 1), (0, 0)),
        (down == -1, (0, -1), (0, 1)),
        (right == 1, (-1, 0), (1, 0)),
        (right == -1, (1, 0), (0, 0)),
    ):
        for y, x in np.argwhere(steps).tolist():
            follow.setdefault((y + sy, x + sx), []).append((dy, dx))
    outer: list[Ring] = []
    holes: list[Ring] = []
    while follow:
        start = next(iter(follow))
        corner, turn, middles = start, (0, 0), []
        while corner in follow:
            ways = follow[corner]
            # where two pixels meet at a corner, turn inwards: they stay apart
            way = (turn[1], -turn[0]) if len(ways) > 1 and (turn[1], -turn[0]) in ways else ways[0]
            ways.remove(way)
            if not ways:
                del follow[corner]
            middles.append((corner[1] + way[1] / 2, corner[0] + way[0] / 2))
            corner, turn = (corner[0] + way[0], corner[1] + way[1]), way
            if corner == start:
                break
        ring = _simple(np.array(middles), tolerance)
        if len(ring) >= 3:
            (outer if shoelace(ring) > 0 else holes).append(ring)
    return outer, holes


def shoelace(ring: Ring) -> float:
    """Signed area of a ring (N, 2), positive where it runs clockwise on the screen."""
    x, y = ring[:, 0], ring[:, 1]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _simple(ring: Ring, tolerance: float) -> Ring:
    """Douglas–Peucker on a closed ring."""
    keep = np.zeros(len(ring) + 1, bool)
    closed = np.vstack([ring, ring[:1]])
    far = int(np.argmax(((ring - ring[0]) ** 2).sum(1)))
    keep[[0, far]] = True
    stack = [(0, far), (far, len(ring))]
    while stack:
        first, last = stack.pop()
        if last - first < 2:
            continue
        a, b = closed[first], closed[last]
        inner = closed[first + 1 : last] - a
        length = math.hypot(*(b - a).tolist()) or 1e-9
        away = np.abs(inner[:, 0] * (b - a)[1] - inner[:, 1] * (b - a)[0]) / length
        worst = int(np.argmax(away))
        if away[worst] > tolerance:
            keep[first + 1 + worst] = True
            stack += [(first, first + 1 + worst), (first + 1 + worst, last)]
    return closed[keep & (np.arange(len(keep)) < len(ring))]
