"""Decode JPEG and PNG images to RGB; structure and size are checked before anything is decoded.

Images become (H, W, 3) uint8 RGB by these rules: grey is repeated, a palette is applied, alpha is removed (never
blended), 16-bit samples keep their high byte, CMYK goes through Pillow's conversion (Adobe's inverted values are
corrected first), colour profiles and EXIF orientation are never applied, because annotations are made on the pixels as
stored. Label files are read by `core.png`.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import simplejpeg

from segdata.errors import InvalidImage, Unsafe

MAX_PIXELS = 1 << 26
"""Pixels of the largest image that is decoded unless a caller says otherwise: 8192 × 8192."""

_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP archive"),
    (b"\x1f\x8b", "gzip archive"),
)


@dataclass(frozen=True)
class Header:
    """What an image file's header says.

    Attributes:
        codec: "jpeg" or "png".
        height, width: in pixels.
        color: "RGB", "grey", "palette", "grey with alpha", "RGB with alpha" or "CMYK".
        bits: of each sample.
    """

    codec: str
    height: int
    width: int
    color: str
    bits: int

    @property
    def kind(self) -> str:
        """Colour and bits in words; "RGB" for the ordinary case."""
        return self.color if self.bits == 8 or self.color == "palette" else f"{self.bits}-bit {self.color}"


def probe(data: bytes | memoryview) -> Header:
    """Read the header and check the structure (type, length, end marker) without decoding.

    Raises:
        InvalidImage: empty, of another type, or cut short.
    """
    head = bytes(data[:32])
    if not head:
        raise InvalidImage("image file is empty", why="it has 0 bytes", fix="fetch or copy the file again")
    if head.startswith(b"\xff\xd8\xff"):
        return _probe_jpeg(data)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return _probe_png(data)
    raise InvalidImage(
        "file is not a JPEG or PNG image",
        why=f"its content looks like {content_type(head)}",
        fix="convert it to PNG, or fetch the file again",
    )


def content_type(head: bytes) -> str:
    """The kind of file that the first bytes look like, in words for messages."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head.lstrip()[:1] == b"<":
        return "HTML or XML text"
    return f"no known image (first bytes {head[:8].hex(' ')})"


def _probe_jpeg(data: bytes | memoryview) -> Header:
    view = memoryview(data)
    position = 2
    header = None
    while position + 4 <= len(view):
        if view[position] != 0xFF:
            raise InvalidImage("JPEG structure is broken", place=f"byte {position}", why="expected a marker (0xFF)")
        marker = view[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker in (0x01, *range(0xD0, 0xD8)):
            position += 2
            continue
        (length,) = struct.unpack(">H", view[position + 2 : position + 4])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if position + 10 > len(view):
                break
            bits, height, width, channels = struct.unpack(">BHHB", view[position + 4 : position + 10])
            header = Header("jpeg", height, width, {1: "grey", 3: "RGB", 4: "CMYK"}.get(channels, "RGB"), bits)
            if marker not in _JPEG_PROCESSES:
                kind = "lossless" if marker & 3 == 3 else "hierarchical"
                raise InvalidImage(
                    f"JPEG is {kind}, which cannot be decoded", fix="convert it to an ordinary JPEG or PNG"
                )
        if marker == 0xDA:
            break
        position += 2 + length
    if header is None:
        raise InvalidImage("JPEG is cut short", why=f"{len(view)} bytes hold no frame header")
    if header.height == 0 or header.width == 0:
        raise InvalidImage("JPEG has no size", why=f"header says {header.width} × {header.height}")
    # Trailing bytes after the end marker are legal (cameras append data), so it is looked for from the end.
    if bytes(view[-2:]) != b"\xff\xd9" and bytes(view[position:]).rfind(b"\xff\xd9") < 0:
        raise InvalidImage(
            "JPEG is cut short",
            why=f"{len(view)} bytes without an end marker (FF D9)",
            fix="fetch or copy the file again",
        )
    return header


_JPEG_PROCESSES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
"""Baseline, extended, progressive, and the last two with arithmetic coding."""

_PNG_COLORS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}


def _probe_png(data: bytes | memoryview) -> Header:
    view = memoryview(data)
    if len(view) < 33 or bytes(view[12:16]) != b"IHDR":
        raise InvalidImage("PNG is cut short", why=f"{len(view)} bytes hold no header")
    width, height, bits, color = struct.unpack(">IIBB", view[16:26])
    if color not in _PNG_COLORS or not width or not height:
        raise InvalidImage("PNG header is not valid", why=f"{width} × {height}, {bits} bits, colour type {color}")
    position = 8
    while position + 12 <= len(view):
        length, kind = struct.unpack(">I4s", view[position : position + 8])
        if kind in _PNG_COMPRESSED:
            _require_small(bytes(view[position + 8 : position + 8 + length]), kind)
        position += 12 + length
        if kind == b"IEND" and position <= len(view):
            return Header("png", height, width, _PNG_COLORS[color], bits)
    raise InvalidImage(
        "PNG is cut short",
        why=f"{len(view)} bytes without an end chunk (IEND)",
        fix="fetch or copy the file again",
    )


_PNG_COMPRESSED = (b"zTXt", b"iTXt", b"iCCP")
_PNG_EXPANDED = 1 << 20
"""Most bytes that a compressed text or colour profile may expand to; Pillow has the same limit."""


