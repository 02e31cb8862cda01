"""Samples of other formats → PASCAL VOC: XML boxes, class and object masks, lists, `labelmap.txt`.

Category 0 is the background. Class masks come from the label map where there is one, else from the objects; object
number k belongs to the k-th object; overlapping objects are painted crowds first, then large to small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from segdata import manifest
from segdata.errors import UsageError
from segdata.formats.contract import Header
from segdata.formats.crossing import (
    Plan,
    distinct,
    layered,
    lose_columns,
    lose_documents,
    lose_fields,
    lose_labels,
    lose_overlaps,
    lose_unmapped,
    named,
    split_names,
)
from segdata.formats.voc_lists import PALETTE
from segdata.formats.voc_objects import VOID
from segdata.labels import Category, LabelSpace
from segdata.problems import Problems
from segdata.sample import Instances, Sample

_MOST = 254
"""Highest object and category number of an 8-bit mask whose 255 is void."""

_KEPT = {
    "difficult flags",
    "truncated flags",
    "occluded flags",
    "boxes as annotated",
    "objects without mask",
}


def plan(given: Header, keys: Sequence[str], problems: Problems) -> Plan:
    """VOC's own categories where they are enough, else the source's behind a background."""
    official = manifest.label_space("voc")
    names = [category.name for category in given.labels.categories]
    if set(names) <= set(official.index_of_name):
        labels = official
    else:
        others = [category for category in given.labels.categories if category.name != "background"]
        if len(others) > _MOST:
            raise UsageError(
                f"VOC's masks hold {_MOST} categories",
                why=f"{given.labels.name!r} has {len(others)}",
                fix="map to fewer categories with --labels",
            )
        rows = ["background", *(category.name for category in others)]
        things = [None, *(category.isthing for category in others)]
        labels = LabelSpace(
            "custom",
            tuple(
                Category(name, index, _color(index), isthing=isthing)
                for index, (name, isthing) in enumerate(zip(rows, things, strict=True))
            ),
        )
    table = np.array([*(labels.index_of_name[name] for name in names), -1], np.int64)
    lose_labels(given.labels, labels, table, problems)
    lose_documents(given, "voc", problems)
    new_keys = distinct(keys, problems, flat=True)
    new_split = split_names(given.splits)
    splits = {}
    documents = [_text("labelmap.txt", ["# label:color_rgb:parts:actions", *map(_row, labels.categories)])]
    for name, members in given.splits.items():
        splits[new_split[name]] = list(members)
        lines = [new_keys[index] for index in members]
        if new_split[name] != name:
            problems.remark("split has another name in the target", f"{name} → {new_split[name]}")
        documents.append({**_text(f"ImageSets/Segmentation/{new_split[name]}.txt", lines), "only_masked": True})
        documents.append(_text(f"ImageSets/Main/{new_split[name]}.txt", lines))
    return Plan(given.labels, Header(labels, splits, documents), new_keys, table)


def _color(index: int) -> tuple[int, int, int]:
    return PALETTE[3 * index], PALETTE[3 * index + 1], PALETTE[3 * index + 2]


def _row(category: Category) -> str:
    color = category.color or (0, 0, 0)
    return f"{category.name}:{color[0]},{color[1]},{color[2]}::"


def _text(file: str, lines: Sequence[str]) -> dict[str, Any]:
    return {"format": "voc", "file": file, "text": "".join(f"{line}\n" for line in lines)}


def adapt(plan: Plan, index: int, sample: Sample, problems: Problems) -> Sample:
    """The sample with objects numbered from 1, and the map of these numbers."""
    key = plan.keys[index]
    lose_unmapped(plan, sample, problems)
    lose_fields(sample, problems, instance=("pose",))
    kept = _KEPT if sample.id >= 0 or "cityscapes" in sample.extra else {*_KEPT, "object ids"}
    lose_columns(sample, problems, kept=kept)
    instances = sample.instances
    count = len(instances)
    problems.lose(f"masks of objects after the first {_MOST}", sample.key, int(instances.has_mask[_MOST:].sum()))
    masks = instances.masks if count <= _MOST else instances.masks[:_MOST]
    numbers, visible = layered(masks, instances.iscrowd[:_MOST])
    lose_overlaps(sample, masks, visible, problems)
    category = plan.table[instances.category]
    adapted = replace(
        instances,
        category=category,
        has_mask=np.append(visible > 0, np.zeros(max(count - _MOST, 0), bool)),
        id=np.arange(1, count + 1),
        bbox=_boxes(instances),
        extra=[{"pose": own["pose"]} if "pose" in own else {} for own in instances.extra],
    )
    semantic = None
    if sample.semantic is not None:
        semantic = plan.relabelled(sample.semantic)
        numbers[(numbers == 0) & (semantic == plan.void)] = VOID
    elif sample.has_instances and (instances.has_mask[:_MOST].any() or not count):
        semantic = masks.semantic(category[:_MOST], background=0, iscrowd=instances.iscrowd[:_MOST])
    return Sample(
        key,
        sample.height,
        sample.width,
        file=named("JPEGImages", key, ".jpg", sample, problems),
        encoded=lambda: sample.encoded,
        instances=adapted if sample.has_instances else None,
        semantic=semantic,
        extra={"voc": {"object": sample.has_instances and semantic is not None, "object_numbers": numbers}},
    )


def _boxes(instances: Instances) -> Any:
    """Annotated boxes, those of the masks where there are none."""
    corners = instances.masks.boxes
    own = np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), axis=1)
    return np.where(np.isnan(instances.bbox), own, instances.bbox)
