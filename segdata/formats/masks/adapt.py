"""Samples of other formats → masks that number objects: SPLIT/images and SPLIT/masks, and classes.txt with one name.

All objects become one category. Overlapping objects are painted crowds first, then large to small, and numbered from 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace
from segdata.core.masks import Masks
from segdata.core.sample import Instances, Sample
from segdata.formats.adapting import (
    count_category_fields,
    count_columns,
    count_documents,
    count_fields,
    count_overlaps,
    count_unmapped,
    distinct_keys,
    first_split,
    folder_of,
    layered,
    plain_names,
)
from segdata.formats.contract import Header, Kept, Plan
from segdata.formats.masks import categories
from segdata.formats.shared.folder import image_ending

_MOST = 65535
"""Objects that a 16-bit mask can number."""

_SPLIT = "all"
_KEPT = Kept("masks")


def plan(source: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """One category, and one split for each sample: the first that it is in."""
    chosen = categories.of_objects(source.labels)
    table = np.full(len(source.labels) + 1, -1, np.int64)
    table[chosen] = 0
    name = plain_names([source.labels[chosen[0]].name])[0] if len(chosen) == 1 else categories.OBJECT
    labels = LabelSpace("custom", (Category(name, 0, isthing=True),))
    count_category_fields(source.labels, labels, table, findings)
    count_documents(source, "masks", findings)
    splits = first_split(source, keys, _SPLIT, findings)
    documents = [{"format": "masks", "file": "classes.txt", "text": f"{name}\n"}]
    return Plan(source.labels, Header(labels, splits, documents), distinct_keys(keys, findings, flat=True), table)


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample with numbered objects that do not overlap."""
    key = plan.keys[index]
    count_unmapped(plan, sample, findings)
    count_fields(sample, findings, _KEPT)
    count_columns(sample, findings)
    findings.drop("label maps", sample.key, int(sample.semantic is not None))
    instances = sample.instances.take((plan.table[sample.instances.category] >= 0) & sample.instances.has_mask)
    if len(categories.of_objects(plan.source)) > 1:
        findings.drop("categories of objects", sample.key, len(instances))
    layer, visible = layered(instances.masks, instances.iscrowd)
    count_overlaps(sample, instances.masks, visible, findings)
    numbers = np.nonzero(visible)[0] + 1
    findings.drop(f"objects after the first {_MOST:,}", sample.key, len(numbers[_MOST:]))
    numbers = numbers[:_MOST]
    folder = folder_of(plan, index, _SPLIT)
    file = f"{folder}masks/{key}.png"
    return Sample(
        key,
        sample.height,
        sample.width,
        file=f"{folder}images/{key}{image_ending(sample.file)}",
        encoded=lambda: sample.encoded,
        instances=_numbered(layer, numbers) if sample.has_instances else None,
        extra={"masks": {"file": file, "mode": "L" if len(numbers) <= 255 else "I;16"}}
        if sample.has_instances
        else None,
    )


def _numbered(layer: npt.NDArray[np.integer], numbers: npt.NDArray[np.int64]) -> Instances:
    """Objects 1 … N of those that are seen in a layer."""
    count = len(numbers)
    return Instances.build([0] * count, Masks.from_id_map(layer, numbers), id=np.arange(1, count + 1))
