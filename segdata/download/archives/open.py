"""An archive's kind, by its content; whatever it is, it gives its members and then their contents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from segdata.download.archives.members import Member
from segdata.download.archives.tar import Tar
from segdata.download.archives.zip import Zip
from segdata.errors import DamagedData, InvalidArchive
from segdata.system.reading import open_file

_SIGNS = (
    (0, b"PK\x03\x04", "zip"),
    (0, b"PK\x05\x06", "zip"),
    (0, b"PK\x07\x08", "split zip"),
    (0, b"\x1f\x8b", "tar.gz"),
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


def open_archive(archive: Path, kind: str, archive_bytes: int | None, most_bytes: int) -> Archive:
    """The archive by its content, which must be of the kind that was expected.

    Args:
        kind: "zip", "tar", "tar.gz", or "file" for one that is put in place as it is.
        archive_bytes: the size that the whole archive should have.
        most_bytes: the most bytes that its members may have.

    Raises:
        InvalidArchive: it is something else.
    """
    if kind == "file":
        return _Plain(archive)
    with open_file(archive) as file:
        begin = file.read(512)
    actual = _kind(begin)
    if actual is None and begin and (kind == "zip" or (kind == "tar" and len(begin) == 512)):
        # Old tars have no sign, and a zip that is cut at its begin has none: what is wrong is found below.
        actual = kind
    if actual is None and len(begin) < min(512, archive_bytes or 1):
        raise DamagedData(
            f"{archive.name} is cut short at byte {len(begin)}",
            file=archive,
            fix="run the same command with --repair",
        )
    if actual != kind:
        raise InvalidArchive(
            f"{archive.name} is not what its name says",
            file=archive,
            why=f"its content is that of a {actual or 'file of unknown kind'}, not of a {kind}; it begins with {begin[:16]!r}",
            fix="get it again, or give it its right name; supported are .zip, .tar, .tar.gz and .tgz",
        )
    if kind == "zip":
        return Zip(archive, archive_bytes)
    return Tar(archive, is_gzip=kind == "tar.gz", expected_bytes=archive_bytes, most_bytes=most_bytes)


def _kind(begin: bytes) -> str | None:
    sign = next((kind for at, sign, kind in _SIGNS if begin[at:].startswith(sign)), None)
    text = begin.lower()
    is_page = b"<html" in text or text.lstrip().startswith((b"<!doctype", b"<?xml"))
    return sign or ("web page" if is_page else None)


class _Plain:
    """A file that is no archive, as an archive of itself."""

    remarks: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self._path = path

    def members(self) -> Iterator[Member]:
        yield Member(self._path.name, self._path.stat().st_size, "the file itself")

    def contents(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        with open_file(self._path) as file:
            yield self._path.name, iter(lambda: file.read(1 << 20), b"")

    def close(self) -> None:
        pass
