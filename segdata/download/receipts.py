"""What is known about a finished download: its size, digests and where it came from. Written once, when all is checked.

`ROOT/NAME/receipts/FILE.json`:

    {"file": "a.zip", "bytes": 1234, "sha256": "…",
     "digest": "sha256:…",        the manifest's digest that it was checked by, or null where nobody has published one
     "first_use": false,          true: accepted without a published digest; pinned from then on by sha256
     "accepted": null,            or {"by", "at", "instead_of"}: other content than the manifest's, accepted by name
     "url": "https://…",          without its query, or "from-dir"
     "etag": "\\"abc\\"", "last_modified": null,
     "fetched": "2026-11-24T10:00:00Z",
     "chunk_bytes": 4194304, "crc32": [1, 2, …],
     "unsynced": null}            or the run of the machine in which a large file was written, without waiting for the disk

A large file is vouched for while the machine runs: after a restart, which may have lost what was not on the disk yet, its
digest is computed again before it is used. A chunk's CRC-32 finds a rotten chunk without reading the network; that it was repaired well is decided by the digest
of the whole file.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from segdata.errors import DamagedData
from segdata.system import documents
from segdata.system.files import boot_id, crc32, disk_errors, write_whole
from segdata.system.reading import open_file

CHUNK_BYTES = 4 << 20
"""Bytes of a chunk."""

_FIX = "delete it; the next fetch checks the file anew"


@dataclass(frozen=True)
class Receipt:
    """A finished download, see the module's docstring."""

    file: str
    bytes: Annotated[int, Meta(ge=0, le=2**62)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    digest: str | None
    first_use: bool
    accepted: dict[str, str] | None
    url: str
    etag: str | None
    last_modified: str | None
    fetched: str
    chunk_bytes: Annotated[int, Meta(ge=1, le=16 * CHUNK_BYTES)]
    crc32: tuple[Annotated[int, Meta(ge=0, lt=2**32)], ...]
    unsynced: str | None = None

    @property
    def is_doubtful(self) -> bool:
        """Written without fsync, before the last reboot."""
        return self.unsynced is not None and self.unsynced != boot_id()

    def write(self, path: Path) -> None:
        """Make the receipt visible."""
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, (json.dumps(asdict(self), indent=1) + "\n").encode())


def signed() -> dict[str, str]:
    """User name and time for an acceptance of terms, as "by" and "at"."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        name = f"user {os.getuid()}"
    return {"by": name, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def read(path: Path) -> Receipt | None:
    """The receipt at this path, or None.

    Raises:
        DamagedData: the file is no receipt.
    """
    with disk_errors(path):
        if not path.exists():
            return None
    receipt = documents.read_json(path, Receipt, "a receipt", fix=_FIX)
    count = -(-receipt.bytes // receipt.chunk_bytes)
    why = f"{len(receipt.crc32)} checksums for {count} chunks" if len(receipt.crc32) != count else None
    if receipt.accepted is not None and "instead_of" not in receipt.accepted:
        why = "it does not say what the file was accepted instead of"
    if why:
        raise DamagedData("a receipt is damaged", file=path, why=why, fix=_FIX)
    return receipt


def chunks(path: Path, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """The chunks of a file, in order."""
    with disk_errors(path), open_file(path) as file:
        while data := file.read(chunk_bytes):
            yield data


def bad_chunks(
    path: Path, receipt: Receipt, progress: Callable[[int, int], None] | None = None
) -> list[tuple[int, int]]:
    """Byte ranges (first, end) of a finished download that are not as the receipt says; empty when it is whole.

    A file of another length has bad ranges up to the receipt's length; what lies beyond is the caller's to cut.
    """
    bad, size = [], 0
    for number, data in enumerate(chunks(path, receipt.chunk_bytes)):
        first, end = number * receipt.chunk_bytes, min((number + 1) * receipt.chunk_bytes, receipt.bytes)
        if first >= receipt.bytes:
            break
        size = end
        if crc32(data[: end - first]) != receipt.crc32[number] or len(data) < end - first:
            bad.append((first, end))
        if progress:
            progress(end, receipt.bytes)
    if size < receipt.bytes:
        bad.append((size, receipt.bytes))
    return bad


def hash_file(
    path: Path, algorithm: str = "sha256", progress: Callable[[int, int], None] | None = None
) -> tuple[int, dict[str, str], tuple[int, ...]]:
    """Size, digests (SHA-256 and one more) and the chunks' CRC-32 of a file that is on disk already."""
    whole = {name: hashlib.new(name, usedforsecurity=False) for name in {"sha256", algorithm}}
    checksums, done = [], 0
    with disk_errors(path):
        total = path.stat().st_size
    for data in chunks(path):
        for item in whole.values():
            item.update(data)
        checksums.append(crc32(data))
        done += len(data)
        if progress:
            progress(done, total)
    return done, {name: item.hexdigest() for name, item in whole.items()}, tuple(checksums)
