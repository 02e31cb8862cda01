"""Parse untrusted JSON, with errors that name the byte, line and column.

msgspec does the parsing: it refuses NaN, Infinity and numbers out of range, and limits nesting. What it would copy at
any length is limited here before it looks: a single string or stretch of numbers, and a value that becomes objects.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from segdata.errors import InvalidAnnotation
from segdata.system import reading
from segdata.system.files import disk_errors

_BOM = b"\xef\xbb\xbf"
_BLOCK = 1 << 25
"""Bytes within which a string must begin or end."""

MOST = 1 << 26
"""Bytes of text that are made into Python objects as a whole, which take up to ten times as many."""

INVALID = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for text that is not UTF-8, not JSON, nested too deep or of another shape."""

_END_OF_STRING = re.compile(rb'(?<!\\)"')
"""A quote that begins or ends a string: within one, each has a backslash before it."""


def map_file(path: Path) -> memoryview:
    """Map a file into memory, read-only; a byte-order mark is skipped. Text in UTF-16 or UTF-32 is read and recoded.

    Raises:
        InvalidAnnotation: empty, or text in an encoding that its first bytes promise and that it is not in.
    """
    with disk_errors(path), reading.open_file(path) as file:
        if file.seek(0, 2) == 0:
            raise InvalidAnnotation("annotation file is empty", file=path, why="it has 0 bytes")
        view = memoryview(reading.map_file(file))
    head = bytes(view[:4])
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or b"\0" in head:
        return _recoded(view, path)
    return view[len(_BOM) :] if head.startswith(_BOM) else view


def _recoded(view: memoryview, path: Path) -> memoryview:
    """The text of a document that is not in UTF-8, in UTF-8."""
    data = bytes(view)
    marks = (
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    )
    encoding = next((name for mark, name in marks if data.startswith(mark)), None) or json.detect_encoding(data)
    try:
        return memoryview(data.decode(encoding).encode())
    except UnicodeError as error:
        raise InvalidAnnotation(
            "annotation file is not text",
            file=path,
            place="byte 0",
            why=f"it begins like {encoding.upper()}: {error}"[:200],
            fix="save it as UTF-8",
        ) from error


_NOT_A_NUMBER = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b', re.DOTALL)


def without_nan(text: memoryview) -> tuple[memoryview, int]:
    """A document with null for NaN and Infinity, which are no JSON and which Python's own writer writes; how many."""
    count = 0

    def null(match: re.Match[bytes]) -> bytes:
        nonlocal count
        if match[0].startswith(b'"'):
            return match[0]
        count += 1
        return b"null"

    if re.search(rb"\bNaN\b|\bInfinity\b", text) is None:
        return text, 0
    return memoryview(_NOT_A_NUMBER.sub(null, text)), count


def decode(data: Any, kind: Any, path: Path, *, whole: Any = None) -> Any:
    """Parse a document, or a part of the document `whole`, as `kind`.

    Raises:
        InvalidAnnotation: not UTF-8, not JSON, nested too deep, too long, numbers out of range, or of another shape.
    """
    if len(data) > _BLOCK:
        _check_lengths(data, kind, path)
    try:
        return _decoder(kind).decode(data)
    except RecursionError as error:
        raise InvalidAnnotation(
            "JSON is nested too deep", file=path, why="more levels than any annotation format has"
        ) from error
    except UnicodeDecodeError as error:
        raise _not_utf8(bytes(data if whole is None else whole), path) from error
    except msgspec.ValidationError as error:
        raise InvalidAnnotation("JSON does not have the expected form", file=path, why=str(error)) from error
    except msgspec.DecodeError as error:
        raise _malformed(bytes(data), path, str(error)) from error


@lru_cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _check_lengths(data: Any, kind: Any, path: Path) -> None:
    size = len(data)
    for offset in range(0, size - _BLOCK + 1, _BLOCK):
        if not _END_OF_STRING.search(data, offset, offset + _BLOCK):
            raise InvalidAnnotation(
                "JSON holds a value that is longer than any annotation",
                file=path,
                place=f"around byte {offset}",
                why=f"no string begins or ends within {_BLOCK >> 20} MiB",
                fix="remove the value: the file is damaged, or no annotation file",
            )
    if kind in (Any, dict[str, Any]) and size > MOST:
        raise InvalidAnnotation(
            "a part of the JSON document is larger than any annotation",
            file=path,
            why=f"it has {size >> 20:,} MiB, segdata takes {MOST >> 20}; it begins with "
            f"{bytes(memoryview(data)[:60]).decode('utf-8', 'replace')!r}",
            fix="remove the part: the file is damaged, or no annotation file",
        )


def encode(value: Any) -> bytes:
    """The JSON text of a value, compact."""
    return msgspec.json.encode(value)


def repeated_keys(text: bytes | memoryview | msgspec.Raw) -> list[str]:
    """Keys that occur more than once in one object of a text, at any depth."""
    repeated: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        record = dict(pairs)
        if len(record) < len(pairs):
            names = [name for name, _ in pairs]
            repeated.extend(name for name in record if names.count(name) > 1)
        return record

    json.loads(bytes(text), object_pairs_hook=look)
    return repeated


def key_twice(path: Path, where: str, key: str) -> InvalidAnnotation:
    """One of `repeated_keys` as an error."""
    return InvalidAnnotation(
        "an object has a key twice", file=path, place=where, why=f"key {key!r}", fix="remove one of the two"
    )


def repeated_at_top(text: memoryview, top: Mapping[str, msgspec.Raw]) -> list[str]:
    """Keys that occur more than once in the outermost object `text`, of which `top` is what a reader kept.

    The kept values are cut out of the text first, so that a document of any size is looked at without parsing it.
    """
    start = np.frombuffer(text, np.uint8).ctypes.data
    values = [np.frombuffer(memoryview(raw), np.uint8) for raw in top.values()]
    gaps = []
    end_of_last = 0
    for begin, end in sorted((value.ctypes.data - start, value.ctypes.data - start + len(value)) for value in values):
        gaps.append(bytes(text[end_of_last:begin]))
        end_of_last = end
    return repeated_keys(b"0".join([*gaps, bytes(text[end_of_last:])]))


def _not_utf8(data: bytes, path: Path) -> InvalidAnnotation:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return InvalidAnnotation(
            "annotation file is not UTF-8",
            file=path,
            place=_position(data, error.start),
            why=f"byte 0x{data[error.start]:02x} cannot occur there; the file may be Latin-1",
            fix="save it as UTF-8",
        )
    return InvalidAnnotation("JSON holds an escape that is no character", file=path)


def _malformed(data: bytes, path: Path, message: str) -> InvalidAnnotation:
    match = re.search(r"\(byte (\d+)\)", message)
    if match:
        # msgspec points behind the first trailing character, and at the character itself everywhere else.
        where = _position(data, int(match.group(1)) - ("trailing" in message))
        why = message.replace(match.group(0), "").replace("JSON is malformed: ", "").strip()
        if re.match(rb"NaN|Inf", data[int(match.group(1)) :]):
            why = "NaN and Infinity are no numbers in JSON"
    else:
        where = _position(data, len(data))
        why = "the text ends in the middle of a value: the file is cut short"
    return InvalidAnnotation("JSON is malformed", file=path, place=where, why=why, fix="restore the original file")


def _position(data: bytes, byte: int) -> str:
    line = data.count(b"\n", 0, byte) + 1
    column = byte - (data.rfind(b"\n", 0, byte) + 1) + 1
    return f"byte {byte}, line {line}, column {column}"
