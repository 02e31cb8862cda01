"""Read TOML into msgspec types; errors name the key, what was expected, what was found, and close names."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from segdata.errors import InvalidManifest, SegdataError, close_names
from segdata.system import bounds
from segdata.system.files import disk_errors
from segdata.system.reading import open_file

T = TypeVar("T")


MOST_BYTES = 2 << 20
"""Of a file, which takes seconds to read then; the longest manifest has a hundredth."""
DEEPEST = 16
"""Levels of tables and lists; a manifest has five."""

_PART = r"""(?:[\w-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_LONG_KEY = re.compile(rf"(?<![\w-])(?:{_PART}[ \t]*\.[ \t]*){{{4 * DEEPEST}}}")
"""A key of so many parts that reading it would take for ever: `tomllib` needs the square of their number."""

_BRACKET = re.compile(
    r'''"""(?:[^\\]|\\.)*?"""|'''
    r"""'''.*?'''|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|#[^\n]*|([\[{])|([\]}])""",
    re.DOTALL,
)
"""Strings and comments, which are passed over, or a bracket that opens or closes."""


def _is_deep(text: str) -> bool:
    """Whether lists and tables are nested deeper than any; `tomllib` would call itself for each level."""
    depth = 0
    for match in _BRACKET.finditer(text):
        depth += bool(match[1]) - bool(match[2])
        if depth > 2 * DEEPEST:
            return True
    return False


def parse(text: str | bytes, file: Path | str, error: type[SegdataError] = InvalidManifest) -> dict[str, Any]:
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


def read(path: Path, error: type[SegdataError] = InvalidManifest) -> dict[str, Any]:
    """The tables of a TOML file; see `parse`.

    Raises:
        NotThere: there is no such file.
    """
    with disk_errors(path), open_file(path) as file:
        data = file.read(MOST_BYTES + 1)
    return parse(data, path, error)


class _NotToml(ValueError):
    """Why a text is no TOML, and where."""

    def __init__(self, why: str, place: str | None = None, fix: str | None = None) -> None:
        super().__init__(why)
        self.why, self.place, self.fix = why, place, fix


def _tables(text: str | bytes) -> dict[str, Any]:
    if len(text) > MOST_BYTES:
        raise _NotToml(f"it has more than {MOST_BYTES:,} bytes")
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
    if beyond := bounds.beyond(tables, DEEPEST, is_finite=True):
        raise _NotToml(*beyond)
    return tables


def convert(table: dict[str, Any], kind: type[T], file: str, prefix: str = "") -> T:
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
