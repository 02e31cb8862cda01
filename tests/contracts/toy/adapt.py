"""Samples of other formats → Toy: boxes in whole pixels; masks and label maps have no place here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from segdata.core.findings import Findings
from segdata.core.masks import Masks
from segdata.core.sample import Sample
from segdata.formats.adapting import (
    count_columns,
    count_documents,
    count_fields,
    distinct_keys,
    image_file,
    split_names,
)
from segdata.formats.contract import Header, Kept, Plan

_MOST = 1_000_000
"""More lines than an image has: the lines of an image stay together."""

_KEPT = Kept("toy")
_KEPT_COLUMNS = {"boxes as annotated", "objects without mask", "objects with empty masks"}


def plan(source: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """The source's categories and splits, a list each."""
    count_documents(source, "toy", findings)
    names = split_names(source.splits)
    new_keys = distinct_keys(keys, findings, flat=True)
    splits = {names[name]: list(members) for name, members in source.splits.items()}
    documents = [
        {"format": "toy", "file": f"{name}.txt", "text": "".join(f"{new_keys[index]}\n" for index in members)}
        for name, members in splits.items()
    ]
    table = np.array([*range(len(source.labels)), -1], np.int64)
    return Plan(source.labels, Header(source.labels, splits, documents), new_keys, table)


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample with boxes alone."""
    count_fields(sample, findings, _KEPT)
    count_columns(sample, findings, kept=_KEPT_COLUMNS)
    instances = sample.instances
    boxes = instances.boxes
    whole = np.concatenate((np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])), axis=1)
    is_rounded = (whole != boxes).any(1)
    findings.drop("boxes rounded to whole pixels", sample.key, int(is_rounded.sum()))
    findings.drop("masks", sample.key, int(instances.has_mask.sum()))
    findings.drop("label maps", sample.key, int(sample.semantic is not None))
    count = len(instances)
    adapted = replace(
        instances,
        masks=Masks.empty(sample.height, sample.width, count),
        has_mask=np.zeros(count, bool),
        bbox=np.concatenate((whole[:, :2], whole[:, 2:] - whole[:, :2]), axis=1),
        order=index * _MOST + np.arange(count),
        extra=[{}] * count,
    )
    return Sample(
        plan.keys[index],
        sample.height,
        sample.width,
        file=image_file("images", plan.keys[index], ".png", sample, findings),
        encoded=lambda: sample.encoded,
        instances=adapted,
    )
