"""What an archive became on disk: a receipt of every file, and how the folder differs from it later."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, structs

from segdata.errors import Unsafe
from segdata.system.files import canonical_json, checked_name, disk_errors, write_whole
from segdata.system.reading import open_file, read_file

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""


@dataclass(frozen=True)
class File:
    """An extracted file: its path below the folder, its size and its SHA-256 in hexadecimal digits."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Receipt:
    """What one archive became.

    Attributes:
        archive: the archive's file name.
        source: the archive's digest and how it was extracted; another source means another result.
        files: every file, in the order of the archive.
        extra: members that the manifest does not expect and that were left out.
        remarks: what was odd but harmless.
    """

    archive: str
    source: Mapping[str, Any]
    files: tuple[File, ...]
    extra: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Write the receipt; it appears when it is whole."""
        rows = [[file.path, file.bytes, file.sha256] for file in self.files]
        write_whole(path, canonical_json({**vars(self), "files": rows}))

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)


def read_receipt(path: Path) -> Receipt | None:
    """The receipt in a file; None where there is none that can be read, or one with paths that lead out of its folder."""
    try:
        document = msgspec.json.decode(read_file(path), type=_Document)
        files = tuple(File(*row) for row in document.files)
        for file in files:
            checked_name(file.path, "the receipt")
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError, Unsafe):
        return None
    return Receipt(document.archive, structs.asdict(document.source), files, document.extra, document.remarks)


class _Source(Struct):
    digest: str
    prefix: str
    contains: list[str]
    rename: dict[str, str]
    allow_extra: bool


class _Document(Struct):
    """A receipt as it is written."""

    archive: str
    source: _Source
    files: list[tuple[str, Annotated[int, Meta(ge=0, le=2**62)], Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]]]
    extra: tuple[str, ...]
    remarks: tuple[str, ...]


def is_whole(receipt: Receipt, folder: Path) -> bool:
    """Whether every file of the receipt lies in the folder with its size; contents are not read."""
    for file in receipt.files:
        try:
            if (folder / file.path).lstat().st_size != file.bytes:
                return False
        except OSError:
            return False
    return True


@dataclass(frozen=True)
class Differences:
    """How a folder differs from its receipts; paths below the folder, sorted."""

    files: int
    modified: tuple[str, ...] = field(default=())
    missing: tuple[str, ...] = field(default=())
    extra: tuple[str, ...] = field(default=())

    @property
    def is_good(self) -> bool:
        """Whether everything is as it was extracted; extra files are no damage."""
        return not self.modified and not self.missing


def differences(
    folder: Path, receipts: Iterable[Receipt], coming: Iterable[Receipt] = (), *, progress: Progress | None = None
) -> Differences:
    """Read every extracted file again and compare.

    Args:
        folder: the folder that the archives were extracted into.
        receipts: of all archives in it.
        coming: of archives whose files another process is putting in place; these files are neither missing nor extra.
    """
    listed = {file.path: file for receipt in receipts for file in receipt.files}
    total = sum(file.bytes for file in listed.values())
    modified: list[str] = []
    missing: list[str] = []
    done = 0
    with disk_errors(folder):
        for path, file in listed.items():
            at = folder / path
            if at.is_symlink() or not at.is_file():
                (modified if at.is_symlink() or at.exists() else missing).append(path)
            elif at.stat().st_size != file.bytes or sha256(at) != file.sha256:
                modified.append(path)
            done += file.bytes
            if progress is not None:
                progress(done, total)
        also = {file.path for receipt in coming for file in receipt.files}
        extra = [path for path in _below(folder) if path not in listed and path not in also]
    return Differences(len(listed), tuple(sorted(modified)), tuple(sorted(missing)), tuple(sorted(extra)))


def sha256(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal digits."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _below(folder: Path) -> Iterator[str]:
    """Every file below a folder; links are named, not followed."""
    for parent, folders, names in os.walk(folder):
        names += [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in names:
            yield (Path(parent) / name).relative_to(folder).as_posix()
