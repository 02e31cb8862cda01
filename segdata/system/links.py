"""A second name for a file that does not change, or a copy where the file system gives none."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import BinaryIO

from segdata.system.files import disk_errors, real_path
from segdata.system.reading import open_file

_REFUSED = (
    errno.EXDEV,  # another file system
    errno.EPERM,  # one without hard links; or a file of another user, where the kernel protects those
    errno.EACCES,
    errno.EMLINK,  # as many names as a file may have
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EINVAL,
)
_AT_ONCE = 1 << 30


def link_or_copy(source: Path, target: Path) -> bool:
    """Give a file a second name (a hard link), or copy it where that is refused.

    Both names are of the same bytes: whoever writes to one file writes to the other. Only files that are never written
    to again may be linked.

    Args:
        target: the new name; nothing is there.

    Returns:
        Whether it is a link; False for a copy, which is on the disk then.

    Raises:
        DiskError: the file can neither be linked nor copied, or there is something of this name.
        NotThere: there is no such file.
    """
    with disk_errors(target):
        try:
            os.link(real_path(source), target)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
        else:
            return True
        with open_file(source) as file, target.open("xb") as copy:
            _copy(file, copy)
            copy.flush()
            os.fsync(copy.fileno())
    return False


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    """Copy a file, within the kernel where it can: file systems with shared blocks copy nothing then."""
    if hasattr(os, "copy_file_range"):
        try:
            while os.copy_file_range(source.fileno(), target.fileno(), _AT_ONCE):
                pass
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            source.seek(0)
            target.seek(0)
            target.truncate()
        else:
            return
    shutil.copyfileobj(source, target, 1 << 22)
