"""Read JSON that segdata wrote itself, and TOML that people write, into msgspec types: whole, or not at all.

No document holds deep nesting, numbers beyond 64 bits, or more bytes than its kind can need: that is found when it is
read, so nothing behind looks for it. An error of JSON names the member (the file is damaged); one of TOML names the key,
what was expected, what was found, and close names.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from segdata.errors import DamagedData, InvalidManifest, SegdataError, close_names
from segdata.system.files import disk_errors
from segdata.system.reading import open_file

T = TypeVar("T")

JSON_BYTES = 64 << 20
"""Most bytes of a JSON document: it becomes Python objects, which take up to ten times as many."""

JSON_LEVELS = 32
"""Most levels of a JSON document."""

TOML_BYTES = 2 << 20
"""Most bytes of a TOML file, which takes seconds to read then; the longest manifest has a hundredth."""

TOML_LEVELS = 16
"""Most levels of tables and lists; a manifest has five."""

_PART = r"""(?:[\w-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_LONG_KEY = re.compile(rf"(?<![\w-])(?:{_PART}[ \t]*\.[ \t]*){{{4 * TOML_LEVELS}}}")
"""A key of so many parts that reading it would take for ever: `tomllib` needs the square of their number."""

_BRACKET = re.compile(
    r'''"""(?:[^\\]|\\.)*?"""|'''
    r"""'''.*?'''|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|#[^\n]*|([\[{])|([\]}])""",
    re.DOTALL,
)
"""Strings and comments, which are passed over, or a bracket that opens or closes."""


def read_json(path: Path, kind: type[T], what: str, *, fix: str | None = None) -> T:
    """A document from a file; see `parse_json`.

    Raises:
        NotThere: there is no such file.
        DiskError: it cannot be read.
    """
    with disk_errors(path), open_file(path) as file:
        data = file.read(JSON_BYTES + 1)
    return parse_json(data, kind, what, path, fix=fix)


def parse_json(data: bytes, kind: type[T], what: str, file: Path, *, fix: str | None = None) -> T:
    """A document as `kind`, any type that msgspec knows; members that a struct does not name are passed over.

    Args:
        what: the document, for messages: "the receipt".

    Raises:
        DamagedData: not JSON, nested too deep, too large, or of another shape: the member is named.
    """
    why, place = f"it has more than {JSON_BYTES:,} bytes", ""
    if len(data) <= JSON_BYTES:
        try:
            document = json.loads(data)
            wrong = _beyond(document, JSON_LEVELS, is_finite=False)
            if wrong is None:
                return typed(document, kind, what, file, fix=fix)
            why, place = wrong
        except RecursionError:
            why = "it is nested too deep"
        except ValueError as error:
            why = f"it is not JSON: {error}"[:200]
    raise DamagedData(f"{what} is damaged", file=file, place=place or None, why=why, fix=fix)


def typed(document: Any, kind: type[T], what: str, file: Path | str, *, fix: str | None = None) -> T:
    """A part of a document that was read already, as `kind`.

    Raises:
        DamagedData: it has another shape.
    """
    try:
        return msgspec.convert(document, kind)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # the latter of lone surrogates, which JSON can hold
        why, _, place = str(error).splitlines()[0].partition(" - at ")
        raise DamagedData(f"{what} is damaged", file=file, place=place or None, why=why, fix=fix) from error


def _is_deep(text: str) -> bool:
    """Whether lists and tables are nested deeper than any; `tomllib` would call itself for each level."""
    depth = 0
    for match in _BRACKET.finditer(text):
        depth += bool(match[1]) - bool(match[2])
        if depth > 2 * TOML_LEVELS:
            return True
    return False


def parse_toml(text: str | bytes, file: Path | str, error: type[SegdataError] = InvalidManifest) -> dict[str, Any]:
    """The tables of a TOML text, with numbers of 64 bits and few levels, so that nothing behind has to look for others.

    Args:
        error: what to raise.

    Raises:
        InvalidManifest: not UTF-8 or not TOML, too large, nested too deep, or with a number that TOML cannot hold.
    """
    try:
        return _tables(text)
    except _NotToml as wrong:
        raise error("the file is not TOML", file=file, place=wrong.place, why=wrong.why, fix=wrong.fix) from wrong


def read_toml(path: Path, error: type[SegdataError] = InvalidManifest) -> dict[str, Any]:
    """The tables of a TOML file; see `parse_toml`.

    Raises:
        NotThere: there is no such file.
    """
    with disk_errors(path), open_file(path) as file:
        data = file.read(TOML_BYTES + 1)
    return parse_toml(data, path, error)


class _NotToml(ValueError):
    """Why a text is no TOML, and where."""

    def __init__(self, why: str, place: str | None = None, fix: str | None = None) -> None:
        super().__init__(why)
        self.why, self.place, self.fix = why, place, fix


def _tables(text: str | bytes) -> dict[str, Any]:
    if len(text) > TOML_BYTES:
        raise _NotToml(f"it has more than {TOML_BYTES:,} bytes")
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        wrong = (
            "a key has too many parts" if _LONG_KEY.search(text) else "it is nested too deep" if _is_deep(text) else ""
        )
        tables = {} if wrong else tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        position = re.search(r"line \d+, column \d+", str(error))
        raise _NotToml(str(error).split(" (at")[0], position.group() if position else None) from error
    except UnicodeDecodeError as error:
        raise _NotToml(
            f"byte 0x{error.object[error.start]:02x} is not UTF-8", f"byte {error.start}", "save it as UTF-8"
        ) from error
    except ValueError as error:  # a number of thousands of digits
        raise _NotToml("a number has thousands of digits") from error
    if wrong:
        raise _NotToml(wrong)
    if beyond := _beyond(tables, TOML_LEVELS, is_finite=True):
        raise _NotToml(*beyond)
    return tables


def typed_table(table: dict[str, Any], kind: type[T], file: str, prefix: str = "") -> T:
    """A table as `kind`, a `msgspec.Struct` that forbids unknown fields.

    Args:
        prefix: the table's own key in the file, for messages; "" for the whole file.

    Raises:
        InvalidManifest: an unknown key, a missing one, a value of another type or out of its range.
    """
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), table, kind, file, prefix) from error


