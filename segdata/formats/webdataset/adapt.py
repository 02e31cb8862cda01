"""Samples of other formats → WebDataset: image, document with objects as run lengths, and label map."""

from __future__ import annotations

from collections.abc import Sequence
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
)
from segdata.formats.contract import RESIDUES, Header, Kept, Plan
from segdata.formats.parquet.tables import FIELDS, KEPT
from segdata.formats.shared.folder import image_ending

_SPLIT = "all"
_KNOWN = ("key", "width", "height", "image_id", "objects")


def plan(source: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """The source's categories, one split for each sample, and keys without dots."""
    count_documents(source, "webdataset", findings)
    splits = first_split(source, keys, _SPLIT, findings)
    table = np.array([*range(len(source.labels)), -1], np.int64)
    plain = [key.replace(".", "_") for key in keys]
    if plain != list(keys):
        count = sum(key != name for key, name in zip(keys, plain, strict=True))
        first = next(key for key, name in zip(keys, plain, strict=True) if key != name)
        findings.remark("dots in keys, which end a key in WebDataset, are written as _", first, count)
    return Plan(source.labels, Header(source.labels, splits, []), distinct_keys(plain, findings, flat=False), table)


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample without polygons, and with the fields that a document takes."""
    fields = {name: value for name, value in sample.extra.items() if name not in (*RESIDUES, *_KNOWN, "captions")}
    names = {name for extra in sample.instances.extra for name in extra if name not in (*RESIDUES, *FIELDS)}
    count_fields(sample, findings, Kept("webdataset", image_fields=fields, object_fields=names))
    count_columns(sample, findings, kept=KEPT)
    count = len(sample.instances)
    extra = [{name: value for name, value in item.items() if name in names} for item in sample.instances.extra]
    instances = replace(sample.instances, polygons=Polygons.of([[]] * count), extra=extra)
    return Sample(
        plan.keys[index],
        sample.height,
        sample.width,
        file=f"{plan.keys[index]}{image_ending(sample.file)}",
        id=sample.id,
        encoded=lambda: sample.encoded,
        instances=instances if sample.has_instances else None,
        semantic=sample.semantic,
        extra=fields,
    )
