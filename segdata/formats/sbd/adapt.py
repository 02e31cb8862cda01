"""Samples of other formats → SBD: img/, cls/ and inst/, lists of the splits, and labelmap.txt where classes are not VOC's.

Overlapping objects are painted crowds first, then large to small, and numbered from 1. Boundaries are those of the written
pixels: where a mask differs from its neighbour to the right, below, or right below.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from segdata.catalog import manifest
from segdata.core.findings import Findings
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
    flat_splits,
    image_file,
    layered,
)
from segdata.formats.contract import Header, Kept, Plan
from segdata.formats.sbd import matlab, structures
from segdata.formats.sbd.format import IMAGES
from segdata.formats.sbd.structures import CLASSES, OBJECTS
from segdata.formats.shared import verbatim
from segdata.formats.voc import target

_MOST = 65535
"""Objects that 16 bits can number."""

_KEPT = Kept("sbd")


def plan(source: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """VOC's 21 categories where they include all of the source's, else the source's after a background."""
    matlab.scipy_io()
    labels, table = target.label_space(source.labels)
    count_category_fields(source.labels, labels, table, findings)
    count_documents(source, "sbd", findings)
    new_keys, new_split = distinct_keys(keys, findings, flat=True), flat_splits(source.splits, findings)
    splits = {new_split[name]: list(members) for name, members in source.splits.items()}
    texts = {f"{name}.txt": "".join(f"{new_keys[index]}\n" for index in members) for name, members in splits.items()}
    if labels.name != manifest.label_space("voc").name:
        texts["labelmap.txt"] = target.labelmap(labels)
    documents = [{"format": "sbd", "file": name, "text": text} for name, text in texts.items()]
    return Plan(source.labels, Header(labels, splits, documents), new_keys, table)


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample with numbered objects that do not overlap, and with the map of their classes."""
    count_unmapped(plan, sample, findings)
    count_fields(sample, findings, _KEPT)
    count_columns(sample, findings)
    labels, key = plan.header.labels, plan.keys[index]
    category = plan.table[sample.instances.category]
    is_object = category != labels.background
    findings.drop("objects of the background", sample.key, int((~is_object).sum()))
    instances = sample.instances.take(is_object & sample.instances.has_mask)
    instances = instances.with_category(plan.table[instances.category])
    layer, visible = layered(instances.masks, instances.iscrowd)
    count_overlaps(sample, instances.masks, visible, findings)
    numbers = np.nonzero(visible)[0] + 1
    findings.drop(f"objects after the first {_MOST:,}", sample.key, len(numbers[_MOST:]))
    numbers = numbers[:_MOST]
    masks, kept = Masks.from_id_map(layer, numbers), instances.category[numbers - 1]
    written = Instances.build(kept, masks, id=np.arange(1, len(numbers) + 1)) if sample.has_instances else None
    semantic = None
    if sample.semantic is not None:
        semantic = plan.relabelled(sample.semantic)
    elif sample.has_instances:
        semantic = masks.semantic(kept, background=labels.background or 0)
    residue: dict[str, Any] = {}
    if semantic is not None:
        edges = structures.boundaries([semantic == index for index in range(len(labels)) if index != labels.background])
        residue[CLASSES.folder] = _fields(CLASSES.name, edges)
    if written is not None:
        edges = structures.boundaries([masks[number] != 0 for number in range(len(masks))])
        residue[OBJECTS.folder] = _fields(OBJECTS.name, edges)
    return Sample(
        key,
        sample.height,
        sample.width,
        file=image_file(IMAGES, key, ".jpg", sample, findings),
        encoded=lambda: sample.encoded,
        instances=written,
        semantic=semantic,
        extra={"sbd": residue} if residue else None,
    )


def _fields(name: str, boundaries: Any) -> dict[str, Any]:
    return {"fields": verbatim.from_bytes(matlab.write(name, {"Boundaries": boundaries}))}
