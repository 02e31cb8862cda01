"""Free disk space: the free bytes of the disk, or of the user's quota where they are fewer."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from pathlib import Path

from segdata.system.files import nearest_existing


def free_bytes(path: Path) -> int:
    """Bytes that this user may still write at `path`, which need not exist yet."""
    folder = nearest_existing(path)
    return min(shutil.disk_usage(folder).free, _free_quota(folder))


class _Quota(ctypes.Structure):
    """`struct if_dqblk` of <linux/quota.h>: limits in KiB, usage in bytes."""

    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("hard", "soft", "used", "files_hard", "files_soft", "files_used")),
        *(("bytes_time", ctypes.c_uint64), ("files_time", ctypes.c_uint64), ("valid", ctypes.c_uint32)),
    ]


_QUOTACTL_FD = 443  # Linux 5.14, the same number on all machines
_GET_USER_QUOTA = 0x800007 << 8


def _free_quota(folder: Path) -> int:
    """Free bytes of this user's quota; a very large number where there is none."""
    unlimited = 1 << 62
    if sys.platform != "linux":
        return unlimited
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # writing there will say why
        return unlimited
    quota = _Quota()
    try:
        status = ctypes.CDLL(None).syscall(_QUOTACTL_FD, descriptor, _GET_USER_QUOTA, os.geteuid(), ctypes.byref(quota))
    finally:
        os.close(descriptor)
    return unlimited if status != 0 or not quota.hard else max(quota.hard * 1024 - quota.used, 0)
