"""Predictions → COCO results. Categories and images keep their numbers; images without one are numbered from 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.sample import Sample
from segdata.formats.adapting import Plan, lose_unmapped
from segdata.formats.contract import Header


def plan(given: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """Categories with a number ≥ 0; one file for every split."""
    kept = [index for index, category in enumerate(given.labels.categories) if category.id >= 0]
    labels = LabelSpace(given.labels.name, tuple(given.labels[index] for index in kept))
    table = np.full(len(given.labels) + 1, -1, np.int64)
    table[kept] = np.arange(len(kept))
    splits = {name.replace("/", "_"): list(members) for name, members in given.splits.items()}
    unlisted = sorted(set(range(len(keys))).difference(*splits.values()))
    if unlisted:
        splits["all" if not splits else "unlisted"] = unlisted
    return Plan(given.labels, Header(labels, splits, []), keys, table)


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample's objects that have a score, and a box or a mask."""
    lose_unmapped(plan, sample, findings)
    given = sample.instances
    has_score = ~np.isnan(given.score)
    is_there = given.has_mask | ~np.isnan(given.bbox[:, 0])
    findings.drop("objects without a score", sample.key, int((~has_score).sum()))
    findings.drop("objects without box and mask", sample.key, int((has_score & ~is_there).sum()))
    findings.drop("label maps", sample.key, int(sample.semantic is not None))
    if sample.id < 0:
        findings.remark("image without a number: its place, from 1", sample.key)
    instances = given.take((plan.table[given.category] >= 0) & has_score & is_there)
    return Sample(
        sample.key,
        sample.height,
        sample.width,
        id=sample.id if sample.id >= 0 else index + 1,
        instances=instances.with_category(plan.table[instances.category]),
    )
