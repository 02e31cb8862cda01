"""What was computed once for a pack and its predictions, in the user's cache folder: the next start need not wait for it.

A file is `.npz` with the checksum of its bytes before it, named for the version of the data. One that is damaged is made
anew, and where nothing can be written nothing is kept. All of them can be removed at any time; the oldest go by themselves.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.errors import SegdataError
from segdata.system.files import crc32, write_whole
from segdata.system.reading import read_file
from segdata.version import __version__

_HEAD = b"segdata comparison 1\n"
_FILES = 16
"""Most files that are kept."""


def load(version: str) -> dict[str, npt.NDArray[Any]] | None:
    """The arrays that were kept for a version of the data; None where there are none, or they are damaged."""
    try:
        data = read_file(_path(version))
        checksum, whole = data[len(_HEAD) : len(_HEAD) + 8], data[len(_HEAD) + 9 :]
        if not data.startswith(_HEAD) or checksum != b"%08x" % crc32(whole):
            return None
        with np.load(io.BytesIO(whole), allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, SegdataError):
        return None


def save(version: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Keep arrays for a version of the data."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    data = buffer.getvalue()
    path = _path(version)
    with contextlib.suppress(OSError, SegdataError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, _HEAD + b"%08x\n" % crc32(data) + data)
        files = sorted(path.parent.glob("*.comparison"), key=lambda file: file.stat().st_mtime)
        for file in files[:-_FILES]:
            file.unlink()


def _path(version: str) -> Path:
    from platformdirs import user_cache_path

    digest = hashlib.sha256(f"{__version__} {version}".encode()).hexdigest()[:32]
    return user_cache_path("segdata") / "comparisons" / f"{digest}.comparison"
