"""Decode JPEG, PNG, BMP, TIFF, WebP, GIF and QOI images to RGB; structure and size are checked before anything is decoded.

Images become (H, W, 3) uint8 RGB: grey is repeated, a palette is applied, alpha is removed (never blended), 16-bit grey
loses so many low bits as its largest value has above eight, 16-bit colours keep their high byte, CMYK goes through
Pillow's conversion (Adobe's inverted values are corrected first), the first frame of several counts, colour profiles and
EXIF orientation are not applied: annotations are made on the pixels as stored. Label files are read by `core.png`.
"""

from __future__ import annotations

import contextlib
import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import simplejpeg

try:  # zlib's values, four times as fast
    from isal.isal_zlib import crc32 as crc32
except ImportError:  # no wheel for this machine
    from zlib import crc32 as crc32

from segdata.core.codecs import jpeg, qoi
from segdata.errors import InvalidImage, Unsafe, UsageError

MAX_PIXELS = 1 << 26
"""Pixels of the largest image that is decoded unless a caller says otherwise: 8192 × 8192."""

MOST_PIXELS = 1 << 30
"""What this limit can be raised to, by a caller, a pack or a manifest: 32768 × 32768."""

MAX_SIDE = 1 << 20
"""Pixels of the longest side of an image; what says more says no size."""

_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (qoi.MAGIC, "QOI"),
    (b"BM", "BMP"),
    *((magic, "TIFF") for magic in (b"II*\0", b"MM\0*")),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP archive"),
    (b"\x1f\x8b", "gzip archive"),
)


@dataclass(frozen=True)
class Header:
    """What an image file's header says.

    Attributes:
        codec: "jpeg", "png", "bmp", "tiff", "webp", "gif" or "qoi".
        height, width: in pixels, as stored.
        color: "RGB", "grey", "palette", "grey with alpha", "RGB with alpha" or "CMYK".
        bits: of each sample.
        orientation: EXIF's, 1 … 8: how the stored pixels have to be turned to be upright; 1 where the file says nothing.
        frames: how many images the file holds; the first one counts.
    """

    codec: str
    height: int
    width: int
    color: str
    bits: int
    orientation: int = 1
    frames: int = 1

    @property
    def kind(self) -> str:
        """Colour and bits in words; "RGB" for the ordinary case."""
        return self.color if self.bits == 8 or self.color == "palette" else f"{self.bits}-bit {self.color}"


def probe(data: bytes | memoryview, *, max_pixels: int = MAX_PIXELS) -> Header:
    """Read the header and check the structure (type, length, end marker) without decoding.

    The rarer kinds (BMP, TIFF, WebP, GIF) are decoded as their check.

    Raises:
        InvalidImage: empty, of another type, or cut short.
    """
    head = bytes(data[:32])
    if not head:
        raise InvalidImage("image file is empty", why="it has 0 bytes", fix="fetch or copy the file again")
    if head.startswith(b"\xff\xd8\xff"):
        return _probe_jpeg(data)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return _probe_png(data, max_pixels)
    if head.startswith(qoi.MAGIC):
        return Header("qoi", *qoi.size(data), "RGB", 8)
    if content_type(head) in _OTHERS:
        return _probe_other(data, max_pixels)
    raise InvalidImage(
        "file is no image that can be read (JPEG, PNG, BMP, TIFF, WebP, GIF)",
        why=f"its content looks like {content_type(head)}",
        fix="convert it to PNG, or fetch the file again",
    )


_OTHERS = ("BMP", "TIFF", "WebP", "GIF")


def _probe_other(data: bytes | memoryview, max_pixels: int) -> Header:
    """The header of an image of a rarer kind, by Pillow, which then decodes all of it: that is its check."""
    image = _opened(data)
    require_size(image.height, image.width, max_pixels)
    color, bits = _MODES.get(image.mode, ("RGB", 8))
    with _pillow_errors(str(image.format)):
        orientation, frames = image.getexif().get(_ORIENTATION), int(getattr(image, "n_frames", 1))
    header = Header(
        str(image.format).lower(),
        image.height,
        image.width,
        color,
        bits,
        orientation=_valid_orientation(orientation),
        frames=frames,
    )
    _load(image)
    return header


_MODES = {
    "1": ("grey", 1),
    "L": ("grey", 8),
    "LA": ("grey with alpha", 8),
    "RGBA": ("RGB with alpha", 8),
    "P": ("palette", 8),
    "CMYK": ("CMYK", 8),
    "I": ("grey", 32),
    "F": ("grey", 32),
    "I;16": ("grey", 16),
    "I;16B": ("grey", 16),
}
"""Pillow's mode → colour and bits."""

_ORIENTATION = 0x0112
"""EXIF's tag."""


