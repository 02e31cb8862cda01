"""A dataset by its name, checked: kept archives chunk by chunk, every extracted file, and the pack."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdata.catalog import manifest as manifests
from segdata.download import receipts
from segdata.download.archives.receipt import Differences, Receipt, differences, read_receipt
from segdata.download.paths import folders
from segdata.errors import DamagedData, NotThere, SegdataError
from segdata.pack.read import is_pack
from segdata.pack.verify import Verification, verify
from segdata.system.files import disk_errors

Progress = Callable[[str, int, int | None], None]
"""Called with (what, bytes done, bytes in all)."""


@dataclass(frozen=True)
class Checked:
    """What was found.

    Attributes:
        name: the dataset.
        archives: kept archives that were read.
        files: how the extracted files differ from their receipts.
        pack: None where the dataset is not prepared.
        damages: everything that is not as it was recorded.
    """

    name: str
    archives: int
    files: Differences
    pack: Verification | None
    damages: tuple[SegdataError, ...]

    @property
    def is_good(self) -> bool:
        """Whether nothing is damaged, changed or missing; extra files are no damage."""
        return not self.damages

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "dataset": self.name,
            "good": self.is_good,
            "archives": self.archives,
            "files": self.files.files,
            "modified": list(self.files.modified),
            "missing": list(self.files.missing),
            "extra": list(self.files.extra),
            "pack": self.pack.as_dict() if self.pack else None,
            "damages": [error.as_dict() for error in self.damages],
        }


def check(
    dataset: str | Path, *, root: Path | None = None, deep: bool = False, progress: Progress | None = None
) -> Checked:
    """Read everything of a dataset that is on disk, and compare it with the receipts.

    Args:
        dataset: a known name, or the path of a manifest.
        root: the folder of all datasets.
        deep: also read and decode everything in the pack; quick otherwise.

    Raises:
        NotThere: nothing of it was fetched.
    """
    found = manifests.find(dataset)
    own = folders(found.name, root)
    command = shlex.join(["segdata", "fetch", str(dataset), *(["--root", str(root)] if root else [])])
    tell = progress or (lambda what, done, total: None)
    extracted = [read_receipt(own.members(remote.file)) for remote in found.remotes]
    known = [receipt for receipt in extracted if receipt is not None]
    kept = [remote.file for remote in found.remotes if own.archive(remote.file).is_file()]
    if not known and not kept and not is_pack(own.pack):
        raise NotThere(f"{found.name} is not fetched", file=own.home, fix=command)
    damages: list[SegdataError] = []
    for file in kept:
        with contextlib.suppress(NotThere):  # a fetch at work has extracted and removed it meanwhile
            damages += _archive(own.archive(file), own.receipt(file), f"{command} --repair", tell)
    changed = Differences(0)
    if own.raw.is_dir() or not is_pack(own.pack):
        coming = [receipt for path in own.receipts.glob(".*.members.json.staged") if (receipt := read_receipt(path))]
        changed = differences(own.raw, known, coming, progress=lambda done, total: tell("extracted files", done, total))
        damages += _files(changed, known, own.raw, command)
    pack = None
    if is_pack(own.pack):
        pack = verify(own.pack, deep=deep, progress=lambda done, total: tell("pack (samples)", done, total))
        for error in pack.damages:
            error.fix = f"{command.replace('fetch', 'prepare', 1)} --force makes what is damaged anew"
        damages += pack.damages
    return Checked(found.name, len(kept), changed, pack, tuple(damages))


def _archive(path: Path, receipt: Path, fix: str, tell: Progress) -> list[SegdataError]:
    """The damage of a kept archive; one without a receipt was not checked yet, and is nobody's promise."""
    found = receipts.read(receipt)
    if found is None:
        return []
    bad = receipts.bad_chunks(path, found, lambda done, total: tell(path.name, done, total))
    with disk_errors(path):
        size = path.stat().st_size
    if not bad and size == found.bytes:
        return []
    ranges = ", ".join(f"{first:,}-{end - 1:,}" for first, end in bad[:5]) + (" …" if len(bad) > 5 else "")
    return [
        DamagedData(
            f"{path.name} is not what was downloaded",
            file=path,
            place=f"bytes {ranges}" if bad else None,
            why=f"{len(bad)} of {len(found.crc32)} chunks differ; it has {size:,} bytes of {found.bytes:,}",
            fix=fix,
        )
    ]


def _files(found: Differences, known: list[Receipt], raw: Path, command: str) -> list[SegdataError]:
    """One error for all modified files, one for all missing ones, with the archives that have them."""
    archive_of = {file.path: receipt.archive for receipt in known for file in receipt.files}
    damages: list[SegdataError] = []
    for what, paths in (("changed since they were extracted", found.modified), ("missing", found.missing)):
        if paths:
            archives = sorted({archive_of[path] for path in paths})
            more = f" … ({len(paths) - 5} more)" if len(paths) > 5 else ""
            option = " --force" if what != "missing" else ""
            damages.append(
                DamagedData(
                    f"{len(paths)} extracted files are {what}",
                    file=raw / paths[0],
                    why=", ".join(paths[:5]) + more,
                    fix=f"{command}{option} brings them back from {', '.join(archives)}",
                )
            )
    return damages
