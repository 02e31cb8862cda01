"""Tar files of samples: members that belong together have one name up to the first dot of its last part."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from segdata.errors import InvalidAnnotation, Unsafe
from segdata.system.files import disk_errors, inside
from segdata.system.reading import open_file

_MOST_MEMBERS = 1_000_000
_MOST_BYTES = 1 << 30
"""Of one member."""


@dataclass
class Members:
    """The members of one sample: ending without its first dot → (offset, size) in the tar file."""

    key: str
    parts: dict[str, tuple[int, int]] = field(default_factory=dict)


def samples(root: Path, name: str) -> Iterator[Members]:
    """The samples of a tar file, in order.

    Raises:
        InvalidAnnotation: no tar file, a member that is no file, or an ending twice.
        Unsafe: a name that leads out of a folder, or a member larger than 1 GiB.
    """
    path = inside(root, name, "the dataset")
    current: Members | None = None
    seen: set[str] = set()
    with disk_errors(path), open_file(path) as stream:
        end = stream.seek(0, 2)
        stream.seek(0)
        try:
            with tarfile.open(fileobj=stream, mode="r:") as archive:
                for number, member in enumerate(iter(archive.next, None)):
                    archive.members = []  # type: ignore[attr-defined] # tarfile keeps every header that it has read
                    if member.isdir():
                        continue
                    key, ending = _name(path, member, number)
                    if not member.isreg() or member.offset_data + member.size > end:
                        raise _damaged(path, f"member {number}, {member.name!r}, is no whole file")
                    if current is None or current.key != key:
                        if current is not None:
                            yield current
                        if key in seen:
                            raise _damaged(path, f"files of {key!r} do not follow each other")
                        seen.add(key)
                        current = Members(key)
                    if ending in current.parts:
                        raise _damaged(path, f"{member.name!r} is there twice")
                    current.parts[ending] = (member.offset_data, member.size)
        except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
            raise _damaged(path, str(error)[:200]) from error
    if current is not None:
        yield current


def _name(path: Path, member: tarfile.TarInfo, number: int) -> tuple[str, str]:
    """(key, ending) of a member."""
    if number >= _MOST_MEMBERS or member.size > _MOST_BYTES:
        raise Unsafe(
            "a tar file is larger than segdata reads", file=path, why=f"member {number}, {member.size:,} bytes"
        )
    name = member.name.removeprefix("./")
    folder, slash, last = name.rpartition("/")
    stem, _, ending = last.partition(".")
    if name.startswith("/") or ".." in name.split("/") or "\\" in name or not stem:
        raise Unsafe("a member's name leads out of its folder", file=path, why=f"member {number} is {member.name!r}")
    return f"{folder}{slash}{stem}", ending.lower()


def _damaged(path: Path, why: str) -> InvalidAnnotation:
    return InvalidAnnotation("this is no tar file of samples, or a damaged one", file=path, why=why)


def read(root: Path, name: str, at: tuple[int, int]) -> bytes:
    """The bytes of a member."""
    path = inside(root, name, "the dataset")
    with disk_errors(path), open_file(path) as stream:
        stream.seek(at[0])
        data = stream.read(at[1])
    if len(data) != at[1]:
        raise _damaged(path, f"it ends within the member at byte {at[0]}")
    return data


class Writer:
    """A new tar file; equal samples give equal bytes."""

    def __init__(self, path: Path) -> None:
        self._archive = tarfile.open(path, "w:", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed by `close`

    def add(self, key: str, parts: Mapping[str, bytes]) -> None:
        """Append the files of a sample: ending → bytes."""
        for ending, data in parts.items():
            member = tarfile.TarInfo(f"{key}.{ending}")
            member.size, member.mode = len(data), 0o644
            self._archive.addfile(member, io.BytesIO(data))

    def close(self) -> None:
        """Write the end of the archive."""
        self._archive.close()
