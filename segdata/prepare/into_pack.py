"""A conversion's shards → a pack, which appears when its index is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import segdata
from segdata import images
from segdata.errors import DamagedData, InvalidInput
from segdata.files import canonical_json, disk_errors, free_for, remove_tree, write_whole
from segdata.inputs import without
from segdata.pack import layout
from segdata.pack.read import is_pack, open_pack
from segdata.pack.write import commit, write_dataset, write_shard
from segdata.prepare.job import Job, Report
from segdata.problems import Problems
from segdata.sample import Sample
from segdata.workers import Beat


def to_pack(job: Job, *, force: bool, clean: bool) -> Report:
    """Write shards into a work folder, then commit them.

    Args:
        force: replace a target that holds something else.
        clean: after replacing a pack, remove the files of the old one.
    """
    done = _finished_pack(job, force=force)
    work = job.target / f".work-{job.fingerprint[:16]}"
    with disk_errors(job.target):
        for other in (*job.target.glob(".work-*"), *job.target.glob(f".{layout.INDEX}.part-*")):
            if done is not None or other != work:
                remove_tree(other)
        if done is not None:
            return done
        if is_pack(job.target) and not force:
            made = layout.read_index(job.target)["provenance"]
            job.refuse_to_replace(made["options"], made["segdata"])
        free_for(job.target, force=force or _is_unfinished(job.target), what="the pack")
        work.mkdir(parents=True, exist_ok=True)
    problems = job.data.problems
    kept = {number: _finished(work, number) for number in range(len(job.tasks))}
    receipts = job.run(
        lambda number, beat: _shard(job, work, number, beat),
        {number: receipt for number, receipt in kept.items() if receipt is not None},
    )
    for receipt in receipts:
        problems.merge(receipt["problems"])
    if job.on_error == "stop" and problems.skips:
        remove_tree(work)
        if not any(job.target.iterdir()):
            job.target.rmdir()
        problems.raise_if_any(str(job.data.root))
    left_out = [index for receipt in receipts for index in receipt["left_out"]]
    splits = without(job.data.splits, left_out)
    dataset = write_dataset(work, splits, job.data.documents)
    index = _index(job, receipts, dataset, splits, problems)
    commit(job.target, work, [*receipts, dataset], index)
    remove_tree(work)
    if clean:
        named = {entry["file"] for entry in layout.shard_files(index)}
        for path in job.target.glob("*.h5"):
            if path.name not in named:
                path.unlink()
    return job.report(index["samples"], index["instances"], problems, left_out=left_out)


def _shard(job: Job, work: Path, number: int, beat: Beat) -> dict[str, Any]:
    problems = Problems()
    task = job.tasks[number]
    taken: list[int] = []

    def samples() -> Iterator[Sample]:
        for index, sample in job.samples(task, problems, beat):
            taken.append(index)
            yield sample

    left_out_by_writer: list[int] = []
    receipt = write_shard(
        work,
        number,
        samples(),
        job.data.labels,
        images=job.images,
        image_bytes=sum(job.data.sizes[index][0] for index in task),
        problems=problems,
        left_out=left_out_by_writer,
    )
    refused = {taken[place] for place in left_out_by_writer}
    receipt["left_out"] = sorted((set(task) - set(taken)) | refused)
    receipt["problems"] = problems.as_dict()
    write_whole(work / f"receipt-{number:05d}.json", canonical_json(receipt))
    return receipt


def _finished_pack(job: Job, *, force: bool) -> Report | None:
    """The report of a pack that is already what this job would make; others, damaged ones too, need --force."""
    if not is_pack(job.target):
        return None
    try:
        index = layout.read_index(job.target)
        if index["provenance"]["fingerprint"] != job.fingerprint:
            return None
        open_pack(job.target)
    except (DamagedData, InvalidInput):
        if force:
            return None
        raise
    return Report(
        job.data.format,
        "pack",
        job.target,
        index["samples"],
        index["instances"],
        {split["name"]: split["samples"] for split in index["splits"]},
        index["report"],
        was_done=True,
    )


def _is_unfinished(target: Path) -> bool:
    """Whether the target holds nothing but the work of a run that was stopped."""
    return (
        target.is_dir()
        and not is_pack(target)
        and all(
            path.name.startswith((".work-", f".{layout.INDEX}.part-")) or path.suffix == ".h5"
            for path in target.iterdir()
        )
    )


def _index(
    job: Job,
    receipts: Sequence[Mapping[str, Any]],
    dataset: Mapping[str, Any],
    splits: Mapping[str, Sequence[int]],
    problems: Problems,
) -> dict[str, Any]:
    shards = [receipt["entry"] for receipt in receipts]
    return {
        "format": layout.FORMAT,
        "version": layout.VERSION,
        "samples": sum(shard["samples"] for shard in shards),
        "instances": sum(shard["instances"] for shard in shards),
        "labels": job.data.labels.as_dict(),
        "splits": [{"name": name, "samples": len(members)} for name, members in splits.items()],
        "images": job.images,
        "images_root": str(job.data.root.resolve()) if job.images == "reference" else None,
        "max_pixels": images.MAX_PIXELS,
        "provenance": {
            "format": job.made_from,
            "layout": job.data.layout,
            "root": job.data.root.resolve().name,
            "fingerprint": job.fingerprint,
            "options": dict(job.options),
            "segdata": segdata.__version__,
        },
        "report": problems.as_dict(),
        "dataset": dataset["entry"],
        "shards": shards,
    }


def _finished(work: Path, number: int) -> dict[str, Any] | None:
    """The receipt of a shard that a stopped run finished, if its files are as it says."""
    try:
        receipt: dict[str, Any] = json.loads((work / f"receipt-{number:05d}.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    entries = {entry["file"]: entry for entry in (receipt["entry"]["annotations"], receipt["entry"]["images"]) if entry}
    for part, final in receipt["files"].items():
        at = work / part if (work / part).exists() else work.parent / final
        if not at.is_file() or at.stat().st_size != entries[final]["bytes"]:
            return None
        with at.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != entries[final]["sha256"]:
                return None
    return receipt
