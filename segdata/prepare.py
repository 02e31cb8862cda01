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
from functools import cached_property
from pathlib import Path
from typing import Any

import segdata
from segdata import formats, images, normalise, workers
from segdata.errors import InvalidInput, SegdataError, UsageError, WorkerLost, WouldLose
from segdata.files import canonical_json, disk_errors, free_for, locked, remove_tree, sync_folder, write_whole
from segdata.formats.contract import Header
from segdata.inputs import Input, Labels, OnError, changed, crossed, open_input, origin, relabelling, table_of, without
from segdata.normalise import Step
from segdata.pack import layout
from segdata.pack.read import is_pack, open_pack
from segdata.pack.write import commit, write_dataset, write_shard
from segdata.problems import Problems
from segdata.sample import Sample
from segdata.workers import Beat, Task

SHARD_SAMPLES = 4096
SHARD_IMAGE_BYTES = 1 << 30
SHARD_ANNOTATION_BYTES = 1 << 28
RECEIPT = ".segdata.json"
NAMES = "names.tsv"
"""In a converted folder: new key, tab, key in the source, for samples that the layout calls otherwise."""

_BOOT = "boot"
_CHANGED = "changed"
"""What a pack's origin is called when its samples are no longer as any source has them."""


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
    labels: Labels = None,
    keep: Sequence[str] = (),
    drop: Sequence[str] = (),
    min_area: float = 0.0,
    crowds: bool = True,
    images: layout.Images = "embed",
    limit: int | None = None,
    on_error: OnError = "stop",
    allow_loss: bool = False,
    decode: bool = False,
    workers: int | None = None,
    shard_samples: int = SHARD_SAMPLES,
    hang_seconds: float = 600.0,
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
        labels: map categories: the name of a view ("cityscapes-19") or of a label space ("voc", by names), a TOML file,
            or a mapping. The name of a space of the folder's own format says what the folder's numbers mean.
        keep, drop: only these categories, all but these (names after `labels`).
        min_area: leave out objects with fewer pixels.
        crowds: whether crowds stay.
        images: whether a pack holds the image files' bytes, refers to them, or does without.
        limit: at most this many samples, the first ones.
        on_error: "stop" refuses a dataset with invalid items and shows the first; "skip" leaves them out and lists them.
        allow_loss: convert although the target cannot hold all of it; the report says what was lost either way.
        decode: decode every image fully, instead of checking its structure only.
        workers: processes; by default as many as there are processors. The result does not depend on it.
        shard_samples: most samples of a shard, the unit of work.
        hang_seconds: stop a worker that stays at one sample for longer.
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
        "shard_samples": shard_samples,
    }
    table = table_of(labels, source, source_format)
    data = open_input(source, source_format, splits, table, images, limit, needs_images=to == "pack", on_error=on_error)
    made_from = origin(source, data)
    steps: list[Step] = []
    if labels is not None and table is None:
        steps.append(relabelling(labels, data.labels))
    for choose, names in ((normalise.keep, keep), (normalise.drop, drop)):
        if names:
            steps.append(choose(steps[-1].space(data.labels) if steps else data.labels, names))
    if min_area > 0 or not crowds:
        steps.append(normalise.Filter(min_area, crowds))
    if steps:
        made_from = _CHANGED
        options["steps"] = [hashlib.sha256(repr(step).encode()).hexdigest() for step in steps]
        data = changed(data, steps)
    crosses = to not in ("pack", made_from)
    if crosses:
        data = crossed(data, to)
    job = _Job(data, target, to, made_from, images, on_error, decode, options, progress, workers, hang_seconds)
    if dry_run:
        return job.dry_run()
    if source.resolve() == target.resolve():
        raise UsageError("source and target are the same folder", file=target)
    if crosses and not allow_loss and not job.is_done():
        job.require_no_loss()
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
    return _Job(data, path, "nothing", data.format, "embed", "stop", deep, {}, progress).dry_run()


# ---------------------------------------------------------------------- what is written


