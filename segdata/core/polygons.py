"""Polygons of instances as columns: clipped to an image, rasterized as pycocotools does, and traced from masks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import IntArray
from segdata.core.reprs import counted, line
from segdata.core.rle import Spans, pointer_of, ranges, unite


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

    def __repr__(self) -> str:
        return line(self, counted(len(self), "object"), counted(len(self.rings) - 1, "polygon"))

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

    @classmethod
    def of_rings(cls, rings: Sequence[npt.NDArray[np.float64]], has_ring: npt.NDArray[np.bool_]) -> Polygons:
        """One ring, (K, 2), for each instance that `has_ring`, (N,), in their order."""
        values = np.concatenate([np.zeros((0, 2)), *rings]).reshape(-1)
        return cls(values, pointer_of(np.array([2 * len(ring) for ring in rings], np.int64)), pointer_of(has_ring))

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

    @property
    def boxes_xywh(self) -> npt.NDArray[np.float64]:
        """(N, 4) float64 x, y, width and height around each instance's rings in pixels, NaN where it has none."""
        boxes = np.full((len(self), 4), np.nan)
        has_rings = np.diff(self.pointer) > 0
        if has_rings.any():
            first = self.pointer[:-1][has_rings]
            for axis in (0, 1):
                values = self.values[axis::2]
                low = np.minimum.reduceat(np.minimum.reduceat(values, self.rings[:-1] // 2), first)
                high = np.maximum.reduceat(np.maximum.reduceat(values, self.rings[:-1] // 2), first)
                boxes[has_rings, axis], boxes[has_rings, axis + 2] = low, high - low
        return boxes

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
        count, length = np.diff(self.pointer)[indices], np.diff(self.rings)
        rings = ranges(self.pointer[:-1][indices], count)
        length = length[rings]
        values = self.values[ranges(self.rings[:-1][rings], length)]
        return Polygons(values, pointer_of(length), pointer_of(count))

    @classmethod
    def concatenate(cls, parts: Sequence[Polygons]) -> Polygons:
        """The polygons of all parts, one part after another."""
        return cls(
            np.concatenate([np.zeros(0), *(part.values for part in parts)]),
            pointer_of(np.concatenate([np.zeros(0, np.int64), *(np.diff(part.rings) for part in parts)])),
            pointer_of(np.concatenate([np.zeros(0, np.int64), *(np.diff(part.pointer) for part in parts)])),
        )


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


def clip(ring: npt.NDArray[np.float64], height: int, width: int, *, margin: float = 1.0) -> list[float]:
    """Clip a ring x0 y0 x1 y1 … to the image and `margin` pixels around it (Sutherland and Hodgman, 1974).

    Returns:
        x0 y0 x1 y1 …; empty where fewer than three points are left.
    """
    points = [(x, y) for x, y in ring.reshape(-1, 2).tolist()]
    for axis, bound, sign in ((0, -margin, 1), (0, width + margin, -1), (1, -margin, 1), (1, height + margin, -1)):
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


_SCALE = 5
_CENTRE = 2
"""The centre of a pixel lies between its fifths 2 and 3."""

_BATCH = 1 << 20
"""Crossings that are computed at once: about 100 MB."""


def rasterize(polygons: Polygons, height: int | IntArray, width: int | IntArray) -> Spans:
    """Spans (start, length, owner) of the pixels of every polygon, in column-major order of the full image.

    The rings of one polygon are united (a ring inside another cuts no hole). `owner` is the index of the polygon.

    Args:
        height, width: in pixels, of the one image, or (N,) of the image of each polygon.
    """
    instance = np.arange(len(polygons)).repeat(np.diff(polygons.pointer))
    first = polygons.rings // 2
    edges = _Edges.of(polygons.values, first, width if isinstance(width, int) else width[instance])
    heights = np.full(len(instance), height) if isinstance(height, int) else height[instance]
    stride = int(np.max(np.multiply(height, width), initial=0)) + 1  # more than any position in an image
    crossings = pointer_of(edges.crossings)[first]  # before each ring
    spans: Spans = (crossings[:0], crossings[:0], crossings[:0])
    begin = 0
    while begin < len(instance):
        end = max(int(crossings.searchsorted(crossings[begin] + _BATCH, "right")) - 1, begin + 1)
        positions = edges.cross(int(first[begin]), int(first[end]), heights, stride)
        positions.sort()
        # Two successive crossings of a ring bound a span.
        ring = positions[0::2] // stride
        more = positions[0::2] - ring * stride, positions[1::2] - positions[0::2], instance[ring]
        start, length, owner = (np.concatenate(pair) for pair in zip(spans, more, strict=True))
        spans = unite((start, length, owner), stride)
        begin = end
    return spans


@dataclass(frozen=True)
class _Edges:
    """The E edges of all rings, in fifths of a pixel; sampled along x where |dx| ≥ |dy| (flat), else along y (steep).

    Attributes:
        ring: (E,) int64, index of each edge's ring.
        x, y: (E,) int64, the end with the smaller x (flat) or y (steep).
        slope: (E,) float64, dy/dx of a flat edge, dx/dy of a steep one.
        is_flat: (E,) bool.
        begin, crossings: (E,) int64, the first pixel column whose centre is crossed, and how many are.
    """

    ring: IntArray
    x: IntArray
    y: IntArray
    slope: npt.NDArray[np.float64]
    is_flat: npt.NDArray[np.bool_]
    begin: IntArray
    crossings: IntArray

    @classmethod
    def of(cls, values: npt.NDArray[np.float64], first: IntArray, width: int | IntArray) -> _Edges:
        """From x0 y0 x1 y1 … of all rings; ring r has the vertices `first[r] … first[r + 1] − 1`."""
        vertices = (_SCALE * values + 0.5).astype(np.int64)
        x, y = vertices[0::2], vertices[1::2]
        ring = np.arange(len(first) - 1).repeat(np.diff(first))
        following = np.arange(1, len(x) + 1)
        following[first[1:] - 1] = first[:-1]
        dx, dy = x[following] - x, y[following] - y
        is_flat = np.abs(dx) >= np.abs(dy)
        start = np.where(np.where(is_flat, dx, dy) < 0, following, np.arange(len(x)))
        with np.errstate(divide="ignore", invalid="ignore"):  # where no centre is crossed
            slope = np.where(is_flat, dy / dx, dx / dy)
        column = _next_centre(x)
        begin = np.maximum(np.minimum(column, column[following]), 0)
        end = np.minimum(np.maximum(column, column[following]), width if isinstance(width, int) else width[ring])
        return cls(
            ring=ring,
            x=x[start],
            y=y[start],
            slope=slope,
            is_flat=is_flat,
            begin=begin,
            crossings=np.maximum(end - begin, 0),
        )

    def cross(self, first: int, last: int, heights: IntArray, stride: int) -> IntArray:
        """Crossings of the edges `first … last − 1` with column centres: ring · stride + column-major position."""
        positions = []
        for y_at_centre, is_kind in ((_y_of_flat, self.is_flat), (_y_of_steep, ~self.is_flat)):
            edges = (is_kind[first:last] & (self.crossings[first:last] > 0)).nonzero()[0] + first
            number = self.crossings[edges]
            column = ranges(self.begin[edges], number)
            ring, x, y = (values[edges].repeat(number) for values in (self.ring, self.x, self.y))
            height = heights[ring]
            y = y_at_centre(x, y, self.slope[edges].repeat(number), _SCALE * column + _CENTRE)
            row = np.clip(_next_centre(y), 0, height)
            positions.append(ring * stride + column * height + row)
        return np.concatenate(positions)


def _next_centre(fifths: IntArray) -> IntArray:
    """The first pixel whose centre does not lie before a coordinate in fifths."""
    return (fifths + _SCALE - 1 - _CENTRE) // _SCALE


def _y_of_flat(x: IntArray, y: IntArray, slope: npt.NDArray[np.float64], centre: IntArray) -> IntArray:
    """For an edge with |dx| ≥ |dy|: y at the column centre, in fifths of a pixel, rounded as `rleFrPoly` does.

    Of the two samples next to the centre the upper one counts.
    """
    step = centre - x + (slope < 0)
    return (y + slope * step + 0.5).astype(np.int64)


def _y_of_steep(x: IntArray, y: IntArray, slope: npt.NDArray[np.float64], centre: IntArray) -> IntArray:
    """For an edge with |dy| > |dx|: y, in fifths, of the last sample before the rounded x crosses the column centre."""
    is_rising = slope > 0

    def is_over(step: IntArray) -> npt.NDArray[np.bool_]:
        over: npt.NDArray[np.bool_] = ((x + slope * step + 0.5).astype(np.int64) > centre) == is_rising
        return over

    step = np.ceil((centre + 0.5 - x) / slope).astype(np.int64)
    step -= is_over(step - 1)  # where the division's rounding was one off
    step += ~is_over(step)
    return y + step - 1
