"""An archive's kind, by its content; whatever it is, it gives its members and then their contents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from segdata.errors import DamagedData, InvalidArchive
from segdata.fetch.members import Member
from segdata.fetch.tars import Tar
from segdata.fetch.zips import Zip

_KINDS = {".zip": "zip", ".tar.gz": "gzip", ".tgz": "gzip", ".tar": "tar"}
_SIGNS = (
    (0, b"PK\x03\x04", "zip"),
    (0, b"PK\x05\x06", "zip"),
    (0, b"PK\x07\x08", "split zip"),
    (0, b"\x1f\x8b", "gzip"),
    (257, b"ustar", "tar"),
    (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ\x00", "xz"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"Rar!", "rar"),
    (0, b"\x28\xb5\x2f\xfd", "zstandard"),
)


class Archive(Protocol):
    """What extraction needs of an archive; after a pass over `members`, `remarks` holds what was odd."""

    remarks: tuple[str, ...]

    def members(self) -> Iterator[Member]: ...
    def contents(self) -> Iterator[tuple[str, Iterator[bytes]]]: ...
    def close(self) -> None: ...


def is_archive(name: str) -> bool:
    """Whether a file of this name is extracted; others are put in place as they are."""
    return _kind_by_name(name) is not None


def open_archive(archive: Path, archive_bytes: int | None, most_bytes: int) -> Archive:
    """The archive by its content, which must be of the kind that its name says.

    Raises:
        InvalidArchive: it is something else.
    """
    by_name = _kind_by_name(archive.name)
    if by_name is None:
        return _Plain(archive)
    with archive.open("rb") as file:
        begin = file.read(512)
    kind = next((kind for at, sign, kind in _SIGNS if begin[at:].startswith(sign)), None)
    if kind is None and (b"<html" in begin.lower() or begin.lstrip().lower().startswith((b"<!doctype", b"<?xml"))):
        kind = "web page"
    if kind is None and by_name == "tar" and len(begin) == 512:
        kind = "tar"  # before POSIX, headers had no sign; their checksum is compared below
    if kind is None and by_name == "zip" and begin:
        kind = "zip"  # no member where one should begin: the search for its end gives the better message
    if kind != by_name:
        is_short = kind is None and archive_bytes is not None and len(begin) < min(512, archive_bytes)
        if is_short or not begin:
            raise DamagedData(
                f"{archive.name} is cut short at byte {len(begin)}",
                file=archive,
                fix="run the same command with --repair",
            )
        raise InvalidArchive(
            f"{archive.name} is not what its name says",
            file=archive,
            why=f"its content is that of a {kind or 'file of unknown kind'}, it begins with {begin[:16]!r}",
            fix="get it again, or give it its right name; supported are .zip, .tar, .tar.gz and .tgz",
        )
    if kind == "zip":
        return Zip(archive, archive_bytes)
    return Tar(archive, is_gzip=kind == "gzip", expected_bytes=archive_bytes, most_bytes=most_bytes)


def _kind_by_name(name: str) -> str | None:
    return next((kind for ending, kind in _KINDS.items() if name.lower().endswith(ending)), None)


class _Plain:
    """A file that is no archive, as an archive of itself."""

    remarks: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self._path = path

    def members(self) -> Iterator[Member]:
        yield Member(self._path.name, self._path.stat().st_size, "the file itself")

    def contents(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        with self._path.open("rb") as file:
            yield self._path.name, iter(lambda: file.read(1 << 20), b"")

    def close(self) -> None:
        pass
