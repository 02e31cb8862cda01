"""Samples of other formats → Cityscapes: labelIds, instanceIds and colours under gtFine, by city.

The label space is fixed; categories are matched by name. An image is in one split only: the first it is in (train, val,
test before others), whose name is its "city" where its key names none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from segdata.catalog import manifest
from segdata.core.findings import Findings
from segdata.core.masks import Masks
from segdata.core.sample import Instances, Sample
from segdata.formats.adapting import (
    count_category_fields,
    count_columns,
    count_documents,
    count_fields,
    count_overlaps,
    count_unmapped,
    image_file,
    layered,
    painted,
    split_names,
    table_by_name,
)
from segdata.formats.contract import Header, Kept, Plan

_KEY = re.compile(r"([A-Za-z-]+)/\1_\d{6}_\d{6}")
_FRAME = 19
"""The annotated frame of each of the original's thirty-frame snippets; copies carry the same number."""

_ORDER = ("train", "val", "test")
_PER_CATEGORY = 1000
_KEPT = Kept("cityscapes")


def plan(source: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """Categories by name, one split per sample, keys CITY/CITY_SEQUENCE_FRAME."""
    labels = manifest.label_space("cityscapes")
    is_drawn = np.array([*(category.id >= 0 for category in labels.categories), False])
    table = table_by_name(source.labels, labels)
    table[~is_drawn[table]] = -1
    count_category_fields(source.labels, labels, table, findings)
    count_documents(source, "cityscapes", findings)
    new_split = split_names(source.splits)
    home = ["all"] * len(keys)
    ranked = sorted(source.splits, key=lambda name: _ORDER.index(new_split[name]) if new_split[name] in _ORDER else 9)
    taken: set[int] = set()
    for name in ranked:
        for index in map(int, source.splits[name]):
            if index in taken:
                findings.drop(f"place in the split {name!r}", keys[index])
            else:
                taken.add(index)
                home[index] = new_split[name]
    numbers: dict[str, int] = {}
    new_keys = []
    for key, split in zip(keys, home, strict=True):
        if _KEY.fullmatch(key):
            new_keys.append(key)
            continue
        city = re.sub(r"[^A-Za-z-]", "", split) or "all"
        number = numbers[city] = numbers.get(city, -1) + 1
        new_keys.append(f"{city}/{city}_{number:06d}_{_FRAME:06d}")
        findings.remark("sample has another name in the target", f"{key} → {new_keys[-1]}")
    splits: dict[str, list[int]] = {}
    for index, split in enumerate(home):
        splits.setdefault(split, []).append(index)
    return Plan(source.labels, Header(labels, splits, []), new_keys, table)


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample with instance ids, label map, and masks that do not overlap."""
    key = plan.keys[index]
    split = next(name for name, members in plan.positions.items() if index in members)
    count_unmapped(plan, sample, findings)
    count_fields(sample, findings, _KEPT)
    count_columns(sample, findings, kept={"crowd flags"})
    labels = plan.header.labels
    instances = sample.instances.take((plan.table[sample.instances.category] >= 0) & sample.instances.has_mask)
    category = plan.table[instances.category]
    layer, visible = layered(instances.masks, instances.iscrowd)
    count_overlaps(sample, instances.masks, visible, findings)
    shown = instances.masks
    if not np.array_equal(visible, shown.areas):
        shown = Masks.from_id_map(layer, np.arange(1, len(instances) + 1))
    adapted = Instances(**{**vars(instances.with_category(category)), "masks": shown})
    isthing = np.array([bool(item.isthing) for item in labels.categories])
    has_number = isthing[category]
    findings.drop("objects of categories that have none here: pixels only", sample.key, int((~has_number).sum()))
    semantic = None
    if sample.semantic is not None:
        semantic = plan.relabelled(sample.semantic)
        in_object = np.append(False, has_number)[layer]
        if (
            sample.has_instances
            and (np.append(isthing, np.zeros(256 - len(isthing), bool))[semantic] & ~in_object).any()
        ):
            findings.remark("pixels of things outside of objects: groups in instanceIds", sample.key)
    elif sample.has_instances:
        semantic = painted(adapted, labels.void)
    return Sample(
        key,
        sample.height,
        sample.width,
        file=image_file(f"leftImg8bit/{split}", f"{key}_leftImg8bit", ".png", sample, findings),
        encoded=lambda: sample.encoded,
        instances=_numbered(plan, sample, adapted.take(has_number), findings) if sample.has_instances else None,
        semantic=semantic,
        extra={"cityscapes": {"base": f"gtFine/{split}/{key}_gtFine_", "color": True}},
    )


def _numbered(plan: Plan, sample: Sample, instances: Instances, findings: Findings) -> Instances:
    """Instance ids: category id · 1000 + n; the category id alone for crowds, which become one group."""
    values = []
    counts: dict[int, int] = {}
    groups: set[int] = set()
    for category, is_crowd in zip(instances.category.tolist(), instances.iscrowd.tolist(), strict=True):
        label = plan.header.labels[category].id
        if is_crowd:
            if label in groups:
                findings.drop("groups that melt into one", sample.key)
            groups.add(label)
            values.append(label)
            continue
        number = counts.get(label, 0)
        counts[label] = number + 1
        if number >= _PER_CATEGORY:
            findings.drop(f"objects after the first {_PER_CATEGORY} of a category: pixels only", sample.key)
        values.append(label * _PER_CATEGORY + number if number < _PER_CATEGORY else label)
    return Instances(**{**vars(instances), "id": np.array(values, np.int64)})
