"""Photos for the page: thumbnails and full pictures, always encoded anew, a few at a time, the last ones kept.

A browser would turn a photo by its EXIF orientation and apply its colour profile, and an image file may hold more than an
image. So what is sent is made of the pixels that segdata reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import simplejpeg

from segdata.core import images
from segdata.core.sample import Sample
from segdata.errors import InvalidImage
from segdata.viewer.guard import Refused

WAITING = 256
"""Most pictures that wait to be made."""

SIDES = range(16, 1025)
"""Pixels of a thumbnail's longer side."""

LONGEST, MOST = 32_767, 1 << 26
"""Pixels of a side, and of all, of a picture that browsers draw."""

_AT_ONCE = 2
_KEPT = 24 << 20
"""Bytes of finished pictures."""


class Pictures:
    """Makes pictures in two threads, in the order in which they are asked for; the last ones are kept."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_AT_ONCE, "pictures")
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._bytes = 0

    async def get(
        self, name: Hashable, make: Callable[[], bytes], is_gone: Callable[[], Awaitable[bool]]
    ) -> bytes | None:
        """A picture by a name, made where it is not kept; None where nobody waits for it any more.

        Raises:
            Refused: too many wait already.
        """
        if (kept := self._kept.get(name)) is not None:
            self._kept.move_to_end(name)
            return kept
        if self._waiting >= WAITING:
            raise Refused(429, f"{WAITING} pictures wait already", fix="ask again in a moment")
        self._waiting += 1
        try:
            async with self._slots:
                if await is_gone():
                    return None
                picture = await asyncio.get_running_loop().run_in_executor(self._threads, make)
        finally:
            self._waiting -= 1
        self._keep(name, picture)
        return picture

    def _keep(self, name: Hashable, picture: bytes) -> None:
        if name not in self._kept and len(picture) <= _KEPT // 4:
            self._kept[name] = picture
            self._bytes += len(picture)
        while self._bytes > _KEPT:
            self._bytes -= len(self._kept.popitem(last=False)[1])

    def close(self) -> None:
        """Make none any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def thumbnail(sample: Sample, side: int) -> bytes:
    """A JPEG whose longer side has at most `side` pixels; JPEGs are scaled while they are decoded.

    Raises:
        InvalidImage, Unsafe, DamagedData, NotThere: the image cannot be read.
    """
    from PIL import Image

    factor = min(side / max(sample.height, sample.width), 1.0)
    height, width = max(1, round(sample.height * factor)), max(1, round(sample.width * factor))
    pixels = _scaled(sample, height, width)
    if pixels.shape[:2] != (height, width):
        picture = Image.fromarray(pixels)
        resample = Image.Resampling.BILINEAR
        pixels = np.asarray(picture.resize((width, height), resample, reducing_gap=2.0))
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=80, colorsubsampling="420"))


def picture(sample: Sample) -> bytes:
    """The whole image as a JPEG of high quality; smaller where browsers draw no image so large."""
    pixels, step = sample.image, step_of(sample.height, sample.width)
    if step > 1:
        from PIL import Image

        pixels = np.asarray(Image.fromarray(pixels).reduce(step))
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=92, colorsubsampling="444"))


def step_of(height: int, width: int) -> int:
    """How many pixels of an image become one of what is shown, along each side; the page reckons the same."""
    step = max(1, math.ceil(max(height, width) / LONGEST))
    while math.ceil(height / step) * math.ceil(width / step) > MOST:
        step += 1
    return step


def exact_picture(sample: Sample) -> bytes:
    """The whole image as a PNG, equal in every pixel."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(sample.image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _scaled(sample: Sample, height: int, width: int) -> npt.NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB, of a JPEG the smallest size in eighths that is not below `height` and `width`."""
    encoded = sample.encoded
    if encoded is None:
        raise InvalidImage("this sample has no image", key=sample.key, why="the pack was made without images")
    with contextlib.suppress(ValueError, RuntimeError):  # `decode` says what is wrong
        rows, columns, color, _ = simplejpeg.decode_jpeg_header(encoded)
        if color in ("YCbCr", "Gray") and rows * columns <= min(sample.max_pixels, images.MAX_PIXELS):
            pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(
                encoded, colorspace="RGB", fastdct=True, min_height=height, min_width=width, min_factor=1
            )
            return pixels
    return images.decode(encoded, max_pixels=sample.max_pixels)
