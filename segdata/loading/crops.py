"""A crop of an image, resized and perhaps flipped: what was chosen for one training sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class CropTransform:
    """A crop of an image, resized and perhaps flipped.

    Attributes:
        window: x0 y0 x1 y1 of the crop in source pixels, whole numbers.
        height, width: size after resizing, in pixels.
        is_flipped: horizontally.
    """

    window: tuple[int, int, int, int]
    height: int
    width: int
    is_flipped: bool = False

    @property
    def scale(self) -> tuple[float, float]:
        """Resize factors (x, y)."""
        x0, y0, x1, y1 = self.window
        return self.width / (x1 - x0), self.height / (y1 - y0)

    def boxes(self, boxes: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """(N, 4) boxes x0 y0 x1 y1 in source pixels → after the transform, clipped to it."""
        x0, y0, x1, y1 = self.window
        seen = np.asarray(boxes, np.float64).clip((x0, y0, x0, y0), (x1, y1, x1, y1)) - (x0, y0, x0, y0)
        if self.is_flipped:
            seen[:, [0, 2]] = (x1 - x0) - seen[:, [2, 0]]
        return seen.astype(np.float32) * np.array(self.scale * 2, np.float32)


def cropped(
    height: int, width: int, scale: float, most: tuple[int, int], flipped: bool, rng: np.random.Generator
) -> CropTransform:
    """Resize by `scale` and crop at random to at most `most` (height, width) pixels."""
    window_height = min(height, max(1, round(most[0] / scale)))
    window_width = min(width, max(1, round(most[1] / scale)))
    y0 = int(rng.integers(height - window_height + 1))
    x0 = int(rng.integers(width - window_width + 1))
    return CropTransform(
        (x0, y0, x0 + window_width, y0 + window_height),
        max(1, min(most[0], round(window_height * scale))),
        max(1, min(most[1], round(window_width * scale))),
        flipped,
    )
