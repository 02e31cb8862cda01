"""Damaged files of a pack, made anew from the dataset that it was made of; the others stay as they are.

The bytes of a shard follow from source and options alone, so a shard is mended when it has the recorded SHA-256 again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segdata.conversion.job import Job, Progress, Report
from segdata.conversion.shards import finished, work_folder, write
from segdata.errors import DamagedData, InvalidInput, NotThere, Unsafe
from segdata.pack import layout
from segdata.pack.verify import damaged_files
from segdata.pack.write import move_finished, write_dataset
from segdata.sources.dataset import open_dataset
from segdata.system.files import disk_errors, remove_tree
from segdata.system.locks import locked


def repair(
    pack: str | Path,
    source: str | Path,
    *,
    source_format: str | None = None,
    workers: int | None = None,
    wait: float = 0.0,
    progress: Progress | None = None,
) -> list[str]:
    """Make the damaged files of a pack anew; returns their names.

    Args:
        pack: a pack whose index is intact.
        source: the dataset folder or pack that it was made of.
        source_format, workers, wait, progress: as in `convert`.

    Raises:
        InvalidInput: the pack was not made of this source with these options by this version.
        DamagedData: the index is damaged; or the source does not give the recorded bytes any more.
    """
    pack, source = Path(pack), Path(source)
    index = layout.read_index(pack)
    made = index["provenance"]
    options = made["options"]
    data = open_dataset(
        source,
        format=source_format,
        splits=options["splits"],
        limit=options["limit"],
        on_error=options["on_error"],
        check_images=options["images"] != "none",
    )
    job = Job(
        data,
        pack,
        "pack",
        made["format"],
        options["images"],
        options["on_error"],
        options["decode"],
        options,
        progress,
        workers,
    )
    if made["fingerprint"] != job.fingerprint or "steps" in options:
        raise InvalidInput(
            "the pack was not made of this source alone",
            file=source,
            why="its fingerprint is another: other files, labels or steps, or another version of segdata "
            f"({made['segdata']})",
            state="the pack is as it was",
            fix=f"type the command that made it again, with --force: segdata convert {source} {pack} … --force "
            "(segdata prepare NAME --force)",
        )
    with locked(pack, wait=wait):
        try:
            return _mend(job, index)
        finally:
            remove_tree(work_folder(job))


def mended(job: Job) -> Report | None:
    """The report of a pack that this job made earlier, after damaged files of it were made anew; None if there is none.

    It is also None where that is not enough: the index is damaged, or the source gives other bytes than it did.
    """
    try:
        index = layout.read_index(job.target)
        if index["provenance"]["fingerprint"] != job.fingerprint:
            return None
        names = _mend(job, index)
    except (NotThere, DamagedData, InvalidInput, Unsafe):
        return None
    return Report.of_pack(index, job.data.format, job.target, was_done=not names)


def _mend(job: Job, index: Mapping[str, Any]) -> list[str]:
    """Make damaged files anew.

    Raises:
        DamagedData: what was made is not what the index says; it stays in the work folder.
    """
    damaged = damaged_files(job.target, index)
    if not damaged:
        return []
    work = work_folder(job)
    with disk_errors(work):
        work.mkdir(exist_ok=True)
    bad = [number for number, shard in enumerate(index["shards"]) if damaged & _names(shard)]
    others: dict[int, Any] = {number: None for number in range(len(job.tasks)) if number not in bad}
    kept = {number: receipt for number in bad if (receipt := finished(work, number)) is not None}
    receipts = job.run(lambda number, beat: write(job, number, beat), {**others, **kept})
    made = [receipts[number] for number in bad]
    expected = [index["shards"][number] for number in bad]
    if index["dataset"]["file"] in damaged and not index["report"]["skipped"]:
        made.append(write_dataset(work, job.data.splits, job.data.documents))
        expected.append(index["dataset"])
    for receipt, entry in zip(made, expected, strict=True):
        if receipt["entry"] != entry:
            raise DamagedData(
                "the source does not give the bytes any more that the pack was made of",
                file=job.data.root,
                place=f"for {', '.join(sorted(_names(entry) & damaged))}",
                state="the pack is as it was",
                fix="restore the source's images, or convert the dataset again with --force",
            )
    if damaged - {name for entry in expected for name in _names(entry)}:
        raise DamagedData(
            "the splits of a pack with items left out cannot be made anew alone",
            file=job.target / index["dataset"]["file"],
            fix="convert the dataset again with --force",
        )
    move_finished(job.target, work, made)
    return sorted(damaged)


def _names(entry: Mapping[str, Any]) -> set[str]:
    """The files of a shard's entry in the index, or of a file entry."""
    return (
        {entry["file"]}
        if "file" in entry
        else {part["file"] for part in (entry["annotations"], entry["images"]) if part}
    )
