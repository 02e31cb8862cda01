"""What the cache keeps, and what is removed of it and of a bucket: down to a limit, and what killed processes left.

Of the cache's folder only files with the cache's names are touched, and in a bucket only uploads that were not finished
and objects with which a push tried out the store.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from segdata.errors import UsageError
from segdata.places import uploads
from segdata.places.address import Address, Reading, place
from segdata.places.bucket import PROBE, bucket
from segdata.places.cache import Cache, Kept, oldest_above
from segdata.system.files import disk_errors

_FILE = re.compile(r"(dataset|annotations-\d{5,}|images-\d{5,})-[0-9a-f]{12}\.h5")
"""What a push uploads in several parts."""


@dataclass(frozen=True)
class Contents:
    """What is in a cache's folder.

    Attributes:
        folder: where it is.
        tables, photos, parts: whole files, files with photos, and temporary files, the oldest first.
    """

    folder: Path
    tables: list[Kept]
    photos: list[Kept]
    parts: list[Kept]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        kinds = {"tables": self.tables, "photos": self.photos, "temporary": self.parts}
        return {"folder": str(self.folder), **{name: _counted(files) for name, files in kinds.items()}}


@dataclass(frozen=True)
class Cleared:
    """What was removed, or would be.

    Attributes:
        folder: the cache's.
        is_dry_run: whether nothing was removed.
        files, parts: what was kept, and temporary files.
        bytes_left: what the folder still has.
        address: of the pack whose uploads were looked for.
        uploads, probes: names of unfinished uploads, and of objects with which the store was tried out.
        in_work: uploads that are not as old as it was asked for.
    """

    folder: Path
    is_dry_run: bool
    files: list[Kept]
    parts: list[Kept]
    bytes_left: int
    address: Address | None = None
    uploads: list[str] = field(default_factory=list)
    probes: list[str] = field(default_factory=list)
    in_work: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        document = {
            "folder": str(self.folder),
            "dry_run": self.is_dry_run,
            "removed": _counted(self.files),
            "temporary": _counted(self.parts),
            "bytes_left": self.bytes_left,
        }
        if self.address is not None:
            document["address"] = str(self.address)
            document |= {"uploads": self.uploads, "probes": self.probes, "in_work": self.in_work}
        return document


def _counted(files: list[Kept]) -> dict[str, int]:
    return {"files": len(files), "bytes": sum(file.bytes for file in files)}


@disk_errors()
def contents(folder: str | Path | None = None) -> Contents:
    """What is in a cache.

    Args:
        folder: the one given as `cache`; by default the user's cache folder, where tables are kept.

    Raises:
        DiskError: it cannot be read.
    """
    cache = Cache(Reading(None if folder is None else Path(folder)))
    files = cache.kept()
    tables = [file for file in files if file.path.suffix == ".table"]
    photos = [file for file in files if file.path.suffix == ".images"]
    return Contents(cache.folder, tables, photos, cache.parts())


@disk_errors()
def clear(
    folder: str | Path | None = None,
    *,
    limit: int | None = None,
    address: str | Path | None = None,
    older_than: float = 86400.0,
    allow_http: bool = False,
    dry_run: bool = False,
) -> Cleared:
    """Remove what the cache has above a limit, and what killed processes left there and in a bucket.

    Args:
        folder: the cache's, as in `contents`.
        limit: bytes that it keeps; None keeps all.
        address: of a pack in a bucket of S3: unfinished uploads of its files are removed.
        older_than: seconds since nobody wrote to a temporary file, or since an upload was begun: who works on a younger
            one may still be at it.
        allow_http: allow an S3 endpoint of plain http.
        dry_run: remove nothing.

    Raises:
        UsageError: the address is in no bucket of S3, or a number is negative.
        DiskError: a file cannot be removed.
        NotThere, SignInError, NetworkError: of the bucket.
    """
    if (limit or 0) < 0 or older_than < 0:
        raise UsageError("a limit or an age is negative", why=f"limit {limit}, older than {older_than:g} seconds")
    before = datetime.now(UTC) - timedelta(seconds=older_than)
    cache = Cache(Reading(None if folder is None else Path(folder)))
    kept = cache.kept()
    files = [] if limit is None else oldest_above(kept, limit)
    parts = [part for part in cache.parts() if part.used <= before.timestamp() * 1e9]
    of_bucket: dict[str, Any] = {}
    if address is not None:
        of_bucket = _clear_bucket(place(address, allow_http=allow_http), before, dry_run=dry_run)
    if not dry_run:
        for file in (*files, *parts):
            file.path.unlink(missing_ok=True)
    left = sum(file.bytes for file in kept) - sum(file.bytes for file in files)
    return Cleared(cache.folder, dry_run, files, parts, left, **of_bucket)


def _clear_bucket(address: Address, before: datetime, *, dry_run: bool) -> dict[str, Any]:
    """Give up what was begun before a time; what `Cleared` says of it."""
    begun = [upload for upload in uploads.unfinished(address) if _FILE.fullmatch(upload.name)]
    old = [upload for upload in begun if upload.begun <= before]
    probes = bucket(address).names_before(PROBE, before)
    if not dry_run:
        for upload in old:
            uploads.give_up(address, upload)
        for name in probes:
            bucket(address).delete(name)
    names = [upload.name for upload in old]
    return {"address": address, "uploads": names, "probes": probes, "in_work": len(begun) - len(old)}
