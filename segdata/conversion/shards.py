"""Convert a shard: one process reads its samples, checks and writes them, and leaves a receipt.

A run that was stopped is gone on with from the receipts: the shards that have one are not converted again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from segdata.conversion.job import Job, origin
from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.errors import OF_THE_DATA, DamagedData, InvalidImage, NotThere, SegdataError
from segdata.pack.entries import Count, ShardEntry
from segdata.pack.images import check_image
from segdata.pack.layout import Report
from segdata.pack.write import file_names, index_document, write_shard
from segdata.sets.recode import with_file
from segdata.sources.dataset import Dataset
from segdata.system import documents, workers
from segdata.system.files import canonical_json, crc32, disk_errors, real_path, remove_tree, write_whole
from segdata.system.reading import open_file
from segdata.system.workers import Beat

Seen = Sequence[int]
"""Of a shard's samples: how many are annotated, how many objects they have, how many of these have iscrowd."""

Receipt = dict[str, Any]
"""What became of a shard, as JSON holds it."""

_AT_ONCE = 32
"""Samples that are adapted at once."""


class Shard:
    """One shard at work.

    Attributes:
        number: the shard's number.
        members: the indices of its samples.
        findings: what was odd or left out.
        left_out: the indices of samples that were not read, or not written.
        annotated: how many of the samples that were read have objects or a label map.
        objects, crowds: how many objects they have, and how many of these have iscrowd.
    """

    def __init__(self, job: Job, number: int, beat: Beat) -> None:
        self.number = number
        self.members = job.shards[number]
        self.findings = Findings(fail_fast=job.options.fail_fast, strict=job.options.read.strict)
        self.left_out = set(self.members)
        self.annotated = self.objects = self.crowds = 0
        self._job = job
        self._beat = beat

    def samples(self, *, check_images: bool = False) -> Iterator[tuple[int, Sample]]:
        """The samples that can be read, each with its index.

        Args:
            check_images: check structure and size of the images of a folder; writing a pack does that by itself.
        """
        decode = self._job.options.decode
        for index, sample in self._read():
            try:
                if check_images and self._job.dataset.format != "pack":
                    sample = _with_checked_image(sample, self.findings)
                if self._job.options.to != "pack":
                    sample = with_file(sample)
                if decode and sample.encoded is not None:
                    _ = sample.image
            except OF_THE_DATA as error:
                self.findings.skip(self._as_in_source(error, index))
                continue
            self.left_out.remove(index)
            self.annotated += bool(len(sample.instances)) or sample.has_semantic
            self.objects += len(sample.instances)
            self.crowds += int(sample.instances.iscrowd.sum())
            yield index, sample

    def _read(self) -> Iterator[tuple[int, Sample]]:
        """The samples that can be read, adapted block by block where that is possible."""
        dataset = self._job.dataset
        if dataset.adapt_block is None or dataset.unadapted is None:
            yield from self._loaded(dataset)
            return
        block: dict[int, Sample] = {}
        for index, sample in self._loaded(dataset.unadapted):
            block[index] = sample
            if len(block) == _AT_ONCE or sample.has_semantic:  # label maps take memory
                yield from zip(block, dataset.adapt_block([*block], [*block.values()], self.findings), strict=True)
                block = {}
        if block:
            yield from zip(block, dataset.adapt_block([*block], [*block.values()], self.findings), strict=True)

    def _loaded(self, dataset: Dataset) -> Iterator[tuple[int, Sample]]:
        for index in self.members:
            self._beat(index)
            try:
                with dataset.kept_records(dataset.keys[index]):
                    sample = dataset.get(index, self.findings)
            except OF_THE_DATA as error:
                self.findings.skip(self._as_in_source(error, index))
                continue
            yield index, sample

    @property
    def seen(self) -> Seen:
        """The counts of the shard."""
        return self.annotated, self.objects, self.crowds

    def _as_in_source(self, error: SegdataError, index: int) -> SegdataError:
        """The error of a sample; an image is called as in the source, whatever the target calls it."""
        before = self._job.dataset.unadapted
        if before is not None and isinstance(error, InvalidImage):
            error.file, error.key = before.get(index, Findings()).file or error.file, before.keys[index]
        return error


def _with_checked_image(sample: Sample, findings: Findings) -> Sample:
    encoded = sample.encoded
    if encoded is None:
        return sample
    try:
        check_image(sample, encoded, findings)
    except SegdataError as error:
        raise error.located(key=sample.key, file=sample.file or None) from error
    return sample.with_encoded(encoded)


def run(
    job: Job,
    task: Callable[[Shard], Any],
    results: Mapping[int, Any] | None = None,
    numbers: Sequence[int] | None = None,
) -> list[Any]:
    """The results of a task over shards, in order; the work is shared by processes.

    Args:
        results: shard → its result, for shards that are done already.
        numbers: of the shards; by default all.
    """
    numbers = range(len(job.shards)) if numbers is None else numbers
    if job.options.fail_fast:
        job.require_valid(job.dataset.findings)
    done = dict(results or {})
    done_samples = sum(len(job.shards[number]) for number in done)
    samples = sum(len(job.shards[number]) for number in numbers)
    progress = job.options.progress
    workers.run(
        [number for number in numbers if number not in done],
        lambda number, beat: task(Shard(job, number, beat)),
        workers=job.options.workers or workers.available(),
        name_of=lambda index: job.dataset.keys[index],
        done=done.__setitem__,
        progress=lambda begun: progress(done_samples + begun, samples) if progress is not None else None,
        hang_seconds=job.options.hang_seconds,
        fail_fast=job.options.fail_fast,
    )
    return [done[number] for number in numbers]