def _valid_orientation(value: Any) -> int:
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _orientation_of_exif(exif: bytes) -> int:
    """The orientation that an EXIF block states (a TIFF header and its first directory); 1 where there is none."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return 1
    (begin,) = struct.unpack(f"{order}I", exif[4:8])
    (count,) = struct.unpack(f"{order}H", exif[begin : begin + 2].ljust(2, b"\0"))
    for position in range(begin + 2, min(begin + 2 + 12 * count, len(exif) - 11), 12):
        tag, kind = struct.unpack(f"{order}HH", exif[position : position + 4])
        if tag == _ORIENTATION and kind == 3:
            return _valid_orientation(struct.unpack(f"{order}H", exif[position + 8 : position + 10])[0])
    return 1


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
    frame = jpeg.frame(data)
    color = {1: "grey", 3: "RGB", 4: "CMYK"}.get(len(frame.components), "RGB")
    return Header("jpeg", frame.height, frame.width, color, frame.bits, _orientation_of_exif(frame.exif))


_PNG_COLORS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}


def _probe_png(data: bytes | memoryview, max_pixels: int) -> Header:
    view = memoryview(data)
    if len(view) < 33 or bytes(view[12:16]) != b"IHDR":
        raise InvalidImage("PNG is cut short", why=f"{len(view)} bytes hold no header")
    width, height, bits, color = struct.unpack(">IIBB", view[16:26])
    if color not in _PNG_COLORS or not width or not height:
        raise InvalidImage("PNG header is not valid", why=f"{width} × {height}, {bits} bits, colour type {color}")
    position, orientation, frames, is_as_written = 8, 1, 1, True
    while position + 12 <= len(view):
        length, kind = struct.unpack(">I4s", view[position : position + 8])
        content = view[position + 8 : position + 8 + length]
        if kind in _PNG_COMPRESSED:
            _require_small(bytes(content), kind)
        elif kind == b"eXIf":
            orientation = _orientation_of_exif(bytes(content))
        elif kind == b"acTL" and length == 8:
            frames = max(struct.unpack(">I", content[:4])[0], 1) if len(content) == 8 else 1
        checksum = view[position + 8 + length : position + 12 + length]
        is_as_written &= crc32(view[position + 4 : position + 8 + length]) == int.from_bytes(checksum, "big")
        position += 12 + length
        if kind == b"IEND" and position <= len(view):
            if not is_as_written:  # decoders differ in what they take: decoding is the check
                require_size(height, width, max_pixels)
                open_with_pillow(data)
            return Header("png", height, width, _PNG_COLORS[color], bits, orientation=orientation, frames=frames)
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
    header = probe(data, max_pixels=max_pixels)
    require_size(header.height, header.width, max_pixels)
    require_room(header.height, header.width)
    if header.codec == "qoi":
        return qoi.decode(data)
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
        return np.repeat(_to_eight_bits(np.asarray(image))[:, :, None], 3, axis=2)
    if image.mode == "CMYK":
        return np.asarray(image.convert("RGB"))
    if image.mode == "P":
        return np.asarray(image.convert("RGBA"))[:, :, :3].copy()
    if image.mode in ("LA", "La"):
        image = image.getchannel(0)
    elif image.mode in ("RGBA", "RGBa", "RGBX"):
        return np.asarray(image)[:, :, :3].copy()
    return np.asarray(image.convert("RGB"))


def _to_eight_bits(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Grey values of more than eight bits, without the low bits that are too many for the largest of them."""
    bands = [values[begin : begin + _BAND] for begin in range(0, len(values), _BAND)]
    too_many = low_bits(max(int(_whole(band).max(initial=0)) for band in bands))
    shifted = np.empty(values.shape, np.uint8)
    for begin, band in zip(range(0, len(values), _BAND), bands, strict=True):
        shifted[begin : begin + _BAND] = _whole(band) >> too_many
    return shifted


_BAND = 256
"""Rows of a grey image that are computed with at once."""


