"""Polygons → the pixels they cover, exactly as pycocotools draws them (`rleFrPoly` in cocoapi's maskApi.c).

Its rule: corners are rounded to fifths of a pixel; each edge is walked in steps of a fifth along its longer axis; where a
walk passes the middle of a column of pixels, the mask turns over from there on downwards. Only those passes matter, so
they are computed without the walk, for all edges of all polygons at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segdata.core.polygons import Polygons
from segdata.core.rle import IntArray, Spans, pointer_of, ranges, unite

_SCALE = 5
_MIDDLE = 2
"""The middle of a pixel lies between its fifths 2 and 3."""

_AT_ONCE = 1 << 20
"""Passes that are computed at once: about 100 MB."""


def rasterize(polygons: Polygons, height: int | IntArray, width: int | IntArray) -> Spans:
    """Spans of the full frame of every polygon, its rings united (one inside another cuts no hole).

    Args:
        height, width: of the image, or of the image of each polygon.
    """
    instance = np.arange(len(polygons)).repeat(np.diff(polygons.pointer))
    first = polygons.rings // 2
    edges = _Edges.of(polygons.values, first, width if isinstance(width, int) else width[instance])
    tall = np.full(len(instance), height) if isinstance(height, int) else height[instance]
    reach = int(np.max(np.multiply(height, width), initial=0)) + 1
    passes = pointer_of(edges.passes)[first]  # before each ring
    spans: Spans = (passes[:0], passes[:0], passes[:0])
    begin = 0
    while begin < len(instance):
        end = max(int(passes.searchsorted(passes[begin] + _AT_ONCE, "right")) - 1, begin + 1)
        turns = edges.turns(int(first[begin]), int(first[end]), tall, reach)
        turns.sort()
        # Every two of a ring bound a span.
        ring = turns[0::2] // reach
        more = turns[0::2] - ring * reach, turns[1::2] - turns[0::2], instance[ring]
        start, length, owner = (np.concatenate(pair) for pair in zip(spans, more, strict=True))
        spans = unite((start, length, owner), reach)
        begin = end
    return spans


@dataclass(frozen=True)
class _Edges:
    """The edges of all rings, in fifths of a pixel; walked to the right where they are flat, and down where steep.

    Attributes:
        ring: (E,) the ring of each.
        x, y: where the walk begins.
        slope: how much the other coordinate changes with a step.
        begin, passes: the first column whose middle is passed, and how many are.
    """

    ring: IntArray
    x: IntArray
    y: IntArray
    slope: npt.NDArray[np.float64]
    is_flat: npt.NDArray[np.bool_]
    begin: IntArray
    passes: IntArray

    @classmethod
    def of(cls, values: npt.NDArray[np.float64], first: IntArray, width: int | IntArray) -> _Edges:
        corners = (_SCALE * values + 0.5).astype(np.int64)
        x, y = corners[0::2], corners[1::2]
        ring = np.arange(len(first) - 1).repeat(np.diff(first))
        following = np.arange(1, len(x) + 1)
        following[first[1:] - 1] = first[:-1]
        across, down = x[following] - x, y[following] - y
        is_flat = np.abs(across) >= np.abs(down)
        start = np.where(np.where(is_flat, across, down) < 0, following, np.arange(len(x)))
        with np.errstate(divide="ignore", invalid="ignore"):  # where nothing is passed
            slope = np.where(is_flat, down / across, across / down)
        column = _next_middle(x)
        begin = np.maximum(np.minimum(column, column[following]), 0)
        end = np.minimum(np.maximum(column, column[following]), width if isinstance(width, int) else width[ring])
        return cls(ring, x[start], y[start], slope, is_flat, begin, np.maximum(end - begin, 0))

    def turns(self, first: int, last: int, tall: IntArray, reach: int) -> IntArray:
        """Where the masks of some edges' rings turn over, column by column: ring · reach + place in the image."""
        turns = []
        for walk, is_own in ((_y_of_flat, self.is_flat), (_y_of_steep, ~self.is_flat)):
            own = (is_own[first:last] & (self.passes[first:last] > 0)).nonzero()[0] + first
            number = self.passes[own]
            column = ranges(self.begin[own], number)
            ring, x, y = (values[own].repeat(number) for values in (self.ring, self.x, self.y))
            height = tall[ring]
            y = walk(x, y, self.slope[own].repeat(number), _SCALE * column + _MIDDLE)
            row = np.clip(_next_middle(y), 0, height)
            turns.append(ring * reach + column * height + row)
        return np.concatenate(turns)


def _next_middle(fifths: IntArray) -> IntArray:
    """The first pixel whose middle is not before a place."""
    return (fifths + _SCALE - 1 - _MIDDLE) // _SCALE


def _y_of_flat(x: IntArray, y: IntArray, slope: npt.NDArray[np.float64], middle: IntArray) -> IntArray:
    """Of the steps before and behind a middle, both at a y rounded to fifths, the higher one's."""
    step = middle - x + (slope < 0)
    return (y + slope * step + 0.5).astype(np.int64)


def _y_of_steep(x: IntArray, y: IntArray, slope: npt.NDArray[np.float64], middle: IntArray) -> IntArray:
    """The y of the last step before the x, rounded to fifths, is on the other side of a middle."""
    is_rising = slope > 0

    def is_over(step: IntArray) -> npt.NDArray[np.bool_]:
        over: npt.NDArray[np.bool_] = ((x + slope * step + 0.5).astype(np.int64) > middle) == is_rising
        return over

    step = np.ceil((middle + 0.5 - x) / slope).astype(np.int64)
    step -= is_over(step - 1)  # where the division's rounding was one off
    step += ~is_over(step)
    return y + step - 1
