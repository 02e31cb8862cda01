"""One shard of a pack: written into a work folder with a receipt, and found again by the next run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from segdata.conversion.job import Job
from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.pack.write import write_shard
from segdata.system.files import canonical_json, write_whole
from segdata.system.workers import Beat


def work_folder(job: Job) -> Path:
    """Where a job's finished shards wait for the commit."""
    return job.target / f".work-{job.fingerprint[:16]}"


def write(job: Job, number: int, beat: Beat) -> dict[str, Any]:
    """Make a shard; returns its receipt, which is written last."""
    work = work_folder(job)
    findings = Findings(fail_fast=job.fail_fast)
    task = job.tasks[number]
    taken: list[int] = []

    def samples() -> Iterator[Sample]:
        for index, sample in job.samples(task, findings, beat):
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
        findings=findings,
        left_out=left_out_by_writer,
    )
    refused = {taken[place] for place in left_out_by_writer}
    receipt["left_out"] = sorted((set(task) - set(taken)) | refused)
    receipt["problems"] = findings.as_dict()
    write_whole(work / f"receipt-{number:05d}.json", canonical_json(receipt))
    return receipt


def finished(work: Path, number: int) -> dict[str, Any] | None:
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
