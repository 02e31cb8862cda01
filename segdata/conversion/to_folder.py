"""Shards → a dataset folder, which appears by one rename.

It is written beside the target:

    .TARGET.staging-FINGERPRINT/         the folder in the making
        .parts/boot                      the start of the machine that it was begun in
        .parts/receipt-00000.json        a finished shard
        .segdata.json                    what the folder was made of and how; written last, with the report
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from segdata import formats
from segdata.conversion import shards
from segdata.conversion.job import ConvertReport, Job
from segdata.conversion.shards import AnyReceipt, Receipt, Shard, read_receipt, with_receipt
from segdata.core.sample import Sample
from segdata.errors import OF_THE_DATA, DamagedData
from segdata.formats.contract import Header, Writer
from segdata.formats.shared.folder import CONVERTED
from segdata.pack.entries import Count
from segdata.sources.dataset import Dataset
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
from segdata.system.reading import read_file
from segdata.version import __version__

NAMES = "names.tsv"
"""In a converted folder: new key, tab, key in the source, for samples that the layout calls otherwise."""

_BOOT = "boot"


def is_done(job: Job) -> bool:
    """Whether the target folder was made by the same conversion."""
    return _finished(job) is not None


def is_there(job: Job) -> bool:
    """Whether `to_folder` has nothing to do.

    Raises:
        SegdataError: the target holds something else.
    """
    if is_done(job):
        return True
    _require_replaceable(job)
    return False


def _finished(job: Job) -> ConvertReport | None:
    try:
        receipt = _receipt(job.target)
    except OSError:
        return None
    if receipt is None or receipt.fingerprint != job.fingerprint:
        return None
    return replace(receipt.report, target=job.target, was_done=True)


class _Part(AnyReceipt):
    """The receipt of a shard; what the format's writer keeps in `written` is its own, and trusted within this boot."""

    instances: Count
    written: Any


class _Receipt(Struct):
    """What a converted folder holds of its conversion."""

    fingerprint: str
    options: dict[str, Any]
    segdata: str
    report: ConvertReport


def _receipt(folder: Path) -> _Receipt | None:
    """The receipt of a converted folder; None where there is none, or none that a conversion writes."""
    try:
        document = json.loads(read_file(folder / CONVERTED))
        return msgspec.convert(document, _Receipt, dec_hook=lambda kind, value: kind(value))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, RecursionError):
        return None


def to_folder(job: Job) -> ConvertReport:
    """Write a dataset folder beside the target, shard by shard, then give it its name."""
    done = _finished(job)
    staging = job.target.parent / f".{job.target.name}.staging-{job.fingerprint[:16]}"
    parts = staging / ".parts"
    with disk_errors(job.target):
        for other in job.target.parent.glob(f".{job.target.name}.staging-*"):
            if done is not None or other != staging or not _is_of_this_boot(parts):
                remove_tree(other)
        if done is not None:
            return done
        _require_replaceable(job)
        parts.mkdir(parents=True, exist_ok=True)
        write_whole(parts / _BOOT, _boot())
    dataset, writer = job.dataset, formats.writer(job.options.to)
    header = Header(dataset.labels, dataset.splits, dataset.documents)
    known = {number: read_receipt(job, parts, number, _Part) for number in range(len(job.shards))}
    try:
        receipts = shards.run(
            job,
            lambda shard: _write(shard, dataset, writer, header, staging),
            {number: receipt for number, receipt in known.items() if receipt is not None},
        )
        for receipt in receipts:
            dataset.findings.merge(receipt["problems"])
        job.require_valid(dataset.findings)
        left = len(dataset) - sum(len(receipt["left_out"]) for receipt in receipts)
        job.check_counts(dataset.findings, left, [receipt["seen"] for receipt in receipts])
        with dataset.kept_records():
            writer.finish([receipt["written"] for receipt in receipts], staging, header)
        if dataset.renamed:
            rows = "".join(f"{new}\t{old}\n" for new, old in dataset.renamed)
            write_whole(staging / NAMES, rows.encode("utf-8", "surrogateescape"))
        left_out = [index for receipt in receipts for index in receipt["left_out"]]
        instances = sum(receipt["instances"] for receipt in receipts)
        report = job.report(len(dataset) - len(left_out), instances, dataset.findings, left_out=left_out)
        remove_tree(parts)
        _commit(job, staging, report.recorded())
    except OF_THE_DATA:
        remove_tree(staging)
        raise
    return report


def _require_replaceable(job: Job) -> None:
    force = job.options.force
    if not force:
        before = _receipt(job.target)
        if before is not None:
            job.refuse_to_replace(before.options, before.segdata)
    require_replaceable(job.target, force=force, what="the dataset folder")


def _write(shard: Shard, dataset: Dataset, writer: Writer, header: Header, staging: Path) -> Receipt:
    """Write a shard's files of the folder."""
    instances = 0
    key = None

    def samples() -> Iterator[tuple[int, Sample]]:
        nonlocal instances, key
        for index, sample in shard.samples(check_images=True):
            instances += len(sample.instances)
            key = sample.key
            yield index, sample

    try:
        with dataset.kept_records():
            written = writer.write_part(samples(), staging, header, shard.number)
    except DamagedData as error:
        raise error.located(key=key) from error
    return with_receipt(shard, {"written": written, "instances": instances}, staging / ".parts")


def _commit(job: Job, staging: Path, report: Mapping[str, Any]) -> None:
    with disk_errors(staging):
        sync_disk(staging)
        receipt = {
            "fingerprint": job.fingerprint,
            "options": job.recorded,
            "segdata": __version__,
            "report": report,
        }
        write_whole(staging / CONVERTED, canonical_json(receipt))
        old = job.target.parent / f".{job.target.name}.old"
        if job.target.exists():
            remove_tree(old)
            job.target.rename(old)
        staging.rename(job.target)
        remove_tree(old)
        sync_folder(job.target.parent)


def _boot() -> bytes:
    """Names this start of the machine: what was written before another one may not have reached the disk."""
    return (boot_id() or str(os.getpid())).encode()


def _is_of_this_boot(parts: Path) -> bool:
    try:
        return read_file(parts / _BOOT) == _boot()
    except OSError:
        return False
