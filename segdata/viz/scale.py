"""How large things are drawn: images, crops and boxes in bounded time and memory, whatever their numbers."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import FloatArray
from segdata.core.masks import Masks

_MOST_PIXELS, _LONGEST = 1 << 24, 1 << 14
"""Of a picture without legend and title, and of its longer side."""
_MOST_PAINTED, MOST_READ = 1 << 27, 1 << 32
"""Pixels of all masks within their boxes: of the picture, and of the image."""


class Scale(NamedTuple):
    """How an image is resized to be drawn: each pixel is repeated `times` times, of `step` pixels in a row one is drawn."""

    times: int
    step: int

    @classmethod
    def of(cls, height: int, width: int, masks: Masks | None = None) -> Scale:
        """Of an image of this size in pixels, on which these masks are painted."""
        longest = max(height, width)
        painted = 0.0 if masks is None else float(read_with_smaller_ones(masks).max(initial=0))
        room = math.sqrt(_MOST_PAINTED / max(min(painted, MOST_READ), 1))
        step = max(1, math.ceil(math.sqrt(height * width / _MOST_PIXELS)), math.ceil(longest / _LONGEST))
        times = max(1, min(16, round(480 / longest), int(room)))
        return cls(times, max(step, math.ceil(1 / room)))

    @property
    def factor(self) -> float:
        """Pixels of the picture for a pixel of the image."""
        return self.times / self.step

    def resized(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(H, W, …) as it is drawn."""
        array = array[:: self.step, :: self.step]
        return array if self.times == 1 else array.repeat(self.times, axis=0).repeat(self.times, axis=1)

    def cropped(self, crop: npt.NDArray[np.bool_], x: int, y: int) -> tuple[npt.NDArray[np.bool_], tuple[int, int]]:
        """A crop whose top left pixel is x, y of the image, as it is drawn, and its corner in the picture."""
        left, top = -x % self.step, -y % self.step
        corner = (self.times * (x + left) // self.step, self.times * (y + top) // self.step)
        return self.resized(crop[top:, left:]), corner


def read_with_smaller_ones(masks: Masks) -> FloatArray:
    """(N,) pixels in the box of each mask, and in those of all that are smaller."""
    pixels = masks.boxes_xywh[:, 2:].astype(np.float64).prod(axis=1)
    order = pixels.argsort(kind="stable")
    together = np.empty(len(pixels))
    together[order] = pixels[order].cumsum()
    return together


def in_reach(boxes: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """(N, 4) x0 y0 x1 y1 with x0 ≤ x1 and y0 ≤ y1, none farther outside of a picture than its longer side.

    What predictions say may be any number, and drawing takes time and memory with its size.
    """
    first, second = boxes[:, :2], boxes[:, 2:]
    longer = max(shape[:2])
    limits = np.array((shape[1], shape[0])) + longer
    ordered = np.concatenate((np.minimum(first, second), np.maximum(first, second)), axis=1)
    return ordered.clip(-longer, np.tile(limits, 2))


def fitting(height: int, width: int, widest: int, *, enlarge: bool = False) -> tuple[int, int]:
    """Width and height in pixels of a picture scaled to be `widest` wide, and at most four times as high.

    Args:
        enlarge: whether smaller pictures are scaled, too.
    """
    factor = min(widest / width, 4 * widest / height)
    factor = factor if enlarge else min(factor, 1.0)
    return max(1, round(width * factor)), max(1, round(height * factor))
