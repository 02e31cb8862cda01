"""Open files for reading: a pipe, socket or device in a file's place is refused, and nothing waits for one."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

from segdata.errors import DiskError


def open_file(path: Path | str) -> BufferedReader:
    """A file opened for reading its bytes.

    Raises:
        OSError: it cannot be opened; `disk_errors` says why.
        DiskError: it is no file.
    """
    return open(path, "rb", opener=_descriptor)


def read_file(path: Path | str) -> bytes:
    """All bytes of a file; raises as `open_file` does."""
    with open_file(path) as file:
        return file.read()


def read_text(path: Path | str, errors: str = "strict") -> str:
    """All text of a file in UTF-8, its line ends as "\\n"; raises as `open_file` does.

    Raises:
        UnicodeDecodeError: it is not UTF-8, and `errors` is "strict".
    """
    with open(path, encoding="utf-8", errors=errors, opener=_descriptor) as file:
        return file.read()


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
