"""Rasterise polygons into masks, pixel for pixel as pycocotools does (`rleFrPoly` in cocoapi's maskApi.c).

`rleFrPoly` rounds vertices to fifths of a pixel and samples each edge in steps of a fifth along its longer axis. Where
an edge crosses the centre of a pixel column, inside and outside change for all pixels of that column from there on
downwards. Only these crossings matter, so they are computed directly, for all edges of all polygons at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import IntArray
from segdata.core.polygons import Polygons
from segdata.core.rle import Spans, pointer_of, ranges, unite

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
