"""Samples of other formats → Parquet tables: images, objects with run lengths, and label maps, a row each.

Polygons become run lengths. The label space goes into the metadata as a whole, so its ids and colours come back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from segdata.core.findings import Findings
from segdata.core.polygons import Polygons
from segdata.core.sample import Sample
from segdata.formats.adapting import (
    count_columns,
    count_documents,
    count_fields,
    distinct_keys,
    first_split,
    remark_split,
)
from segdata.formats.contract import Header, Kept, Plan
from segdata.formats.parquet import tables

_SPLIT = "all"


def plan(source: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """The source's categories, and one split for each sample: the first that it is in."""
    count_documents(source, "parquet", findings)
    splits = _plain(first_split(source, keys, _SPLIT, findings), findings)
    document = {**tables.document(tables.schema(source.labels), tables.COLUMNS, {}), "by_position": True}
    table = np.array([*range(len(source.labels)), -1], np.int64)
    header = Header(source.labels, splits, [document])
    return Plan(source.labels, header, distinct_keys(keys, findings, flat=False), table)


def _plain(splits: Mapping[str, Sequence[int]], findings: Findings) -> dict[str, list[int]]:
    """Splits of names that `datasets` takes: letters, digits, underscores and dots."""
    plain: dict[str, list[int]] = {}
    for split, members in splits.items():
        name = re.sub(r"[^\w.]", "_", split)
        while name in plain:
            name += "_"
        remark_split(split, name, findings)
        plain[name] = list(members)
    return plain


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample without further fields and polygons."""
    count_fields(sample, findings, Kept("parquet"))
    count_columns(sample, findings, kept=tables.KEPT)
    count = len(sample.instances)
    instances = replace(sample.instances, polygons=Polygons.of([[]] * count), extra=[{}] * count)
    return Sample(
        plan.keys[index],
        sample.height,
        sample.width,
        file=sample.file,
        id=sample.id,
        encoded=lambda: sample.encoded,
        instances=instances if sample.has_instances else None,
        semantic=sample.semantic,
    )
