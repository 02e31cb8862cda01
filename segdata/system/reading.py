"""Open files for reading: a pipe, socket or device in a file's place is refused, and nothing waits for one.

Errors of the operating system name the file, also those of a later read: a failing disk tells them then.
"""

from __future__ import annotations

import mmap
import os
import stat
from io import BufferedReader, FileIO, TextIOWrapper
from pathlib import Path
from typing import Any

from segdata.errors import DiskError


class _File(FileIO):
    """A file without buffer whose errors name it."""

    def readinto(self, buffer: Any) -> int:
        try:
            return super().readinto(buffer)
        except OSError as error:
            _name(error, self.name)
            raise

    def readall(self) -> bytes:
        try:
            return super().readall()
        except OSError as error:
            _name(error, self.name)
            raise


def _name(error: OSError, path: Path | str) -> None:
    """Say which file an error is about, as those of reading and mapping do not."""
    if error.filename is None:
        error.filename = os.fspath(path)


def open_file(path: Path | str) -> BufferedReader:
    """A file opened for reading its bytes.

    Raises:
        OSError: it cannot be opened, or a later read fails; `disk_errors` says why.
        DiskError: it is no file.
    """
    try:
        return BufferedReader(_File(path, opener=_descriptor))
    except OSError as error:
        _name(error, path)
        raise


def read_file(path: Path | str) -> bytes:
    """All bytes of a file; raises as `open_file` does."""
    try:
        with open(path, "rb", opener=_descriptor) as file:
            return file.read()
    except OSError as error:
        _name(error, path)
        raise


def read_text(path: Path | str, errors: str = "strict") -> str:
    """All text of a file in UTF-8, its line ends as "\\n"; raises as `open_file` does.

    Raises:
        UnicodeDecodeError: it is not UTF-8, and `errors` is "strict".
    """
    with TextIOWrapper(open_file(path), encoding="utf-8", errors=errors) as file:
        return file.read()


def map_file(file: BufferedReader) -> mmap.mmap:
    """The bytes of an opened file, mapped into memory for reading.

    Raises:
        OSError: it cannot be mapped; `disk_errors` says why.
        ValueError: it is empty.
    """
    try:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        _name(error, file.name)
        raise


def require_file(path: Path | str) -> None:
    """Raise as `open_file` does: for libraries that open a file by its name."""
    open_file(path).close()


def _descriptor(path: str, flags: int) -> int:
    """The descriptor of a file; a folder is left to `open`, which refuses it."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)  # the open of a pipe that nobody writes to would wait
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return descriptor
    os.close(descriptor)
    raise DiskError(
        f"{_KINDS.get(stat.S_IFMT(mode), 'something else')} stands where a file is expected",
        file=path,
        fix="give a file: what comes from a pipe or device has to be written to one first",
    )


_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
