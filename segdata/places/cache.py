"""What was fetched from addresses, kept in a folder of this machine.

    FOLDER/segdata-places/
        9f3a…c1.table       a whole file of a pack, named for its SHA-256
        51c2…07.images      a file of images with holes: the photos that were read are where they are in the original

Names are those of contents, so nothing becomes stale, and packs that share files share what is kept. A photo has a
checksum in the table: a hole, like a damaged part, does not have it, and is fetched. Only files with such names in that
folder are ever removed, those first that were used the longest time ago.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from segdata.errors import DamagedData
from segdata.places.address import Reading
from segdata.places.bucket import PIECE, Bucket
from segdata.system.files import crc32, disk_errors

FOLDER = "segdata-places"

_NAME = re.compile(r"[0-9a-f]{64}\.(table|images)")
_PART = re.compile(r"\.[0-9a-f]{64}\.table\.part-\d+-\d+")
_LOOK_AGAIN = 1 << 26
"""Bytes of photos that are written before the folder's size is looked at again."""


class Kept(NamedTuple):
    """A file in the cache's folder.

    Attributes:
        used: when it was used last, nanoseconds since 1970.
        bytes: that it has on the disk; holes have none.
        path: where it is.
    """

    used: int
    bytes: int
    path: Path


class Cache:
    """The folder of one pack's `Reading`.

    Attributes:
        folder: where the files are.
        keeps_photos: whether photos are kept, too.
    """

    def __init__(self, reading: Reading) -> None:
        self.keeps_photos = reading.cache is not None
        self.folder = (reading.cache or _of_user()) / FOLDER
        self.limit = reading.cache_limit

    def file(self, bucket: Bucket, entry: dict[str, Any], *, again: bool = False) -> Path:
        """A whole file, fetched unless it is there.

        Args:
            entry: its `file`, `bytes` and `sha256`.
            again: fetch it also where it is there: it is damaged.

        Raises:
            DamagedData: it is not at the address, or not what the index says.
            DiskError: it cannot be kept.
            SegdataError: it cannot be fetched.
        """
        path = self.folder / f"{entry['sha256']}.table"
        with contextlib.suppress(FileNotFoundError):
            if not again and path.stat().st_size == entry["bytes"]:
                os.utime(path)
                return path
        with disk_errors(path):
            self.folder.mkdir(parents=True, exist_ok=True)
            self.make_room(entry["bytes"])
            part = path.with_name(f".{path.name}.part-{os.getpid()}-{threading.get_ident()}")
            try:
                with part.open("wb") as out:
                    fetch(bucket, entry, out.write)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        return path

    def photos(self, entry: dict[str, Any]) -> Photos | None:
        """The photos of a file that are kept; None where none are to be."""
        return Photos(self, entry) if self.keeps_photos else None

    def make_room(self, wanted: int, spared: Path | None = None) -> bool:
        """Remove what was used the longest time ago until so many bytes fit; whether they do.

        Args:
            spared: a file that stays.
        """
        if self.limit is None:
            return True
        files = self.kept()
        total = wanted + sum(file.bytes for file in files)
        for file in oldest_above(files, self.limit - wanted, spared):
            file.path.unlink(missing_ok=True)  # stays readable where it is mapped
            total -= file.bytes
        return total <= self.limit

    def kept(self) -> list[Kept]:
        """What is kept, what was used the longest time ago first."""
        return self._files(_NAME)

    def parts(self) -> list[Kept]:
        """Temporary files of tables that are being fetched, or whose process was killed."""
        return self._files(_PART)

    def _files(self, names: re.Pattern[str]) -> list[Kept]:
        files = []
        if not self.folder.is_dir():
            return []
        for entry in os.scandir(self.folder):
            with contextlib.suppress(FileNotFoundError):  # another process removed it meanwhile
                if names.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    files.append(Kept(status.st_mtime_ns, status.st_blocks * 512, Path(entry.path)))
        return sorted(files)


