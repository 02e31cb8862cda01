"""Samples of other formats → SA-1B: a document beside each image; all objects become one category."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from segdata.core.findings import Findings
from segdata.core.polygons import Polygons
from segdata.core.sample import Sample
from segdata.formats.adapting import (
    count_category_fields,
    count_columns,
    count_documents,
    count_fields,
    count_unmapped,
    distinct_keys,
    first_split,
    folder_of,
)
from segdata.formats.contract import RESIDUES, Header, Kept, Plan
from segdata.formats.sa1b import records
from segdata.formats.shared.folder import image_ending

_SPLIT = "all"
_STRIDE = 1_000_000
"""Annotation ids reserved for each image, so that they do not depend on other images."""

_KEPT = {"areas as annotated", "boxes as annotated", "objects with empty masks"}


def plan(source: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """One category, and one split for each sample: the first that it is in."""
    table = np.zeros(len(source.labels) + 1, np.int64)
    table[-1] = -1
    if len(source.labels) == 1:
        count_category_fields(source.labels, records.LABELS, table, findings)
    count_documents(source, "sa1b", findings)
    splits = first_split(source, keys, _SPLIT, findings)
    return Plan(source.labels, Header(records.LABELS, splits, []), distinct_keys(keys, findings, flat=True), table)


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample with ids and areas, and with its masks alone."""
    count_unmapped(plan, sample, findings)
    known = {*RESIDUES, *records.KNOWN_OF_IMAGES, "captions"}
    extra = {name: value for name, value in sample.extra.items() if name not in known}
    names = {name for fields in sample.instances.extra for name in fields if name not in records.KNOWN}
    count_fields(sample, findings, Kept("sa1b", image_fields=extra, object_fields=names))
    count_columns(sample, findings, kept=_KEPT if sample.id < 0 else {*_KEPT, "image ids", "object ids"})
    findings.drop("label maps", sample.key, int(sample.semantic is not None))
    instances = sample.instances.take(sample.instances.has_mask)
    if len(plan.source) > 1:
        findings.drop("categories of objects", sample.key, len(instances))
    count = len(instances)
    boxes = instances.masks.boxes
    from_mask = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)
    order = index * _STRIDE + np.arange(count)
    instances = replace(
        instances,
        category=np.zeros(count, np.int64),
        iscrowd=np.zeros(count, bool),
        bbox=np.where(np.isnan(instances.bbox), from_mask, instances.bbox),
        area=np.where(np.isnan(instances.area), instances.masks.areas, instances.area),
        order=order,
        id=instances.id if sample.id >= 0 else order + 1,
        polygons=Polygons.of([[]] * count),
        extra=[{name: value for name, value in fields.items() if name in names} for fields in instances.extra],
    )
    folder = folder_of(plan, index, _SPLIT)
    return Sample(
        plan.keys[index],
        sample.height,
        sample.width,
        file=f"{folder}{plan.keys[index]}{image_ending(sample.file)}",
        id=sample.id,
        encoded=lambda: sample.encoded,
        instances=instances if sample.has_instances else None,
        extra=extra,
    )
