"""Zip archives: the directory read and compared with the file, then the members one after another.

A zip says everything twice, in the directory at its end and before each member; what differs is refused, and so are
members that share bytes. `zipfile` decodes the directory and the data, and checks each member's CRC.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from segdata.download.archives.members import MOST_MEMBERS, Member, cleaned
from segdata.errors import DamagedData, InvalidArchive, Unsafe
from segdata.system.reading import open_file

CHUNK = 1 << 20

_END = b"PK\x05\x06"
_END_64 = b"PK\x06\x06"
_LOCATOR_64 = b"PK\x06\x07"
_LOCAL = struct.Struct("<4s2xHH8x8xHH")
_ENCRYPTED = 0x2041
"""Bits of encryption: the old one, the strong one, and of a masked directory."""

_METHODS = {0: "stored", 8: "deflate", 12: "bzip2"}
_OTHER_METHODS = {
    1: "shrink",
    6: "implode",
    9: "deflate64",
    14: "lzma",
    93: "zstandard",
    95: "xz",
    98: "ppmd",
    99: "AES",
}


class Zip:
    """A zip archive, opened for one pass over its members."""

    remarks: tuple[str, ...] = ()

    def __init__(self, path: Path, expected_bytes: int | None = None) -> None:
        self.path = path
        self._file = open_file(path)
        try:
            begin = _check_end(self._file, path, expected_bytes)
            self._zip = zipfile.ZipFile(self._file)
            if self._zip.start_dir != begin:
                raise zipfile.BadZipFile(f"it should begin at byte {begin}, and begins at byte {self._zip.start_dir}")
        except (zipfile.BadZipFile, struct.error, NotImplementedError, ValueError, OverflowError) as error:
            self._file.close()
            if "multiple disks" in str(error):
                raise _split(path) from error
            raise InvalidArchive(
                f"{path.name} has a damaged directory", file=path, why=str(error), fix="get it again"
            ) from error
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
        self._file.close()

    def members(self) -> Iterator[Member]:
        """All members in the order of the directory, each compared with what stands before its data.

        Raises:
            InvalidArchive: encrypted, an unknown method, or directory and file differ.
            Unsafe: members that overlap.
        """
        ranges = []
        for number, info in enumerate(self._zip.infolist()):
            position = f"entry {number} at byte {info.header_offset}"
            try:
                ranges.append((*self._range(info), info.orig_filename))
            except (InvalidArchive, Unsafe) as error:
                raise error.located(file=self.path, place=f"member {info.orig_filename!r}, {position}") from error
            # A name that ends in "/" is a folder; a zip has no other way to say it.
            is_folder = info.orig_filename.endswith("/")
            if cleaned(info.orig_filename) == "." and is_folder:
                continue
            if is_folder and info.file_size:
                raise InvalidArchive(
                    "a folder has content", file=self.path, place=f"member {info.orig_filename!r}, {position}"
                )
            yield Member(cleaned(info.orig_filename), info.file_size, position, info.external_attr >> 16, is_folder)
        for (_, end, first), (begin, _, second) in pairwise(sorted(ranges)):
            if begin < end:
                raise Unsafe(
                    "two members share the same bytes",
                    file=self.path,
                    place=f"members {first!r} and {second!r}, byte {begin}",
                    why=f"the first one ends at byte {end}: a small archive can become huge in this way",
                )

    def _range(self, info: zipfile.ZipInfo) -> tuple[int, int]:
        """Where a member's header begins and its data ends."""
        if info.flag_bits & _ENCRYPTED:
            raise InvalidArchive("a member is encrypted", fix="get the archive without a password")
        if info.compress_type not in _METHODS:
            method_name = _OTHER_METHODS.get(info.compress_type, "unknown")
            raise InvalidArchive(
                "a member is compressed by a method that is not supported",
                why=f"method {info.compress_type} ({method_name}); supported are {', '.join(_METHODS.values())}",
                fix="pack the archive again with deflate",
            )
        self._file.seek(info.header_offset)
        header = self._file.read(_LOCAL.size)
        if len(header) < _LOCAL.size or not header.startswith(b"PK\x03\x04"):
            raise InvalidArchive("there is no member where the directory says", why=f"found {header[:4]!r}")
        _, flags, method, name_bytes, extra_bytes = _LOCAL.unpack(header)
        name = self._file.read(name_bytes)
        if (
            name.decode("utf-8" if flags & 0x800 else "cp437", "replace") != info.orig_filename
            or method != info.compress_type
        ):
            raise InvalidArchive("a member is not what the directory says", why=f"before its data stands {name!r}")
        end = info.header_offset + _LOCAL.size + name_bytes + extra_bytes + info.compress_size
        if end > self._zip.start_dir:
            raise Unsafe(
                "a member's data runs into the directory",
                why=f"it would end at byte {end}, the directory begins at byte {self._zip.start_dir}",
            )
        return info.header_offset, end

    def contents(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Every file's name and its content in pieces, in the order of the file.

        Raises:
            DamagedData: a member's data cannot be decoded or has another CRC.
        """
        for info in sorted(self._zip.infolist(), key=lambda info: info.header_offset):
            if not info.orig_filename.endswith("/"):
                yield cleaned(info.orig_filename), self._content(info)

    def _content(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        try:
            with self._zip.open(info) as file:
                while chunk := file.read(CHUNK):
                    yield chunk
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, EOFError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise DamagedData(
                f"a member of {self.path.name} is damaged",
                file=self.path,
                place=f"member {info.orig_filename!r} at byte {info.header_offset}",
                why=str(error),
                state="nothing of this archive was put in place",
                fix="run the same command with --repair",
            ) from error


def _check_end(file: BinaryIO, path: Path, expected_bytes: int | None) -> int:
    """Where the directory begins by the record at the archive's end; split archives are refused."""
    length = file.seek(0, 2)
    start = max(0, length - 65_557)  # the record's 22 bytes and the longest comment
    file.seek(start)
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < 22:
        of = f" of {expected_bytes:,}" if expected_bytes is not None else ""
        raise DamagedData(
            f"{path.name} is cut short at byte {length:,}{of}",
            file=path,
            why="a zip ends with its directory, and there is none",
            state="nothing was extracted",
            fix="run the same command with --repair",
        )
    disk, first_disk, here, entries, size, begin = struct.unpack("<4xHHHHII", tail[at : at + 20])
    where = tail.rfind(_LOCATOR_64, 0, at)
    if where >= 0 and where == at - 20:
        disk, offset, disks = struct.unpack("<4xIQI", tail[where:at])
        if disk or disks > 1:
            raise _split(path)
        file.seek(min(offset, length))
        record = file.read(56)
        if not record.startswith(_END_64) or len(record) < 56:
            raise InvalidArchive(f"{path.name} has a damaged directory", file=path, place=f"byte {offset}")
        disk, first_disk, here, entries, size, begin = struct.unpack("<16xIIQQQQ", record)
    elif disk == 0xFFFF or first_disk == 0xFFFF:
        disk = first_disk = 1
    if disk or first_disk or here != entries:
        raise _split(path)
    if entries > MOST_MEMBERS or size > length:
        raise Unsafe(
            f"{path.name} says that it has {entries:,} members in a directory of {size:,} bytes",
            file=path,
            why=f"the file has {length:,} bytes; {MOST_MEMBERS:,} members are allowed",
        )
    return int(begin)


def _split(path: Path) -> InvalidArchive:
    return InvalidArchive(
        f"{path.name} is one part of a split archive",
        file=path,
        fix="join the parts first (zip -s 0 PART.zip --out WHOLE.zip)",
    )
