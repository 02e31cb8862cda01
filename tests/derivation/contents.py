"""What a pack holds, in plain values that are compared as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import segdata

OF_OBJECTS = (
    "category",
    "has_mask",
    "iscrowd",
    "difficult",
    "truncated",
    "occluded",
    "id",
    "bbox",
    "area",
    "score",
    "order",
)


def plain(sample: segdata.Sample) -> dict[str, Any]:
    """Everything of a sample."""
    instances, semantic, encoded = sample.instances, sample.semantic, sample.encoded
    return {
        "key": sample.key,
        "file": sample.file,
        "id": sample.id,
        "size": (sample.height, sample.width),
        "annotated": (sample.has_instances, sample.has_semantic),
        "image": None if encoded is None else bytes(encoded),
        "extra": sample.extra,
        "semantic": None if semantic is None else semantic.tolist(),
        "masks": instances.masks.dense().tolist(),
        "polygons": [part.tolist() for part in (instances.polygons.values, instances.polygons.rings)],
        "instance_extra": list(instances.extra),
        **{name: as_text(getattr(instances, name)) for name in OF_OBJECTS},
    }


def as_text(column: np.ndarray) -> str:
    """A column in full, NaN equal to NaN."""
    return repr(column.tolist())


def samples(folder: Path) -> list[dict[str, Any]]:
    """Everything of all samples of a pack, in order."""
    return [plain(sample) for sample in segdata.open(folder)]


def splits(folder: Path) -> dict[str, list[str]]:
    """Split → keys of its samples, in order."""
    pack = segdata.open(folder)
    return {name: [pack.key(int(index)) for index in members] for name, members in pack.splits.items()}


def columns(folder: Path) -> dict[str, Any]:
    """Every column of all shards put one after another; offsets as lengths, since each shard begins at 0.

    Positions of images are left out: where a shard ends is no property of the data.
    """
    pack = segdata.open(folder)
    tables = [shard.table for shard in pack._store.shards]
    whole = {}
    for name in sorted({name for table in tables for name in table.entry["arrays"]} - {"image/offset"}):
        parts = [table[name] for table in tables if table[name] is not None]
        is_offset = name.endswith("offset") or name == "instance/pointer"
        parts = [np.diff(part) for part in parts] if is_offset else parts
        whole[name] = repr(np.concatenate(parts).tolist())
    return whole
