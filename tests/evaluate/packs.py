"""Packs of predictions, made from samples in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segdata.inputs import Input
from segdata.labels import LabelSpace
from segdata.prepare.into_pack import to_pack
from segdata.prepare.job import Job
from segdata.sample import Sample


def pack_of(samples: Sequence[Sample], labels: LabelSpace, target: Path, split: str = "val") -> Path:
    """Write samples as a pack without images."""
    data = Input(
        "memory",
        target,
        "samples in memory",
        labels,
        {split: list(range(len(samples)))},
        [],
        [sample.key for sample in samples],
        [(0, 0)] * len(samples),
        "memory",
        lambda index, problems: samples[index],
    )
    to_pack(Job(data, target, "pack", "memory", "none", "stop", False, {}, None, 1), force=False, clean=False)
    return target
