"""Polygons of instances as columns, clipping them to an image, and tracing mask contours."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from segdata.core.rle import pointer_of


@dataclass(frozen=True, eq=False)
class Polygons(Sequence[tuple[npt.NDArray[np.float64], ...]]):
    """The polygons of N instances as columns; `[i]` gives the rings of instance i, each (K, 2) float64 x y in pixels.

    Attributes:
        values: (V,) float64, x0 y0 x1 y1 … of all rings.
        rings: (R + 1,) int64; ring r is `values[rings[r]:rings[r + 1]]`.
        pointer: (N + 1,) int64; instance i owns the rings `pointer[i] … pointer[i + 1] − 1`, possibly none.
    """

    values: npt.NDArray[np.float64]
    rings: npt.NDArray[np.int64]
    pointer: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pointer) - 1

    @overload
    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float64], ...]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[npt.NDArray[np.float64], ...]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        begin, end = int(self.pointer[index]), int(self.pointer[index + 1])
        return tuple(self.values[self.rings[r] : self.rings[r + 1]].reshape(-1, 2) for r in range(begin, end))

    @classmethod
    def of(cls, polygons: Sequence[Sequence[Sequence[float] | npt.NDArray[np.float64]]]) -> Polygons:
        """From each instance's list of rings, each x0 y0 x1 y1 …, as COCO's `segmentation`."""
        rings = list(itertools.chain.from_iterable(polygons))
        return cls(
            np.array(list(itertools.chain.from_iterable(rings)), np.float64),
            pointer_of(np.array([len(ring) for ring in rings], np.int64)),
            pointer_of(np.array([len(item) for item in polygons], np.int64)),
        )

    @cached_property
    def areas(self) -> npt.NDArray[np.float64]:
        """(N,) float64, sum of the areas of each instance's rings in pixels (shoelace formula)."""
        x, y = self.values[0::2], self.values[1::2]
        first, end = self.rings[:-1] // 2, self.rings[1:] // 2
        following = np.arange(1, len(x) + 1)
        following[end - 1] = first
        cross = x * y[following] - x[following] * y
        rings = np.abs(np.add.reduceat(cross, first)) / 2 if len(first) else np.zeros(0)
        areas: npt.NDArray[np.float64] = np.bincount(
            np.arange(len(self)).repeat(np.diff(self.pointer)), rings, len(self)
        ).astype(np.float64, copy=False)
        return areas

    def flat(self) -> list[npt.NDArray[np.float64]]:
        """Every ring of all instances, each (2 K,) float64 x0 y0 x1 y1 …."""
        bounds = self.rings.tolist()
        return [self.values[begin:end] for begin, end in itertools.pairwise(bounds)]

    def cut(self, bounds: npt.NDArray[np.int64]) -> list[Polygons]:
        """Split after the instances `bounds`: part i has the instances `bounds[i] … bounds[i + 1] − 1`."""
        first = self.pointer[bounds]
        begins = zip(bounds.tolist(), first.tolist(), self.rings[first].tolist(), strict=True)
        return [
            Polygons(
                self.values[value:next_value],
                self.rings[ring : next_ring + 1] - value,
                self.pointer[instance : next_instance + 1] - ring,
            )
            for (instance, ring, value), (next_instance, next_ring, next_value) in itertools.pairwise(begins)
        ]

    def take(self, indices: npt.NDArray[Any]) -> Polygons:
        """The polygons of the instances `indices`, (K,) integers, in this order."""
        return Polygons.of([[ring.reshape(-1) for ring in self[int(i)]] for i in indices])


MAX_BOUNDARY = 1 << 21
"""Longest outline of one ring that is rasterised, in pixels: pycocotools needs about 100 bytes for each."""


def boundary_length(ring: Sequence[float], height: int, width: int) -> float:
    """Samples that rasterising a ring x0 y0 x1 y1 … takes, in pixels: the longer side of each edge, near the image."""
    limit = _limit(height, width)
    points = np.clip(np.asarray(ring, np.float64).reshape(-1, 2), -limit, limit)
    return float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum())


def _limit(height: int, width: int) -> int:
    return 16 * max(height, width, 64)


def is_near(values: npt.NDArray[np.float64], height: int, width: int) -> bool:
    """Whether pycocotools can rasterise rings of these coordinates as they are (its buffers grow with every edge)."""
    limit = _limit(height, width)
    return not values.size or bool(-limit <= values.min() and values.max() <= limit)


def clip(ring: npt.NDArray[np.float64], height: int, width: int) -> list[float]:
    """Clip a ring x0 y0 x1 y1 … to the image and one pixel around it (Sutherland and Hodgman, 1974).

    Returns:
        x0 y0 x1 y1 …; empty where fewer than three points are left.
    """
    points = [(x, y) for x, y in ring.reshape(-1, 2).tolist()]
    for axis, bound, sign in ((0, -1.0, 1), (0, width + 1.0, -1), (1, -1.0, 1), (1, height + 1.0, -1)):
        clipped: list[tuple[float, float]] = []
        for one, other in zip(points, points[1:] + points[:1], strict=True):
            starts_inside, ends_inside = (one[axis] - bound) * sign >= 0, (other[axis] - bound) * sign >= 0
            if starts_inside:
                clipped.append(one)
            if starts_inside != ends_inside:
                share = (bound - one[axis]) / (other[axis] - one[axis])
                crossing = one[1 - axis] + share * (other[1 - axis] - one[1 - axis])
                clipped.append((bound, crossing) if axis == 0 else (crossing, bound))
        points = clipped
    return [value for point in points for value in point] if len(points) >= 3 else []


def chain(edges: dict[tuple[int, int], list[tuple[int, int]]]) -> list[list[tuple[int, int]]]:
    """Chain directed unit edges into closed rings; where two rings share a corner, each keeps to its own pixels.

    Args:
        edges: corner → the one or two corners that edges lead to from there; emptied.
    """
    rings = []
    while edges:
        first = min(edges)
        ring = [first]
        corner = first
        direction: tuple[int, int] | None = None
        while True:
            following = edges[corner]
            nth = 0
            if direction is not None and len(following) == 2:
                # The right turn (y down) stays with the pixel whose border is being followed.
                nth = following.index((corner[0] - direction[1], corner[1] + direction[0]))
            end = following.pop(nth)
            if not following:
                del edges[corner]
            direction = (end[0] - corner[0], end[1] - corner[1])
            corner = end
            if corner == first:
                break
            ring.append(corner)
        rings.append(ring)
    return rings


def corners(ring: list[tuple[int, int]], x: int, y: int) -> npt.NDArray[np.int32]:
    """(P, 2) int32, the points of a ring of unit edges at which its direction changes, moved by (x, y)."""
    points = np.array(ring, np.int32)
    before = points - np.roll(points, 1, axis=0)
    after = np.roll(points, -1, axis=0) - points
    corners: npt.NDArray[np.int32] = points[np.any(before != after, axis=1)] + np.array([x, y], np.int32)
    return corners
