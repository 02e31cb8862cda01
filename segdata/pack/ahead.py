"""Photos of a pack at an address that are fetched before they are asked for, neighbours by one request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from segdata.core.arrays import IntArray
from segdata.pack.read import Pack
from segdata.pack.remote import Coming, RangedFile

REQUESTS = 32
"""Most requests at once."""

GAP = 1 << 16
"""Bytes between two photos that are fetched with them, rather than by another request."""

MOST = 1 << 22
"""Bytes after which a request takes no further photo."""


@dataclass
class _Range:
    """Photos that one request fetches."""

    file: RangedFile
    begin: int
    end: int
    photos: list[tuple[int, int]] = field(default_factory=list)


class Ahead:
    """Requests in flight for the photos of one pack."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack
        self._pool = ThreadPoolExecutor(REQUESTS, "segdata-ahead")
        self._files: dict[RangedFile, None] = {}

    def begin(self, indices: IntArray) -> None:
        """Fetch the photos of samples, (N,) int64; who asks for one then waits for it alone."""
        for part in ranges(self._photos(indices)):
            future = self._pool.submit(part.file.part, part.begin, part.end - part.begin)
            for offset, length in part.photos:
                part.file.coming[offset] = Coming(future, offset - part.begin, length)

    def close(self) -> None:
        """Give up what nobody has asked for yet."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for file in self._files:
            file.coming.clear()

    def _photos(self, indices: IntArray) -> Iterator[tuple[RangedFile, int, int]]:
        """File, offset and length of the photos that have to be fetched, once each, as they lie in the files."""
        wanted: dict[tuple[int, int], tuple[RangedFile, int, int]] = {}
        for index in indices.tolist():
            shard, row = self._pack.locate(index)
            file, table = shard.images, shard.table
            if not isinstance(file, RangedFile) or not table["image/codec"].item(row):
                continue
            offset, length = table["image/offset"].item(row), table["image/length"].item(row)
            if offset not in file.coming and not file.has(offset, length, table["image/crc32"].item(row)):
                self._files[file] = None
                wanted[shard.number, offset] = file, offset, length
        yield from (wanted[key] for key in sorted(wanted))


def ranges(photos: Iterator[tuple[RangedFile, int, int]] | Sequence[tuple[RangedFile, int, int]]) -> list[_Range]:
    """What to ask for: photos that are near each other together.

    Args:
        photos: file, offset and length of each, as they lie in the files.
    """
    parts: list[_Range] = []
    for file, offset, length in photos:
        last = parts[-1] if parts else None
        end = offset + length
        if last is None or last.file is not file or offset - last.end > GAP or end - last.begin > MOST:
            last = _Range(file, offset, end)
            parts.append(last)
        last.end = max(last.end, end)
        last.photos.append((offset, length))
    return parts


def ahead_of(pack: object) -> Ahead | None:
    """For a pack whose photos are at an address; None for any other."""
    return Ahead(pack) if isinstance(pack, Pack) and pack.is_remote else None
