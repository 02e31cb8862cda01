"""Samples of other formats → COCO: one instances document for every split, images under `images/`.

What an annotation record has no key for becomes an attribute (difficult, pose, …). A sample that has nothing but a label
map gives one segment per category, marked `from_semantic`; of a sample with objects, the label map is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

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
    count_label_map,
    count_unmapped,
    distinct_keys,
    flat_splits,
    object_fields,
)
from segdata.formats.coco.annotations import records_of, with_residue
from segdata.formats.contract import RESIDUES, Header, Kept, Plan
from segdata.formats.shared.folder import stem

_STRIDE = 1_000_000
"""Annotation ids reserved for each image, so that they do not depend on other images."""

_KEPT = {
    "crowd flags",
    "difficult flags",
    "truncated flags",
    "occluded flags",
    "scores",
    "polygons",
    "areas as annotated",
    "boxes as annotated",
    "objects without mask",
    "objects with empty masks",
}
_FLAGS = ("difficult", "truncated", "occluded")
_UNLISTED = "unlisted"


def plan(source: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """Category ids stay; categories with a negative id are dropped."""
    labels, table = categories_with_id(source.labels)
    count_category_fields(source.labels, labels, table, findings)
    count_documents(source, "coco", findings)
    names = flat_splits(source.splits, findings)
    splits = {names[name]: list(members) for name, members in source.splits.items()}
    add_unlisted(splits, keys, findings)
    header = Header(labels, splits, [_document(name, labels, source) for name in splits])
    return Plan(source.labels, header, distinct_keys(keys, findings, flat=False), table)


def categories_with_id(labels: LabelSpace) -> tuple[LabelSpace, npt.NDArray[np.int64]]:
    """The categories with an id ≥ 0, and (K + 1,) int64: index of each category among them, −1 for others and void."""
    indices = [index for index, category in enumerate(labels.categories) if category.id >= 0]
    table = np.full(len(labels) + 1, -1, np.int64)
    table[indices] = np.arange(len(indices))
    return LabelSpace(labels.name, tuple(labels[index] for index in indices)), table


def unlisted(splits: Mapping[str, Sequence[int]], count: int) -> list[int]:
    """Indices of the samples that are in no split."""
    return sorted(set(range(count)).difference(*splits.values()))


def add_unlisted(splits: dict[str, list[int]], keys: Sequence[str], findings: Findings) -> None:
    """Add a split of the samples that are in no split."""
    indices = unlisted(splits, len(keys))
    if indices:
        splits[_UNLISTED] = indices
        findings.remark(f"samples of no split: in the document {_UNLISTED!r}", keys[indices[0]], len(indices))


def _document(split: str, labels: LabelSpace, source: Header) -> dict[str, Any]:
    fields = {
        key: value
        for document in source.documents
        if document.get("format") == "coco" and document["split"] == split and document["kind"] == "instances"
        for key, value in document["header"].items()
        if key not in ("images", "annotations", "categories")
    }
    return {
        "format": "coco",
        "file": _file(split),
        "kind": "instances",
        "split": split,
        "header": {"info": {}, "licenses": [], **fields, "categories": [_category(item) for item in labels.categories]},
    }


def _category(category: Category) -> dict[str, Any]:
    known = {"color": category.color, "isthing": None if category.isthing is None else int(category.isthing)}
    return {
        "id": category.id,
        "name": category.name,
        "supercategory": category.supercategory or category.name,
        **{key: value for key, value in known.items() if value is not None},
    }


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample with ids, boxes and areas, and its records once more for every further split that it is in."""
    count_unmapped(plan, sample, findings)
    extra = {key: value for key, value in sample.extra.items() if key not in (*RESIDUES, "captions")}
    names = {name for fields in sample.instances.extra for name in (*fields, *object_fields(fields))}
    count_fields(sample, findings, Kept("coco", image_fields=extra, object_fields=names))
    count_columns(sample, findings, kept=_KEPT if sample.id < 0 else {*_KEPT, "image ids", "object ids"})
    if sample.semantic is not None and not sample.has_instances:
        instances = _segments(plan, sample.semantic)
        findings.remark("label map written as one segment per category", sample.key)
    else:
        count_label_map(plan, sample, findings)
        instances = _objects(plan, sample)
        if not sample.has_instances:
            findings.drop("images that nobody annotated: images without objects here", sample.key)
    order = index * _STRIDE + np.arange(len(instances))
    has_ids = sample.id >= 0
    instances = replace(instances, order=order, id=instances.id if has_ids else order + 1)
    image_id = sample.id if has_ids else index + 1
    records = [
        {"image_id": image_id, **with_residue(record, fields)}
        for record, fields in zip(records_of(instances, plan.header.labels), instances.extra, strict=True)
    ]
    positions = {name: members[index] for name, members in plan.positions.items() if index in members}
    first, *others = positions
    return Sample(
        plan.keys[index],
        sample.height,
        sample.width,
        file=f"images/{plan.keys[index]}{sample.file[len(stem(sample.file)) :] or '.jpg'}",
        id=image_id,
        encoded=lambda: sample.encoded,
        instances=instances,
        extra={
            **extra,
            "coco": {
                "own": [_file(first), positions[first]],
                "documents": {
                    _file(name): {
                        "place": positions[name],
                        "annotations": list(zip(order.tolist(), records, strict=True)),
                    }
                    for name in others
                },
            },
        },
    )


def _file(split: str) -> str:
    return f"annotations/instances_{split}.json"


def _objects(plan: Plan, sample: Sample) -> Instances:
    """The objects whose category has a counterpart, with boxes and areas, their flags as attributes."""
    instances = sample.instances.take(plan.table[sample.instances.category] >= 0)
    bbox = np.where(np.isnan(instances.bbox), instances.masks.boxes_xywh, instances.bbox)
    area = np.where(instances.has_mask, instances.masks.areas, bbox[:, 2] * bbox[:, 3])
    return replace(
        instances,
        category=plan.table[instances.category],
        bbox=bbox,
        area=np.where(np.isnan(instances.area), area, instances.area),
        extra=[_extra(instances, index) for index in range(len(instances))],
    )


def _extra(instances: Instances, index: int) -> dict[str, Any]:
    fields = instances.extra[index]
    attributes = {
        **fields.get("attributes", {}),
        **{name: True for name in _FLAGS if getattr(instances, name)[index]},
        **({"pose": fields["pose"]} if "pose" in fields else {}),
        **object_fields(fields),
    }
    others = {key: value for key, value in fields.items() if key not in (*RESIDUES, "pose", "attributes")}
    score = float(instances.score[index])
    return {
        **others,
        **({"attributes": attributes} if attributes else {}),
        **({} if np.isnan(score) else {"score": score}),
    }


def _segments(plan: Plan, semantic: npt.NDArray[Any]) -> Instances:
    """One object for every category of a label map."""
    semantic = plan.relabelled(semantic)
    values = [value for value in np.unique(semantic).tolist() if value != plan.void]
    masks = Masks.from_id_map(semantic, values)
    extra = [{"from_semantic": True}] * len(values)
    return Instances.build(values, masks, bbox=masks.boxes_xywh, area=masks.areas, extra=extra)