def _require_small(chunk: bytes, kind: bytes) -> None:
    """Refuse a compressed chunk that expands beyond the limit (a decompression bomb).

    Raises:
        Unsafe: it expands to more than 1 MiB.
    """
    _, _, rest = chunk.partition(b"\0")
    if kind == b"iTXt":
        is_compressed, rest = rest[:1] == b"\1", rest[2:].partition(b"\0")[2].partition(b"\0")[2]
        if not is_compressed:
            return
    else:
        rest = rest[1:]
    try:
        size = len(zlib.decompressobj().decompress(rest, _PNG_EXPANDED + 1))
    except zlib.error:
        return  # decoding says what is wrong
    if size > _PNG_EXPANDED:
        raise Unsafe(
            "PNG holds a text that grows beyond any use; it was not decoded",
            place=f"chunk {kind.decode()}",
            why=f"{len(chunk):,} bytes expand to more than {_PNG_EXPANDED:,}",
            fix="check the file, or leave it out with --on-error skip",
        )


def decode(
    data: bytes | memoryview, *, max_pixels: int = MAX_PIXELS, out: npt.NDArray[np.uint8] | None = None
) -> npt.NDArray[np.uint8]:
    """Decode an image to (H, W, 3) uint8 RGB by the rules of this module.

    Args:
        max_pixels: larger images are refused before decoding.
        out: (H, W, 3) uint8 in C order, to decode into; it is returned.

    Raises:
        InvalidImage: the data is damaged, of a kind that cannot be decoded, or of another size than `out`.
        Unsafe: more than `max_pixels` pixels.
    """
    pixels = _decode_common_jpeg(data, max_pixels, out)
    if pixels is None:
        pixels = _decode_any(data, max_pixels)
    if out is None:
        return pixels if pixels.flags.writeable else pixels.copy()
    if pixels is out:
        return out
    if pixels.shape != out.shape:
        raise InvalidImage(
            "image is not of the expected size", why=f"its shape is {pixels.shape}; room was made for {out.shape}"
        )
    out[...] = pixels
    return out


def _decode_any(data: bytes | memoryview, max_pixels: int) -> npt.NDArray[np.uint8]:
    """Decode any supported image; the errors say what the others are."""
    header = probe(data)
    require_size(header.height, header.width, max_pixels)
    if header.codec == "jpeg" and header.color in ("RGB", "grey") and header.bits == 8:
        return _decode_jpeg(data, None)
    if header.codec == "jpeg" and header.bits != 8:
        raise InvalidImage(
            f"JPEG has {header.bits}-bit samples, which cannot be decoded", fix="convert it to an 8-bit JPEG or to PNG"
        )
    image = open_with_pillow(data)
    if image.mode == "RGB":
        return np.asarray(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode == "CMYK":
        return np.asarray(image.convert("RGB"))
    if image.mode == "P":
        return np.asarray(image.convert("RGBA"))[:, :, :3].copy()
    if image.mode in ("LA", "La"):
        image = image.getchannel(0)
    elif image.mode in ("RGBA", "RGBa", "RGBX"):
        return np.asarray(image)[:, :, :3].copy()
    return np.asarray(image.convert("RGB"))


def _decode_common_jpeg(
    data: bytes | memoryview, max_pixels: int, out: npt.NDArray[np.uint8] | None
) -> npt.NDArray[np.uint8] | None:
    """Decode a complete YCbCr or grey JPEG; None for anything else, so that `_decode_any` says what it is."""
    if data[:3] != b"\xff\xd8\xff" or data[-2:] != b"\xff\xd9":
        return None
    try:
        height, width, color, _ = simplejpeg.decode_jpeg_header(data)
        if color not in ("YCbCr", "Gray") or height * width > max_pixels:
            return None
        return _decode_jpeg(data, out)
    except (ValueError, RuntimeError):
        return None


def _decode_jpeg(data: bytes | memoryview, out: npt.NDArray[np.uint8] | None) -> npt.NDArray[np.uint8]:
    try:
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, colorspace="RGB", fastdct=False, fastupsample=False, buffer=out
        )
    except (ValueError, RuntimeError) as error:
        raise InvalidImage("JPEG cannot be decoded", why=str(error), fix="fetch or copy the file again") from error
    return pixels if out is None or pixels.shape != out.shape else out  # simplejpeg returns another view of `out`


def require_size(height: int, width: int, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse images that are larger than the limit.

    Raises:
        Unsafe: more than `max_pixels` pixels.
    """
    if height * width > max_pixels:
        raise Unsafe(
            "image is larger than the limit; it was not decoded",
            why=f"it says {width} × {height} pixels; the limit is {max_pixels:,} pixels",
            fix="check the file, or leave it out with --on-error skip",
        )


def open_with_pillow(data: bytes | memoryview) -> Any:
    """Open a PNG or JPEG and load its pixels with Pillow.

    Raises:
        InvalidImage: Pillow cannot decode it.
        Unsafe: it is larger than Pillow's own limit.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
            image.load()
    except Image.DecompressionBombError as error:
        raise Unsafe("image is larger than Pillow decodes", why=str(error)) from error
    except (OSError, SyntaxError, ValueError, struct.error, EOFError) as error:
        raise InvalidImage("image cannot be decoded", why=str(error), fix="fetch or copy the file again") from error
    return image


def orientation(data: bytes | memoryview) -> int:
    """The EXIF orientation (1…8) that an image states; 1 when it states none. segdata never applies it."""
    try:
        value = open_with_pillow(data).getexif().get(0x0112, 1)
    except InvalidImage:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
