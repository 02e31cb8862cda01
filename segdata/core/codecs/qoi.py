"""QOI images: lossless RGB that decodes several times as fast as PNG (https://qoiformat.org)."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.errors import InvalidImage

try:
    import qoi as _library
except ImportError:  # no wheel for this machine: Pillow reads and writes it, slowly
    _library = None  # type: ignore[assignment]

MAGIC = b"qoif"
_END = b"\0\0\0\0\0\0\0\1"


def encode(pixels: npt.NDArray[np.uint8]) -> bytes:
    """The file of an image, (H, W, 3) uint8 RGB."""
    if _library is not None:
        return bytes(_library.encode(np.ascontiguousarray(pixels)))
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "QOI")
    return buffer.getvalue()


def size(data: bytes | memoryview) -> tuple[int, int]:
    """Height and width, from the header; the end of the file is checked, too.

    Raises:
        InvalidImage: cut short, or the header is not valid.
    """
    head = bytes(data[:14])
    if len(head) < 14 or bytes(data[-8:]) != _END:
        raise InvalidImage("QOI image is cut short", why=f"{len(data)} bytes without an end", fix="convert again")
    width, height, channels, space = struct.unpack(">IIBB", head[4:])
    if not width or not height or channels not in (3, 4) or space > 1:
        raise InvalidImage("QOI header is not valid", why=f"{width} × {height}, {channels} channels")
    return height, width


def decode(data: bytes | memoryview) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of a file whose size is known to be bearable.

    Raises:
        InvalidImage: damaged.
    """
    if _library is None:
        from PIL import Image

        try:
            return np.asarray(Image.open(io.BytesIO(data), formats=("QOI",)).convert("RGB"))
        except (OSError, ValueError, IndexError) as error:
            raise _undecodable(error) from error
    try:
        pixels: npt.NDArray[Any] = _library.decode(data)
    except (RuntimeError, ValueError, TypeError) as error:
        raise _undecodable(error) from error
    return pixels if pixels.shape[2] == 3 else np.ascontiguousarray(pixels[:, :, :3])


def _undecodable(error: Exception) -> InvalidImage:
    return InvalidImage("QOI image cannot be decoded", why=str(error), fix="convert again")
