"""Samples of other formats → CVAT for images 1.1: annotations.xml, images/[SUBSET/]NAME.

An object whose polygons give its mask is written as these polygons (one group, where there are several), any other as a
mask, which is exact; one that has a box alone as a box. A sample that has nothing but a label map gives a mask for each
category.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace
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
    plain_names,
)
from segdata.formats.contract import Header, Kept, Plan
from segdata.formats.cvat import shapes
from segdata.formats.shapes import drawing, objects, pictures
from segdata.formats.shared.folder import image_ending
from segdata.formats.shared.palettes import to_hex
from segdata.formats.xml import Node
from segdata.sets.orientation import upright_size

FILE = "annotations.xml"
_SPLIT = "all"
_KEPT = Kept("cvat")
_KEPT_COLUMNS = {"polygons", "occluded flags", "image ids"}


def plan(source: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """The categories in their order, from 1, with their colours; a subset for each split."""
    names = plain_names([category.name for category in source.labels.categories])
    categories = [
        Category(name, number, category.color, isthing=category.isthing)
        for number, (name, category) in enumerate(zip(names, source.labels.categories, strict=True), 1)
    ]
    labels = LabelSpace("custom", tuple(categories))
    table = np.append(np.arange(len(names)), -1)
    count_category_fields(source.labels, labels, table, findings)
    count_documents(source, "cvat", findings)
    nodes = [Node("version", "1.1"), Node("meta", [Node("task", [Node("labels", [_label(c) for c in categories])])])]
    document = {
        "format": "cvat",
        "file": FILE,
        "attributes": {},
        "nodes": [[number, node.as_list()] for number, node in enumerate(nodes)],
        "before": [],
        "after": [],
    }
    splits = first_split(source, keys, _SPLIT, findings)
    return Plan(source.labels, Header(labels, splits, [document]), distinct_keys(keys, findings, flat=True), table)


def _label(category: Category) -> Node:
    children = [Node("name", category.name)]
    if category.color is not None:
        children.append(Node("color", to_hex(category.color)))
    return Node("label", [*children, Node("attributes", "")])


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample with the elements of its image and shapes."""
    key, folder = plan.keys[index], folder_of(plan, index, _SPLIT)
    count_fields(sample, findings, _KEPT)
    count_columns(sample, findings, kept=_KEPT_COLUMNS)
    orientation = pictures.orientation_written(sample, findings)
    instances = sample.instances
    if sample.semantic is not None and not sample.has_instances:
        findings.remark("label map written as one mask for each category", sample.key)
        instances = objects.of_label_map(sample.semantic, plan.source.void)
        masks = instances.masks
        items = [objects.Drawn(number, [drawing.shape_of(masks, number)]) for number in range(len(instances))]
    else:
        items = list(objects.drawn(sample, findings))
        count_label_map(plan, sample, findings)
        if not sample.has_instances:
            findings.drop("images that nobody annotated: images without shapes here", sample.key)
    written: list[dict[str, Any]] = []
    place = 0
    for item in items:
        nodes = _elements(plan, item, instances, (sample.height, sample.width, orientation))
        written.append({"cvat": {"parts": [[place + nth, node.as_list()] for nth, node in enumerate(nodes)]}})
        place += len(nodes)
    file = f"{key}{image_ending(sample.file)}"
    height, width = upright_size(orientation, sample.height, sample.width)
    attributes = {"id": str(sample.id if sample.id >= 0 else index), "name": file}
    attributes |= {"subset": folder.rstrip("/")} if folder else {}
    attributes |= {"width": str(width), "height": str(height)}
    return Sample(
        key,
        sample.height,
        sample.width,
        file=f"images/{folder}{file}",
        id=int(attributes["id"]),
        encoded=lambda: sample.encoded,
        instances=replace(objects.taken(instances, items, plan.table), extra=written),
        extra={
            "cvat": {
                "file": FILE,
                "place": 2 + index,
                "attributes": attributes,
            }
        },
    )


def _elements(plan: Plan, item: objects.Drawn, instances: Instances, size: tuple[int, int, int]) -> list[Node]:
    """The elements of an object.

    Args:
        size: height and width of the image as stored, and the orientation of the upright picture.
    """
    height, width, orientation = size
    label = plan.header.labels[int(plan.table[instances.category[item.index]])].name
    common = {"label": label, "source": "manual", "occluded": str(int(instances.occluded[item.index]))}
    group = {"group_id": str(item.index + 1)} if len(item.parts) > 1 else {}
    elements = []
    for part in item.parts:
        upright = drawing.turned_shape(part, orientation, height, width)
        if item.box is not None:
            x, y = upright.ring[0::2], upright.ring[1::2]
            tag, geometry = shapes.box_of([value.item() for value in (x.min(), y.min(), x.max(), y.max())])
        else:
            tag, geometry = shapes.geometry_of(upright)
        elements.append(Node(tag, "", {**common, **geometry, "z_order": "0", **group}))
    return elements
