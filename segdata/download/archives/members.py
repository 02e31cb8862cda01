"""What an archive says that it holds, checked as a whole before the first byte is written.

A dataset's archive needs files and folders. Links, devices, paths that lead out, names that hide or collide and sizes
that do not fit are refused with the member's name; nothing is renamed to make it fit.
"""

from __future__ import annotations

import stat
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from segdata.errors import InvalidArchive, SegdataError, Unsafe, number_of
from segdata.system.files import checked_name

MOST_MEMBERS = 5_000_000
"""Members of one archive; the largest official one has 119,000."""

MOST_RATIO = 200
"""Extracted bytes for each byte of an archive whose extracted size nobody has stated; photos and masks stay below 10."""

ALWAYS_ALLOWED = 1 << 20
"""Extracted bytes that are no bomb whatever the ratio: a list of names compresses well."""

_HIDING = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories of characters that change how a name looks or that no file name can hold."""

_WINDOWS = {"con", "prn", "aux", "nul", *(f"{name}{digit}" for name in ("com", "lpt") for digit in range(1, 10))}


@dataclass(frozen=True)
class Member:
    """One file or folder of an archive.

    Attributes:
        name: its path below the folder that the archive is extracted into, as the archive gives it.
        bytes: its declared size.
        place: where in the archive it stands, for messages.
        mode: Unix file type and permission bits, 0 where the archive does not say.
    """

    name: str
    bytes: int
    place: str
    mode: int = 0
    is_folder: bool = False


def cleaned(name: str) -> str:
    """A name without the leading `./` and trailing `/` that archivers add; both mean nothing."""
    while name.startswith("./") and len(name) > 2:
        name = name[2:]
    return name[:-1] if name.endswith("/") and len(name) > 1 else name


@dataclass(frozen=True)
class Listing:
    """All members of an archive, each allowed.

    Attributes:
        remarks: what is odd but harmless.
        clashes: names that a file system without upper and lower case takes for one.
    """

    members: tuple[Member, ...]
    remarks: tuple[str, ...]
    clashes: tuple[str, ...]


def checked(members: Iterable[Member], archive: Path) -> Listing:
    """All members, if every one of them may be written.

    Raises:
        Unsafe: a path that leads out, a link, a device, set-user bits, a negative size, too many members.
        InvalidArchive: names that occur twice, collide or hide something.
    """
    allowed: list[Member] = []
    for member in members:
        if len(allowed) >= MOST_MEMBERS:
            raise Unsafe(
                f"{archive.name} has more than {MOST_MEMBERS:,} members", file=archive, fix="nothing was extracted"
            )
        try:
            _allowed(member)
        except SegdataError as error:
            raise error.located(file=archive, place=f"member {member.name!r}, {member.place}") from error
        allowed.append(member)
    return Listing(tuple(allowed), *_distinct(allowed, archive))


def within(members: Sequence[Member], archive: Path, *, archive_bytes: int, extracted_bytes: int | None) -> int:
    """The bytes that the members say they have, if they are not too many.

    Args:
        extracted_bytes: what the manifest says; one part in a hundred more is allowed.

    Raises:
        Unsafe: more than that; or, where nobody has said, more than `MOST_RATIO` times the archive.
    """
    total = sum(member.bytes for member in members)
    if total > limit(archive_bytes, extracted_bytes):
        largest = max(members, key=lambda member: member.bytes)
        raise too_large(archive, total, archive_bytes, extracted_bytes, largest)
    return total


def limit(archive_bytes: int, extracted_bytes: int | None) -> int:
    """The most bytes that an archive may become."""
    if extracted_bytes is not None:
        return extracted_bytes + extracted_bytes // 100
    return max(archive_bytes * MOST_RATIO, ALWAYS_ALLOWED)


def too_large(archive: Path, total: int, archive_bytes: int, extracted_bytes: int | None, member: Member) -> Unsafe:
    """The error about an archive that would become too large."""
    why = (
        f"the manifest says {extracted_bytes:,} bytes, the archive holds {total:,}"
        if extracted_bytes is not None
        else f"{archive_bytes:,} bytes would become {total:,}, more than {MOST_RATIO} times as many"
    )
    return Unsafe(
        f"{archive.name} would become too large",
        file=archive,
        place=f"member {member.name!r}, {member.place}",
        why=why,
        fix="if that is right, state extracted_bytes in the manifest",
    )


def chosen(
    members: Sequence[Member], contains: Sequence[str], archive: Path
) -> tuple[tuple[Member, ...], tuple[str, ...]]:
    """The members that the manifest expects, and the names of the files that it does not.

    Args:
        contains: patterns in which `*` also stands for `/`; each must find something. None: everything is expected.

    Raises:
        InvalidArchive: a pattern finds nothing.
    """
    if not contains:
        return tuple(members), ()
    for pattern in contains:
        if not any(fnmatchcase(member.name, pattern) for member in members):
            first = ", ".join(repr(member.name) for member in members[:3]) or "nothing"
            raise InvalidArchive(
                f"{archive.name} lacks members that the manifest expects",
                file=archive,
                place=f"members {pattern!r}",
                why=f"none of its {number_of(len(members), 'member')} has such a name; it begins with {first}",
                fix="check that this is the right archive",
            )
    expected = [member for member in members if any(fnmatchcase(member.name, pattern) for pattern in contains)]
    names = {member.name for member in expected}
    extra = tuple(member.name for member in members if member.name not in names and not member.is_folder)
    return tuple(expected), extra


def _require_short(name: str) -> None:
    whole = len(name.encode("utf-8", "surrogatepass"))
    longest = max(len(part.encode("utf-8", "surrogatepass")) for part in name.split("/"))
    if longest > 255 or whole > 2000:
        raise InvalidArchive(
            "a member's name is too long for a file system",
            why=f"its longest part has {longest} bytes of 255, all of it {whole} of 2000",
            fix="pack the archive again with shorter names",
        )


def _allowed(member: Member) -> None:
    _require_short(member.name)
    checked_name(member.name, "the archive")
    hiding = [character for character in member.name if unicodedata.category(character) in _HIDING]
    if hiding:
        raise InvalidArchive(
            "a member's name holds control, direction or undecodable characters",
            why=f"found {hiding[0]!a}",
            fix="pack the archive again with plain names",
        )
    kind = stat.S_IFMT(member.mode)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = {stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        raise refused_kind(what.get(kind, "a device"))
    if member.mode & (stat.S_ISUID | stat.S_ISGID) and not member.is_folder:
        raise Unsafe("a member asks for the rights of another user", why=f"its mode is {oct(member.mode & 0o7777)}")
    if member.bytes < 0:
        raise Unsafe("a member has a negative size", why=f"found {member.bytes}")


def refused_kind(what: str) -> Unsafe:
    """The error about a member that is neither file nor folder."""
    return Unsafe(
        f"a member is {what}",
        why="a dataset's archive holds files and folders; nothing else is ever made",
        fix="get the archive from another place, or pack it again without",
    )


def _distinct(members: Sequence[Member], archive: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Remarks, and names that differ in case only, if all names are different files everywhere else."""
    files: dict[str, Member] = {}
    for member in members:
        if member.is_folder:
            continue
        if member.name in files:
            first = files[member.name]
            raise InvalidArchive(
                "a member's name occurs twice",
                file=archive,
                place=f"member {member.name!r}, {first.place} and {member.place}",
                why="readers differ in which of the two they take",
                fix="pack the archive again",
            )
        files[member.name] = member
    folders: dict[str, Member] = {}
    for member in members:
        if member.is_folder:
            folders.setdefault(member.name, member)
        parent = member.name.rpartition("/")[0]
        while parent and parent not in folders:
            folders[parent] = member
            parent = parent.rpartition("/")[0]
    for name in files.keys() & folders.keys():
        raise InvalidArchive(
            "a member is both a file and a folder",
            file=archive,
            place=f"member {name!r}, {files[name].place}, and {folders[name].name!r}, {folders[name].place}",
            fix="pack the archive again",
        )
    forms: dict[str, str] = {}
    cases: dict[str, str] = {}
    remarks: list[str] = []
    clashes: list[str] = []
    for name in [*folders, *files]:
        form = unicodedata.normalize("NFC", name)
        if forms.setdefault(form, name) != name:
            raise InvalidArchive(
                "two names differ only in how their accents are written",
                file=archive,
                place=f"members {forms[form]!a} and {name!a}",
                why="file systems differ in whether these are one file",
                fix="pack the archive again with one of them",
            )
        if cases.setdefault(form.casefold(), name) != name:
            clashes.append(f"{cases[form.casefold()]!r} and {name!r}")
        if name.rpartition("/")[2].partition(".")[0].casefold() in _WINDOWS:
            remarks.append(f"{name!r} is a name that Windows cannot hold")
    return tuple(remarks), tuple(clashes)
