"""Read JSON documents that segdata wrote itself (checkpoints, runs, receipts) into msgspec types: whole, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from segdata.errors import DamagedData
from segdata.system import bounds
from segdata.system.files import disk_errors
from segdata.system.reading import open_file

T = TypeVar("T")

MOST_BYTES = 64 << 20
"""Of a document that becomes Python objects, which take up to ten times as many."""

DEEPEST = 32
"""Levels of a document."""


def read(path: Path, kind: type[T], what: str, *, fix: str | None = None) -> T:
    """A document from a file; see `parse`.

    Raises:
        NotThere: there is no such file.
        DiskError: it cannot be read.
    """
    with disk_errors(path), open_file(path) as file:
        data = file.read(MOST_BYTES + 1)
    return parse(data, kind, what, path, fix=fix)


def parse(data: bytes, kind: type[T], what: str, file: Path, *, fix: str | None = None) -> T:
    """A document as `kind`, any type that msgspec knows; members that a struct does not name are passed over.

    Args:
        what: the document, for messages: "the receipt".

    Raises:
        DamagedData: not JSON, nested too deep, too large, or of another shape: the member is named.
    """
    why, place = f"it has more than {MOST_BYTES:,} bytes", ""
    if len(data) <= MOST_BYTES:
        try:
            document = json.loads(data)
            wrong = bounds.beyond(document, DEEPEST, is_finite=False)
            if wrong is None:
                return shape_of(document, kind, what, file, fix=fix)
            why, place = wrong
        except RecursionError:
            why = "it is nested too deep"
        except ValueError as error:
            why = f"it is not JSON: {error}"[:200]
    raise DamagedData(f"{what} is damaged", file=file, place=place or None, why=why, fix=fix)


def shape_of(document: Any, kind: type[T], what: str, file: Path | str, *, fix: str | None = None) -> T:
    """A part of a document that was read already, as `kind`.

    Raises:
        DamagedData: it has another shape.
    """
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        why, _, place = str(error).splitlines()[0].partition(" - at ")
        raise DamagedData(f"{what} is damaged", file=file, place=place or None, why=why, fix=fix) from error
