"""Predictions → PASCAL VOC results. Categories meet VOC's by name; every pixel of a label map has a class there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segdata.catalog import label_spaces
from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.adapting import Plan, distinct, lose_unmapped, split_names
from segdata.formats.contract import Header

_ALL = "test"
"""The image set of samples that are in no split."""


def plan(given: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """VOC's own categories; image sets are the splits."""
    labels = label_spaces.label_space("voc")
    table = np.array(
        [-1 if to is None else to for to in (*label_spaces.by_name(given.labels, labels).table, None)], np.int64
    )
    names = split_names({name.rpartition("/")[2]: members for name, members in given.splits.items()})
    splits = {names[name.rpartition("/")[2]]: list(members) for name, members in given.splits.items()}
    unlisted = sorted(set(range(len(keys))).difference(*splits.values()))
    if unlisted:
        splits[_ALL] = sorted({*splits.get(_ALL, ()), *unlisted})
    return Plan(given.labels, Header(labels, splits, []), distinct(keys, findings, flat=True), table)


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample under VOC's labels; pixels without a class become background."""
    lose_unmapped(plan, sample, findings)
    semantic = None
    if sample.semantic is not None:
        semantic = plan.relabelled(sample.semantic)
        is_void = semantic == plan.void
        findings.drop(
            "pixels without a class: background", sample.key, int((sample.semantic == plan.source.void).sum())
        )
        semantic = np.where(is_void, 0, semantic).astype(np.uint8)
    given = sample.instances
    has_score = ~np.isnan(given.score)
    findings.drop("objects without a score", sample.key, int((~has_score).sum()))
    findings.drop("masks of objects: detections are boxes", sample.key, int((has_score & given.has_mask).sum()))
    instances = given.take((plan.table[given.category] >= 0) & has_score)
    return Sample(
        plan.keys[index],
        sample.height,
        sample.width,
        instances=instances.with_category(plan.table[instances.category]) if sample.has_instances else None,
        semantic=semantic,
    )
