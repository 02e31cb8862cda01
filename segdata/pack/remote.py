"""The files of a pack at an address: tables are fetched whole and mapped, of images the parts that are asked for."""

from __future__ import annotations

import io
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt

from segdata.errors import DamagedData
from segdata.pack.tables import Checked, Limits, MappedFile
from segdata.places.address import Address
from segdata.places.bucket import bucket
from segdata.places.cache import Cache
from segdata.system.files import crc32
from segdata.system.reading import open_file


class FetchedFile(MappedFile):
    """A file that was fetched whole, mapped; what is damaged in the cache is fetched again, once."""

    def __init__(self, address: Address, entry: Mapping[str, Any], limits: Limits, checked: Checked | None) -> None:
        self._address = address
        self._is_new = False
        super().__init__(address, entry, limits, checked)

    def _map(self) -> None:
        self.map_at(fetched(self._address, self.entry, again=self._is_new))

    def _read(self, name: str) -> npt.NDArray[Any] | None:
        try:
            return super()._read(name)
        except DamagedData:
            if self._is_new:
                raise
        self._is_new = True
        self._map()
        return super()._read(name)


class Coming(NamedTuple):
    """A photo in the answer of a request that was made before it was asked for."""

    answer: Future[memoryview]
    begin: int
    length: int

    def get(self) -> memoryview | None:
        """(length,) uint8; None where the request was given up."""
        try:
            return self.answer.result()[self.begin : self.begin + self.length]
        except CancelledError:
            return None


class RangedFile:
    """A file of images of which parts are fetched.

    Attributes:
        path: its address.
        coming: offset → a photo that was asked for before it is needed.
    """

    def __init__(self, address: Address, entry: Mapping[str, Any]) -> None:
        self.path = address / entry["file"]
        self.coming: dict[int, Coming] = {}
        self._entry = entry
        self._bucket = bucket(address)
        self._begin = int(entry["arrays"]["images/data"]["offset"] or 0)
        self._kept = Cache(address.reading).photos(dict(entry))

    def length(self, name: str) -> int:
        """Number of rows of an array, from the index."""
        return int(self._entry["arrays"][name]["shape"][0])

    def image(self, offset: int, length: int, checksum: int) -> memoryview:
        """(length,) uint8, bytes of an image; fewer where the file ends before.

        Args:
            checksum: its crc32, as the table says: what is kept and has another is fetched.

        Raises:
            SegdataError: they cannot be fetched.
        """
        coming = self.coming.pop(offset, None)
        data = None if coming is None else coming.get()
        if data is None:
            if self._kept is not None and (kept := self._kept.get(self._begin + offset, length, checksum)) is not None:
                return kept
            data = self.part(offset, length)
        if self._kept is not None and len(data) == length and crc32(data) == checksum:
            self._kept.keep(self._begin + offset, data)
        return data

    def has(self, offset: int, length: int, checksum: int) -> bool:
        """Whether an image is kept."""
        return self._kept is not None and self._kept.get(self._begin + offset, length, checksum) is not None

    def part(self, offset: int, length: int) -> memoryview:
        """(length,) uint8, fetched bytes of `images/data`; fewer where the file ends before.

        Raises:
            SegdataError: they cannot be fetched.
        """
        return self._bucket.part(self._entry["file"], self._begin + offset, length)


class _Stream(io.RawIOBase):
    """A file at an address, read from any place on."""

    def __init__(self, address: Address, entry: Mapping[str, Any]) -> None:
        self._bucket = bucket(address)
        self._entry = entry
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._entry["bytes"]}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self._entry["bytes"] - self._at)
        data = self._bucket.part(self._entry["file"], self._at, max(length, 0))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


_BUFFER = 1 << 23


def open_entry(folder: Path, entry: Mapping[str, Any]) -> io.BufferedReader:
    """A file of a pack opened for reading, wherever the pack is.

    Raises:
        OSError: it cannot be opened; `disk_errors` says why.
        SegdataError: it cannot be fetched.
    """
    if not isinstance(folder, Address):
        return open_file(folder / entry["file"])
    if "images/data" in entry["arrays"]:
        return io.BufferedReader(_Stream(folder, entry), _BUFFER)
    return open_file(fetched(folder, entry))


def size_of(folder: Path, entry: Mapping[str, Any]) -> int | None:
    """Bytes of a file of a pack, wherever the pack is; None where it is missing."""
    if isinstance(folder, Address):
        return bucket(folder).size(entry["file"])
    path = folder / entry["file"]
    return path.stat().st_size if path.is_file() else None


def fetched(address: Address, entry: Mapping[str, Any], *, again: bool = False) -> Path:
    """A whole file in the cache."""
    return Cache(address.reading).file(bucket(address), dict(entry), again=again)
