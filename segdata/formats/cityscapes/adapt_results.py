"""Predictions → Cityscapes results: label maps for the pixel level, masks with scores for the instance level.

Categories meet Cityscapes' by name. Boxes, areas and numbers are no part of such results.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segdata.catalog import label_spaces
from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.adapting import Plan, distinct, lose_unmapped
from segdata.formats.contract import Header


def plan(given: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """Categories by name; files are named by the last part of each key, which the evaluators look for."""
    labels = label_spaces.label_space("cityscapes")
    table = np.array(
        [-1 if to is None else to for to in (*label_spaces.by_name(given.labels, labels).table, None)], np.int64
    )
    return Plan(given.labels, Header(labels, given.splits, []), distinct(keys, Findings(), flat=True), table)


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample's label map under Cityscapes' labels, and its objects that have a mask, a score and a category there."""
    lose_unmapped(plan, sample, findings)
    given = sample.instances
    has_score = ~np.isnan(given.score)
    findings.drop("objects without a score", sample.key, int((~has_score).sum()))
    findings.drop("objects without mask", sample.key, int((has_score & ~given.has_mask).sum()))
    instances = given.take((plan.table[given.category] >= 0) & given.has_mask & has_score)
    return Sample(
        plan.keys[index],
        sample.height,
        sample.width,
        instances=instances.with_category(plan.table[instances.category]) if sample.has_instances else None,
        semantic=None if sample.semantic is None else plan.relabelled(sample.semantic),
    )
