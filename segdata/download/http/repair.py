"""Archives that rotted on disk: the bad chunks are found by their checksums and fetched alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from segdata.download import receipts
from segdata.download.http.client import Client, NextAddress, Patience, TryAgain, refused
from segdata.download.http.target import Target
from segdata.download.progress import Pace
from segdata.download.receipts import Receipt
from segdata.errors import HashMismatch, NetworkError
from segdata.system.files import crc32, disk_errors, sync_folder
from segdata.system.secrets import shown

Range = tuple[int, int]
"""First byte, and the one after the last."""


def repair_chunks(want: Target, receipt: Receipt, bad: Sequence[Range], patience: Patience, pace: Pace) -> None:
    """Fetch bad ranges of a finished download and put them in place, each checked by its chunk's checksum.

    The file keeps its name: it is bad already, and each step makes it better. A file with a second name (the user's
    own) is copied first.

    Raises:
        NetworkError: no address gives the ranges.
        HashMismatch: the whole is not right afterwards.
    """
    path = want.target
    with disk_errors(path):
        if path.stat().st_nlink > 1:
            _own_copy(path)
        client = Client(patience)
        with path.open("r+b") as file:
            for first, end in _by_chunk(bad, receipt.chunk_bytes):
                data = _get(client, want, receipt, first, end, pace)
                file.seek(first)
                file.write(data)
            file.truncate(receipt.bytes)
            file.flush()
            os.fsync(file.fileno())
    _, digests, _ = receipts.hash_file(path, progress=lambda done, total: pace.progress(want.file, done, total))
    if digests["sha256"] != receipt.sha256:
        raise HashMismatch(
            f"{want.file} is not right after the repair",
            file=path,
            why=f"expected sha256 {receipt.sha256}, got {digests['sha256']}",
            fix=f"delete it and run {want.command}",
        )


def _own_copy(path: Path) -> None:
    new = path.with_name(f".{path.name}.part.new")
    shutil.copyfile(path, new)
    new.replace(path)
    sync_folder(path.parent)


def _by_chunk(bad: Sequence[Range], chunk_bytes: int) -> list[Range]:
    """The ranges, cut at chunk borders."""
    pieces = []
    for first, end in bad:
        while first < end:
            border = min((first // chunk_bytes + 1) * chunk_bytes, end)
            pieces.append((first, border))
            first = border
    return pieces


def _get(client: Client, want: Target, receipt: Receipt, first: int, end: int, pace: Pace) -> bytes:
    """One chunk from the first address that gives the right bytes."""
    begin = first - first % receipt.chunk_bytes
    stop = min(begin + receipt.chunk_bytes, receipt.bytes)
    reasons = []
    for url in want.urls:
        for attempt in range(1, client.patience.retries + 1):
            try:
                data = _range(client, want, url, begin, stop)
            except TryAgain as failure:
                reason = failure.reason
                if attempt < client.patience.retries:
                    pace.wait(min(client.patience.first_wait * 2 ** (attempt - 1), client.patience.longest_wait))
                continue
            except NextAddress as failure:
                reason = failure.reason
                break
            if crc32(data) == receipt.crc32[begin // receipt.chunk_bytes]:
                pace.tell(f"{want.file}: bytes {begin}-{stop - 1} fetched again")
                return data[first - begin : end - begin]
            reason = f"bytes {begin}-{stop - 1} are other ones there"
            break
        reasons.append(f"{shown(url)}: {reason}")
    raise NetworkError(
        f"{want.file} could not be repaired",
        file=want.target,
        place=f"bytes {begin}-{stop - 1}",
        why="; ".join(reasons) or "there is no address",
        fix=f"delete the file and run {want.command}",
    )


def _range(client: Client, want: Target, url: str, begin: int, stop: int) -> bytes:
    reply = client.get(url, headers={"Range": f"bytes={begin}-{stop - 1}"}, is_pinned=True, cookies=want.cookies)
    try:
        if reply.status != 206:
            if reply.status == 200:
                raise NextAddress("the server ignores ranges", 200)
            raise refused(reply, needs_account=want.cookies is not None)
        if not reply.headers.get("Content-Range", "").startswith(f"bytes {begin}-{stop - 1}/"):
            raise NextAddress("the server answered with another range than asked for", 206)
        data = b""
        while len(data) < stop - begin and (piece := reply.read()):
            data += piece
        if len(data) != stop - begin:
            raise TryAgain("the connection was cut")
        return data
    finally:
        reply.close()
