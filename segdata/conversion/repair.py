"""Repair a pack: damaged files are converted again from the dataset that it was made of; the others stay as they are.

The bytes of a shard follow from source and options alone, so a shard is repaired when it has its recorded SHA-256.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct, ValidationError, convert, structs

from segdata.conversion import shards
from segdata.conversion.job import ConvertOptions, ConvertReport, Job, Progress
from segdata.conversion.relink import relink
from segdata.conversion.shards import begin_work, finished_in_pack, pack_index, work_folder, write_to_pack
from segdata.errors import DamagedData, InvalidInput, NotThere, Unsafe
from segdata.pack import layout
from segdata.pack.verify import damaged_files, is_whole, rebuild
from segdata.pack.write import move_finished, write_dataset
from segdata.places.address import located, require_folder
from segdata.sources.dataset import OnError, open_dataset
from segdata.system.files import disk_errors, locked, remove_tree


@disk_errors()
def repair(
    pack: str | Path,
    source: str | Path,
    *,
    source_format: str | None = None,
    workers: int | None = None,
    wait: float = 0.0,
    progress: Progress | None = None,
) -> list[str]:
    """Make the damaged files of a pack anew, by converting or by linking them; returns their names.

    Args:
        pack: a pack whose index is intact.
        source: the dataset folder or pack that it was made of; for a pack made of packs (merged, split …), one of these,
            or any other that has the same files.
        source_format, workers, wait, progress: as in `convert`.

    Raises:
        InvalidInput: the pack was not made of this source with these options by this version.
        DamagedData: the index is damaged; or the source does not give the recorded bytes any more.
    """
    require_folder(pack, "its files are made anew")
    pack, source = Path(pack), located(source)
    index = layout.read_index(pack)
    made = index["provenance"]
    if "parents" in made:
        return relink(pack, source, index, wait=wait)
    options = replace(_recorded(made["options"], pack), workers=workers, progress=progress)
    dataset = open_dataset(
        source,
        format=source_format,
        splits=options.splits,
        where=options.where,
        limit=options.limit,
        on_error=options.on_error,
        check_images=options.images != "none",
    )
    job = Job(dataset, pack, options)
    if made["fingerprint"] != job.fingerprint or "steps" in made["options"]:
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
            return _repair(job, index)
        finally:
            remove_tree(work_folder(job))


class _Recorded(Struct):
    """The options of a conversion that a pack records and a repair takes up again; see `ConvertOptions`."""

    splits: list[str] = []
    images: layout.Images = "none"
    where: str | None = None
    limit: Annotated[int, Meta(ge=1)] | None = None
    on_error: OnError = "stop"
    decode: bool = False
    shard_samples: Annotated[int, Meta(ge=1)] | None = None


def _recorded(options: Mapping[str, Any], pack: Path) -> ConvertOptions:
    try:
        return ConvertOptions(**structs.asdict(convert(options, _Recorded)))
    except (ValidationError, UnicodeError) as error:
        raise InvalidInput(
            "the pack was not made by a conversion",
            file=pack / layout.INDEX,
            place="$.provenance.options",
            why=str(error),
            fix="convert the dataset again with --force",
        ) from error


def repaired(job: Job) -> ConvertReport | None:
    """The report of a pack that this job made earlier, after its damaged files were repaired; None if there is none.

    It is also None where a repair is not enough: the index is damaged or not the one that this job writes, or the source
    gives other bytes than it did.
    """
    try:
        index = layout.read_index(job.target)
        if not _is_made_by(job, index):
            return None
        names = _repair(job, index)
        if not is_whole(job.target):
            return None
        rebuild(job.target)
    except (NotThere, DamagedData, InvalidInput, Unsafe):
        return None
    return ConvertReport.of_pack(index, job.dataset.format, job.target, was_done=not names)


def _is_made_by(job: Job, index: Mapping[str, Any]) -> bool:
    """Whether an index is the one that this job writes, as far as that is known before its shards are written.

    What is not known, the digests and the report, is compared with the index's copy, where there is one.
    """
    copy = job.target / layout.COPY
    if copy.is_file() and layout.read_index(job.target, layout.COPY) != index:
        return False
    splits = {split["name"]: range(split["samples"]) for split in index["splits"]}
    if not index["report"]["skipped"]:
        splits = {name: range(len(members)) for name, members in job.dataset.splits.items()}
    receipts = [{"entry": entry} for entry in index["shards"]]
    expected = layout.normalised(pack_index(job, receipts, {"entry": index["dataset"]}, splits))
    return all(expected[name] == index[name] for name in expected.keys() - {"crc32", "report"})


def _repair(job: Job, index: Mapping[str, Any]) -> list[str]:
    """Convert the damaged shards again.

    Raises:
        DamagedData: what was written is not what the index says; it stays in the work folder.
    """
    damaged = damaged_files(job.target, index)
    if not damaged:
        return []
    work = begin_work(job)
    bad = [number for number, shard in enumerate(index["shards"]) if damaged & _names(shard)]
    intact: dict[int, Any] = {number: None for number in range(len(job.shards)) if number not in bad}
    finished = {number: receipt for number in bad if (receipt := finished_in_pack(job, number)) is not None}
    receipts = shards.run(job, lambda shard: write_to_pack(job, shard), {**intact, **finished})
    written = [receipts[number] for number in bad]
    expected = [index["shards"][number] for number in bad]
    if index["dataset"]["file"] in damaged and not index["report"]["skipped"]:
        written.append(write_dataset(work, job.dataset.splits, job.dataset.documents))
        expected.append(index["dataset"])
    _require_equal(job, written, expected, damaged)
    if damaged - {name for entry in expected for name in _names(entry)}:
        raise DamagedData(
            "the splits of a pack with items left out cannot be made anew alone",
            file=job.target / index["dataset"]["file"],
            fix="convert the dataset again with --force",
        )
    move_finished(job.target, work, written)
    return sorted(damaged)


def _require_equal(
    job: Job, receipts: Sequence[Mapping[str, Any]], entries: Sequence[Mapping[str, Any]], damaged: set[str]
) -> None:
    for receipt, entry in zip(receipts, entries, strict=True):
        if receipt["entry"] != entry:
            raise DamagedData(
                "the source does not give the bytes any more that the pack was made of",
                file=job.dataset.root,
                place=f"for {', '.join(sorted(_names(entry) & damaged))}",
                state="the pack is as it was",
                fix="restore the source's images, or convert the dataset again with --force",
            )


def _names(entry: Mapping[str, Any]) -> set[str]:
    """The files of a shard's entry in the index, or of a file entry."""
    return (
        {entry["file"]}
        if "file" in entry
        else {part["file"] for part in (entry["annotations"], entry["images"]) if part}
    )
