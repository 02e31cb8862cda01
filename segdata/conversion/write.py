"""`write`: samples of Python → a pack, streamed; a sequence is read by several processes."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np

from segdata.conversion.job import ConvertReport, Progress
from segdata.core.findings import Findings
from segdata.core.images import MAX_PIXELS, limit_of
from segdata.core.labels import Category, LabelSpace
from segdata.core.sample import Sample
from segdata.errors import (
    OF_THE_DATA,
    InvalidAnnotation,
    InvalidInput,
    SegdataError,
    UsageError,
    number_of,
    require_choice,
)
from segdata.pack.write import (
    UNFINISHED,
    commit,
    index_document,
    is_unfinished,
    remove_unnamed,
    write_dataset,
    write_shard,
)
from segdata.sources.dataset import OnError
from segdata.system import workers as processes
from segdata.system.files import canonical_json, checked_name, disk_errors, locked, remove_tree, require_replaceable


class SampleSequence(Protocol):
    """Samples by their index, such as a list or a dataset of PyTorch."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Sample: ...


Samples = SampleSequence | Iterable[Sample]

_SHARD = 512
"""Samples of a shard."""


def write(
    samples: Samples | Mapping[str, Samples],
    target: str | Path,
    *,
    labels: LabelSpace | Iterable[str | Category],
    on_error: OnError = "stop",
    workers: int | None = None,
    max_pixels: int = MAX_PIXELS,
    force: bool = False,
    progress: Progress | None = None,
) -> ConvertReport:
    """Write samples as a pack.

    Args:
        samples: of one split, "train", or of each split by its name. A sequence (anything with a length and `[i]`, such
            as a dataset of PyTorch) is read by several processes; any other iterable is streamed, a sample at a time.
        target: the folder to make.
        labels: the categories in the order of their indices: names, `Category` objects or a label space.
        on_error: "stop" at the first sample that is not valid, or "skip" it and list it in the report. An error within a
            generator ends it: what `Sample.build` refuses there is caught there, or by giving a sequence.
        workers: processes for sequences; by default as many as there are processors.
        max_pixels: larger images are refused, by readers of the pack, too.
        force: replace a target that holds something else.
        progress: called with (samples done, samples in all; 0 where that is not known).

    Raises:
        InvalidInput: a sample is not valid, two have the same key in a split, or there is none.
        SegdataError: see `segdata.errors`; the target is then as it was before.
    """
    require_choice("on_error", on_error, OnError)
    if isinstance(samples, Sample):
        raise UsageError("samples is one sample", fix="give a list of samples, or a generator")
    limit_of(max_pixels)
    space = labels if isinstance(labels, LabelSpace) else LabelSpace.of(labels)
    splits = samples if isinstance(samples, Mapping) else {"train": samples}
    target = Path(target)
    with locked(target):
        require_replaceable(target, force=force or is_unfinished(target), what="the pack")
        work = target / f"{UNFINISHED[0]}write"
        remove_tree(work)
        with disk_errors(work):
            work.mkdir(parents=True)
        writer = _Writer(work, space, on_error, max_pixels, workers or processes.available(), progress)
        try:
            for name, items in splits.items():
                writer.add(str(name), items)
            index = _commit(target, writer)
        finally:
            remove_tree(work)
            if not any(target.iterdir()):
                target.rmdir()
        remove_unnamed(target, index)
    return ConvertReport.of_pack(index, "samples", target, was_done=False)