def _whole(values: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
    whole: npt.NDArray[np.uint32] = np.clip(np.nan_to_num(values), 0, (1 << 31) - 1).astype(np.uint32)
    return whole


def low_bits(largest: int) -> int:
    """How many low bits grey values lose, of which this is the largest, to have eight: none below 256."""
    return max(largest.bit_length() - 8, 0)


def largest_value(data: bytes | memoryview) -> int:
    """The largest value of a grey image of more than eight bits."""
    return int(np.asarray(open_with_pillow(data)).max(initial=0))


def _decode_common_jpeg(
    data: bytes | memoryview, max_pixels: int, out: npt.NDArray[np.uint8] | None
) -> npt.NDArray[np.uint8] | None:
    """Decode a complete YCbCr or grey JPEG; None for anything else, so that `_decode_any` says what it is."""
    if data[:3] != b"\xff\xd8\xff" or data[-2:] != b"\xff\xd9":
        return None
    try:
        height, width, color, _ = simplejpeg.decode_jpeg_header(data)
        if color not in ("YCbCr", "Gray") or height * width > min(max_pixels, MAX_PIXELS):
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


def decode_grey(data: bytes | memoryview, side: int, *, max_pixels: int = MAX_PIXELS) -> npt.NDArray[np.uint8]:
    """Decode an image to grey, (h, w) uint8; a JPEG to the smallest size whose sides have `side` pixels or more.

    JPEGs are scaled to eighths while they are decoded, several times as fast as in full size. Colours become
    0.299 R + 0.587 G + 0.114 B, which a JPEG has in it already.

    Raises:
        InvalidImage, Unsafe: as `decode`.
    """
    with contextlib.suppress(ValueError, RuntimeError):  # `decode` says what is wrong
        height, width, color, _ = simplejpeg.decode_jpeg_header(data)
        if color in ("YCbCr", "Gray") and height * width <= min(max_pixels, MAX_PIXELS):
            grey: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(
                data, colorspace="GRAY", fastdct=False, min_height=side, min_width=side, min_factor=1
            )
            return grey[:, :, 0]
    return np.asarray(np.rint(decode(data, max_pixels=max_pixels) @ _LUMA), np.uint8)


_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def side_of(text: str | None) -> int:
    """The pixels of an image's side that a text says; 0 where it says none, or more than any image has."""
    if text is None or not text.isdecimal() or len(text) > len(str(MAX_SIDE)):
        return 0
    return int(text) if int(text) <= MAX_SIDE else 0


def require_size(height: int, width: int, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse images that are larger than the limit.

    Raises:
        Unsafe: more than `max_pixels` pixels.
    """
    if height * width > max_pixels:
        raise Unsafe(
            "image is larger than the limit; it was not decoded",
            why=f"it says {width} × {height} pixels; the limit is {max_pixels:,} pixels",
            fix="check the file; raise the limit with --max-pixels, or leave it out with --on-error skip",
        )


def limit_of(max_pixels: int | None) -> int:
    """The limit that a caller gives, or the default.

    Raises:
        UsageError: no number of pixels, or more than `MOST_PIXELS`.
    """
    if max_pixels is not None and not 1 <= max_pixels <= MOST_PIXELS:
        raise UsageError(f"max_pixels is {max_pixels:,}", why=f"expected 1 … {MOST_PIXELS:,}")
    return MAX_PIXELS if max_pixels is None else max_pixels


def require_room(height: int, width: int) -> None:
    """Refuse images above the default limit that memory has no room for: whoever made a file chose its size.

    Raises:
        Unsafe: with both numbers.
    """
    if height * width <= MAX_PIXELS:
        return
    needed, free = height * width * _BYTES, _free_memory()
    if needed > free:
        raise Unsafe(
            "image is larger than the free memory; it was not decoded",
            why=f"it says {width} × {height} pixels, {needed:,} bytes; {free:,} bytes are free",
            fix="check the file; use a machine with more memory, or leave it out with --on-error skip",
        )


_BYTES = 4
"""Of a pixel while it is decoded."""


def _free_memory() -> int:
    """Bytes that Linux has free, or allows the container; elsewhere a number larger than any."""
    free = [1 << 62]
    with contextlib.suppress(OSError):
        free += [int(kibibytes) << 10 for kibibytes in re.findall(r"MemAvailable: +(\d+)", _text("/proc/meminfo"))]
    with contextlib.suppress(OSError, ValueError):  # "max" is no limit
        free.append(int(_text("/sys/fs/cgroup/memory.max")))
    return min(free)


def _text(path: str) -> str:
    return Path(path).read_text("ascii")


def open_with_pillow(data: bytes | memoryview) -> Any:
    """Open an image of a kind that `probe` knows and load its pixels with Pillow; of several frames the first.

    Raises:
        InvalidImage: Pillow cannot decode it.
    """
    image = _opened(data)
    _load(image)
    return image


@contextlib.contextmanager
def _pillow_errors(kind: str) -> Iterator[None]:
    """Pillow's errors as ours."""
    from PIL.Image import DecompressionBombError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DecompressionBombError as error:  # of a frame that is larger than its image says
        raise Unsafe("image is larger than the limit; it was not decoded", why=f"{kind}: {error}") from error
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error, EOFError) as error:
        why = f"{kind}: {error}"
        raise InvalidImage("image cannot be decoded", why=why, fix="fetch or copy the file again") from error


def _opened(data: bytes | memoryview) -> Any:
    """The image, not decoded. `Image.open` has a limit of pixels of its own; `require_size` is ours."""
    from PIL import BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

    kinds: Mapping[str, Any] = {
        "JPEG": JpegImagePlugin.JpegImageFile,
        "PNG": PngImagePlugin.PngImageFile,
        "BMP": BmpImagePlugin.BmpImageFile,
        "TIFF": TiffImagePlugin.TiffImageFile,
        "WebP": WebPImagePlugin.WebPImageFile,
        "GIF": GifImagePlugin.GifImageFile,
    }
    kind = content_type(bytes(data[:32]))
    if kind not in kinds:
        raise InvalidImage("image cannot be decoded", why=f"its content looks like {kind}")
    with _pillow_errors(kind):
        return kinds[kind](io.BytesIO(data))


def _load(image: Any) -> None:
    with _pillow_errors(str(image.format)):
        image.load()
