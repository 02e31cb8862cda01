"""Send a pack to a bucket: its files first, its index last, and only if nobody else put one there meanwhile.

Files are named for their contents, so a file of another pack is never replaced, and one that is there with its size is the
right one: an upload is seen as a whole or not at all. So a stopped push goes on with what is missing, and until the index
is there, or is replaced, readers see the pack that was there before, or none.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from segdata.errors import DamagedData, LockHeld, NotThere, SegdataError, UsageError
from segdata.pack import layout
from segdata.places.address import Address, place
from segdata.places.bucket import PROBE, Bucket, Taken, Version, bucket
from segdata.places.cache import fetch
from segdata.system.files import disk_errors
from segdata.system.reading import open_file, read_file
from segdata.transfer.report import Counts, Progress, Transferred, each, files_of


@disk_errors()
def push(
    pack: str | Path,
    address: str | Path,
    *,
    force: bool = False,
    check: bool = False,
    clean: bool = False,
    conditional: bool = True,
    allow_http: bool = False,
    progress: Progress | None = None,
) -> Transferred:
    """Send a pack to a bucket; the same call goes on where one was stopped.

    Args:
        pack: the pack's folder.
        address: `s3://BUCKET/PACK`, `gs://BUCKET/PACK` or `az://CONTAINER/PACK`.
        force: replace another pack that is there.
        check: read what is there and compare digests, instead of sizes alone.
        clean: after replacing another pack, remove its files; whoever has it open cannot read on.
        conditional: put the index only if nobody else put one there meanwhile, which is tried out before; False for a
            store that cannot.
        allow_http: allow an S3 endpoint of plain http.
        progress: called as `progress(samples done, samples in all)`.

    Raises:
        NotThere: there is no pack in the folder.
        UsageError: another pack is there, the address is one of a web server, the pack has its images elsewhere, or the
            store does not know conditional writes.
        DamagedData: a file of the pack is not what was recorded.
        LockHeld: somebody else put a pack there meanwhile.
        SignInError, NetworkError: of the place.
    """
    folder, target = Path(pack), place(address, allow_http=allow_http)
    index = layout.read_index(folder)
    data = read_file(folder / layout.INDEX)
    _require_possible(folder, target, index)
    there = bucket(target)
    old, version = _index_there(there)
    if old not in (None, data) and not force:
        raise UsageError(
            "another pack is there", file=target, why=_described(old), fix="choose another address, or add --force"
        )
    if conditional and old != data:
        _require_conditions(there)
    counts = Counts()
    for entry, is_new in each(files_of(index), lambda entry: _send(folder, there, entry, check=check), progress):
        counts.add(entry, is_new=is_new)
    if old != data:
        _put_index(there, data, version if conditional else "anything")
    removed = _clean(there, old, index) if clean else 0
    was_done = old == data and not counts.files
    return Transferred(folder, target, index["samples"], counts, removed=removed, was_done=was_done)


def _require_possible(folder: Path, target: Address, index: Mapping[str, Any]) -> None:
    if target.scheme in ("http", "https"):
        raise UsageError(
            "a web server is only read from",
            file=target,
            fix="push to s3://, gs:// or az://, or copy the pack's folder to where the server has its files",
        )
    if index["images"] == "reference":
        raise UsageError(
            "the images of this pack are in a folder, and would be missing there",
            file=folder,
            why=f"it refers to those in {index['images_root']}",
            fix=f"segdata convert {folder} PACK --images embed, and push that",
        )


def _index_there(there: Bucket) -> tuple[bytes | None, Version | Literal["nothing"]]:
    try:
        return there.whole(layout.INDEX, layout.MAX_BYTES)
    except FileNotFoundError:
        return None, "nothing"


def _described(data: bytes | None) -> str:
    """What an index says of itself, in a line."""
    try:
        index = layout.decoded_index(data or b"")
    except SegdataError:
        return "its index cannot be read"
    made = index["provenance"]
    splits = ", ".join(split["name"] for split in index["splits"][:5])
    return (
        f"{index['samples']:,} samples ({splits or 'no splits'}) made from {made['layout']} by segdata {made['segdata']}, "
        f"index {index['crc32']}"
    )


def _require_conditions(there: Bucket) -> None:
    """Try out whether the store refuses a put over what is there.

    Raises:
        UsageError: it does not.
    """
    name = f"{PROBE}{secrets.token_hex(8)}"
    is_refused = False
    try:
        there.put(name, b"1", "nothing")
        try:
            there.put(name, b"2", "nothing")
        except Taken:
            is_refused = True
    finally:
        there.delete(name)
    if not is_refused:
        raise UsageError(
            "this store does not know conditional writes",
            file=there.address,
            why="a second object of a name was taken although it was to be written only if none is there; so of two who "
            "push at the same time the later one would win unseen",
            fix="add --no-conditional if nobody else pushes to this address",
        )


def _send(folder: Path, there: Bucket, entry: dict[str, Any], *, check: bool) -> bool:
    """Send a file unless it is there; whether it was sent."""
    name, size = entry["file"], there.size(entry["file"])
    if size == entry["bytes"] and (not check or _is_equal(there, entry)):
        return False
    path = folder / name
    try:
        with open_file(path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        digest = "no file"
    if digest != entry["sha256"]:
        raise DamagedData(
            "a file of the pack is not what was recorded",
            file=path,
            why=f"expected SHA-256 {entry['sha256']}, found {digest}",
            state="nothing of it was sent; the index is not there yet, so nobody sees a pack",
            fix=f"segdata verify {folder} --repair --source FOLDER",
        )
    there.put(name, path, "anything")
    return True


def _is_equal(there: Bucket, entry: dict[str, Any]) -> bool:
    try:
        fetch(there, entry, lambda _: None)
    except DamagedData:
        return False
    return True


def _put_index(there: Bucket, data: bytes, instead_of: Version | Literal["nothing", "anything"]) -> None:
    try:
        there.put(layout.INDEX, data, instead_of)
    except Taken:
        other, _ = _index_there(there)
        if other == data:
            return
        raise LockHeld(
            "somebody else put a pack there meanwhile",
            file=there.address / layout.INDEX,
            why=_described(other) if other is not None else "the pack that was to be replaced is gone",
            state="their pack is there as a whole; your files are beside it, and your index is not",
            fix="push to another address, or again with --force to replace theirs",
        ) from None


def _clean(there: Bucket, old: bytes | None, index: Mapping[str, Any]) -> int:
    """Remove the files of the pack that was there before; how many."""
    if old is None:
        return 0
    try:
        before = {entry["file"] for entry in layout.shard_files(layout.decoded_index(old))}
    except (SegdataError, NotThere):
        return 0
    leftover = sorted(before - {entry["file"] for entry in layout.shard_files(index)})
    for name in leftover:
        there.delete(name)
    return len(leftover)
