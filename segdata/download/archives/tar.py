"""Tar archives, plain or gzip: header by header, with nothing passed over.

`tarfile` decodes a header's fields. The walk is our own, because the library takes a damaged header in the middle for
the end of the archive, reads headers of any length into memory, and knows kinds of members that are refused here.
"""

from __future__ import annotations

import contextlib
import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from segdata.download.archives.members import ALWAYS_ALLOWED, Member, cleaned, refused_kind
from segdata.errors import DamagedData, InvalidArchive, SegdataError, Unsafe
from segdata.system.reading import open_file

BLOCK = 512
CHUNK = 1 << 20
MOST_HEADER = 1 << 16
"""Bytes of an extended header; names are shorter than this by far."""

_FILES = (b"0", b"\0", b"7")
_FOLDER = b"5"
_OF_ONE = ("path", "size", "linkpath")
"""Records that can be of one member alone."""
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"K": "a link with a long name",
    b"S": "a sparse file",
    b"M": "the rest of a file from another volume",
}


class Tar:
    """A tar archive; each pass reads it from its begin."""

    def __init__(self, path: Path, *, is_gzip: bool, expected_bytes: int | None = None, most_bytes: int) -> None:
        self.path = path
        self._is_gzip = is_gzip
        self._expected_bytes = expected_bytes
        self._most_bytes = most_bytes
        self.remarks: tuple[str, ...] = ()

    def close(self) -> None:
        """Nothing stays open between passes."""

    def members(self) -> Iterator[Member]:
        """All members in the order of the file; a gzip's own checksum is compared at the end.

        Raises:
            DamagedData: cut short, or data that cannot be decoded.
            InvalidArchive: a damaged header.
            Unsafe: a link, device or sparse file, or more data than allowed.
        """
        for member, _ in self._walk():
            yield member

    def contents(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Every file's name and its content in pieces, in the order of the file."""
        for member, content in self._walk():
            if not member.is_folder:
                yield member.name, content

    def _walk(self) -> Iterator[tuple[Member, Iterator[bytes]]]:
        with open_file(self.path) as raw:
            file = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if self._is_gzip else raw
            walk = _Walk(file, None if self._is_gzip else self.path.stat().st_size, self._most_bytes)
            with self._explained(walk, raw):
                for member, content in walk.members():
                    yield member, self._guarded(content, walk, raw)
            self.remarks = tuple(walk.remarks)

    def _guarded(self, content: Iterator[bytes], walk: _Walk, raw: BinaryIO) -> Iterator[bytes]:
        with self._explained(walk, raw):
            yield from content

    @contextlib.contextmanager
    def _explained(self, walk: _Walk, raw: BinaryIO) -> Iterator[None]:
        """Say in errors which archive, member and byte they are about."""
        try:
            yield
        except (EOFError, _CutShort) as error:
            is_outer = isinstance(error, EOFError) or not self._is_gzip
            at = raw.tell() if isinstance(error, EOFError) else walk.position
            of = f" of {self._expected_bytes:,}" if self._expected_bytes is not None and is_outer else ""
            raise self._damaged(
                f"is cut short at byte {at:,}{of}{'' if is_outer else ' of the tar inside'}", walk, error
            ) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise self._damaged("is damaged", walk, error) from error
        except SegdataError as error:
            raise error.located(file=self.path, place=walk.place) from error

    def _damaged(self, what: str, walk: _Walk, error: Exception) -> DamagedData:
        return DamagedData(
            f"{self.path.name} {what}",
            file=self.path,
            place=walk.place,
            why=str(error),
            state="nothing of this archive was put in place",
            fix="run the same command with --repair",
        )


class _CutShort(Exception):
    """The file ends where it should not."""


class _Walk:
    """One pass over a tar's bytes."""

    def __init__(self, file: BinaryIO, length: int | None, most_bytes: int) -> None:
        self._file = file
        self._length = length
        self._most_bytes = most_bytes
        self.position = 0
        self.place = "begin of the file"
        self.remarks: list[str] = []
        self._count = 0

    def members(self) -> Iterator[tuple[Member, Iterator[bytes]]]:
        records: dict[str, str] = {}
        while True:
            at = self.position
            block = self._read(BLOCK, "before the mark that ends it")
            if block == bytes(BLOCK):
                if records:
                    raise DamagedData("an extended header belongs to no member", why="the mark of the end follows it")
                self._end()
                return
            self._count += 1
            header = self._header(block, at)
            name = records.get("path", header.name)
            self.place = f"member {name!r} at byte {at}"
            kind = block[156:157]
            if kind in (b"x", b"g", b"L"):
                content = self._long_header(header)
                if kind == b"L":
                    records = _merged(records, {"path": _long_name(content)})
                elif kind == b"x":
                    records = _merged(records, _records(content))
                elif at_once := sorted(
                    key for key in _records(content) if key in _OF_ONE or key.startswith("GNU.sparse")
                ):
                    raise Unsafe(
                        "a global header speaks of all members at once",
                        why=f"it gives every one the same {at_once[0]!r}",
                        fix="pack the archive again",
                    )
                continue
            if kind not in (*_FILES, _FOLDER):
                raise refused_kind(_KINDS.get(kind, f"of the unknown kind {kind!r}"))
            sparse = next((key for key in records if key.startswith("GNU.sparse")), None)
            if sparse:
                raise refused_kind(_KINDS[b"S"])
            size = _size(records.get("size"), header.size)
            is_folder = header.isdir() or name.endswith("/")  # so says GNU tar, tarfile before POSIX alone
            if kind == _FOLDER:
                size = 0  # some archivers put the folder's own size here; no data follows
            if size < 0 or (is_folder and size):
                raise Unsafe("a member has a size that cannot be", why=f"found {size}")
            self._check_length(size)
            if self._length is not None and self.position + size > self._length:
                there, self.position = self._length - self.position, self._length
                raise _CutShort(f"this member has {size:,} bytes, {there:,} are there")
            begin, name = self.position, cleaned(name)
            if is_folder and name == ".":
                records = {}
                continue
            yield Member(name, size, f"byte {at}", header.mode & 0o7777, is_folder), self._content(size)
            self._skip(begin + -(-size // BLOCK) * BLOCK - self.position)
            records = {}

    def _header(self, block: bytes, at: int) -> tarfile.TarInfo:
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            if at == 0:
                raise InvalidArchive("it holds no tar", place="byte 0", why=str(error)) from error
            raise DamagedData("a header is damaged", place=f"byte {at}", why=str(error)) from error
        return header

    def _long_header(self, header: tarfile.TarInfo) -> bytes:
        if not 0 <= header.size <= MOST_HEADER:
            raise Unsafe("a header is too long", why=f"{header.size:,} bytes; {MOST_HEADER:,} are allowed")
        content = self._read(header.size, "inside a header")
        if self._read(-header.size % BLOCK, "inside a header").strip(b"\0"):
            raise InvalidArchive("a header is longer than it says", why=f"more follows its {header.size:,} bytes")
        self._check_length(0)
        return content

    def _check_length(self, more: int) -> None:
        """Refuse what would become too large; each header may take four blocks beside the content."""
        if self.position + more > self._most_bytes + ALWAYS_ALLOWED + 4 * BLOCK * self._count:
            raise Unsafe(
                "the archive would become too large",
                why=f"up to here it has {self.position + more:,} bytes, {self._most_bytes:,} are allowed",
                fix="if that is right, state extracted_bytes in the manifest",
            )

    def _content(self, size: int) -> Iterator[bytes]:
        left = size
        while left:
            chunk = self._read(min(left, CHUNK), "inside this member")
            left -= len(chunk)
            yield chunk

    def _read(self, count: int, where: str) -> bytes:
        data = self._file.read(count)
        self.position += len(data)
        if len(data) < count:
            raise _CutShort(f"the file ends {where}")
        return data

    def _skip(self, count: int) -> None:
        if self._length is not None:
            if self.position + count > self._length:
                self.position = self._length
                raise _CutShort("the file ends inside this member")
            self._file.seek(count, 1)
            self.position += count
            return
        while count > 0:
            count -= len(self._read(min(count, CHUNK), "inside this member"))

    def _end(self) -> None:
        """Read what is left, so that the checksum at a gzip's end is compared.

        Raises:
            DamagedData: the mark of the end has one block, not two, and more follows: there may have been a header.
        """
        self.place = f"behind the mark of the end at byte {self.position}"
        second = self._file.read(BLOCK)
        self.position += len(second)
        if second.strip(b"\0"):
            raise DamagedData("the mark of the end is in the middle", why="one empty block, where two end a tar")
        is_empty = True
        while chunk := self._file.read(CHUNK):
            self.position += len(chunk)
            self._check_length(0)
            is_empty = is_empty and not chunk.strip(b"\0")
        if not is_empty:
            self.remarks.append(f"there is data {self.place}; it belongs to no member")


def _long_name(content: bytes) -> str:
    """The name in a GNU header, which a zero byte ends.

    Raises:
        InvalidArchive: more follows it; readers differ in what the name is then.
    """
    name = content.rstrip(b"\0")
    if b"\0" in name:
        raise InvalidArchive("a long name has a zero byte in its middle", why=f"found {name[:40]!r}")
    return name.decode("utf-8", "surrogateescape")


def _records(content: bytes) -> dict[str, str]:
    """The records of an extended header: `LENGTH KEY=VALUE`, each with its newline."""
    records = {}
    at = 0
    while at < len(content):
        match = re.compile(rb"(\d{1,6}) ([^=\n]+)=").match(content, at)
        end = at + int(match[1]) if match else at
        if match is None or not match.end() < end <= len(content) or content[end - 1 : end] != b"\n":
            raise InvalidArchive("an extended header is damaged", why=f"at its byte {at}: {content[at : at + 20]!r}")
        records[match[2].decode("utf-8", "replace")] = content[match.end() : end - 1].decode("utf-8", "surrogateescape")
        at = end
    return records


def _merged(records: dict[str, str], more: dict[str, str]) -> dict[str, str]:
    """What two headers in a row say of the member behind them.

    Raises:
        InvalidArchive: they give it two names or sizes; of readers, some take the first and some the last.
    """
    twice = next((key for key in _OF_ONE if key in records and more.get(key, records[key]) != records[key]), None)
    if twice is not None:
        why = f"its {twice} is {records[twice][:40]!r} in one and {more[twice][:40]!r} in the next"
        raise InvalidArchive("two headers contradict each other about one member", why=why)
    return records | more


def _size(record: str | None, size: int) -> int:
    if record is None:
        return size
    if not re.fullmatch(r"\d{1,19}", record):
        raise InvalidArchive("an extended header has a size that is no number", why=f"found {record[:40]!r}")
    return int(record)
