"""Samples of other formats → COCO-Stuff's pixel maps: stuffthingmaps/SPLIT and SPLIT, in COCO-Stuff's categories.

Categories are matched by their names; pixels of others become 255. A sample without label map gives that of its objects.
"""

from __future__ import annotations

from collections.abc import Sequence

from segdata.catalog import manifest
from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.adapting import (
    count_category_fields,
    count_documents,
    count_fields,
    count_unmapped,
    distinct_keys,
    image_file,
    painted,
    renamed_split,
    table_by_name,
)
from segdata.formats.coco_stuff.format import MAPS, OFFICIAL
from segdata.formats.contract import Header, Kept, Plan

_SPLITS = {"train": "train2017", "val": "val2017"}
_REST = "train"


def plan(source: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """COCO-Stuff's categories, and one split for each sample: the first that it is in."""
    labels = manifest.label_space(OFFICIAL)
    table = table_by_name(source.labels, labels)
    count_category_fields(source.labels, labels, table, findings)
    count_documents(source, "coco-stuff", findings)
    splits = renamed_split(source, keys, _REST, _SPLITS, findings)
    return Plan(source.labels, Header(labels, splits, []), distinct_keys(keys, findings, flat=True), table)


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample with its label map, painted from instances where it has none."""
    count_unmapped(plan, sample, findings)
    object_fields = {name for extra in sample.instances.extra for name in extra}  # the objects are counted as a whole
    count_fields(sample, findings, Kept("coco-stuff", object_fields=object_fields))
    findings.drop("objects (the pixels of their categories remain)", sample.key, len(sample.instances))
    findings.drop("image ids", sample.key, int(sample.id >= 0))
    semantic = sample.semantic
    if semantic is None and sample.has_instances:
        semantic = painted(sample.instances, plan.source.void)
    key = plan.keys[index]
    split = next(name for name, members in plan.positions.items() if index in members)
    return Sample(
        key,
        sample.height,
        sample.width,
        file=image_file(split, key, ".jpg", sample, findings),
        encoded=lambda: sample.encoded,
        semantic=None if semantic is None else plan.relabelled(semantic),
        extra={"coco-stuff": {"file": f"{MAPS}/{split}/{key}.png", "mode": "L"}} if semantic is not None else None,
    )
