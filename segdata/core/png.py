"""Read and write label PNGs: palette indices, grey values and RGB exactly as stored."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.images import MAX_PIXELS, open_with_pillow, probe, require_room, require_size
from segdata.errors import InvalidImage

try:  # label maps in a sixth of zlib's time
    from isal.isal_zlib import compress as compress
except ImportError:  # no wheel for this machine
    from zlib import compress as compress

_COLOR_TYPES = {(): 0, (3,): 2, (4,): 6}
"""The colour type of a PNG by the trailing shape of its pixels: grey, RGB, RGB with alpha."""


_NAMES = {"jpeg": "JPEG", "webp": "WebP", "tiff": "TIFF with JPEG inside"}
"""Codecs that change label values, in words."""


@dataclass(frozen=True, eq=False)
class LabelImage:
    """A label file's values as stored.

    Attributes:
        values: (H, W) uint8 or uint16, or (H, W, 3 or 4) uint8 for colour files.
        mode: Pillow's mode: "P", "L", "I;16", "RGB", "RGBA", "1".
        palette: the palette of mode "P" as bytes R G B R G B …, else None.
        alpha: opacity of the palette's entries as bytes (entries after the last are opaque), or None.
        codec: "png", or "bmp", "tiff" or "gif".
    """

    values: npt.NDArray[Any]
    mode: str
    palette: bytes | None
    alpha: bytes | None = None
    codec: str = "png"


def read_labels(data: bytes | memoryview, *, max_pixels: int = MAX_PIXELS) -> LabelImage:
    """Read a label PNG, or a BMP, TIFF or GIF that keeps every value, without interpreting its values.

    Raises:
        InvalidImage: damaged, not a PNG, or of a kind that no label file has.
        Unsafe: more than `max_pixels` pixels.
    """
    header = probe(data, max_pixels=max_pixels)
    require_size(header.height, header.width, max_pixels)
    require_room(header.height, header.width)
    image = None if header.codec in ("jpeg", "webp") else open_with_pillow(data)
    if image is None or image.info.get("compression") in ("jpeg", "webp"):
        raise InvalidImage(
            "label file is not a PNG",
            why=f"it is a {_NAMES.get(header.codec, 'JPEG')}, which changes label values",
            fix="use the original PNG label file",
        )
    if header.frames > 1:
        raise InvalidImage(
            "label file has several frames", why=f"it has {header.frames}", fix="give one PNG label file for each image"
        )
    mode = "I;16" if image.mode in ("I", "I;16", "I;16B") else image.mode
    if mode not in ("P", "L", "I;16", "RGB", "RGBA", "1"):
        raise InvalidImage(
            "label file is of a kind that holds no labels",
            why=f"{image.format} mode {image.mode}",
            fix="save it as a grey or palette PNG, without opacity",
        )
    values = np.asarray(image)
    if mode == "I;16" and (values.min(initial=0) < 0 or values.max(initial=0) > 65535):
        raise InvalidImage(
            "label file holds values of more than 16 bits",
            why=f"values {int(values.min())} … {int(values.max())}",
            fix="give values up to 65,535",
        )
    if mode == "I;16":
        values = values.astype(np.uint16)
    elif mode == "1":
        values = values.astype(np.uint8)
    if mode != "P":
        return LabelImage(values, mode, None, codec=header.codec)
    alpha = image.info.get("transparency")
    if isinstance(alpha, int):  # Pillow's way to say that this entry alone is transparent
        alpha = b"\xff" * alpha + b"\0"
    return LabelImage(values, mode, bytes(image.getpalette("RGB")), alpha, header.codec)


def encode_png(
    values: npt.NDArray[Any],
    *,
    palette: bytes | None = None,
    alpha: bytes | None = None,
    mode: str | None = None,
) -> bytes:
    """Encode raw label values or RGB pixels as PNG; the inverse of `read_labels`.

    Args:
        values: (H, W) uint8 or uint16, or (H, W, 3 or 4) uint8.
        palette: bytes R G B R G B …; makes a palette PNG.
        alpha: opacity of the palette's entries.
        mode: "1" for a one-bit file; otherwise it follows from `values` and `palette`.
    """
    height, width = values.shape[:2]
    bits, color = 8 * values.itemsize, 3 if palette is not None else _COLOR_TYPES[values.shape[2:]]
    if mode == "1":
        bits, pixels = 1, np.packbits(values != 0, axis=1)
    else:
        pixels = values.astype(values.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    rows = np.zeros((height, 1 + pixels.shape[1]), np.uint8)  # each row begins with its filter type: 0, none
    rows[:, 1:] = pixels
    chunks = {
        b"IHDR": struct.pack(">II", width, height) + bytes((bits, color, 0, 0, 0)),
        b"PLTE": palette,
        b"tRNS": alpha,
        b"IDAT": compress(rows, 1),
        b"IEND": b"",
    }
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in chunks.items():
        if data is not None:
            parts += [struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))]
    return b"".join(parts)
