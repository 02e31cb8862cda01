"""How the memory of large arrays is kept by the C library."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENAS = -1, -3, -8  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX of <malloc.h>
_TRIM, _LARGE = 16 << 20, 4 << 20


def give_back_large_arrays() -> None:
    """From now on, memory of 4 MiB and more goes back to the system when it is let go, for a process that runs for long.

    glibc raises that limit by itself to 32 MiB, and keeps what lies below what is still in use. What is smaller is kept for
    the next, up to 16 MiB, by all threads together. Elsewhere nothing is done.
    """
    if sys.platform != "linux":
        return
    try:
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _LARGE)
        library.mallopt(_TRIM_THRESHOLD, _TRIM)
        library.mallopt(_ARENAS, 1)
    except (OSError, AttributeError):  # another C library
        return


def give_back() -> None:
    """Give back to the system what memory is free, some milliseconds' work; elsewhere than with glibc nothing is done."""
    if sys.platform != "linux":
        return
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):  # another C library
        return
