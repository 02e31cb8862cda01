"""`convert`: any format or a pack → any format or a pack.

Work is cut into shards from sizes on disk before it starts, so the result does not depend on who does it; finished
shards are kept when a run is stopped, and the next run goes on from there. The target appears when all is done: a pack
by writing its index, a dataset folder by one rename.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import segdata
from segdata import formats, images
from segdata.errors import InvalidInput, SegdataError, UsageError
from segdata.files import canonical_json, disk_errors, free_for, locked, remove_tree, sync_folder, write_whole
from segdata.formats.contract import Header
from segdata.inputs import Input, OnError, open_input, origin, without
from segdata.labels import LabelSpace
from segdata.pack import layout
from segdata.pack.read import is_pack, open_pack
from segdata.pack.write import commit, write_dataset, write_shard
from segdata.problems import Problems
from segdata.sample import Sample

SHARD_SAMPLES = 4096
SHARD_IMAGE_BYTES = 1 << 30
SHARD_ANNOTATION_BYTES = 1 << 28
RECEIPT = ".segdata.json"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Report:
    """What a conversion did.

    Attributes:
        source_format, target_format: "pack" or a format's name.
        target: the folder that was written.
        samples, instances: how many there are in the target.
        splits: name → number of samples.
        problems: what was odd (remarks) and what was left out (skipped), by kind with examples.
        was_done: True when the target was already there, made from the same source with the same options.
        is_dry_run: True when nothing was written.
    """

    source_format: str
    target_format: str
    target: Path
    samples: int
    instances: int
    splits: Mapping[str, int]
    problems: Mapping[str, Any]
    was_done: bool = False
    is_dry_run: bool = False

    @property
    def skipped(self) -> int:
        """Items that were left out."""
        return sum(item["count"] for item in self.problems["skipped"])

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return {**vars(self), "target": str(self.target), "splits": dict(self.splits)}


def convert(
    source: str | Path,
    target: str | Path,
    *,
    source_format: str | None = None,
    to: str = "pack",
    splits: Sequence[str] = (),
    labels: LabelSpace | None = None,
    images: layout.Images = "embed",
    limit: int | None = None,
    on_error: OnError = "stop",
    decode: bool = False,
    dry_run: bool = False,
    force: bool = False,
    clean: bool = False,
    wait: float = 0.0,
    progress: Progress | None = None,
) -> Report:
    """Convert a dataset folder or a pack.

    Args:
        source: a dataset folder in a known layout, or a pack.
        target: the folder to make.
        source_format: the source's format; found out from its layout by default.
        to: "pack" or a format's name.
        splits: only these splits.
        labels: the label space of a folder that has no table of its own.
        images: whether a pack holds the image files' bytes, refers to them, or does without.
        limit: at most this many samples, the first ones.
        on_error: "stop" refuses a dataset with invalid items and shows the first; "skip" leaves them out and lists them.
        decode: decode every image fully, instead of checking its structure only.
        dry_run: read and check everything, write nothing.
        force: replace a target that holds something else.
        clean: after replacing a pack, remove the files of the old one.
        wait: seconds to wait for another process that works on the target.
        progress: called with (samples done, samples in all).

    Raises:
        SegdataError: see `segdata.errors`; the target is then as it was before.
    """
    source, target = Path(source), Path(target)
    if to != "pack":
        formats.named(to)
    if limit is not None and limit < 1:
        raise UsageError("--limit is out of range", why=f"expected 1 or more, found {limit}")
    options = {
        "images": images,
        "splits": list(splits),
        "limit": limit,
        "on_error": on_error,
        "decode": decode,
    }
    data = open_input(
        source, source_format, splits, labels, images, limit, needs_images=to == "pack", on_error=on_error
    )
    made_from = origin(source, data)
    if to not in ("pack", made_from):
        raise UsageError(
            f"converting {made_from} to {to} is not possible yet",
            why="this version converts a format to a pack and back to the same format",
            fix=f"use --to {made_from} or --to pack",
        )
    job = _Job(data, target, to, images, on_error, decode, options, progress)
    if dry_run:
        return job.dry_run()
    if source.resolve() == target.resolve():
        raise UsageError("source and target are the same folder", file=target)
    with locked(target, wait=wait):
        return job.to_pack(force=force, clean=clean) if to == "pack" else job.to_folder(force=force)


def inspect(
    path: Path, *, deep: bool = False, source_format: str | None = None, progress: Progress | None = None
) -> Report:
    """Read and check a dataset folder; deep decodes every image and looks for what readers pass over.

    Raises:
        InvalidInput: the dataset is not valid; the message lists the first problems.
    """
    data = open_input(path, source_format, (), None, "embed", None, needs_images=True)
    module = formats.named(data.format)
    if deep and hasattr(module, "inspect"):
        module.inspect(path, data.problems)
    return _Job(data, path, "nothing", "embed", "stop", deep, {}, progress).dry_run()


# ---------------------------------------------------------------------- what is written


@dataclass(frozen=True)
class _Job:
    data: Input
    target: Path
    to: str
    images: layout.Images
    on_error: OnError
    decode: bool
    options: Mapping[str, Any]
    progress: Progress | None

    @property
    def fingerprint(self) -> str:
        """Tells whether a target was made from the same source with the same options by the same version."""
        what = [self.data.fingerprint, self.to, self.options, segdata.__version__, layout.VERSION]
        return hashlib.sha256(canonical_json(what)).hexdigest()

    def dry_run(self) -> Report:
        """Read and check everything."""
        problems = self.data.problems
        instances = 0
        read = 0
        for _, sample in self._samples(range(len(self.data)), problems):
            instances += len(sample.instances)
            _ = sample.semantic
            read += 1
        self._stop_if_strict(problems)
        return self._report(read, instances, problems, is_dry_run=True)

    def to_pack(self, *, force: bool, clean: bool) -> Report:
        """Write shards into a work folder, then commit them."""
        done = self._finished_pack()
        work = self.target / f".work-{self.fingerprint[:16]}"
        with disk_errors(self.target):
            for other in (*self.target.glob(".work-*"), *self.target.glob(f".{layout.INDEX}.part-*")):
                if done is not None or other != work:
                    remove_tree(other)
            if done is not None:
                return done
            free_for(self.target, force=force or self._is_unfinished(), what="the pack")
            work.mkdir(parents=True, exist_ok=True)
        problems = self.data.problems
        receipts = []
        done_samples = 0
        for number, task in enumerate(cut(self.data.sizes, self.images)):
            receipt = _finished(work, number)
            if receipt is None:
                receipt = self._shard(work, number, task, done_samples)
            problems.merge(receipt["problems"])
            receipts.append(receipt)
            done_samples += len(task)
            self._tell(done_samples)
        if self.on_error == "stop" and problems.skips:
            remove_tree(work)
            self._remove_if_empty()
            problems.raise_if_any(str(self.data.root))
        splits = without(self.data.splits, [index for receipt in receipts for index in receipt["left_out"]])
        dataset = write_dataset(work, splits, self.data.documents)
        index = self._index(receipts, dataset, splits, problems)
        commit(self.target, work, [*receipts, dataset], index)
        remove_tree(work)
        if clean:
            named = {entry["file"] for entry in layout.shard_files(index)}
            for path in self.target.glob("*.h5"):
                if path.name not in named:
                    path.unlink()
        return self._report(index["samples"], index["instances"], problems, splits=splits)

    def _shard(self, work: Path, number: int, task: range, before: int) -> dict[str, Any]:
        problems = Problems()
        taken: list[int] = []

        def samples() -> Iterator[Sample]:
            for index, sample in self._samples(task, problems):
                taken.append(index)
                self._tell(before + len(taken))
                yield sample

        size = sum(self.data.sizes[index][0] for index in task)
        left_out_by_writer: list[int] = []
        receipt = write_shard(
            work,
            number,
            samples(),
            self.data.labels,
            images=self.images,
            image_bytes=size,
            problems=problems,
            left_out=left_out_by_writer,
        )
        refused = {taken[place] for place in left_out_by_writer}
        receipt["left_out"] = sorted((set(task) - set(taken)) | refused)
        receipt["problems"] = problems.as_dict()
        write_whole(work / f"receipt-{number:05d}.json", canonical_json(receipt))
        return receipt

    def _samples(self, task: range, problems: Problems) -> Iterator[tuple[int, Sample]]:
        """The samples of a task that can be read; the others go to `problems`."""
        for index in task:
            try:
                sample = self.data.get(index, problems)
                if self.decode and sample.encoded is not None:
                    _ = sample.image
            except (InvalidInput, SegdataError) as error:
                if error.exit_code not in (4, 8, 10, 11):
                    raise
                problems.skip(error)
                continue
            yield index, sample

    def to_folder(self, *, force: bool) -> Report:
        """Write a dataset folder beside the target, then give it its name."""
        receipt_file = self.target / RECEIPT
        if receipt_file.is_file():
            try:
                receipt = json.loads(receipt_file.read_bytes())
            except ValueError:
                receipt = {}
            if receipt.get("fingerprint") == self.fingerprint:
                return Report(**{**receipt["report"], "target": self.target, "was_done": True})
        with disk_errors(self.target):
            free_for(self.target, force=force, what="the dataset folder")
            staging = self.target.parent / f".{self.target.name}.staging"
            remove_tree(staging)
            staging.mkdir(parents=True)
        problems = self.data.problems
        header = Header(self.data.labels, self.data.splits, self.data.documents)
        module = formats.named(self.to)
        counts = [0, 0]

        def samples(task: range) -> Iterator[tuple[int, Sample]]:
            for index, sample in self._samples(task, problems):
                counts[0] += 1
                counts[1] += len(sample.instances)
                self._tell(index + 1)
                yield index, sample

        try:
            receipts = [
                module.write_part(samples(task), staging, header, number)
                for number, task in enumerate(cut(self.data.sizes, "embed"))
            ]
            self._stop_if_strict(problems)
            module.finish(receipts, staging, header)
            report = self._report(counts[0], counts[1], problems)
            document = {**report.as_dict(), "target": self.target.name}
            with disk_errors(staging):
                for path in sorted(staging.rglob("*")):
                    _sync(path)
                write_whole(staging / RECEIPT, canonical_json({"fingerprint": self.fingerprint, "report": document}))
                if self.target.exists():
                    old = self.target.parent / f".{self.target.name}.old"
                    remove_tree(old)
                    self.target.rename(old)
                    staging.rename(self.target)
                    remove_tree(old)
                else:
                    staging.rename(self.target)
                sync_folder(self.target.parent)
        except BaseException:
            remove_tree(staging)
            raise
        return report

    def _stop_if_strict(self, problems: Problems) -> None:
        if self.on_error == "stop":
            problems.raise_if_any(str(self.data.root))

    def _finished_pack(self) -> Report | None:
        """The report of a pack that is already what this job would make; other packs are replaced only with --force."""
        if not is_pack(self.target):
            return None
        index = layout.read_index(self.target)
        if index["provenance"]["fingerprint"] != self.fingerprint:
            return None
        open_pack(self.target)
        return Report(
            self.data.format,
            "pack",
            self.target,
            index["samples"],
            index["instances"],
            {split["name"]: split["samples"] for split in index["splits"]},
            index["report"],
            was_done=True,
        )

    def _is_unfinished(self) -> bool:
        """Whether the target holds nothing but the work of a run that was stopped."""
        return (
            self.target.is_dir()
            and not is_pack(self.target)
            and all(
                path.name.startswith((".work-", f".{layout.INDEX}.part-")) or path.suffix == ".h5"
                for path in self.target.iterdir()
            )
        )

    def _remove_if_empty(self) -> None:
        if not any(self.target.iterdir()):
            self.target.rmdir()

    def _index(
        self,
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
            "labels": self.data.labels.as_dict(),
            "splits": [{"name": name, "samples": len(members)} for name, members in splits.items()],
            "images": self.images,
            "images_root": str(self.data.root.resolve()) if self.images == "reference" else None,
            "max_pixels": images.MAX_PIXELS,
            "provenance": {
                "format": self._source_format(),
                "layout": self.data.layout,
                "root": self.data.root.resolve().name,
                "fingerprint": self.fingerprint,
                "options": dict(self.options),
                "segdata": segdata.__version__,
            },
            "report": problems.as_dict(),
            "dataset": dataset["entry"],
            "shards": shards,
        }

    def _source_format(self) -> str:
        if self.data.format != "pack":
            return self.data.format
        return str(layout.read_index(self.data.root)["provenance"]["format"])

    def _report(
        self,
        samples: int,
        instances: int,
        problems: Problems,
        *,
        splits: Mapping[str, Sequence[int]] | None = None,
        is_dry_run: bool = False,
    ) -> Report:
        return Report(
            self.data.format,
            self.to,
            self.target,
            samples,
            instances,
            {name: len(members) for name, members in (splits or self.data.splits).items()},
            problems.as_dict(),
            is_dry_run=is_dry_run,
        )

    def _tell(self, done: int) -> None:
        if self.progress is not None:
            self.progress(done, len(self.data))


def cut(sizes: Sequence[tuple[int, int]], images: layout.Images) -> list[range]:
    """Cut consecutive samples into shards by their number and by bytes on disk; pure.

    Args:
        sizes: (bytes of the image, bytes of its own annotation files) of each sample.
    """
    tasks = []
    begin = 0
    image_bytes = annotation_bytes = 0
    for index, (image, annotation) in enumerate(sizes):
        image = image if images == "embed" else 0
        is_full = (
            index - begin >= SHARD_SAMPLES
            or image_bytes + image > SHARD_IMAGE_BYTES
            or annotation_bytes + annotation > SHARD_ANNOTATION_BYTES
        )
        if is_full and index > begin:
            tasks.append(range(begin, index))
            begin, image_bytes, annotation_bytes = index, 0, 0
        image_bytes += image
        annotation_bytes += annotation
    if begin < len(sizes):
        tasks.append(range(begin, len(sizes)))
    return tasks


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


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
