"""Archives → files: checked as a whole, written into a staging folder, then put in place by renames.

    raw/                 the final folder; several archives of one dataset share it
    .staging-ARCHIVE/    files in the making
    .RECEIPT.staged      written when all of them are whole and on the disk
    RECEIPT              what was .RECEIPT.staged, when all files are in place: the commit point

A run that is stopped leaves a staging folder. The next run goes on from it when the staged receipt is there, else it
begins anew.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from segdata.download.archives import members
from segdata.download.archives.members import Member
from segdata.download.archives.open import Archive, open_archive
from segdata.download.archives.receipt import File, Progress, Receipt, is_whole, read_receipt, sha256
from segdata.errors import DamagedData, DiskError, InvalidArchive, NotThere, SegdataError, Unsafe, number_of
from segdata.system.disk_space import free_bytes
from segdata.system.files import checked_name, disk_errors, remove_tree, sync_disk, sync_folder


def extract(
    archive: Path,
    into: Path,
    *,
    receipt: Path,
    kind: str,
    digest: str,
    prefix: str = "",
    contains: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    archive_bytes: int | None = None,
    extracted_bytes: int | None = None,
    allow_extra: bool = False,
    force: bool = False,
    may_take: bool = False,
    progress: Progress | None = None,
) -> Receipt:
    """Extract an archive; safe to run again.

    All members are checked before anything is written. Files get the permissions 0644 and folders 0755; owners and
    dates are not taken over. Two processes must not extract into one folder at once: the caller holds a lock.

    Args:
        into: the folder that gets the files; archives of one dataset may share it.
        receipt: the file that lists what was extracted; its folder must exist.
        kind: "zip", "tar", "tar.gz", or "file" for one that is put in place as it is.
        digest: of the archive; with another one, it is extracted anew.
        prefix: a folder below `into` that the files go into.
        contains: patterns of the members that are expected; `*` also stands for `/`.
        rename: member → name, for files that would lie in each other's place.
        archive_bytes: the size that the whole archive should have, for the message about one that is cut short.
        extracted_bytes: what all files should have; without it, at most 200 times the archive.
        allow_extra: also extract members that are not expected.
        force: replace files that are not as the archive has them.
        may_take: the archive is removed afterwards; one that is no archive is put in place itself, without copying it.
        progress: called with (bytes written, bytes in all).

    Raises:
        Unsafe: a member that leads out, a link, a device, a bomb: nothing was written.
        InvalidArchive: another kind than expected; unknown methods; names that collide; members that are missing.
        DamagedData: cut short, a wrong checksum, or a file in place that differs and would be overwritten.
        DiskError: no space, no permission.
    """
    source: dict[str, Any] = {
        "digest": digest,
        "prefix": prefix,
        "contains": list(contains),
        "rename": dict(rename or {}),
        "allow_extra": allow_extra,
    }
    if (done := extracted(receipt, into, source)) is not None:
        return done
    staging = into.parent / f".staging-{archive.name}"
    staged = receipt.with_name(f".{receipt.name}.staged")
    ready = read_receipt(staged)
    if ready is None or ready.source != source:
        _drop(staging, staged)
        with disk_errors(archive):
            size = archive.stat().st_size
            opened = open_archive(archive, kind, archive_bytes, members.limit(size, extracted_bytes))
        with contextlib.closing(opened):
            taken = may_take and kind == "file" and archive.stat().st_nlink == 1  # a user's own file has two names
            ready = _stage(
                opened,
                archive,
                staging,
                source,
                archive_bytes=size,
                extracted_bytes=extracted_bytes,
                progress=progress,
                is_taken=taken,
            )
    try:
        if not staged.exists():
            ready.write(staged)
        _merge(staging, into, {file.path: file for file in ready.files}, archive.name, force=force)
        _require_whole(ready, into)
    except SegdataError:
        _drop(staging, staged)
        raise
    with disk_errors(receipt):
        remove_tree(staging)
        staged.replace(receipt)
        sync_folder(receipt.parent)
    return ready


def _require_whole(receipt: Receipt, into: Path) -> None:
    if not is_whole(receipt, into):
        raise DiskError(
            "extracted files vanished while they were put in place", file=into, fix="run the same command again"
        )


def _drop(staging: Path, staged: Path) -> None:
    """Remove what an earlier run has left, the receipt first: it vouches for the rest."""
    with disk_errors(staging):
        staged.unlink(missing_ok=True)
        remove_tree(staging)


def extracted(receipt: Path, into: Path, source: Mapping[str, Any]) -> Receipt | None:
    """The receipt of an archive that was extracted from this source, if all its files are there with their sizes."""
    earlier = read_receipt(receipt)
    return earlier if earlier is not None and earlier.source == source and is_whole(earlier, into) else None


def _stage(
    opened: Archive,
    archive: Path,
    staging: Path,
    source: Mapping[str, Any],
    *,
    archive_bytes: int,
    extracted_bytes: int | None,
    progress: Progress | None,
    is_taken: bool,
) -> Receipt:
    """Check the archive, and write all its files into the staging folder."""
    listing = members.checked(opened.members(), archive)
    total = members.within(listing.members, archive, archive_bytes=archive_bytes, extracted_bytes=extracted_bytes)
    expected, extra = members.chosen(listing.members, source["contains"], archive)
    if source["allow_extra"]:
        expected, extra = listing.members, ()
    paths = _paths(expected, source["prefix"], source["rename"], archive)
    remarks = (*listing.remarks, *opened.remarks)
    with _dropped(staging, 0 if is_taken else total):
        if listing.clashes:
            remarks += _case(staging, listing.clashes, archive)
        files = _taken(archive, staging, paths[archive.name], source["digest"]) if is_taken else ()
        if not files:
            files = tuple(_write(opened, archive, staging, expected, paths, progress))
            sync_disk(staging)
    return Receipt(archive.name, source, files, extra, remarks)


def _paths(expected: Iterable[Member], prefix: str, rename: Mapping[str, str], archive: Path) -> dict[str, str]:
    """Member → path below the folder.

    Raises:
        InvalidArchive: two members would get one path, or one is to be renamed that is not there.
    """
    names = [member.name for member in expected]
    paths = {name: f"{prefix}/{rename.get(name, name)}" if prefix else rename.get(name, name) for name in names}
    for path in {prefix, *rename.values()} - {""}:
        checked_name(path, "the manifest")
    if len(set(paths.values())) != len(set(names)):
        raise InvalidArchive("two members would get one name", file=archive, why=f"renamed are {dict(rename)}")
    return paths


def _write(
    archive: Archive,
    path: Path,
    tree: Path,
    expected: Iterable[Member],
    paths: Mapping[str, str],
    progress: Progress | None,
) -> Iterator[File]:
    """Write the files, and compare each size with the one that was declared."""
    sizes = {member.name: member.bytes for member in expected if not member.is_folder}
    total = sum(sizes.values())
    made = {tree}
    for member in expected:
        if member.is_folder:
            _folder(tree / paths[member.name], made)
    done = 0
    for name, content in archive.contents():
        if name not in sizes:
            continue
        target = tree / paths[name]
        _folder(target.parent, made)
        digest = hashlib.sha256()
        written = 0
        with target.open("xb", buffering=0) as file:
            os.fchmod(file.fileno(), 0o644)
            for chunk in content:
                written += len(chunk)
                if written > sizes[name]:
                    break
                digest.update(chunk)
                _write_all(file.fileno(), chunk)
                if progress is not None:
                    progress(done + written, total)
        if written != sizes[name]:
            raise Unsafe(
                "a member is not as large as it says",
                file=path,
                place=f"member {name!r}",
                why=f"it says {sizes[name]:,} bytes, {'more' if written > sizes[name] else f'{written:,}'} came out",
            )
        done += written
        yield File(paths[name], written, digest.hexdigest())


def _taken(file: Path, tree: Path, path: str, digest: str) -> tuple[File, ...]:
    """A checked file under a second name in the staging folder; nothing where the file system has no second names."""
    target = tree / path
    _folder(target.parent, {tree})
    try:
        os.link(file, target)
    except OSError:
        return ()
    target.chmod(0o644)
    return (File(path, target.stat().st_size, digest.removeprefix("sha256:")),)


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _folder(path: Path, made: set[Path]) -> None:
    """Make a folder and those above it, each with the permissions 0755 whatever the process's mask says."""
    if path in made:
        return
    if not path.exists():
        _folder(path.parent, made)
        path.mkdir()
        path.chmod(0o755)
    made.add(path)


