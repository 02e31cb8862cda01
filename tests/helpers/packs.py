"""Packs of predictions, made from samples in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segdata.conversion.job import ConvertOptions, Job
from segdata.conversion.to_pack import to_pack
from segdata.core.labels import LabelSpace
from segdata.core.sample import Sample
from segdata.sources.dataset import Dataset


def pack_of(samples: Sequence[Sample], labels: LabelSpace, target: Path, split: str = "val") -> Path:
    """Write samples as a pack without images."""
    data = Dataset(
        format="memory",
        made_from="memory",
        root=target,
        layout="samples in memory",
        labels=labels,
        splits={split: list(range(len(samples)))},
        documents=[],
        keys=[sample.key for sample in samples],
        sizes=[(0, 0)] * len(samples),
        fingerprint="memory",
        get=lambda index, findings: samples[index],
    )
    to_pack(Job(data, target, ConvertOptions(images="none", workers=1)))
    return target