@dataclass(frozen=True)
class _Job:
    data: Input
    target: Path
    to: str
    made_from: str
    images: layout.Images
    on_error: OnError
    decode: bool
    options: Mapping[str, Any]
    progress: Progress | None
    workers: int | None = None
    hang_seconds: float = 600.0

    @cached_property
    def fingerprint(self) -> str:
        """Tells whether a target was made from the same source with the same options by the same version."""
        what = [self.data.fingerprint, self.to, self.options, segdata.__version__, layout.VERSION]
        return hashlib.sha256(canonical_json(what)).hexdigest()

    @cached_property
    def tasks(self) -> list[range]:
        """The shards."""
        images = self.images if self.to == "pack" else "embed"
        return cut(self.data.sizes, images, self.options.get("shard_samples", SHARD_SAMPLES))

    def dry_run(self) -> Report:
        """Read and check everything."""
        problems = self.data.problems
        samples, instances = self._scan(problems)
        self._stop_if_strict(problems)
        return self._report(samples, instances, problems, is_dry_run=True)

    def require_no_loss(self) -> None:
        """Read everything once, and stop when the target could not hold it.

        Raises:
            WouldLose: with everything that would be lost, counted.
        """
        problems = Problems()
        problems.merge({**self.data.problems.as_dict(), "skipped": [], "first": []})
        self._scan(problems)
        self._stop_if_strict(problems)
        if problems.losses:
            raise WouldLose(self.to, problems.as_dict()["losses"])

    def _scan(self, problems: Problems) -> tuple[int, int]:
        """Read all samples without writing; problems are added in the order of samples."""

        def scan(number: int, beat: Beat) -> list[Any]:
            own = Problems()
            samples = instances = 0
            for _, sample in self._samples(self.tasks[number], own, beat):
                samples += 1
                instances += len(sample.instances)
                _ = sample.semantic
            return [samples, instances, own.as_dict()]

        results = self._run(scan)
        for _, _, own in results:
            problems.merge(own)
        return sum(result[0] for result in results), sum(result[1] for result in results)

    def _run(self, task: Task, kept: Mapping[int, Any] | None = None) -> list[Any]:
        """The results of a task over all shards, in order; those in `kept` are there already."""
        results: dict[int, Any] = dict(kept or {})
        left = [number for number in range(len(self.tasks)) if number not in results]
        before = sum(len(self.tasks[number]) for number in results)
        workers.run(
            len(left),
            lambda place, beat: task(left[place], beat),
            workers=self.workers or workers.available(),
            name_of=lambda index: self.data.keys[index],
            done=lambda place, result: results.__setitem__(left[place], result),
            tell=lambda begun: self._tell(before + begun),
            hang_seconds=self.hang_seconds,
        )
        return [results[number] for number in range(len(self.tasks))]

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
        kept = {number: _finished(work, number) for number in range(len(self.tasks))}
        receipts = self._run(
            lambda number, beat: self._shard(work, number, beat),
            {number: receipt for number, receipt in kept.items() if receipt is not None},
        )
        for receipt in receipts:
            problems.merge(receipt["problems"])
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

    def _shard(self, work: Path, number: int, beat: Beat) -> dict[str, Any]:
        problems = Problems()
        task = self.tasks[number]
        taken: list[int] = []

        def samples() -> Iterator[Sample]:
            for index, sample in self._samples(task, problems, beat):
                taken.append(index)
                yield sample

        left_out_by_writer: list[int] = []
        receipt = write_shard(
            work,
            number,
            samples(),
            self.data.labels,
            images=self.images,
            image_bytes=sum(self.data.sizes[index][0] for index in task),
            problems=problems,
            left_out=left_out_by_writer,
        )
        refused = {taken[place] for place in left_out_by_writer}
        receipt["left_out"] = sorted((set(task) - set(taken)) | refused)
        receipt["problems"] = problems.as_dict()
        write_whole(work / f"receipt-{number:05d}.json", canonical_json(receipt))
        return receipt

    def _samples(self, task: range, problems: Problems, beat: Beat) -> Iterator[tuple[int, Sample]]:
        """The samples of a task that can be read; the others go to `problems`."""
        for index in task:
            beat(index)
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

    def is_done(self) -> bool:
        """Whether the target folder was made by the same conversion."""
        return self._finished_folder() is not None

    def _finished_folder(self) -> Report | None:
        try:
            receipt = json.loads((self.target / RECEIPT).read_bytes())
        except (OSError, ValueError):
            return None
        if receipt.get("fingerprint") != self.fingerprint:
            return None
        return Report(**{**receipt["report"], "target": self.target, "was_done": True})

    def to_folder(self, *, force: bool) -> Report:
        """Write a dataset folder beside the target, part by part, then give it its name."""
        done = self._finished_folder()
        staging = self.target.parent / f".{self.target.name}.staging-{self.fingerprint[:16]}"
        parts = staging / ".parts"
        with disk_errors(self.target):
            for other in self.target.parent.glob(f".{self.target.name}.staging-*"):
                if done is not None or other != staging or not _is_of_this_boot(parts):
                    remove_tree(other)
            if done is not None:
                return done
            free_for(self.target, force=force, what="the dataset folder")
            parts.mkdir(parents=True, exist_ok=True)
            write_whole(parts / _BOOT, _boot())
        header = Header(self.data.labels, self.data.splits, self.data.documents)
        module = formats.named(self.to)

        def part(number: int, beat: Beat) -> dict[str, Any]:
            problems = Problems()
            counts = [0, 0]

            def samples() -> Iterator[tuple[int, Sample]]:
                for index, sample in self._samples(self.tasks[number], problems, beat):
                    counts[0] += 1
                    counts[1] += len(sample.instances)
                    yield index, sample

            written = module.write_part(samples(), staging, header, number)
            receipt = {"written": written, "counts": counts, "problems": problems.as_dict()}
            write_whole(parts / f"receipt-{number:05d}.json", canonical_json(receipt))
            return receipt

        kept = {number: _read_json(parts / f"receipt-{number:05d}.json") for number in range(len(self.tasks))}
        try:
            receipts = self._run(part, {number: receipt for number, receipt in kept.items() if receipt is not None})
            problems = self.data.problems
            for receipt in receipts:
                problems.merge(receipt["problems"])
            self._stop_if_strict(problems)
            module.finish([receipt["written"] for receipt in receipts], staging, header)
            if self.data.renamed:
                rows = "".join(f"{new}\t{old}\n" for new, old in self.data.renamed)
                write_whole(staging / NAMES, rows.encode("utf-8", "surrogateescape"))
            samples, instances = (sum(receipt["counts"][place] for receipt in receipts) for place in (0, 1))
            report = self._report(samples, instances, problems)
            remove_tree(parts)
            self._commit_folder(staging, {**report.as_dict(), "target": self.target.name})
        except SegdataError as error:
            if not isinstance(error, WorkerLost):
                remove_tree(staging)
            raise
        return report

    def _commit_folder(self, staging: Path, report: Mapping[str, Any]) -> None:
        with disk_errors(staging):
            for path in sorted(staging.rglob("*")):
                _sync(path)
            write_whole(staging / RECEIPT, canonical_json({"fingerprint": self.fingerprint, "report": report}))
            if self.target.exists():
                old = self.target.parent / f".{self.target.name}.old"
                remove_tree(old)
                self.target.rename(old)
                staging.rename(self.target)
                remove_tree(old)
            else:
                staging.rename(self.target)
            sync_folder(self.target.parent)

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
                "format": self.made_from,
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


def cut(sizes: Sequence[tuple[int, int]], images: layout.Images, most_samples: int = SHARD_SAMPLES) -> list[range]:
    """Cut consecutive samples into shards by their number and by bytes on disk; pure.

    Args:
        sizes: (bytes of the image, bytes of its own annotation files) of each sample.
        most_samples: the most samples of one shard.
    """
    tasks = []
    begin = 0
    image_bytes = annotation_bytes = 0
    for index, (image, annotation) in enumerate(sizes):
        image = image if images == "embed" else 0
        is_full = (
            index - begin >= most_samples
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


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return document


def _boot() -> bytes:
    """Names this start of the machine: what was written before another one may not have reached the disk."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        return str(os.getpid()).encode()


def _is_of_this_boot(parts: Path) -> bool:
    try:
        return (parts / _BOOT).read_bytes() == _boot()
    except OSError:
        return False


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
