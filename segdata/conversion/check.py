"""Check a dataset by its name: kept archives chunk by chunk, every extracted file, and the pack."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdata.catalog import manifest as manifests
from segdata.download.archives.receipt import Differences, Receipt, differences, read_receipt
from segdata.download.paths import folders
from segdata.download.receipts import bad_chunks
from segdata.download.receipts import read as read_download_receipt
from segdata.errors import DamagedData, NotThere, SegdataError, number_of
from segdata.pack.layout import is_pack
from segdata.pack.verify import Verification, verify
from segdata.system.files import disk_errors

Progress = Callable[[str, int, int | None], None]
"""Called with (what, bytes done, bytes in all)."""


@dataclass(frozen=True)
class Checked:
    """Result of `check`.

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


@disk_errors()
def check(
    dataset: str | Path, *, root: str | Path | None = None, deep: bool = False, progress: Progress | None = None
) -> Checked:
    """Read everything of a dataset that is on disk, and compare it with the receipts.

    Args:
        dataset: a known name, or the path of a manifest.
        root: the folder of all datasets.
        deep: also read and decode everything in the pack; quick otherwise.

    Raises:
        NotThere: nothing of it was fetched.
    """
    manifest = manifests.find(dataset)
    paths = folders(manifest.name, root)
    command = shlex.join(["segdata", "fetch", str(dataset), *(["--root", str(root)] if root else [])])
    tell = progress or (lambda what, done, total: None)
    receipts = [receipt for remote in manifest.remotes if (receipt := read_receipt(paths.members(remote.file)))]
    archives = [remote.file for remote in manifest.remotes if paths.archive(remote.file).is_file()]
    if not receipts and not archives and not is_pack(paths.pack):
        raise NotThere(f"{manifest.name} is not fetched", file=paths.home, fix=command)
    damages: list[SegdataError] = []
    for file in archives:
        with contextlib.suppress(NotThere):  # a fetch at work has extracted and removed it meanwhile
            damages += _check_archive(paths.archive(file), paths.receipt(file), f"{command} --repair", tell)
    files = Differences(0)
    if paths.raw.is_dir() or not is_pack(paths.pack):
        staged = [receipt for path in paths.receipts.glob(".*.members.json.staged") if (receipt := read_receipt(path))]
        files = differences(
            paths.raw, receipts, staged, progress=lambda done, total: tell("extracted files", done, total)
        )
        damages += _damages_of_files(files, receipts, paths.raw, command)
    pack = None
    if is_pack(paths.pack):
        pack = verify(paths.pack, deep=deep, progress=lambda done, total: tell("pack (samples)", done, total))
        for error in pack.damages:
            error.fix = f"{command.replace('fetch', 'prepare', 1)} --force makes what is damaged anew"
        damages += pack.damages
    return Checked(manifest.name, len(archives), files, pack, tuple(damages))


def _check_archive(path: Path, receipt_path: Path, fix: str, tell: Progress) -> list[SegdataError]:
    """Compare a kept archive with its receipt. One without a receipt has never been verified, and is skipped."""
    receipt = read_download_receipt(receipt_path)
    if receipt is None:
        return []
    bad = bad_chunks(path, receipt, lambda done, total: tell(path.name, done, total))
    with disk_errors(path):
        size = path.stat().st_size
    if not bad and size == receipt.bytes:
        return []
    ranges = ", ".join(f"{first:,}-{end - 1:,}" for first, end in bad[:5]) + (" …" if len(bad) > 5 else "")
    return [
        DamagedData(
            f"{path.name} is not what was downloaded",
            file=path,
            place=f"bytes {ranges}" if bad else None,
            why=f"{len(bad)} of {number_of(len(receipt.crc32), 'chunk differs', 'chunks differ')}; it has {size:,} bytes of {receipt.bytes:,}",
            fix=fix,
        )
    ]


def _damages_of_files(files: Differences, receipts: Sequence[Receipt], raw: Path, command: str) -> list[SegdataError]:
    """One error for all modified files, one for all missing ones, with the archives that have them."""
    archive_of = {file.path: receipt.archive for receipt in receipts for file in receipt.files}
    damages: list[SegdataError] = []
    for what, names in (("changed since they were extracted", files.modified), ("missing", files.missing)):
        if names:
            archives = sorted({archive_of[name] for name in names})
            more = f" … ({len(names) - 5} more)" if len(names) > 5 else ""
            option = " --force" if what != "missing" else ""
            damages.append(
                DamagedData(
                    f"{number_of(len(names), 'extracted file is', 'extracted files are')} {what}",
                    file=raw / names[0],
                    why=", ".join(names[:5]) + more,
                    fix=f"{command}{option} brings them back from {', '.join(archives)}",
                )
            )
    return damages