def _invalid(text: str, table: dict[str, Any], kind: type, file: str, prefix: str) -> InvalidManifest:
    """msgspec's message, which ends with " - at `$.labels[0].id`" below the top, as an error with all facts."""
    message, _, path = text.rpartition(" - at `$") if " - at `$" in text else (text, "", "")
    path = path.rstrip("`")
    keys = [int(key) if key.isdigit() else key for key in re.findall(r"\w+", path)]
    value: Any = table
    expected: Any = inspect.type_info(kind)
    for key in keys:
        value, expected = value[key], _type_of(expected, key)
    expected = _without_none(expected)
    where = f"{prefix}{path}".lstrip(".")
    if missing := re.fullmatch("Object missing required field `(.*)`", message):
        key = f"{where}.{missing[1]}".lstrip(".")
        return InvalidManifest(f"manifest lacks {missing[1]!r}", file=file, place=key, fix=f"add {missing[1]} = …")
    if unknown := re.fullmatch("Object contains unknown field `(.*)`", message, re.DOTALL):
        known = [field.encode_name for field in expected.fields]
        return InvalidManifest(
            f"manifest has an unknown key {unknown[1]!r}",
            file=file,
            place=f"{where}.{unknown[1]}".lstrip("."),
            why=f"known are {', '.join(known)}",
            fix=_did_you_mean(unknown[1], known) or "remove it",
        )
    name = next(key for key in reversed(keys) if isinstance(key, str))
    if isinstance(expected, inspect.LiteralType):
        choices = [str(choice) for choice in expected.values]
        return InvalidManifest(
            f"{name!r} cannot be {value!r}",
            file=file,
            place=where,
            why=f"known are {', '.join(choices)}",
            fix=_did_you_mean(str(value), choices),
        )
    rule = message.split(", got")[0].removeprefix("Expected ").replace("`", "").replace(" | null", "")
    if rule == "object":
        wrong = f"{where!r} is not a table"
    else:
        wrong = f"{name!r} is of the wrong type" if ", got" in message else f"{name!r} is out of its range"
    why = f"expected {rule.replace('array', 'list').replace('object', 'table')}, found {value!r}"[:200]
    return InvalidManifest(wrong, file=file, place=where, why=why)


def _without_none(info: Any) -> Any:
    """`T` of `T | None`."""
    if isinstance(info, inspect.UnionType):
        return next(kind for kind in info.types if not isinstance(kind, inspect.NoneType))
    return info


def _type_of(info: Any, key: Any) -> Any:
    """msgspec's description of the type of a field, or of an array's item."""
    info = _without_none(info)
    if isinstance(info, inspect.StructType):
        return next(field.type for field in info.fields if field.encode_name == key)
    return info.item_types[key] if isinstance(info, inspect.TupleType) else info.item_type


def _did_you_mean(name: str, known: Iterable[str]) -> str | None:
    close = close_names(name, known, 1)
    return f"did you mean {close[0]!r}?" if close else None


def _beyond(document: Any, deepest: int, *, is_finite: bool) -> tuple[str, str] | None:
    """Why a document of dictionaries and lists cannot be meant, and where in it; None for one that can.

    Args:
        deepest: levels that it may have.
        is_finite: whether NaN and infinity are refused, too.
    """
    level: list[tuple[str, Any]] = [("", document)]
    for _ in range(deepest):
        below: list[tuple[str, Any]] = []
        for where, value in level:
            if isinstance(value, dict):
                below += [(f"{where}.{key}", item) for key, item in value.items()]
            elif isinstance(value, list):
                below += [(f"{where}[{index}]", item) for index, item in enumerate(value)]
            elif isinstance(value, int) and not -(2**63) <= value < 2**63:
                return "a number has more than 64 bits", where.lstrip(".")
            elif is_finite and isinstance(value, float) and not math.isfinite(value):
                return f"a number is {value}", where.lstrip(".")
        level = below
        if not level:
            return None
    return f"it is nested deeper than {deepest} levels", level[0][0].lstrip(".")[:80]
