"""Samples of other formats → COCO: one instances document a split, photos under `images/`.

What a record has no key for becomes an attribute (difficult, pose, …). A sample that has nothing but a label map gives
one segment per category, marked `from_semantic`; where there are objects, label maps have no place here.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    count_unmapped,
    distinct_keys,
    flat_splits,
    object_fields,
    painted,
)
from segdata.formats.coco import annotations as coco_records
from segdata.formats.contract import RESIDUES, Header, Kept, Plan
from segdata.formats.shared.folder import stem

_STRIDE = 1_000_000
"""Numbers kept free for the objects of each image, so that ids do not depend on other images."""

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
    """Category ids stay; a category with a negative id has no place."""
    kept = [index for index, category in enumerate(source.labels.categories) if category.id >= 0]
    labels = LabelSpace(source.labels.name, tuple(source.labels[index] for index in kept))
    table = np.full(len(source.labels) + 1, -1, np.int64)
    table[kept] = np.arange(len(kept))
    count_category_fields(source.labels, labels, table, findings)
    count_documents(source, "coco", findings)
    names = flat_splits(source.splits, findings)
    splits = {names[name]: list(members) for name, members in source.splits.items()}
    unlisted = sorted(set(range(len(keys))).difference(*splits.values()))
    if unlisted:
        splits[_UNLISTED] = unlisted
        findings.remark(f"samples of no split: in the document {_UNLISTED!r}", keys[unlisted[0]], len(unlisted))
    return Plan(
        source.labels,
        Header(labels, splits, [_document(name, labels, source) for name in splits]),
        distinct_keys(keys, findings, flat=False),
        table,
    )


def _document(split: str, labels: LabelSpace, source: Header) -> dict[str, Any]:
    own = {
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
        "header": {"info": {}, "licenses": [], **own, "categories": [_category(item) for item in labels.categories]},
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
    """The sample with ids, boxes and areas, and once more for every further split that it is in."""
    count_unmapped(plan, sample, findings)
    extra = {key: value for key, value in sample.extra.items() if key not in (*RESIDUES, "captions")}
    names = {name for own in sample.instances.extra for name in (*own, *object_fields(own))}
    count_fields(sample, findings, Kept("coco", image_fields=extra, object_fields=names))
    count_columns(sample, findings, kept=_KEPT if sample.id < 0 else {*_KEPT, "image ids", "object ids"})
    if sample.semantic is not None and not sample.has_instances:
        instances = _segments(plan, sample.semantic)
        findings.remark("label map written as one segment per category", sample.key)
    else:
        _lose_semantic(plan, sample, findings)
        instances = _objects(plan, sample)
        if not sample.has_instances:
            findings.drop("images that nobody annotated: images without objects here", sample.key)
    order = index * _STRIDE + np.arange(len(instances))
    has_ids = sample.id >= 0
    instances = Instances(**{**vars(instances), "order": order, "id": instances.id if has_ids else order + 1})
    image_id = sample.id if has_ids else index + 1
    records = coco_records.records_of(instances, plan.header.labels)
    records = [
        {"image_id": image_id, **coco_records.with_residue(record, own)}
        for record, own in zip(records, instances.extra, strict=True)
    ]
    places = {name: members[index] for name, members in plan.positions.items() if index in members}
    first, *others = places
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
                "own": [_file(first), places[first]],
                "documents": {
                    _file(name): {
                        "place": places[name],
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
    boxes = instances.masks.boxes
    boxes = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)
    bbox = np.where(np.isnan(instances.bbox), boxes, instances.bbox)
    area = np.where(instances.has_mask, instances.masks.areas, bbox[:, 2] * bbox[:, 3])
    return Instances(
        **{
            **vars(instances),
            "category": plan.table[instances.category],
            "bbox": bbox,
            "area": np.where(np.isnan(instances.area), area, instances.area),
            "extra": [_extra(instances, place) for place in range(len(instances))],
        }
    )


def _extra(instances: Instances, place: int) -> dict[str, Any]:
    own = instances.extra[place]
    attributes = {
        **own.get("attributes", {}),
        **{name: True for name in _FLAGS if getattr(instances, name)[place]},
        **({"pose": own["pose"]} if "pose" in own else {}),
        **object_fields(own),
    }
    kept = {key: value for key, value in own.items() if key not in (*RESIDUES, "pose", "attributes")}
    score = float(instances.score[place])
    return {
        **kept,
        **({"attributes": attributes} if attributes else {}),
        **({} if np.isnan(score) else {"score": score}),
    }


def _segments(plan: Plan, semantic: npt.NDArray[Any]) -> Instances:
    """One object for every category of a label map."""
    semantic = plan.relabelled(semantic)
    values = [value for value in np.unique(semantic).tolist() if value != plan.void]
    masks = Masks.from_id_map(semantic, values)
    boxes = masks.boxes
    return Instances.build(
        values,
        masks,
        bbox=np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1),
        area=masks.areas,
        extra=[{"from_semantic": True}] * len(values),
    )


def _lose_semantic(plan: Plan, sample: Sample, findings: Findings) -> None:
    """Count the pixels of a label map that its objects alone would not give back."""
    if sample.semantic is None:
        return
    background = plan.source.index_of_name.get("background", plan.source.void)
    differs = sample.semantic != painted(sample.instances, background)
    is_void = sample.semantic == plan.source.void
    findings.drop("void pixels", sample.key, int((differs & is_void).sum()))
    findings.drop("label map pixels that no object explains", sample.key, int((differs & ~is_void).sum()))
