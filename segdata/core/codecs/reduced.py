"""Decode JPEGs to smaller sizes than their own, by the low frequencies of their blocks: less work than decoding them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import simplejpeg

TIMES = (8, 4, 2)
"""By how much a JPEG is reduced; sizes between are not faster than the whole image."""


def decode_reduced(data: bytes | memoryview, times: int, *, max_pixels: int) -> npt.NDArray[np.uint8] | None:
    """Decode a JPEG to a half, a quarter or an eighth of its size, (⌈H / times⌉, ⌈W / times⌉, 3) uint8 RGB.

    Each pixel stands for a square of `times` × `times` pixels.

    Args:
        times: 2, 4 or 8.
        max_pixels: of the whole image; `images.decode` refuses larger ones.

    Returns:
        None where the image is no complete JPEG of YCbCr or grey; `images.decode` says what it is.
    """
    if data[:3] != b"\xff\xd8\xff" or data[-2:] != b"\xff\xd9":
        return None
    try:
        height, width, color, _ = simplejpeg.decode_jpeg_header(data)
        if color not in ("YCbCr", "Gray") or height * width > max_pixels:
            return None
        size = -(-height // times), -(-width // times)
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, colorspace="RGB", fastdct=False, min_height=size[0], min_width=size[1], min_factor=1
        )
    except (ValueError, RuntimeError):
        return None
    return pixels if pixels.shape[:2] == size else None
