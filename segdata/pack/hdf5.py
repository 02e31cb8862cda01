"""Lay out HDF5 files: the offset of every array, and the bytes that make the file readable by any HDF5 tool.

The HDF5 library never touches the disk: it writes to a file-like object that records the few kilobytes of structure,
and the arrays are then written at the known offsets. A full disk is therefore an ordinary error (the library itself can end
the process on one), and large arrays are streamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

ALIGNMENT = 64
"""Bytes; the offset of every array is a multiple of it."""


@dataclass(frozen=True)
class FileLayout:
    """Where everything lies in one HDF5 file.

    Attributes:
        size: bytes of the whole file.
        offsets: name → byte offset of the array; None for an array without elements.
        structure: (offset, bytes) of everything that is not array data.
    """

    size: int
    offsets: Mapping[str, int | None]
    structure: tuple[tuple[int, bytes], ...]

    @classmethod
    def of(cls, arrays: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> FileLayout:
        """Lay out arrays (name → shape, dtype): contiguous, little-endian, aligned, without timestamps or filters.

        The oldest file version is used: with newer ones the bytes depend on the time.
        """
        import h5py

        recorder = _Recorder()
        options = {"alignment_threshold": 1, "alignment_interval": ALIGNMENT}
        with h5py.File(recorder, "w", libver="earliest", **options) as file:
            offsets = {name: _create(file, name, shape, dtype) for name, (shape, dtype) in arrays.items()}
        return cls(recorder.size, offsets, recorder.pieces())

    def write(self, file: BinaryIO) -> None:
        """Write the structure and extend the file to its full size; the caller writes the arrays."""
        file.truncate(self.size)
        for offset, data in self.structure:
            file.seek(offset)
            file.write(data)
        file.flush()


def _create(file: Any, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int | None:
    """Create a data set and return the byte offset of its elements; None where it has none."""
    import h5py

    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)
    link = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    link.set_create_intermediate_group(True)
    space = h5py.h5s.create_simple(shape)
    kind = h5py.h5t.py_create(dtype.newbyteorder("<"), logical=True)
    dataset = h5py.h5d.create(file.id, name.encode(), kind, space, dcpl=properties, lcpl=link)
    offset: int | None = dataset.get_offset()
    return offset


class _Recorder:
    """A file-like object that keeps what is written by offset, with zeros everywhere else."""

    def __init__(self) -> None:
        self.size = 0
        self._position = 0
        self._written: dict[int, bytes] = {}

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset if whence == 0 else offset + (self._position if whence == 1 else self.size)
        return self._position

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        self._written[self._position] = bytes(data)
        self._position += len(data)
        self.size = max(self.size, self._position)
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        self.size = self._position if size is None else size
        return self.size

    def read(self, size: int) -> bytes:
        buffer = bytearray(size)
        return bytes(buffer[: self.readinto(buffer)])

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        begin, end = self._position, min(self._position + len(view), self.size)
        view[: end - begin] = bytes(end - begin)
        for offset, data in self._written.items():
            low, high = max(begin, offset), min(end, offset + len(data))
            if low < high:
                view[low - begin : high - begin] = data[low - offset : high - offset]
        self._position = end
        return end - begin

    def flush(self) -> None:
        """Nothing is buffered."""

    def pieces(self) -> tuple[tuple[int, bytes], ...]:
        return tuple(sorted(self._written.items()))
