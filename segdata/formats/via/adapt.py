"""Samples of other formats → VIA: via_region_data.json and the images, in a folder for each split.

Every object is one polygon: its own, or the border of its mask, parts and holes joined by seams. One that has a box alone is
a rect. The class is the attribute `class`; further fields of objects are attributes beside it. A sample that has nothing but
a label map gives a polygon for each category.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

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
    distinct_keys,
    first_split,
    folder_of,
    object_fields,
    plain_names,
)
from segdata.formats.contract import RESIDUES, Header, Kept, Plan
from segdata.formats.shapes import drawing, objects, pictures, seams
from segdata.formats.shapes.drawing import Shape
from segdata.formats.shared.folder import image_ending
from segdata.formats.via import regions
from segdata.formats.via.regions import CLASS

FILE = "via_region_data.json"
_SPLIT = "all"
_KEPT_COLUMNS = {"polygons"}


def plan(source: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """The categories that objects have are known by their names alone; a document for each split."""
    names = plain_names([category.name for category in source.labels.categories])
    labels = LabelSpace("custom", tuple(Category(name, number) for number, name in enumerate(names, 1)))
    table = np.append(np.arange(len(names)), -1)
    count_category_fields(source.labels, labels, table, findings)
    count_documents(source, "via", findings)
    splits = first_split(source, keys, _SPLIT, findings)
    folders = [""] if list(splits) == [_SPLIT] else [f"{name}/" for name in splits]
    documents = [{"format": "via", "file": f"{name}{FILE}", "is_project": False, "fields": {}} for name in folders]
    return Plan(source.labels, Header(labels, splits, documents), distinct_keys(keys, findings, flat=True), table)


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample with the record of its image and regions."""
    key, folder = plan.keys[index], folder_of(plan, index, _SPLIT)
    names = {
        name
        for extra in sample.instances.extra
        for name in (*extra, *object_fields(extra))
        if name not in (*RESIDUES, CLASS)
    }
    count_fields(sample, findings, Kept("via", object_fields=names))
    count_columns(sample, findings, kept=_KEPT_COLUMNS)
    orientation = pictures.orientation_written(sample, findings)
    instances = sample.instances
    if sample.semantic is not None and not sample.has_instances:
        findings.remark("label map written as one outline for each category", sample.key)
        instances = objects.of_label_map(sample.semantic, plan.source.void)
    else:
        count_label_map(plan, sample, findings)
        if not sample.has_instances:
            findings.drop("images that nobody annotated: images without shapes here", sample.key)
    placed: list[dict[str, Any]] = []
    items = list(objects.drawn(sample.with_annotations(instances=instances, semantic=None, extra={}), findings))
    for item in items:
        label = plan.header.labels[int(plan.table[instances.category[item.index]])].name
        extra = {**instances.extra[item.index], **object_fields(instances.extra[item.index])}
        attributes = {CLASS: label, **{name: value for name, value in extra.items() if name in names}}
        shape = _shape(item, instances, sample, orientation, findings)
        region = {"shape_attributes": shape, "region_attributes": attributes}
        placed.append({"via": {"position": len(placed), "region": region}})
    encoded = sample.encoded
    size = -1 if encoded is None else len(encoded)
    file = f"{key}{image_ending(sample.file)}"
    return Sample(
        key,
        sample.height,
        sample.width,
        file=f"{folder}{file}",
        encoded=lambda: sample.encoded,
        instances=replace(objects.taken(instances, items, plan.table), extra=placed),
        extra={
            "via": {
                "file": f"{folder}{FILE}",
                "place": index,
                "key": f"{file}{size}",
                "record": {"filename": file, "size": size, "file_attributes": {}},
            }
        },
    )


def _shape(
    item: objects.Drawn, instances: Instances, sample: Sample, orientation: int, findings: Findings
) -> Mapping[str, Any]:
    """An object's shape in the upright picture; a polygon that gives another mask is counted."""
    height, width = sample.height, sample.width
    if item.box is not None:
        ring = drawing.turned_shape(item.parts[0], orientation, height, width).ring
        x, y = ring[0::2], ring[1::2]
        numbers = {"x": x.min(), "y": y.min(), "width": x.max() - x.min(), "height": y.max() - y.min()}
        return {"name": "rect", **{name: value.item() for name, value in numbers.items()}}
    one = instances.masks[item.index : item.index + 1]
    rings = [part.ring.reshape(-1, 2) for part in item.parts if part.crop is None]
    outline = seams.joined(rings) if rings else seams.border(one, 0)
    if len(rings) > 1 and _drawn(outline, height, width) != one:
        outline = seams.border(one, 0)
    drawn = _drawn(outline, height, width)
    if drawn != one:
        a, b = drawn[0] > 0, one[0] > 0
        iou = float(np.count_nonzero(a & b) / np.count_nonzero(a | b))
        findings.drop("masks of objects that their outline does not give back", sample.key, iou=iou)
    upright = drawing.turned_shape(Shape(outline.reshape(-1)), orientation, height, width)
    return {"name": "polygon", **regions.points_of(upright.ring.reshape(-1, 2))}


def _drawn(outline: seams.Points, height: int, width: int) -> Masks:
    return Masks.from_polygons([[outline.reshape(-1).tolist()]], height, width)
