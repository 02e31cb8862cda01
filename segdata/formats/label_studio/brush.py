"""Label Studio's brush strokes: run lengths of the RGBA pixels of the whole picture, as bits (the "rle-pack" of thi.ng).

    32 bits    how many values follow: 4 · height · width
    5 bits     bits of a value, less 1
    4 × 4      bits of a length, less 1, of four kinds
    then       1 bit: run or single values; 2 bits: kind of the length; the length less 1; one value, or as many

The mask is where the fourth of four values, alpha, is not 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.errors import InvalidAnnotation

_SIZES = (3, 4, 8, 16)
"""Bits of lengths that are written."""

_HEADER = 32 + 5 + 4 * 4
_LONGEST = 1 << 16
_FIX = "export the annotation again"


def to_bytes(rle: Any) -> bytes:
    """The bytes of a stroke.

    Raises:
        InvalidAnnotation: no list of numbers from 0 to 255.
    """
    try:
        if isinstance(rle, list):
            return bytes(rle)
    except (TypeError, ValueError):
        pass
    raise InvalidAnnotation("the rle of a brush is no list of bytes", why=f"found {rle!r}"[:200], fix=_FIX)


def decode(data: bytes, height: int, width: int) -> npt.NDArray[np.uint8]:
    """(H, W) uint8, the alpha of a stroke.

    Raises:
        InvalidAnnotation: cut short, of another size than the picture, or values that are no bytes.
    """
    bits = _Bits(data)
    count, word = bits.read(32), bits.read(5) + 1
    sizes = [bits.read(4) + 1 for _ in range(4)]
    if count != 4 * height * width or word != 8:
        raise InvalidAnnotation(
            "the rle of a brush is of another picture",
            why=f"it has {count} values of {word} bits; RGBA of {height} × {width} pixels are {4 * height * width} of 8",
            fix=_FIX,
        )
    alpha = np.zeros(height * width, np.uint8)
    begin = 0
    while begin < count:
        is_run = bits.read(1)
        end = begin + 1 + bits.read(sizes[bits.read(2)])
        if end > count:
            why = f"values to {end:,} of {count:,}"
            raise InvalidAnnotation("the rle of a brush is longer than it says", why=why, fix=_FIX)
        if is_run:
            alpha[begin // 4 : end // 4] = bits.read(8)
        else:
            alpha[begin // 4 : end // 4] = bits.read_bytes(end - begin)[3 - begin % 4 :: 4]
        begin = end
    return alpha.reshape(height, width)


class _Bits:
    """Numbers of a few bits, the highest first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def read(self, size: int) -> int:
        """The next number of up to 32 bits."""
        begin = self._at
        self._pass(size)
        window = int.from_bytes(self._data[begin >> 3 : (begin >> 3) + 5].ljust(5, b"\0"), "big")
        return (window >> (40 - (begin & 7) - size)) & ((1 << size) - 1)

    def read_bytes(self, count: int) -> npt.NDArray[np.uint8]:
        """(count,) the next bytes, which may begin within one of the data."""
        first, shift = self._at >> 3, self._at & 7
        self._pass(8 * count)
        window = np.frombuffer(self._data[first : first + count + 1].ljust(count + 1, b"\0"), np.uint8).astype(
            np.uint16
        )
        return ((window[:-1] << shift | window[1:] >> (8 - shift)) & 255).astype(np.uint8)

    def _pass(self, size: int) -> None:
        self._at += size
        if self._at > 8 * len(self._data):
            raise InvalidAnnotation("the rle of a brush is cut short", why=f"{len(self._data):,} bytes", fix=_FIX)


def encode(mask: npt.NDArray[Any]) -> bytes:
    """The stroke of a mask (H, W), white and opaque, as `mask2rle` of Label Studio's SDK writes it."""
    flat = np.asarray(mask).ravel() != 0
    starts = np.concatenate(([0], np.nonzero(np.diff(flat))[0] + 1))
    lengths = 4 * np.diff(np.append(starts, flat.size))
    times = (lengths - 1) // _LONGEST + 1
    rest = lengths - (times - 1) * _LONGEST
    is_last = np.zeros(int(times.sum()), bool)
    is_last[np.cumsum(times) - 1] = True
    pieces = np.where(is_last, np.repeat(rest, times), _LONGEST)
    kinds = np.searchsorted([1 << size for size in _SIZES], pieces)
    sizes = np.array(_SIZES)[kinds]
    values = np.repeat(np.where(flat[starts], 255, 0), times)
    codes = (((4 | kinds) << sizes | pieces - 1) << 8) | values
    header = flat.size * 4 << 5 | 7
    for size in _SIZES:
        header = header << 4 | size - 1
    counts = 3 + sizes + 8
    ends = np.cumsum(counts)
    places = np.repeat(ends, counts) - np.arange(ends[-1]) - 1
    body = (np.repeat(codes, counts) >> places & 1).astype(np.uint8)
    head = np.array([header >> place & 1 for place in reversed(range(_HEADER))], np.uint8)
    written = np.concatenate((head, body))
    return np.packbits(np.concatenate((written, np.zeros(8 - len(written) % 8, np.uint8)))).tobytes()
