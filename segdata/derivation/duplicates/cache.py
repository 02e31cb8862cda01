"""The hashes of a pack's images, computed once: they are kept in the user's cache folder, one file for each shard.

    segdata hashes 1\\n
    crc32 of the rest, 8 hexadecimal digits, \\n
    rows: crc32 (u4) and length (i8) of an image file, quality (u1), 8 hashes of 4 words (u8), little-endian

A file is named for the digest of the shard's images, or of its table where images are elsewhere. One that is damaged is
made anew, and where nothing can be written nothing is kept. All of them can be removed at any time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray, IntArray
from segdata.core.findings import Findings
from segdata.derivation.duplicates import hashes
from segdata.errors import OF_THE_DATA, SegdataError
from segdata.pack.read import Pack
from segdata.system.files import crc32, write_whole
from segdata.system.reading import read_file
from segdata.system.workers import available

_HEAD = b"segdata hashes 1\n"
_ROW = np.dtype([("crc32", "<u4"), ("length", "<i8"), ("quality", "|u1"), ("hashes", "<u8", (8, 4))])
_AT_ONCE = 32
"""Images that a thread takes at once."""

Rows = npt.NDArray[Any]
"""(R,) of `_ROW`."""


@dataclass(frozen=True, eq=False)
class Hashed:
    """The hashes of N images.

    Attributes:
        hashes: (N, 8, 4) uint64, of each image as it is and turned by orientations 2 … 8.
        quality: (N,) uint8, 0 … 100.
        is_there: (N,) bool, False where an image could not be decoded; its hashes are zero.
    """

    hashes: npt.NDArray[np.uint64]
    quality: npt.NDArray[np.uint8]
    is_there: BoolArray


def hashes_of(pack: Pack, findings: Findings, progress: Callable[[int], None]) -> Hashed:
    """The hashes of a pack's images, which all have one; what cannot be read is skipped with its error.

    Args:
        progress: called with the number of images that are done.
    """
    rows = np.zeros(len(pack), _ROW)
    rows["crc32"], rows["length"] = pack.column("image/crc32"), pack.column("image/length")
    is_there = np.zeros(len(pack), bool)
    done = 0
    for digest, members in _by_shard(pack):
        path = _folder() / f"{digest}.hashes"
        kept = _load(path)
        is_kept = _fill(rows, members, kept)
        is_there[members[is_kept]] = True
        progress(done := done + int(is_kept.sum()))
        missing = members[~is_kept]
        for indices, quality, of_images in _computed(pack, missing, findings):
            rows["quality"][indices], rows["hashes"][indices] = quality, of_images
            is_there[indices] = True
            progress(done := done + len(indices))
        if len(new := missing[is_there[missing]]):
            _save(path, np.concatenate([kept, rows[new]]))
    return Hashed(rows["hashes"], rows["quality"], is_there)


def _by_shard(pack: Pack) -> Iterator[tuple[str, IntArray]]:
    """The digest of each shard's images, and which of the pack's samples lie in it."""
    entries = pack.info["shards"]
    for entry, (begin, end) in zip(
        entries, pairwise(accumulate((entry["samples"] for entry in entries), initial=0)), strict=True
    ):
        members = np.flatnonzero((pack.indices >= begin) & (pack.indices < end))
        if len(members):
            yield (entry["images"] or entry["annotations"])["sha256"], members


def _computed(
    pack: Pack, indices: IntArray, findings: Findings
) -> Iterator[tuple[Sequence[int], npt.NDArray[np.uint8], npt.NDArray[np.uint64]]]:
    """Qualities and hashes of images, some at a time, made by threads: decoding releases the GIL."""

    def compute(part: Sequence[int]) -> tuple[list[int], list[npt.NDArray[np.float32]], list[SegdataError]]:
        decoded, cells, errors = [], [], []
        for index in part:
            sample = pack[index]
            try:
                encoded = sample.encoded
                assert encoded is not None
                cells.append(hashes.reduced(encoded, max_pixels=sample.max_pixels))
                decoded.append(index)
            except OF_THE_DATA as error:
                errors.append(error.located(key=sample.key, place=pack.place(index)))
        return decoded, cells, errors

    parts = [indices[begin : begin + _AT_ONCE].tolist() for begin in range(0, len(indices), _AT_ONCE)]
    executor = ThreadPoolExecutor(available())
    try:
        for decoded, cells, errors in executor.map(compute, parts):
            for error in errors:
                findings.skip(error)
            if decoded:
                stacked = np.stack(cells)
                yield decoded, hashes.quality(stacked), hashes.hashes(stacked)
    finally:
        executor.shutdown(cancel_futures=True)


def _folder() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("segdata") / "hashes"


def _load(path: Path) -> Rows:
    """The rows of a file; none where there is none, or it is not as it was written."""
    try:
        data = read_file(path)
    except (OSError, SegdataError):
        data = b""
    head, body = data[: len(_HEAD) + 9], data[len(_HEAD) + 9 :]
    if head != _HEAD + f"{crc32(body):08x}\n".encode() or len(body) % _ROW.itemsize:
        return np.zeros(0, _ROW)
    return np.frombuffer(body, _ROW)


def _save(path: Path, rows: Rows) -> None:
    """Keep rows, where that can be done."""
    body = rows.tobytes()
    with contextlib.suppress(OSError, SegdataError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, _HEAD + f"{crc32(body):08x}\n".encode() + body)


def _fill(rows: Rows, members: IntArray, kept: Rows) -> BoolArray:
    """Complete the rows of these members that are kept, by checksum and length; says which are."""
    if not len(kept):
        return np.zeros(len(members), bool)
    keys, wanted = (
        part["crc32"].astype(np.uint64) << np.uint64(32) ^ part["length"].astype(np.uint64)
        for part in (kept, rows[members])
    )
    order = np.argsort(keys, kind="stable")
    position = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
    is_kept: BoolArray = keys[position] == wanted
    rows[members[is_kept]] = kept[position[is_kept]]
    return is_kept
