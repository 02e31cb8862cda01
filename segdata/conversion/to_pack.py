"""Shards → a pack, which appears when its index is written."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from segdata.conversion import shards
from segdata.conversion.job import ConvertReport, Job, Part
from segdata.conversion.repair import repaired
from segdata.conversion.shards import (
    Receipt,
    begin_work,
    finished_in_pack,
    pack_index,
    without_receipt,
    work_folder,
    write_to_pack,
)
from segdata.errors import OF_THE_DATA, InvalidInput
from segdata.pack import layout
from segdata.pack.layout import is_pack
from segdata.pack.read import open_pack
from segdata.pack.write import UNFINISHED, commit, is_unfinished, remove_unnamed, write_dataset
from segdata.sources.dataset import without
from segdata.system.files import disk_errors, locked, remove_tree, require_replaceable


def to_pack(job: Job) -> ConvertReport:
    """Write shards into a work folder, then commit them."""
    done = repaired(job) if job.options.force else _finished(job)
    work = work_folder(job)
    with disk_errors(job.target):
        for other in (path for begin in UNFINISHED for path in job.target.glob(f"{begin}*")):
            if done is not None or other != work:
                remove_tree(other)
        if done is not None:
            return done
        _require_replaceable(job)
        begin_work(job)
    receipts = _write_shards(job, work)
    left_out = [index for receipt in receipts for index in receipt["left_out"]]
    index = _commit(job, work, receipts, left_out)
    remove_tree(work)
    if job.options.clean:
        remove_unnamed(job.target, index)
    return job.report(index["samples"], index["instances"], job.dataset.findings, left_out=left_out)


def part_of_pack(job: Job, part: Part) -> ConvertReport:
    """Convert a part's shards; whoever finishes the last shard of all commits the pack.

    Raises:
        InvalidInput: another conversion was begun in the target.
    """
    if (done := _finished(job)) is not None:
        return done
    work, options = work_folder(job), job.options
    whole = replace(job, dataset=replace(job.dataset, findings=deepcopy(job.dataset.findings)))
    _require_same_work(job, work)
    with contextlib.ExitStack() as locks:
        locks.enter_context(locked(part.of_target(job.target), wait=options.wait, by_kernel=options.lock))
        if options.lock:
            locks.enter_context(locked(job.target, wait=options.wait, is_shared=True))
        _require_replaceable(job)
        begin_work(job)
        numbers = part.share_of(len(job.shards))
        receipts = _converted(job, numbers)
        job.require_valid(job.dataset.findings)
    missing = without_receipt(job, work) if work.is_dir() else []
    if not missing:
        with locked(job.target, wait=max(options.wait, _SECONDS_OF_COMMIT), by_kernel=options.lock):
            return to_pack(whole)
    left_out = {index for receipt in receipts for index in receipt["left_out"]}
    members = {index for number in numbers for index in job.shards[number]} - left_out
    splits = {name: sum(index in members for index in indices) for name, indices in job.dataset.splits.items()}
    objects = sum(receipt["entry"]["instances"] for receipt in receipts)
    return replace(job.report(len(members), objects, job.dataset.findings), splits=splits, missing=len(missing))


_SECONDS_OF_COMMIT = 3600.0
"""How long the last parts wait for one another."""


def _require_same_work(job: Job, work: Path) -> None:
    for other in job.target.glob(f"{UNFINISHED[0]}*"):
        if other != work:
            raise InvalidInput(
                "parts of another conversion are in the target",
                file=job.target,
                why="its source, its options or its segdata were others",
                fix=f"give all parts the same source and options; if nobody works there, remove {other}",
            )


def is_there(job: Job) -> bool:
    """Whether `to_pack` has nothing to do.

    Raises:
        SegdataError: the target holds something else, or is damaged.
    """
    if not job.options.force and _finished(job) is not None:
        return True
    _require_replaceable(job)
    return False


def _finished(job: Job) -> ConvertReport | None:
    """The report of a pack that is already what this job would make.

    Raises:
        DamagedData: the pack is not what was written.
    """
    if not is_pack(job.target):
        return None
    index = layout.read_index(job.target)
    if index["provenance"]["fingerprint"] != job.fingerprint:
        return None
    open_pack(job.target)
    return ConvertReport.of_pack(index, job.dataset.format, job.target)


def _require_replaceable(job: Job) -> None:
    force = job.options.force
    if is_pack(job.target) and not force:
        made = layout.read_index(job.target)["provenance"]
        job.refuse_to_replace(made["options"], made["segdata"])
    require_replaceable(job.target, force=force or is_unfinished(job.target), what="the pack")


def _write_shards(job: Job, work: Path) -> list[Receipt]:
    """Convert all shards that are not finished; what was odd is added to the dataset's findings."""
    try:
        receipts = _converted(job, range(len(job.shards)))
        job.require_valid(job.dataset.findings)
        left = len(job.dataset) - sum(len(receipt["left_out"]) for receipt in receipts)
        job.check_counts(job.dataset.findings, left, [receipt["seen"] for receipt in receipts])
    except OF_THE_DATA:
        remove_tree(work)
        if not any(job.target.iterdir()):
            job.target.rmdir()
        raise
    return receipts


def _converted(job: Job, numbers: Sequence[int]) -> list[Receipt]:
    """The receipts of shards, those that are not finished converted."""
    finished = {number: finished_in_pack(job, number) for number in numbers}
    receipts = shards.run(
        job,
        lambda shard: write_to_pack(job, shard),
        {number: receipt for number, receipt in finished.items() if receipt is not None},
        numbers,
    )
    for receipt in receipts:
        job.dataset.findings.merge(receipt["problems"])
    return receipts


def _commit(job: Job, work: Path, receipts: list[Receipt], left_out: list[int]) -> dict[str, Any]:
    """Move the finished files to the target and write the index, which is returned."""
    dataset = job.dataset
    splits = without(dataset.splits, left_out)
    dataset_receipt = write_dataset(work, splits, dataset.documents)
    index = pack_index(job, receipts, dataset_receipt, splits)
    commit(job.target, work, [*receipts, dataset_receipt], index)
    return index
