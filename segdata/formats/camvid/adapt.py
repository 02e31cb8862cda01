"""Samples of other formats → CamVid's original layout: colour label images, `label_colors.txt`, a list a split.

Objects have no place here: only the pixels of their categories remain.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from segdata.core.findings import Findings
from segdata.core.labels import Category, Color, LabelSpace
from segdata.core.sample import Sample
from segdata.formats.adapting import (
    count_category_fields,
    count_documents,
    count_fields,
    count_unmapped,
    distinct_keys,
    image_file,
    painted,
    plain_names,
    remark_split,
    split_names,
)
from segdata.formats.contract import Header, Kept, Plan
from segdata.formats.shared.palettes import PALETTE

_VOID, _BLACK = "Void", (0, 0, 0)


def plan(source: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """Categories of the source with distinct colours, and Void in black."""
    has_void = any(category.ignore for category in source.labels.categories)
    used: set[Color] = set() if has_void else {_BLACK}
    names = plain_names([*(category.name for category in source.labels.categories), _VOID])
    further = _colors()
    rows = []
    for index, category in enumerate(source.labels.categories):
        color = category.color
        if color is None or color in used:
            color = next(item for item in further if item not in used)
        used.add(color)
        rows.append(Category(names[index], index, color, category.isthing, ignore=category.ignore))
    if not has_void:
        rows.append(Category(names[-1], len(rows), _BLACK, ignore=True))
    labels = LabelSpace("custom", tuple(rows))
    table = np.append(np.arange(len(source.labels)), next(i for i, row in enumerate(rows) if row.ignore))
    count_category_fields(source.labels, labels, table, findings)
    count_documents(source, "camvid", findings)
    new_keys = distinct_keys(keys, findings, flat=True)
    new_split = split_names(source.splits)
    lines = ["{} {} {}\t{}".format(*(row.color or (0, 0, 0)), row.name) for row in rows]
    documents = [{"format": "camvid", "file": "label_colors.txt", "text": "".join(f"{line}\n" for line in lines)}]
    for name, members in source.splits.items():
        remark_split(name, new_split[name], findings)
        text = "".join(f"{new_keys[index]}.png\n" for index in members)
        documents.append({"format": "camvid", "file": f"{new_split[name]}.txt", "text": text})
    splits = {new_split[name]: list(members) for name, members in source.splits.items()}
    return Plan(source.labels, Header(labels, splits, documents), new_keys, table)


def _colors() -> Iterator[Color]:
    """Colours to choose from: VOC's palette without black, then all others."""
    for start in range(3, len(PALETTE), 3):
        yield PALETTE[start], PALETTE[start + 1], PALETTE[start + 2]
    yield from itertools.product(range(256), repeat=3)


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample with its label map, painted from instances where it has none."""
    key = plan.keys[index]
    count_unmapped(plan, sample, findings)
    object_fields = {name for extra in sample.instances.extra for name in extra}  # the objects are counted as a whole
    count_fields(sample, findings, Kept("camvid", object_fields=object_fields))
    findings.drop("objects (the pixels of their categories remain)", sample.key, len(sample.instances))
    if sample.id >= 0:
        findings.drop("image ids", sample.key)
    semantic = sample.semantic
    if semantic is None and sample.has_instances:
        semantic = painted(sample.instances, plan.source.void)
    lookup = np.full(plan.source.void + 1, plan.table[-1], plan.header.labels.dtype)
    lookup[: len(plan.source)] = plan.table[:-1]
    return Sample(
        key,
        sample.height,
        sample.width,
        file=image_file("701_StillsRaw_full", key, ".png", sample, findings),
        encoded=lambda: sample.encoded,
        semantic=None if semantic is None else lookup[semantic],
        extra={"camvid": {"label": f"LabeledApproved_full/{key}_L.png", "mode": "RGB"}},
    )
