"""Fetch a pack from an address into a folder: files under temporary names, the index last."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from segdata.errors import DamagedData, DiskError
from segdata.pack import layout
from segdata.places.address import Address, place, require_folder
from segdata.places.bucket import Bucket, bucket
from segdata.places.cache import fetch
from segdata.system.disk_space import free_bytes
from segdata.system.files import disk_errors, locked, nearest_existing, require_replaceable, write_whole
from segdata.system.reading import open_file
from segdata.transfer.report import Counts, Progress, Transferred, each, files_of


@disk_errors()
def pull(
    address: str | Path,
    pack: str | Path,
    *,
    force: bool = False,
    check: bool = False,
    allow_http: bool = False,
    wait: float = 0.0,
    progress: Progress | None = None,
) -> Transferred:
    """Fetch a pack into a folder; the same call goes on where one was stopped, within a file, too.

    Args:
        address: `s3://BUCKET/PACK`, `gs://…`, `az://…` or `https://HOST/PACK`.
        pack: the folder to make.
        force: replace another pack that is there; its files stay beside.
        check: compare the digests of files that are there, instead of sizes alone.
        allow_http: allow plain http.
        wait: seconds to wait for another process that works on the folder.
        progress: called as `progress(samples done, samples in all)`.

    Raises:
        NotThere: there is no pack at the address.
        UsageError: the folder holds something else.
        DamagedData: a file is missing at the address, or not what its index says.
        DiskError: no room.
        SignInError, NetworkError: of the place.
    """
    require_folder(pack, "a pack is fetched into a folder")
    source, folder = place(address, allow_http=allow_http), Path(pack)
    index, data = _index(source)
    there = bucket(source)
    with locked(folder, wait=wait):
        files = files_of(index)
        _require_target(folder, data, {entry["file"] for entry, _ in files}, force=force)
        folder.mkdir(parents=True, exist_ok=True)
        _require_room(folder, [entry for entry, _ in files])
        counts = Counts()
        for entry, is_new in each(files, lambda entry: _receive(there, folder, entry, check=check), progress):
            counts.add(entry, is_new=is_new)
        was_done = not counts.files and _has(folder / layout.INDEX, data)
        if not was_done:
            write_whole(folder / layout.COPY, data)
            write_whole(folder / layout.INDEX, data)
    return Transferred(source, folder, index["samples"], counts, was_done=was_done)


def _index(source: Address) -> tuple[dict[str, Any], bytes]:
    """The index at an address, and its bytes."""
    index = layout.read_index(source)
    data = bucket(source).whole(layout.INDEX, layout.MAX_BYTES)[0]
    if layout.decoded_index(data)["crc32"] != index["crc32"]:
        raise DamagedData("the pack was replaced while it was read", file=source, fix="pull again")
    return index, data


def _require_target(folder: Path, data: bytes, names: set[str], *, force: bool) -> None:
    """Refuse a folder with something that neither this pull nor an earlier one of the same pack made."""
    if folder.is_dir() and not folder.is_symlink() and not _other_files(folder, data, names):
        return
    require_replaceable(folder, force=force, what="the pack")


def _other_files(folder: Path, data: bytes, names: set[str]) -> bool:
    ours = {*names, *(f".{name}.part" for name in names)}
    indices = [folder / layout.INDEX, folder / layout.COPY]
    others = {path.name for path in folder.iterdir()} - ours - {path.name for path in indices}
    return bool(others) or any(path.exists() and not _has(path, data) for path in indices)


def _has(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def _require_room(folder: Path, entries: list[dict[str, Any]]) -> None:
    wanted = sum(entry["bytes"] for entry in entries if not (folder / entry["file"]).exists())
    free = free_bytes(nearest_existing(folder))
    if wanted > free:
        raise DiskError(
            "the disk has no room for the pack",
            file=folder,
            why=f"{wanted:,} bytes are to be fetched, {free:,} are free",
            fix="choose a folder on another disk, or open the pack at its address",
        )


def _receive(there: Bucket, folder: Path, entry: dict[str, Any], *, check: bool) -> bool:
    """Fetch a file unless it is there; whether it was fetched."""
    path = folder / entry["file"]
    if path.is_file() and path.stat().st_size == entry["bytes"] and (not check or _digest(path) == entry["sha256"]):
        return False
    part = path.with_name(f".{path.name}.part")
    with disk_errors(path):
        try:
            with part.open("ab") as out:
                begun = hashlib.sha256()
                if out.tell() > entry["bytes"]:
                    out.truncate(0)
                elif out.tell():
                    with open_file(part) as file:
                        begun = hashlib.file_digest(file, "sha256")
                fetch(there, entry, out.write, begin=out.tell(), digest=begun)
        except DamagedData:
            part.unlink(missing_ok=True)  # or the next attempt would go on with the same bytes
            raise
        part.replace(path)
    return True


def _digest(path: Path) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
