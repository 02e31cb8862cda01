"""A conversion's shards → a dataset folder, which appears by one rename."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from segdata import formats
from segdata.conversion.job import Job, Report
from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.errors import OF_THE_DATA
from segdata.formats.contract import Header
from segdata.system.files import (
    boot_id,
    canonical_json,
    disk_errors,
    remove_tree,
    require_replaceable,
    sync_disk,
    sync_folder,
    write_whole,
)
from segdata.system.workers import Beat
from segdata.version import __version__

RECEIPT = ".segdata.json"

NAMES = "names.tsv"
"""In a converted folder: new key, tab, key in the source, for samples that the layout calls otherwise."""

_BOOT = "boot"


def is_done(job: Job) -> bool:
    """Whether the target folder was made by the same conversion."""
    return _finished_folder(job) is not None


def _finished_folder(job: Job) -> Report | None:
    try:
        receipt = json.loads((job.target / RECEIPT).read_bytes())
    except (OSError, ValueError):
        return None
    if receipt.get("fingerprint") != job.fingerprint:
        return None
    return Report(**{**receipt["report"], "target": job.target, "was_done": True})


def to_folder(job: Job, *, force: bool) -> Report:
    """Write a dataset folder beside the target, part by part, then give it its name.

    Args:
        force: replace a target that holds something else.
    """
    done = _finished_folder(job)
    staging = job.target.parent / f".{job.target.name}.staging-{job.fingerprint[:16]}"
    parts = staging / ".parts"
    with disk_errors(job.target):
        for other in job.target.parent.glob(f".{job.target.name}.staging-*"):
            if done is not None or other != staging or not _is_of_this_boot(parts):
                remove_tree(other)
        if done is not None:
            return done
        if not force and (before := _read_json(job.target / RECEIPT)) is not None:
            job.refuse_to_replace(before.get("options", {}), before.get("segdata", ""))
        require_replaceable(job.target, force=force, what="the dataset folder")
        parts.mkdir(parents=True, exist_ok=True)
        write_whole(parts / _BOOT, _boot())
    header = Header(job.data.labels, job.data.splits, job.data.documents)
    module = formats.writer(job.to)

    def part(number: int, beat: Beat) -> dict[str, Any]:
        findings = Findings(fail_fast=job.fail_fast)
        left_out = set(job.tasks[number])
        instances = 0

        def samples() -> Iterator[tuple[int, Sample]]:
            nonlocal instances
            for index, sample in job.samples(job.tasks[number], findings, beat, with_images=True):
                left_out.remove(index)
                instances += len(sample.instances)
                yield index, sample

        written = module.write_part(samples(), staging, header, number)
        receipt = {
            "written": written,
            "left_out": sorted(left_out),
            "instances": instances,
            "problems": findings.as_dict(),
        }
        write_whole(parts / f"receipt-{number:05d}.json", canonical_json(receipt))
        return receipt

    kept = {number: _read_json(parts / f"receipt-{number:05d}.json") for number in range(len(job.tasks))}
    try:
        receipts = job.run(part, {number: receipt for number, receipt in kept.items() if receipt is not None})
        findings = job.data.findings
        for receipt in receipts:
            findings.merge(receipt["problems"])
        job.stop_if_strict(findings)
        module.finish([receipt["written"] for receipt in receipts], staging, header)
        if job.data.renamed:
            rows = "".join(f"{new}\t{old}\n" for new, old in job.data.renamed)
            write_whole(staging / NAMES, rows.encode("utf-8", "surrogateescape"))
        left_out = [index for receipt in receipts for index in receipt["left_out"]]
        instances = sum(receipt["instances"] for receipt in receipts)
        report = job.report(len(job.data) - len(left_out), instances, findings, left_out=left_out)
        remove_tree(parts)
        _commit_folder(job, staging, {**report.as_dict(), "target": job.target.name})
    except OF_THE_DATA:
        remove_tree(staging)
        raise
    return report


def _commit_folder(job: Job, staging: Path, report: Mapping[str, Any]) -> None:
    with disk_errors(staging):
        sync_disk(staging)
        receipt = {
            "fingerprint": job.fingerprint,
            "options": dict(job.options),
            "segdata": __version__,
            "report": report,
        }
        write_whole(staging / RECEIPT, canonical_json(receipt))
        old = job.target.parent / f".{job.target.name}.old"
        if job.target.exists():
            remove_tree(old)
            job.target.rename(old)
        staging.rename(job.target)
        remove_tree(old)
        sync_folder(job.target.parent)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return document


def _boot() -> bytes:
    """Names this start of the machine: what was written before another one may not have reached the disk."""
    return (boot_id() or str(os.getpid())).encode()


def _is_of_this_boot(parts: Path) -> bool:
    try:
        return (parts / _BOOT).read_bytes() == _boot()
    except OSError:
        return False
