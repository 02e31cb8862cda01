"""A file to get: its places, its addresses, how to know it, and what to say when no address gives it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from requests.cookies import RequestsCookieJar

from segdata.catalog.remotes import Digest
from segdata.download import receipts
from segdata.download.http.partial_file import Source
from segdata.download.progress import Pace
from segdata.download.receipts import CHUNK_BYTES, Receipt, signed
from segdata.errors import HashMismatch, NetworkError, SegdataError
from segdata.system.files import boot_id, disk_errors
from segdata.system.reading import open_file
from segdata.system.secrets import shown


@dataclass(frozen=True)
class Target:
    """A file to get, and how to know that it is the right one (None: nobody says).

    `cookies` are a signed-in site's, `sign_in_again` renews them once; with `accept_other`, the user takes a file that is
    complete but another one.
    """

    file: str
    archive: str
    target: Path
    part: Path
    bad: Path
    receipt: Path
    urls: tuple[str, ...]
    bytes: int | None
    digest: Digest | None
    cookies: RequestsCookieJar | None = None
    sign_in_again: Callable[[], None] | None = None
    accept_other: bool = False
    command: str = "the same command"


@dataclass(frozen=True)
class Failure:
    """Why one address did not give the file."""

    url: str
    reason: str
    error: SegdataError | None
    digest: str | None = None


def adopt(wanted: Target, path: Path, source: Source, pace: Pace) -> Receipt:
    """The receipt of a file that is there already, after hashing and checking it and waiting for the disk.

    Raises:
        HashMismatch: it is not the wanted file.
    """
    expected = wanted.digest
    size, digests, checksums = receipts.hash_file(
        path, expected.algorithm if expected else "sha256", lambda done, total: pace.progress(wanted.file, done, total)
    )
    with disk_errors(path), open_file(path) as file:
        os.fsync(file.fileno())
    is_other = expected is not None and digests[expected.algorithm] != expected.value
    if expected and is_other and not wanted.accept_other:
        raise HashMismatch(
            f"{path.name} is not what the manifest names",
            file=path,
            place="the whole file",
            why=f"expected {expected}, got {expected.algorithm}:{digests[expected.algorithm]} ({size:,} bytes)",
            state="the file was left as it is and not used",
            fix=f"get the right file, or accept this content with {wanted.command} --accept-new-hash",
        )
    return receipt_of(wanted, size, digests["sha256"], checksums, source, is_other=is_other)


def receipt_of(
    wanted: Target,
    size: int,
    sha256: str,
    checksums: tuple[int, ...],
    source: Source,
    *,
    is_other: bool,
    is_synced: bool = True,
) -> Receipt:
    """The receipt of a file; `is_other`: it is not the wanted one, and was accepted all the same."""
    now = signed()
    return Receipt(
        file=wanted.file,
        bytes=size,
        sha256=sha256,
        digest=None if is_other or wanted.digest is None else str(wanted.digest),
        first_use=wanted.digest is None,
        accepted={**now, "instead_of": str(wanted.digest)} if is_other else None,
        url=source.url,
        etag=source.etag,
        last_modified=source.last_modified,
        fetched=now["at"],
        chunk_bytes=CHUNK_BYTES,
        crc32=checksums,
        unsynced=None if is_synced else boot_id(),
    )


def other_content(wanted: Target) -> HashMismatch:
    """The error of an address that has another file; `verdict` says which and why."""
    return HashMismatch(f"{wanted.file} is not what the manifest names")


def verdict(wanted: Target, failures: list[Failure]) -> SegdataError:
    """One error for all addresses: wrong content before refusals, refusals before silence."""
    lines = "; ".join(f"{shown(item.url)}: {item.reason}" for item in failures)
    wrong = [item for item in failures if isinstance(item.error, HashMismatch)]
    if wrong:
        same = len(wrong) == len(failures) and len({item.digest for item in wrong}) == 1
        renewed = "; every address gives the same other file: upstream may have changed" if same else ""
        return HashMismatch(
            f"{wanted.file} is not what the manifest names",
            file=wanted.file,
            place="the whole file",
            why=f"{lines}{renewed}",
            state=f"kept as {wanted.bad}; nothing was extracted" if wanted.bad.exists() else "nothing was kept",
            fix=f"run the same command again, or accept the new content with {wanted.command} --accept-new-hash",
        )
    errors = [item.error for item in failures if item.error]
    if errors:
        error = errors[0]
        error.why = error.why or lines
        return error
    fix = "check the network, then run the same command again"
    if any("REQUESTS_CA_BUNDLE" in item.reason for item in failures):
        fix = "check the date of this machine and its certificates; REQUESTS_CA_BUNDLE names a file with further ones"
    return NetworkError(
        f"{wanted.file} could not be downloaded",
        file=wanted.file,
        why=lines,
        state=f"what arrived is kept in {wanted.part}" if wanted.part.exists() else None,
        fix=f"{fix}; an archive that you have already goes in with --from-dir DIR",
    )