def with_receipt(shard: Shard, receipt: Receipt, folder: Path) -> Receipt:
    """The receipt of a shard whose files are written; it is the last file to be written, into this folder."""
    receipt |= {"left_out": sorted(shard.left_out), "seen": shard.seen, "problems": shard.findings.as_dict()}
    document = {"crc32": crc32(canonical_json(receipt)), "content": receipt}
    write_whole(_receipt_path(folder, shard.number), canonical_json(document))
    return receipt


class AnyReceipt(Struct):
    """What the receipt of every shard holds."""

    left_out: list[Count]
    seen: tuple[Count, Count, Count]
    problems: Report


class _Receipt(AnyReceipt):
    """The receipt of a pack's shard."""

    entry: ShardEntry
    files: dict[str, str]


class _Document(Struct):
    """The file of a receipt."""

    crc32: Count
    content: dict[str, Any]


def read_receipt(job: Job, folder: Path, number: int, kind: type[AnyReceipt]) -> Receipt | None:
    """The receipt that an earlier run has left of a shard; a damaged one is as good as none."""
    path, what = _receipt_path(folder, number), "the receipt of a shard"
    try:
        document = documents.read_json(path, _Document, what)
        receipt = documents.typed(document.content, kind, what, path)
    except (NotThere, DamagedData):
        return None
    is_whole = crc32(canonical_json(document.content)) == document.crc32
    return document.content if is_whole and set(receipt.left_out) <= set(job.shards[number]) else None


def without_receipt(job: Job, folder: Path) -> list[int]:
    """The numbers of the shards of which nobody has left a receipt."""
    return [number for number in range(len(job.shards)) if not _receipt_path(folder, number).is_file()]


def _receipt_path(folder: Path, number: int) -> Path:
    return folder / f"receipt-{number:05d}.json"


# ---------------------------------------------------------------------- shards of a pack


def work_folder(job: Job) -> Path:
    """Temporary folder of finished shards, until `pack.json` is written."""
    return job.target / f".work-{job.fingerprint[:16]}"


def begin_work(job: Job) -> Path:
    """Make the work folder where it is not there; one with a link in it, which leads elsewhere, is made anew.

    Files that a killed run was writing are removed, but by parts: others may be at work.
    """
    work = work_folder(job)
    with disk_errors(work):
        if work.is_symlink() or (work.is_dir() and any(path.is_symlink() for path in work.iterdir())):
            remove_tree(work)
        work.mkdir(parents=True, exist_ok=True)
        for path in work.glob("*.part-*") if job.options.part is None else ():
            path.unlink()
    return work


def write_to_pack(job: Job, shard: Shard) -> Receipt:
    """Write a shard's files of a pack into the work folder."""
    indices: list[int] = []

    def samples() -> Iterator[Sample]:
        for index, sample in shard.samples():
            indices.append(index)
            yield sample

    refused: list[int] = []
    receipt = write_shard(
        work_folder(job),
        shard.number,
        samples(),
        job.dataset.labels,
        images=job.options.images,
        image_bytes=None
        if job.options.exif == "apply" or job.options.recode == "lossless"
        else sum(job.dataset.sizes[i][0] for i in shard.members),
        findings=shard.findings,
        left_out=refused,
    )
    shard.left_out |= {indices[position] for position in refused}
    return with_receipt(shard, receipt, work_folder(job))


def finished_in_pack(job: Job, number: int) -> Receipt | None:
    """The receipt of a shard that a stopped run finished, if its files are as the receipt says."""
    work = work_folder(job)
    receipt = read_receipt(job, work, number, _Receipt)
    if receipt is None or receipt["files"] != file_names(number, receipt["entry"]):
        return None
    entries = {entry["file"]: entry for entry in (receipt["entry"]["annotations"], receipt["entry"]["images"]) if entry}
    left = len(job.shards[number]) - len(receipt["left_out"])
    if set(receipt["files"].values()) != entries.keys() or receipt["entry"]["samples"] != left:
        return None
    for part, final in receipt["files"].items():
        path = work / part if (work / part).exists() else work.parent / final
        if not path.is_file() or path.stat().st_size != entries[final]["bytes"]:
            return None
        with open_file(path) as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != entries[final]["sha256"]:
                return None
    return receipt


def pack_index(
    job: Job, receipts: Sequence[Mapping[str, Any]], dataset: Mapping[str, Any], splits: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """The index of the pack that a job makes.

    Args:
        receipts: of all shards, in order.
        dataset: of the file of splits and documents.
        splits: of what is in the pack.
    """
    made_from, images = job.dataset, job.options.images
    return index_document(
        receipts,
        dataset,
        labels=made_from.labels,
        splits=splits,
        images=images,
        images_root=made_from.root if images == "reference" else None,
        provenance={
            "format": origin(made_from),
            "layout": made_from.layout,
            "root": real_path(made_from.root).name,
            "fingerprint": job.fingerprint,
            "options": job.recorded,
        },
        findings=made_from.findings,
        max_pixels=job.options.read.max_pixels,
    )
