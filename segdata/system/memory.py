"""How the memory of large arrays is kept by the C library."""

from __future__ import annotations

import ctypes
import sys

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of <malloc.h>
_BYTES = 1 << 17


def give_back_large_arrays() -> None:
    """From now on, memory of 128 KiB and more goes back to the system when it is let go, for a process that runs for long.

    glibc raises that limit by itself to 32 MiB, and keeps what lies below what is still in use. Elsewhere nothing is done.
    """
    if sys.platform != "linux":
        return
    try:
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _BYTES)
    except (OSError, AttributeError):  # another C library
        return
