"""What was sent or fetched, and what was there already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdata.core.reprs import counted, line
from segdata.pack.layout import shard_counts, shard_files

Progress = Callable[[int, int], None]
"""Called as `progress(samples done, samples in all)`."""

AT_ONCE = 4
"""Files that are sent or fetched at once; large ones go in several parts at once, too."""


@dataclass
class Counts:
    """What was sent or fetched.

    Attributes:
        files, bytes: that were.
        kept: files that were there already.
    """

    files: int = 0
    bytes: int = 0
    kept: int = 0

    def add(self, entry: Mapping[str, Any], *, is_new: bool) -> None:
        """Count a file."""
        if is_new:
            self.files, self.bytes = self.files + 1, self.bytes + int(entry["bytes"])
        else:
            self.kept += 1


@dataclass(frozen=True)
class Transferred:
    """The result of `push` or `pull`.

    Attributes:
        source, target: from where and to where.
        samples: of the pack.
        counts: files and bytes that were sent or fetched, and files that were there already.
        removed: files of another pack that were removed from an address.
        was_done: whether everything was there already, the index, too.
    """

    source: Path
    target: Path
    samples: int
    counts: Counts
    removed: int = 0
    was_done: bool = False

    def __repr__(self) -> str:
        return line(self, repr(str(self.target)), counted(self.samples, "sample"), counted(self.counts.files, "file"))

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "source": str(self.source),
            "target": str(self.target),
            "samples": self.samples,
            "files": self.counts.files,
            "bytes": self.counts.bytes,
            "kept": self.counts.kept,
            "removed": self.removed,
            "was_done": self.was_done,
        }


def files_of(index: Mapping[str, Any]) -> list[tuple[dict[str, Any], int]]:
    """Every file of a pack, and the samples that it counts for in the progress: each shard's last file has them."""
    entries = shard_files(index)
    counts = [0]
    for samples, _, has_images in shard_counts(index):
        counts += [0, samples] if has_images else [samples]
    return list(zip(entries, counts, strict=True))


def each(
    files: Sequence[tuple[dict[str, Any], int]],
    work: Callable[[dict[str, Any]], bool],
    progress: Progress | None,
) -> Iterator[tuple[dict[str, Any], bool]]:
    """Work on files, a few at once; gives each with what `work` says. An error stops what has not begun.

    Raises:
        SegdataError: of `work`, the first.
    """
    total, done = sum(samples for _, samples in files), 0
    waiting = list(reversed(files))
    running: dict[Future[bool], tuple[dict[str, Any], int]] = {}
    with ThreadPoolExecutor(AT_ONCE, "segdata-transfer") as pool:
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                entry, samples = waiting.pop()
                running[pool.submit(work, entry)] = entry, samples
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                entry, samples = running.pop(future)
                yield entry, future.result()
                done += samples
                if progress is not None:
                    progress(done, total)
