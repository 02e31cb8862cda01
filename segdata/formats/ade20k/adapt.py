"""Samples of other formats → ADE20K: a document, a map and a PNG for each object; overlaps are kept as hidden pixels.

Objects lie crowds first, then large to small, as in other maps; the label map of a sample without one is painted from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace
from segdata.core.masks import Masks
from segdata.core.polygons import Polygons
from segdata.core.sample import Instances, Sample
from segdata.formats.adapting import (
    count_category_fields,
    count_columns,
    count_documents,
    count_fields,
    count_unmapped,
    distinct_keys,
    image_file,
    layered,
    painted,
    renamed_split,
)
from segdata.formats.ade20k import files
from segdata.formats.contract import Header, Kept, Plan
from segdata.formats.shared import verbatim

_SPLIT = {"train": "training", "val": "validation", "valid": "validation"}
_REST = "training"
_KEPT = {"occluded flags", "truncated flags", "objects without mask", "objects with empty masks"}


def plan(source: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """The source's categories with numbers from 1, and one split for each sample: the first that it is in."""
    ids = [category.id for category in source.labels.categories]
    is_fit = all(0 < number <= files.MOST_CLASSES for number in ids)
    numbers = ids if is_fit else list(range(1, len(ids) + 1))
    rows = [
        Category(category.name, number, isthing=category.isthing)
        for category, number in zip(source.labels.categories, numbers, strict=True)
        if number <= files.MOST_CLASSES
    ]
    labels = LabelSpace("ade20k", tuple(rows))
    table = np.full(len(ids) + 1, -1, np.int64)
    table[: len(rows)] = np.arange(len(rows))
    count_category_fields(source.labels, labels, table, findings)
    count_documents(source, "ade20k", findings)
    splits = renamed_split(source, keys, _REST, _SPLIT, findings)
    return Plan(source.labels, Header(labels, splits, []), distinct_keys(keys, findings, flat=True), table)


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample with records, numbers of objects, and masks cut where others lie on top."""
    count_unmapped(plan, sample, findings)
    count_fields(sample, findings, Kept("ade20k"))
    count_columns(sample, findings, kept=_KEPT)
    key = plan.keys[index]
    split = next(name for name, members in plan.positions.items() if index in members)
    instances = sample.instances.take(plan.table[sample.instances.category] >= 0)
    instances = instances.with_category(plan.table[instances.category])
    layer, _ = layered(instances.masks, instances.iscrowd)
    if sample.semantic is not None:
        semantic = plan.relabelled(sample.semantic)
    else:
        semantic = painted(instances, plan.void).astype(plan.header.labels.dtype)
    residue: dict[str, Any] = {"blue": verbatim.from_array(np.where(layer <= 255, layer, 0).astype(np.uint8))}
    is_known = sample.has_instances or sample.semantic is not None
    if sample.has_instances:
        residue["document"] = {"annotation": _about(sample, key, split)}
    elif is_known:
        findings.drop("images that nobody annotated: images without objects here", sample.key)
        residue["document"] = {"annotation": _about(sample, key, split)}
    return Sample(
        key,
        sample.height,
        sample.width,
        file=image_file(split, key, ".jpg", sample, findings),
        encoded=lambda: sample.encoded,
        instances=_written(instances, layer, key, plan.header.labels) if is_known else None,
        semantic=semantic if is_known else None,
        extra={"ade20k": residue} if is_known else None,
    )


def _about(sample: Sample, key: str, split: str) -> dict[str, Any]:
    size = [sample.height, sample.width, 3]
    return {"filename": f"{key}.jpg", "folder": split, "imsize": size, "source": {}, "scene": []}


def _written(instances: Instances, layer: Any, key: str, labels: LabelSpace) -> Instances:
    """The objects with their records; what lies under others is hidden."""
    count = len(instances)
    visible = Masks.from_id_map(layer, np.arange(1, count + 1))
    extra = []
    for position in range(count):
        whole, seen = instances.masks[position] != 0, visible[position] != 0
        name = labels[int(instances.category[position])].name
        record: dict[str, Any] = {
            "hypernym": [name],
            "raw_name": name,
            "attributes": [],
            "depth_ordering_rank": position + 1,
            "occluded": "yes" if instances.occluded[position] else "no",
            "crop": int(instances.truncated[position]),
            "parts": {"hasparts": [], "ispartof": [], "part_level": 0},
            "polygon": {"x": [], "y": [], "click_date": []},
        }
        if instances.has_mask[position]:
            record["instance_mask"] = f"{key}/instance_{position:03d}_{key}.png"
        kept: dict[str, Any] = {"record": record}
        if (whole & ~seen).any():
            kept["hidden"] = files.counts(whole & ~seen)
        extra.append({"ade20k": kept})
    numbers = np.arange(count)
    polygons = Polygons.of([[]] * count)
    return replace(instances, masks=visible, id=numbers, order=numbers, polygons=polygons, extra=extra)