def oldest_above(files: list[Kept], limit: int, spared: Path | None = None) -> list[Kept]:
    """What has to go, of files the oldest of which are first, so that the others have at most so many bytes."""
    total, gone = sum(file.bytes for file in files), []
    for file in files:
        if total <= limit:
            break
        if file.path != spared:
            gone.append(file)
            total -= file.bytes
    return gone


class Photos:
    """A file of images with holes, where no photo was kept yet."""

    def __init__(self, cache: Cache, entry: dict[str, Any]) -> None:
        self._cache = cache
        self._size = entry["bytes"]
        self.path = cache.folder / f"{entry['sha256']}.images"
        self._opened: dict[str, tuple[int, mmap.mmap]] = {}
        self._unseen = _LOOK_AGAIN
        self._is_full = False

    def get(self, begin: int, length: int, checksum: int) -> memoryview | None:
        """(length,) uint8, a photo that is kept and has this crc32; None for any other."""
        _, mapped = self._file()
        data = memoryview(mapped)[begin : begin + length]
        return data if crc32(data) == checksum else None

    def keep(self, begin: int, data: memoryview) -> None:
        """Keep a photo, if the limit leaves room for it.

        Raises:
            DiskError: the disk is full.
        """
        descriptor, _ = self._file()
        self._unseen += len(data)
        if self._unseen > min(_LOOK_AGAIN, (self._cache.limit or _LOOK_AGAIN) // 16):
            self._unseen = 0
            with contextlib.suppress(FileNotFoundError):
                os.utime(self.path)
            self._is_full = not self._cache.make_room(len(data), self.path)
        if self._is_full:
            return
        with disk_errors(self.path):
            os.pwrite(descriptor, data, begin)

    def _file(self) -> tuple[int, mmap.mmap]:
        """Its descriptor and mapping. Without a lock, which another thread may hold when a process is forked."""
        if "file" in self._opened:
            return self._opened["file"]
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            os.ftruncate(descriptor, self._size)
            mine = descriptor, mmap.mmap(descriptor, self._size, prot=mmap.PROT_READ)
        if self._opened.setdefault("file", mine) is not mine:  # another thread was first
            os.close(descriptor)
        return self._opened["file"]

    def __del__(self) -> None:
        for descriptor, _ in self._opened.values():
            with contextlib.suppress(OSError):
                os.close(descriptor)


def fetch(
    bucket: Bucket,
    entry: dict[str, Any],
    write: Callable[[memoryview], object],
    *,
    begin: int = 0,
    digest: Any = None,
) -> None:
    """Fetch a whole file piece by piece, and compare it with its digest.

    Args:
        entry: its `file`, `bytes` and `sha256`.
        write: called with each piece.
        begin: the first byte that is fetched.
        digest: SHA-256 of the bytes before it, which goes on here.

    Raises:
        DamagedData: it is not at the address, or not what the index says.
        SegdataError: it cannot be fetched.
    """
    digest, name = digest or hashlib.sha256(), entry["file"]
    for start in range(begin, entry["bytes"], PIECE):
        length = min(PIECE, entry["bytes"] - start)
        piece = bucket.part(name, start, length)
        if len(piece) != length:
            raise DamagedData(
                "a file of the pack is not of the recorded size",
                file=bucket.address / name,
                why=f"expected {entry['bytes']:,} bytes, it ends after {start + len(piece):,}",
                fix=PUSH_AGAIN,
            )
        digest.update(piece)
        write(piece)
    if digest.hexdigest() != entry["sha256"]:
        raise DamagedData(
            "a file of the pack is not what was recorded",
            file=bucket.address / name,
            why=f"expected SHA-256 {entry['sha256']}, found {digest.hexdigest()}",
            fix=PUSH_AGAIN,
        )


PUSH_AGAIN = "push the pack again: segdata push PACK PLACE --check sends what differs"


def _of_user() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("segdata")
