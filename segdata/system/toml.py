"""TOML tables from somebody else, checked at the door: what is unknown, missing or of another type is named with its place."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from segdata.errors import InvalidManifest


def parse(text: str, file: str) -> dict[str, Any]:
    """The tables of a TOML text; what is no TOML is refused with line and column."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"line \d+, column \d+", str(error))
        raise InvalidManifest(
            "manifest is not TOML",
            file=file,
            place=place.group() if place else None,
            why=str(error).split(" (at")[0],
        ) from error


def named(document: Any, place: str, file: str) -> list[tuple[str, dict[str, Any]]]:
    """The (name, table) pairs of a table of tables."""
    if not isinstance(document, dict) or not all(isinstance(table, dict) for table in document.values()):
        raise InvalidManifest(f"{place} is not a set of tables", file=file, place=place, fix=f"write [{place}.NAME]")
    return list(document.items())


def typed(table: Mapping[str, Any], key: str, kind: type, file: str, place: str) -> Any:
    """A value that must be there, of exactly this type."""
    if key not in table:
        raise InvalidManifest(f"manifest lacks {key!r}", file=file, place=place, fix=f"add {key} = …")
    if type(table[key]) is not kind:
        raise InvalidManifest(
            f"{key!r} is of the wrong type",
            file=file,
            place=place,
            why=f"expected {kind.__name__}, found {table[key]!r}"[:200],
        )
    return table[key]


def unknown(file: str, place: str, key: str, known: tuple[str, ...]) -> InvalidManifest:
    """The error for a key that the schema does not have; a close one is suggested."""
    close = difflib.get_close_matches(key, known, n=1)
    return InvalidManifest(
        f"manifest has an unknown key {key!r}",
        file=file,
        place=place,
        why=f"known are {', '.join(known)}",
        fix=f"did you mean {close[0]!r}?" if close else "remove it",
    )
