"""Parquet files of a dataset: which splits they are, their schema, and their rows a few at a time.

pyarrow decodes; it is imported when a file is opened, so that everything else needs no pyarrow.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import local
from typing import TYPE_CHECKING, Any

from segdata.errors import InvalidAnnotation, UsageError
from segdata.formats.shared.folder import folders_in, names_in
from segdata.system.files import disk_errors, inside

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

AT_ONCE = 16
"""Rows that are decoded together."""

MOST = 2 << 30
"""Bytes that a row group may take decoded."""

_OPEN = 4
"""Files that a thread keeps open."""

_NUMBERED = re.compile(r"(?P<split>.+?)-\d{5}-of-\d{5}(-[0-9a-f]+)?")
_DATA = ("data", "default")
"""Names of folders that are no splits."""


def arrow() -> tuple[Any, Any]:
    """The modules `pyarrow` and `pyarrow.parquet`.

    Raises:
        UsageError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(
            "Parquet files need pyarrow, which is not installed", fix="pip install 'segdata[parquet]'"
        ) from error
    return pyarrow, pyarrow.parquet


def listed(root: Path) -> dict[str, list[str]]:
    """Split → its files under the root, in the order of their names; in the folder, or in folders below it."""
    splits: dict[str, list[str]] = {}
    for folder in ("", *folders_in(root)):
        for name in names_in(root / folder, ".parquet"):
            numbered = _NUMBERED.fullmatch(name[: -len(".parquet")])
            if numbered:
                split = numbered["split"]
            elif folder and folder not in _DATA:
                split = folder
            else:
                split = name[: -len(".parquet")]
            splits.setdefault(split, []).append(f"{folder}/{name}" if folder else name)
    return splits


def opened(root: Path, name: str) -> pq.ParquetFile:
    """A file whose metadata is read and plausible.

    Raises:
        InvalidAnnotation: no Parquet file, or a row group would take more than `MOST` bytes.
    """
    pa, parquet = arrow()
    path = inside(root, name, "the dataset")
    with disk_errors(path):
        try:
            file = parquet.ParquetFile(
                path, memory_map=True, thrift_string_size_limit=1 << 26, thrift_container_size_limit=1 << 22
            )
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno:
                raise
            raise _damaged(path, error) from error
    for group in range(file.metadata.num_row_groups):
        size = file.metadata.row_group(group).total_byte_size  # what pyarrow says of a damaged column ends the process
        if not 0 <= size <= MOST:
            raise InvalidAnnotation(
                "a row group is larger than segdata reads",
                file=path,
                place=f"row group {group}",
                why=f"it takes {size >> 20:,} MiB decoded, segdata takes {MOST >> 20:,}",
                fix="write the file again with smaller row groups: Dataset.to_parquet(batch_size=100)",
            )
    return file


def _damaged(path: Path, error: Exception) -> InvalidAnnotation:
    return InvalidAnnotation(
        "this is no Parquet file, or a damaged one", file=path, why=str(error)[:200] or "it has fewer rows than it says"
    )


def features(schema: pa.Schema) -> Mapping[str, Any]:
    """What the schema's metadata say of the columns' features; nothing where they say none."""
    metadata = schema.metadata or {}
    try:
        document = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def column(root: Path, name: str, wanted: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Every row of a file with these columns alone."""
    pa, _ = arrow()
    file = opened(root, name)
    try:
        for batch in file.iter_batches(batch_size=1024, columns=list(wanted), use_threads=False):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(root / name, error) from error


# ---------------------------------------------------------------------- rows, one after the other


class _Reader:
    """One file, read forwards."""

    def __init__(self, root: Path, name: str) -> None:
        self._path = root / name
        self._file = opened(root, name)
        self._rows: list[dict[str, Any]] = []
        self._first = self._next = -AT_ONCE
        self._batches: Iterator[Any] = iter(())

    def row(self, index: int) -> dict[str, Any]:
        pa, _ = arrow()
        try:
            if not self._first <= index < self._next + AT_ONCE:
                self._seek(index)
            while index >= self._next:
                self._rows = next(self._batches).to_pylist()
                self._first, self._next = self._next, self._next + len(self._rows)
        except (pa.ArrowException, OSError, ValueError, StopIteration) as error:
            raise _damaged(self._path, error) from error
        return self._rows[index - self._first]

    def _seek(self, index: int) -> None:
        """Begin anew with the row group that holds a row."""
        first = 0
        for group in range(self._file.metadata.num_row_groups):
            count = self._file.metadata.row_group(group).num_rows
            if index < first + count:
                break
            first += count
        groups = range(group, self._file.metadata.num_row_groups)
        self._rows, self._first, self._next = [], first, first
        self._batches = self._file.iter_batches(batch_size=AT_ONCE, row_groups=list(groups), use_threads=False)


_readers = local()


def row(root: Path, name: str, index: int) -> dict[str, Any]:
    """One row of a file as Python objects; rows that follow each other are read together."""
    kept: OrderedDict[tuple[str, int], _Reader] = _readers.__dict__.setdefault("kept", OrderedDict())
    path = root / name
    with disk_errors(path):
        key = (str(path), path.stat().st_mtime_ns)
    if key not in kept:
        kept[key] = _Reader(root, name)
    kept.move_to_end(key)
    while len(kept) > _OPEN:
        kept.popitem(last=False)
    return kept[key].row(index)
