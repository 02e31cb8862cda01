"""The file in which is kept what was found once for a pack and its predictions: nobody holds all of it in memory.

    segdata comparison 2 ↵
    the columns of all records, one after another
    an index in JSON: of each record its name and checksum, and of its columns name, dtype, length and place
    16 bytes: the index's length and checksum, in hexadecimal digits

Whole numbers take as few bytes as the largest of a column needs. Files are in the user's cache folder, named for the version
of the data, and the next start finds them there. One that is damaged is made anew, and where nothing can be written a
temporary file has its place. All of them can be removed at any time; the oldest go by themselves.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import weakref
import zlib
from collections.abc import Iterator, Mapping
from io import BufferedWriter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import FloatArray, IntArray
from segdata.errors import SegdataError
from segdata.system.files import crc32, disk_errors, is_running
from segdata.system.reading import open_file
from segdata.version import __version__

_HEAD = b"segdata comparison 2\n"
_TAIL = 16
_FILES = 16
"""Most files that are kept."""


class Record:
    """Columns of the file by name, each read when it is asked for."""

    def __init__(self, file: Kept, entry: Mapping[str, Any]) -> None:
        self._file = file
        self._entry = entry
        self.name: str = entry["name"]

    def _raw(self, name: str) -> npt.NDArray[Any]:
        dtype, length, offset = self._entry["columns"][name]
        data = self._file.read(offset, length * np.dtype(dtype).itemsize)
        return np.frombuffer(data, dtype)

    def compact(self, name: str) -> npt.NDArray[Any]:
        """A column in the dtype that it is kept in."""
        return self._raw(name)

    def whole(self, name: str) -> IntArray:
        """A column of whole numbers, int64."""
        return self._raw(name).astype(np.int64)

    def floats(self, name: str) -> FloatArray:
        """A column of float64."""
        return self._raw(name)

    def require_intact(self) -> None:
        """Raise `ValueError` where its columns are not as they were written."""
        checksum = 0
        for name in self._entry["columns"]:
            checksum = zlib.crc32(self._raw(name).tobytes(), checksum)
        if checksum != self._entry["crc32"]:
            raise ValueError("a record is damaged")


class Kept:
    """A file that was written as a whole.

    Raises:
        OSError, ValueError: there is none, or it is damaged.
    """

    def __init__(self, path: Path) -> None:
        with open_file(path) as file:
            size = file.seek(0, 2)
            self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)
        tail = self.read(size - _TAIL, _TAIL)
        length = int(tail[:8], 16)
        index = self.read(size - _TAIL - length, length)
        if self.read(0, len(_HEAD)) != _HEAD or crc32(index) != int(tail[8:], 16):
            raise ValueError("it is no file of this version, or damaged")
        self.records = [Record(self, entry) for entry in json.loads(index)]
        for record in self.records:
            record.require_intact()

    def read(self, offset: int, length: int) -> bytes:
        """Some bytes of it.

        Raises:
            OSError, ValueError: it cannot be read, or is shorter.
        """
        if offset < 0:
            raise ValueError("the file is too short")
        data = os.pread(self._descriptor, length, offset)
        while len(data) < length:
            more = os.pread(self._descriptor, length - len(data), offset + len(data))
            if not more:
                raise ValueError("the file is too short")
            data += more
        return data


class Writer:
    """Appends records to a file that is being made."""

    def __init__(self, file: BufferedWriter) -> None:
        self._file = file
        self._file.write(_HEAD)
        self._entries: list[dict[str, Any]] = []

    def append(self, name: str, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write columns, (L,) each; whole numbers must not be negative."""
        entry: dict[str, Any] = {"name": name, "columns": {}}
        checksum = 0
        for column, values in columns.items():
            data = _compact(values)
            entry["columns"][column] = [data.dtype.str, len(data), self._file.tell()]
            checksum = zlib.crc32(data.tobytes(), checksum)
            self._file.write(data.tobytes())
        self._entries.append(entry | {"crc32": checksum})

    def finish(self) -> None:
        """Write the index."""
        index = json.dumps(self._entries).encode()
        self._file.write(index + b"%08x%08x" % (len(index), crc32(index)))


@contextlib.contextmanager
def written(path: Path) -> Iterator[Writer]:
    """A file that stands at its place when all of it is written.

    Raises:
        DiskError: it cannot be written; nothing is left behind.
    """
    part = unfinished(path, os.getpid())
    with disk_errors(path):
        try:
            with part.open("wb") as file:
                writer = Writer(file)
                yield writer
                writer.finish()
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def unfinished(path: Path, process: int) -> Path:
    """What a process writes until the file is whole."""
    return path.with_name(f".{path.name}.part-{process}")


def kept(version: str) -> Kept | None:
    """What was kept for a version of the data; None where there is nothing, or it is damaged."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, SegdataError):
        return Kept(_path(version))
    return None


def place(version: str) -> Path:
    """Where the file of a version is to be written: in the cache folder, else a temporary folder."""
    path = _path(version)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files = sorted(path.parent.glob("*.comparison"), key=lambda file: file.stat().st_mtime)
        for file in files[: 1 - _FILES]:
            file.unlink()
        for file in path.parent.glob(".*.part-*"):
            if not is_running(int(file.suffix.rpartition("-")[2])):
                file.unlink()
        with tempfile.TemporaryFile(dir=path.parent):
            return path
    except (OSError, ValueError):
        return Path(tempfile.mkdtemp(prefix="segdata-view-")) / path.name


def is_temporary(path: Path) -> bool:
    """Whether a file is to be removed once it is open."""
    return path.parent != _path("").parent


def _path(version: str) -> Path:
    from platformdirs import user_cache_path

    digest = hashlib.sha256(f"{__version__} {version}".encode()).hexdigest()[:32]
    return user_cache_path("segdata") / "comparisons" / f"{digest}.comparison"


def _compact(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same numbers in as few bytes as they need, little-endian."""
    if values.dtype.kind == "f":
        return values.astype("<f8", copy=False)
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    dtype = np.min_scalar_type(int(values.max(initial=0)))
    return values.astype(dtype.newbyteorder("<"))
