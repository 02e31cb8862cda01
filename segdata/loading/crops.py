"""A crop of an image, resized and perhaps flipped: what was chosen for one training sample."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.codecs.reduced import TIMES, decode_reduced
from segdata.core.sample import Sample


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

    def reduced(self, height: int, width: int) -> tuple[CropTransform, int]:
        """The transform of an image that is decoded in a half, a quarter or an eighth of its size, and 2, 4 or 8.

        It is the smallest size that has no fewer pixels than the result; (self, 1) where none has. The window begins and
        ends where pixels of the small image do, so that it is up to seven source pixels wider, or ends so far before the
        border of the image.

        Args:
            height, width: of the image, in pixels.
        """
        x0, y0, x1, y1 = self.window
        for times in TIMES:
            if (y1 - y0) // times >= self.height and (x1 - x0) // times >= self.width:
                right, bottom = (min(-(-end // times), size // times) for end, size in ((x1, width), (y1, height)))
                begin_x, begin_y = x0 // times * times, y0 // times * times
                return replace(self, window=(begin_x, begin_y, right * times, bottom * times)), times
        return self, 1

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


def window_of(sample: Sample, transform: CropTransform, times: int = 1) -> npt.NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB, a sample's image in the window of a transform.

    Args:
        times: by how much a JPEG is reduced; see `CropTransform.reduced`, which moves the window for it.
    """
    pixels = None
    if times > 1 and (encoded := sample.encoded) is not None:
        pixels, sample = decode_reduced(encoded, times, max_pixels=sample.max_pixels), sample.with_encoded(encoded)
    if pixels is None or pixels.shape[:2] != (-(-sample.height // times), -(-sample.width // times)):
        pixels, times = sample.image, 1
    x0, y0, x1, y1 = (side // times for side in transform.window)
    return np.ascontiguousarray(pixels[y0:y1, x0:x1])