@contextlib.contextmanager
def _dropped(staging: Path, total: int) -> Iterator[None]:
    """Make the staging folder, and remove it when what follows fails; a run that is stopped just ends.

    Raises:
        DiskError: too little space, or the disk failed; what was written is gone.
    """
    with disk_errors(staging):
        free = free_bytes(staging.parent)
    if total > free:
        raise _no_space(staging, total, free)
    try:
        with disk_errors(staging):
            staging.mkdir()
            staging.chmod(0o755)
            yield
    except NotThere as error:
        raise DiskError(
            "the folder vanished while files were written into it",
            file=error.file,
            fix="check that the disk is still mounted, and run the same command again",
        ) from error
    except DiskError as error:
        is_full = isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.ENOSPC, errno.EDQUOT)
        remove_tree(staging)
        if is_full:
            raise _no_space(staging, total, free_bytes(staging.parent)) from error
        error.state = error.state or "what was extracted so far of this archive is removed; the archive stays"
        raise
    except Exception:
        remove_tree(staging)
        raise


def _no_space(staging: Path, total: int, free: int) -> DiskError:
    name = staging.name.removeprefix(".staging-")
    return DiskError(
        f"there is not enough space to extract {name}",
        file=staging.parent,
        why=f"its files have {total:,} bytes, {free:,} are free: {max(total - free, 1):,} more are needed",
        state="nothing of it was put in place; the archive stays",
        fix="free some space and run the same command again",
    )


