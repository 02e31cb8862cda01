"""A conversion's work: cut into shards, each read by one process, whatever they are written to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from segdata.core.findings import Findings, folded
from segdata.core.sample import Sample
from segdata.errors import OF_THE_DATA, InvalidImage, InvalidInput, LossyConversion, SegdataError
from segdata.pack import layout
from segdata.pack.write import check_image
from segdata.sources.dataset import Dataset, OnError, without
from segdata.system import workers
from segdata.system.files import canonical_json
from segdata.system.workers import Beat, Task
from segdata.version import __version__

SHARD_SAMPLES = (256, 4096)
SHARDS = 16
SHARD_IMAGE_BYTES = 1 << 30
SHARD_ANNOTATION_BYTES = 1 << 28

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

    @classmethod
    def of_pack(cls, index: Mapping[str, Any], source_format: str, target: Path, *, was_done: bool = True) -> Report:
        """The report of the conversion that made a pack with this index."""
        return cls(
            source_format,
            "pack",
            target,
            index["samples"],
            index["instances"],
            {split["name"]: split["samples"] for split in index["splits"]},
            index["report"],
            was_done=was_done,
        )

    @property
    def skipped(self) -> int:
        """Items that were left out."""
        return sum(item["count"] for item in self.problems["skipped"])

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return {**vars(self), "target": str(self.target), "splits": dict(self.splits)}


@dataclass(frozen=True)
class Job:
    """One conversion: what is read, what is made of it, and how.

    Attributes:
        made_from: the format whose samples these are; something that is no format's name when they were changed.
        options: what the result depends on; the others are as in `convert`.
    """

    data: Dataset
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
    fail_fast: bool = False

    @cached_property
    def fingerprint(self) -> str:
        """Tells whether a target was made from the same source with the same options by the same version."""
        what = [self.data.fingerprint, self.to, self.options, __version__, layout.VERSION]
        return hashlib.sha256(canonical_json(what)).hexdigest()

    def refuse_to_replace(self, options: Mapping[str, Any], version: str) -> NoReturn:
        """Say how the earlier conversion that made the target differs from this one.

        Raises:
            InvalidInput: always.
        """
        before, now = {**options, "segdata": version}, {**self.options, "segdata": __version__}
        differing = [name for name in before | now if before.get(name) != now.get(name)]
        said = "; ".join(f"{name}: {before.get(name)!r} then, {now.get(name)!r} now" for name in differing)
        raise InvalidInput(
            f"{self.target} was made with other options" if differing else f"{self.target} was made of other data",
            file=self.target,
            why=said or "files, splits or labels of the source are others",
            fix="choose another name, or add --force to replace it",
        )

    @cached_property
    def tasks(self) -> list[range]:
        """The shards."""
        images = self.images if self.to == "pack" else "embed"
        return cut(self.data.sizes, images, self.options.get("shard_samples"))

    def dry_run(self) -> Report:
        """Read and check everything."""
        findings = self.data.findings
        samples, instances, left_out = self._scan(findings, with_images=self.images != "none")
        self.stop_if_strict(findings)
        return self.report(samples, instances, findings, left_out=left_out, is_dry_run=True)

    def require_no_loss(self) -> None:
        """Read everything once, and stop when the target could not hold it.

        Raises:
            LossyConversion: with everything that would be lost, counted.
        """
        findings = Findings()
        findings.merge({**self.data.findings.as_dict(), "skipped": [], "first": []})
        self._scan(findings, with_images=False)
        self.stop_if_strict(findings)
        if findings.dropped:
            losses = findings.as_dict()["losses"]
            raise LossyConversion(self.to, losses, folded(losses))

    def _scan(self, findings: Findings, *, with_images: bool) -> tuple[int, int, list[int]]:
        """Read all samples without writing: how many there are, their instances, and which could not be read.

        Problems are added in the order of samples.
        """

        def scan(number: int, beat: Beat) -> list[Any]:
            own = Findings(fail_fast=self.fail_fast)
            left_out = set(self.tasks[number])
            instances = 0
            for index, sample in self.samples(self.tasks[number], own, beat, with_images=with_images):
                left_out.remove(index)
                instances += len(sample.instances)
                _ = sample.semantic
            return [sorted(left_out), instances, own.as_dict()]

        results = self.run(scan)
        for _, _, own in results:
            findings.merge(own)
        missing = [index for result in results for index in result[0]]
        return len(self.data) - len(missing), sum(result[1] for result in results), missing

    def run(self, task: Task, kept: Mapping[int, Any] | None = None) -> list[Any]:
        """The results of a task over all shards, in order; those in `kept` are there already."""
        if self.fail_fast:
            self.stop_if_strict(self.data.findings)
        results: dict[int, Any] = dict(kept or {})
        left = [number for number in range(len(self.tasks)) if number not in results]
        before = sum(len(self.tasks[number]) for number in results)
        workers.run(
            left,
            task,
            workers=self.workers or workers.available(),
            name_of=lambda index: self.data.keys[index],
            done=results.__setitem__,
            tell=lambda begun: self._tell(before + begun),
            hang_seconds=self.hang_seconds,
            fail_fast=self.fail_fast,
        )
        return [results[number] for number in range(len(self.tasks))]

    def samples(
        self, task: range, findings: Findings, beat: Beat, *, with_images: bool = False
    ) -> Iterator[tuple[int, Sample]]:
        """The samples of a task that can be read; the others go to `findings`.

        Args:
            with_images: check the structure and size of images, where a pack did not do so before.
        """
        for index in task:
            beat(index)
            try:
                sample = self.data.get(index, findings)
                if with_images and self.data.format != "pack":
                    sample = _with_checked_image(sample, findings)
                if self.decode and sample.encoded is not None:
                    _ = sample.image
            except OF_THE_DATA as error:
                findings.skip(self._as_in_source(error, index))
                continue
            yield index, sample

    def _as_in_source(self, error: SegdataError, index: int) -> SegdataError:
        """The error of a sample; a photo is named as it is called in the source, whatever the target calls it."""
        before = self.data.unadapted
        if before is not None and isinstance(error, InvalidImage):
            error.file, error.key = before.get(index, Findings()).file or error.file, before.keys[index]
        return error

    def stop_if_strict(self, findings: Findings) -> None:
        """Refuse the dataset when something is invalid and nothing may be left out."""
        if self.on_error == "stop":
            findings.raise_if_any(str(self.data.root))

    def report(
        self,
        samples: int,
        instances: int,
        findings: Findings,
        *,
        left_out: Sequence[int] = (),
        is_dry_run: bool = False,
    ) -> Report:
        """What was done; splits are those of the source without the samples that were left out."""
        return Report(
            self.data.format,
            self.to,
            self.target,
            samples,
            instances,
            {name: len(members) for name, members in without(self.data.splits, left_out).items()},
            findings.as_dict(),
            is_dry_run=is_dry_run,
        )

    def _tell(self, done: int) -> None:
        if self.progress is not None:
            self.progress(done, len(self.data))


def _with_checked_image(sample: Sample, findings: Findings) -> Sample:
    encoded = sample.encoded
    if encoded is None:
        return sample
    try:
        check_image(sample, encoded, findings)
    except SegdataError as error:
        raise error.located(key=sample.key, file=sample.file or None) from error
    return sample.with_encoded(encoded)


def cut(sizes: Sequence[tuple[int, int]], images: layout.Images, most_samples: int | None = None) -> list[range]:
    """Cut consecutive samples into shards by their number and by bytes on disk; pure.

    Args:
        sizes: (bytes of the image, bytes of its own annotation files) of each sample.
        most_samples: the most samples of one shard; by default a sixteenth of all, at least 256 and at most 4,096.
    """
    least, most = SHARD_SAMPLES
    most_samples = most_samples or min(max(-(-len(sizes) // SHARDS), least), most)
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