class _Writer:
    """Writes splits one after another, in shards.

    Attributes:
        receipts: of the shards so far.
        splits: the indices of each split.
        findings: what was odd or left out.
        images: whether the samples have images; None before the first one.
    """

    def __init__(
        self,
        work: Path,
        labels: LabelSpace,
        on_error: OnError,
        max_pixels: int,
        workers: int,
        progress: Progress | None,
    ) -> None:
        self.work = work
        self.labels = labels
        self.max_pixels = max_pixels
        self.receipts: list[dict[str, Any]] = []
        self.splits: dict[str, list[int]] = {}
        self.findings = Findings()
        self.images: Literal["embed", "none"] | None = None
        self._fail_fast = on_error == "stop"
        self._workers = workers
        self._progress = progress
        self._count = 0

    def add(self, split: str, samples: Samples) -> None:
        """Write the samples of one split."""
        begin = sum(receipt["entry"]["samples"] for receipt in self.receipts)
        if hasattr(samples, "__len__") and hasattr(samples, "__getitem__"):
            receipts = self._of_sequence(cast("SampleSequence", samples))
        else:
            receipts = self._streamed(samples)
        keys = [key for receipt in receipts for key in receipt.pop("keys")]
        if len(set(keys)) < len(keys):
            key, count = Counter(keys).most_common(1)[0]
            raise InvalidInput(
                f"{count} samples of split {split!r} have the same key",
                key=key,
                fix="give every image a key of its own",
            )
        for receipt in receipts:
            self.findings.merge(receipt.pop("problems"))
        self.receipts += receipts
        self.splits[split] = list(range(begin, begin + len(keys)))

    def _of_sequence(self, samples: SampleSequence) -> list[dict[str, Any]]:
        """Shards of a sequence, by several processes."""
        count = len(samples)
        shards = [range(begin, min(begin + _SHARD, count)) for begin in range(0, count, _SHARD)]
        for index in range(count):
            if self.images is None:
                with contextlib.suppress(*OF_THE_DATA):  # it is read again, and its error counted then
                    self._decide_on_images(samples[index])
        first = len(self.receipts)
        done: dict[int, dict[str, Any]] = {}

        def read(index: int, beat: processes.Beat) -> Sample:
            beat(index)
            return samples[index]

        processes.run(
            range(len(shards)),
            lambda number, beat: self._shard(first + number, (partial(read, index, beat) for index in shards[number])),
            workers=self._workers,
            name_of=lambda index: f"sample {index}",
            done=done.__setitem__,
            progress=lambda begun: self._report(self._count + begun, self._count + count),
            hang_seconds=math.inf,
            fail_fast=self._fail_fast,
        )
        self._count += count
        return [done[number] for number in range(len(shards))]

    def _streamed(self, samples: Iterable[Sample]) -> list[dict[str, Any]]:
        """Shards of an iterable, one after another."""
        receipts: list[dict[str, Any]] = []
        remaining = iter(samples)
        for first in remaining:
            if self.images is None:
                self._decide_on_images(first)
            shard = itertools.chain([first], itertools.islice(remaining, _SHARD - 1))
            receipts.append(self._shard(len(self.receipts) + len(receipts), self._counted(shard)))
        return receipts

    def _counted(self, samples: Iterable[Sample]) -> Iterator[Callable[[], Sample]]:
        for sample in samples:
            self._count += 1
            self._report(self._count, 0)
            yield partial(_itself, sample)

    def _report(self, done: int, count: int) -> None:
        if self._progress is not None:
            self._progress(done, count)

    def _decide_on_images(self, sample: Sample) -> None:
        """The first sample says whether the samples have images."""
        _require_sample(sample)
        self.images = "none" if sample.encoded is None else "embed"

    def _shard(self, number: int, reads: Iterable[Callable[[], Sample]]) -> dict[str, Any]:
        """Write one shard; its receipt, with the keys of its samples and what was odd."""
        findings = Findings(fail_fast=self._fail_fast)
        keys: list[str] = []
        left_out: list[int] = []

        def samples() -> Iterator[Sample]:
            for read in reads:
                try:
                    sample = self._valid(read())
                except OF_THE_DATA as error:
                    findings.skip(error)
                else:
                    keys.append(sample.key)
                    yield sample

        receipt = write_shard(
            self.work,
            number,
            samples(),
            self.labels,
            images=self.images or "none",
            image_bytes=None,
            findings=findings,
            left_out=left_out,
        )
        refused = set(left_out)
        kept = [key for position, key in enumerate(keys) if position not in refused]
        return receipt | {"keys": kept, "problems": findings.as_dict()}

    def _valid(self, sample: Sample) -> Sample:
        """The sample, with its image's bytes in memory, when it fits the labels and the other samples."""
        _require_sample(sample)
        try:
            checked_name(sample.key, "the key of a sample")
            encoded = sample.encoded
            if (encoded is None) != (self.images == "none"):
                raise InvalidInput(f"this sample has {'no' if encoded is None else 'an'} image, unlike the first one")
            self._require_labels(sample)
            _require_json(sample)
        except SegdataError as error:
            raise error.located(key=sample.key) from error
        sample.max_pixels = self.max_pixels
        return sample if encoded is None else sample.with_encoded(encoded)

    def _require_labels(self, sample: Sample) -> None:
        """Refuse categories that the labels do not have, and masks of another size than the image."""
        instances, semantic, count = sample.instances, sample.semantic, len(self.labels)
        shape = (instances.masks.height, instances.masks.width)
        if shape != (sample.height, sample.width):
            raise InvalidAnnotation(
                "the masks are of another size than the image",
                why=f"masks {shape}, image {(sample.height, sample.width)} (height, width)",
            )
        wrong = set(instances.category[(instances.category < 0) | (instances.category >= count)].tolist())
        if semantic is not None:
            wrong |= set(np.unique(semantic).tolist()) - {*range(count), self.labels.void}
        if wrong:
            raise InvalidAnnotation(
                "categories that the labels do not have",
                why=f"found {sorted(wrong)[:10]}; {number_of(count, 'label has', 'labels have')} the indices 0 … {count - 1}"
                + ("" if semantic is None else f", and {self.labels.void} is a pixel without category"),
            )


def _require_json(sample: Sample) -> None:
    for place, record in [
        ("extra", sample.extra),
        *((f"extra of object {i}", r) for i, r in enumerate(sample.instances.extra)),
    ]:
        try:
            json.dumps(record)
        except (TypeError, ValueError) as error:
            raise InvalidInput("extra holds something that JSON cannot", place=place, why=str(error)) from error


def _require_sample(sample: Any) -> None:
    if not isinstance(sample, Sample):
        raise UsageError(
            f"{type(sample).__name__} is no sample", fix="make samples with segdata.Sample.build(key, image, …)"
        )


def _itself(sample: Sample) -> Sample:
    return sample


def _commit(target: Path, writer: _Writer) -> dict[str, Any]:
    """Make a pack of the shards; its index."""
    if not any(writer.splits.values()):
        left_out = (
            f"{writer.findings.skips} were left out: {writer.findings.first[0]}" if writer.findings.skips else None
        )
        raise InvalidInput("there are no samples to write", file=target, why=left_out)
    dataset = write_dataset(writer.work, writer.splits, [])
    digests = [receipt["entry"]["annotations"]["sha256"] for receipt in writer.receipts]
    index = index_document(
        writer.receipts,
        dataset,
        labels=writer.labels,
        splits=writer.splits,
        images=writer.images or "none",
        provenance={
            "format": "samples",
            "layout": "samples",
            "root": "",
            "fingerprint": hashlib.sha256(canonical_json(digests)).hexdigest(),
            "options": {},
        },
        findings=writer.findings,
        max_pixels=writer.max_pixels,
    )
    commit(target, writer.work, [*writer.receipts, dataset], index)
    return index
