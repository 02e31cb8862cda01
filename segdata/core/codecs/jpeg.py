"""The structure of a JPEG file, without decoding: segments, tables and scans, as libjpeg wants them.

    FF D8   FF marker length content …   FF DA length head, entropy-coded data   …   FF D9

What is refused here would be refused by libjpeg, too; damage inside entropy-coded data shows only when it is decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from operator import mul
from typing import NamedTuple

import numpy as np

from segdata.errors import InvalidImage

_SOI, _EOI, _SOS, _DHT, _DQT, _DRI, _DAC, _JPG, _APP1 = 0xD8, 0xD9, 0xDA, 0xC4, 0xDB, 0xDD, 0xCC, 0xC8, 0xE1
_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))
"""Markers without length and content: TEM and the restart markers."""

_BLOCK = 1 << 18
_SHARES = tuple(1 << 16 - bits for bits in range(1, 17))
"""Of all beginnings of 16 bits, how many a code of 1, 2 … 16 bits takes."""

_IS_MARKER = np.array([code not in (0, 0xFF) and not 0xD0 <= code <= 0xD7 for code in range(256)])
"""(256,) bool, codes after FF that end entropy-coded data."""

_SEQUENTIAL, _PROGRESSIVE, _ARITHMETIC = (0xC0, 0xC1), (0xC2,), (0xC9, 0xCA)
_END = b"\xff\xd9"
_FIX = "fetch or copy the file again"


class Frame(NamedTuple):
    """What a JPEG's frame header says.

    Attributes:
        process: the marker: C0 baseline, C1 extended, C2 progressive, C9 and CA with arithmetic coding.
        bits: of each sample.
        height, width: in pixels.
        components: each one's id, sampling factors (high and low four bits) and quantisation table.
        exif: the content of an EXIF block, b"" where there is none.
    """

    process: int
    bits: int
    height: int
    width: int
    components: Sequence[tuple[int, int, int]]
    exif: bytes = b""


def frame(data: bytes | memoryview) -> Frame:
    """Check the structure of a JPEG file, and read its frame header.

    Raises:
        InvalidImage: cut short, of a process that cannot be decoded, or with segments and tables that are none.
    """
    view = memoryview(data)
    walk = _Walk()
    for marker, position, content in _segments(view):
        walk.take(marker, position, content)
        if walk.is_whole:
            if bytes(view[-2:]) != _END and bytes(view[position:]).rfind(_END) < 0:
                raise _without_end(view)
            break
    if walk.frame is None:
        raise InvalidImage("JPEG is cut short", why=f"{len(view)} bytes hold no frame header", fix=_FIX)
    if not walk.scans:
        raise InvalidImage("JPEG is cut short", why=f"{len(view)} bytes hold no scan", fix=_FIX)
    return walk.frame._replace(exif=walk.exif)


def has_exif(data: bytes) -> bool:
    """Whether a JPEG file may have an EXIF block, which `frame` then reads; quick where it has none."""
    components = 0
    try:
        for marker, _, content in _segments(memoryview(data)):
            if marker == _APP1 and bytes(content[:6]) == b"Exif\0\0":
                return True
            if marker in _SEQUENTIAL and len(content) > 5:
                components = content[5]
            if marker == _SOS:  # nothing may follow a scan of all components
                return (not components or content[0] != components) and b"Exif" in data
    except (InvalidImage, LookupError):
        pass
    return b"Exif" in data


def _segments(view: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Marker, position and content of every segment, to the end marker; bytes behind that are legal (cameras add data).

    Raises:
        InvalidImage: something else where a marker is expected, or no end marker.
    """
    position = 2
    while position + 4 <= len(view):
        if view[position] != 0xFF:
            raise _broken(position, "expected a marker (0xFF)")
        marker = view[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in _ALONE:
            position += 2
        elif marker == _EOI:
            return
        else:
            (length,) = struct.unpack(">H", view[position + 2 : position + 4])
            content = view[position + 4 : position + 2 + length]
            if len(content) < length - 2:
                break
            yield marker, position, content
            position += 2 + max(length, 2)
            if marker == _SOS:
                position = _next_marker(view, position)
    if bytes(view[position : position + 2]) != _END:
        raise _without_end(view)


def _next_marker(view: memoryview, position: int) -> int:
    """Where entropy-coded data ends: in it FF is followed by 00, and restart markers may stand; else the file's end."""
    values = np.frombuffer(view, np.uint8)
    for begin in range(position, len(values), _BLOCK):
        block = values[begin : begin + _BLOCK + 1]
        at = np.flatnonzero(block[:-1] == 0xFF)
        codes = block[at + 1]
        ends = at[_IS_MARKER[codes]]
        if len(ends):
            return begin + int(ends[0])
    return len(view)


class _Walk:
    """What was read of a file so far.

    Attributes:
        is_whole: whether a scan had all components of a sequential image, so that none may follow.
    """

    def __init__(self) -> None:
        self.frame: Frame | None = None
        self.exif = b""
        self.scans = 0
        self.is_whole = False
        self._huffman: dict[int, bool] = {}
        self._quantisation: set[int] = set()

    def take(self, marker: int, position: int, content: memoryview) -> None:
        """Take a segment.

        Raises:
            InvalidImage: it is not valid.
        """
        if marker == _DHT:
            self._take_huffman(content, position)
        elif marker == _DQT:
            self._take_quantisation(content, position)
        elif marker == _SOS:
            self._take_scan(content, position)
        elif marker == _APP1 and bytes(content[:6]) == b"Exif\0\0":
            self.exif = bytes(content[6:])
        elif marker == _DRI and len(content) != 2:
            raise _broken(position, f"a restart interval has 2 bytes, found {len(content)}")
        elif 0xC0 <= marker <= 0xCF and marker not in (_JPG, _DAC):
            self._take_frame(marker, content, position)
        elif marker < 0xC0 or marker == _SOI:
            raise _broken(position, f"there is no marker FF {marker:02X}")

    def _take_frame(self, marker: int, content: memoryview, position: int) -> None:
        if marker not in (*_SEQUENTIAL, *_PROGRESSIVE, *_ARITHMETIC):
            kind = "lossless" if marker & 3 == 3 else "hierarchical"
            raise InvalidImage(f"JPEG is {kind}, which cannot be decoded", fix="convert it to an ordinary JPEG or PNG")
        if self.frame is not None or len(content) < 6 or len(content) != 6 + 3 * content[5]:
            raise _broken(position, "frame header that is none, or a second one")
        bits, height, width, _ = struct.unpack(">BHHB", content[:6])
        if not height or not width:
            raise InvalidImage("JPEG has no size", why=f"header says {width} × {height}")
        components = list(struct.iter_unpack("BBB", content[6:]))
        if not all(1 <= factors >> 4 <= 4 and 1 <= factors & 15 <= 4 for _, factors, _ in components):
            raise _broken(position, "sampling factors are 1 … 4")
        self.frame = Frame(marker, bits, height, width, components)

    def _take_huffman(self, content: memoryview, position: int) -> None:
        tables = _huffman_tables(bytes(content))
        if tables is None:
            raise _broken(position, "Huffman tables that are none, or of another length")
        self._huffman.update(tables)

    def _take_quantisation(self, content: memoryview, position: int) -> None:
        while len(content):
            number, size = content[0] & 15, 1 + (128 if content[0] >> 4 else 64)
            if number > 3 or len(content) < size:
                raise _broken(position, f"quantisation table {number} of {len(content) - 1} bytes")
            self._quantisation.add(number)
            content = content[size:]

    def _take_scan(self, content: memoryview, position: int) -> None:
        if self.frame is None or not len(content) or len(content) != 4 + 2 * content[0] or not 1 <= content[0] <= 4:
            raise _broken(
                position, "scan without a frame header before it, or of another length than its components have"
            )
        table_of = {number: table for number, _, table in self.frame.components}
        chosen = list(struct.iter_unpack("BB", content[1:-3]))
        if not table_of.keys() >= {number for number, _ in chosen}:
            raise _broken(position, "scan of components that the frame does not have")
        missing = {table_of[number] for number, _ in chosen} - self._quantisation
        if missing:
            raise _broken(position, f"quantisation table {min(missing)} is not defined")
        for table in _tables_of(self.frame.process, content, [tables for _, tables in chosen]):
            is_standard = self.frame.process in _SEQUENTIAL and table & 15 < 2
            if not self._huffman.get(table, is_standard):
                raise _broken(position, f"Huffman table {table:#04x} is not defined, or no code")
        self.scans += 1
        self.is_whole = self.frame.process in _SEQUENTIAL and len(chosen) == len(self.frame.components)


@lru_cache(256)
def _huffman_tables(content: bytes) -> dict[int, bool] | None:
    """Number of each Huffman table (from 16 on, of coefficients behind the first), and whether it is a code.

    It is none where codes of 1, 2 … 16 bits are too many to differ at their beginnings, with none of ones alone.
    """
    tables: dict[int, bool] = {}
    while content:
        number, counts = content[0], content[1:17]
        size = sum(counts)
        symbols = content[17 : 17 + size]
        if number & 0xEF > 3 or len(counts) < 16 or len(symbols) < size or size > 256:
            return None
        tables[number] = sum(map(mul, counts, _SHARES)) < 1 << 16 and (number > 15 or max(symbols, default=0) < 16)
        content = content[17 + size :]
    return tables


def _tables_of(process: int, content: memoryview, tables: Sequence[int]) -> set[int]:
    """The Huffman tables that a scan uses: 0 … for the first coefficients, 16 … for the others."""
    first, second = {table >> 4 for table in tables}, {16 + (table & 15) for table in tables}
    if process in _SEQUENTIAL:
        return first | second
    if process in _ARITHMETIC:
        return set()
    if content[-3]:
        return second
    return set() if content[-1] >> 4 else first


def _without_end(view: memoryview) -> InvalidImage:
    return InvalidImage("JPEG is cut short", why=f"{len(view)} bytes without an end marker (FF D9)", fix=_FIX)


def _broken(position: int, why: str) -> InvalidImage:
    return InvalidImage("JPEG structure is broken", place=f"byte {position}", why=why, fix=_FIX)
