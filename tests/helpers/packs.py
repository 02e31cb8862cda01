"""Packs of predictions, made from samples in memory; packs that are changed by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from segdata.conversion.job import ConvertOptions, Job
from segdata.conversion.to_pack import to_pack
from segdata.core.labels import LabelSpace
from segdata.core.sample import Sample
from segdata.pack import layout
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


def flip(path: Path, offset: int) -> None:
    """Change one bit of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def rewritten(pack: Path, **values: object) -> None:
    """Change values of the index, and its checksum with them."""
    index = json.loads((pack / "pack.json").read_bytes())
    index.pop("crc32")
    index.update(values)
    (pack / "pack.json").write_bytes(layout.encode_index(index))