def _case(staging: Path, clashes: Sequence[str], archive: Path) -> tuple[str, ...]:
    """Remarks about names that differ in case only.

    Raises:
        InvalidArchive: the file system takes them for one.
    """
    (staging / "Case").touch()
    is_one = (staging / "case").exists()
    (staging / "Case").unlink()
    if is_one:
        raise InvalidArchive(
            "names differ only in case, and this file system takes them for one",
            file=archive,
            place=f"members {clashes[0]}",
            fix="choose a place on another file system",
        )
    return tuple(f"{clash} differ only in case" for clash in clashes)


def _merge(tree: Path, into: Path, files: Mapping[str, File], name: str, *, force: bool) -> None:
    """Move what is in the staging tree into the folder.

    Raises:
        DamagedData: a file there differs from the archive's, and may not be replaced.
        Unsafe: a link stands in the way.
    """
    if not tree.exists():
        return  # everything was moved before
    with disk_errors(into):
        kept, differing = _in_the_way(tree, into, files)
        if differing and not force:
            more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
            raise DamagedData(
                f"{number_of(len(differing), 'file')} in {into.name}: not as {name} has them",
                file=into / differing[0],
                why=f"changed, or from another archive: {', '.join(differing[:3])}{more}",
                state="nothing was replaced",
                fix="move them away, or add --force to replace them with the archive's; if another archive has put them "
                "there, `rename` in the manifest gives each its own name",
            )
        for path in kept:
            (tree / path).unlink()
        into.mkdir(exist_ok=True)
        _move(tree, into)
        sync_folder(into.parent)


def _in_the_way(tree: Path, into: Path, files: Mapping[str, File]) -> tuple[list[str], list[str]]:
    """Files of the staging tree that lie in the folder already: equal ones, and others."""
    equal: list[str] = []
    differing: list[str] = []
    for parent, folders, names in os.walk(tree):
        folders.sort()
        there = into / Path(parent).relative_to(tree)
        if there != into and there.is_symlink():
            raise Unsafe("a link stands where a folder is expected", file=there, fix="remove the link")
        if not there.exists():
            folders.clear()  # nothing can be in the way below
            continue
        if not there.is_dir():
            raise DiskError("a file stands where a folder is expected", file=there, fix="move it away")
        for name in sorted(names):
            path = (there / name).relative_to(into).as_posix()
            at = into / path
            if at.is_symlink() or at.is_dir():
                raise Unsafe("a link or folder stands where a file is expected", file=at, fix="move it away")
            if at.exists():
                is_equal = at.stat().st_size == files[path].bytes and sha256(at) == files[path].sha256
                (equal if is_equal else differing).append(path)
    return equal, differing


def _move(source: Path, target: Path) -> None:
    """Move a folder's entries: by one rename what is not there yet, else entry by entry."""
    for entry in sorted(source.iterdir()):
        there = target / entry.name
        if entry.is_dir() and there.is_dir():
            _move(entry, there)
        else:
            entry.replace(there)
    sync_folder(target)
