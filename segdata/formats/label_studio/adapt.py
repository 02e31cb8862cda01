"""Samples of other formats → Label Studio: tasks.json, label_config.xml and the images, in a folder for each split.

An object of one ring is a polygon; one of several parts or with holes is a stroke of the brush, since regions have no parts;
one that has a box alone is a rectangle. Objects with scores are predictions. A sample that has nothing but a label map gives
a stroke for each category. Tasks name their image as Label Studio serves local files, with the written folder as its root.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

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
    plain_names,
)
from segdata.formats.contract import Header, Kept, Plan
from segdata.formats.label_studio import brush, regions
from segdata.formats.label_studio.documents import CONFIG, IMAGE
from segdata.formats.shapes import drawing, objects, pictures
from segdata.formats.shapes.drawing import Shape
from segdata.formats.shared.folder import image_ending
from segdata.formats.shared.palettes import to_hex
from segdata.formats.xml import Node, serialise
from segdata.sets.orientation import upright_size

FILE = "tasks.json"
_NAME = "label-studio"
_SPLIT = "all"
_TAGS = {"polygon": "PolygonLabels", "rectangle": "RectangleLabels", "brush": "BrushLabels"}


def plan(source: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """The categories in their order, from 1, with their colours; a document for each split."""
    names = plain_names([category.name for category in source.labels.categories])
    categories = [
        Category(name, number, category.color)
        for number, (name, category) in enumerate(zip(names, source.labels.categories, strict=True), 1)
    ]
    labels = LabelSpace("custom", tuple(categories))
    table = np.append(np.arange(len(names)), -1)
    count_category_fields(source.labels, labels, table, findings)
    count_documents(source, _NAME, findings)
    splits = first_split(source, keys, _SPLIT, findings)
    folders = [""] if list(splits) == [_SPLIT] else [f"{name}/" for name in splits]
    config = serialise(_config(categories)).decode()
    written = [{"format": _NAME, "file": f"{folder}{FILE}"} for folder in folders]
    written += [{"format": _NAME, "file": f"{folder}{CONFIG}", "text": config} for folder in folders]
    return Plan(source.labels, Header(labels, splits, written), distinct_keys(keys, findings, flat=True), table)


def _config(categories: Sequence[Category]) -> Node:
    """The labelling interface that shows what is written, with the labels of every tool."""
    view = [Node("Image", "", {"name": IMAGE, "value": f"${IMAGE}"})]
    for kind, tag in _TAGS.items():
        rows = []
        for category in categories:
            color = {} if category.color is None else {"background": to_hex(category.color)}
            rows.append(Node("Label", "", {"value": category.name, **color}))
        view.append(Node(tag, rows, {"name": kind, "toName": IMAGE}))
    return Node("View", view)


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample with its task."""
    key, folder = plan.keys[index], folder_of(plan, index, _SPLIT)
    count_fields(sample, findings, Kept(_NAME))
    count_columns(sample, findings, kept={"polygons", "scores"})
    orientation = pictures.orientation_written(sample, findings)
    instances = sample.instances
    if sample.semantic is not None and not sample.has_instances:
        findings.remark("label map written as one stroke for each category", sample.key)
        instances = objects.of_label_map(sample.semantic, plan.source.void)
    else:
        count_label_map(plan, sample, findings)
    drawn = objects.drawn(sample.with_annotations(instances=instances, semantic=None, extra={}), findings)
    items = list(drawn)
    results = [_result(plan, item, instances, orientation, findings, sample.key) for item in items]
    instances = objects.taken(instances, items, plan.table)
    is_prediction = bool(len(instances)) and not np.isnan(instances.score).all()
    file = f"{folder}{key}{image_ending(sample.file)}"
    kind = "predictions" if is_prediction else "annotations"
    task: dict[str, Any] = {"id": index + 1, "data": {IMAGE: f"/data/local-files/?d={quote(file)}"}}
    task |= {"annotations": [], "predictions": []}
    if sample.has_instances or sample.semantic is not None:
        task[kind] = [{"result": results, **({} if is_prediction else {"was_cancelled": False, "ground_truth": False})}]
    return Sample(
        key,
        sample.height,
        sample.width,
        file=file,
        encoded=lambda: sample.encoded,
        instances=instances if sample.has_instances or sample.semantic is not None else None,
        extra={_NAME: {"file": f"{folder}{FILE}", "place": index, "task": task}},
    )


def _result(
    plan: Plan, item: objects.Drawn, instances: Instances, orientation: int, findings: Findings, key: str
) -> dict[str, Any]:
    """The region of an object, in percent of the upright picture."""
    masks, number = instances.masks, item.index
    height, width = upright_size(orientation, masks.height, masks.width)
    shape = drawing.turned_shape(item.parts[0], orientation, masks.height, masks.width)
    if item.box is not None:
        kind, value = "rectangle", _rectangle(shape, height, width)
    else:
        kind, value = "polygon", {"points": regions.points_of(shape.ring.reshape(-1, 2), height, width)}
        if len(item.parts) > 1 or not shape.is_polygon or not _gives_back(value["points"], masks, number, orientation):
            findings.drop("polygons", key, int(item.parts[0].is_polygon))
            whole = drawing.turned_shape(drawing.shape_of(masks, number), orientation, masks.height, masks.width)
            kind, value = "brush", {"format": "rle", "rle": list(brush.encode(_on_picture(whole, height, width)))}
    label = plan.header.labels[int(plan.table[instances.category[number]])].name
    score = float(instances.score[number])
    return {
        "id": f"{number + 1:08x}",
        "type": f"{kind}labels",
        "from_name": kind,
        "to_name": IMAGE,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {**value, f"{kind}labels": [label]},
        **({} if np.isnan(score) else {"score": score}),
    }


def _rectangle(shape: Shape, height: int, width: int) -> Mapping[str, Any]:
    (x0, x1), (y0, y1) = ((axis.min().item(), axis.max().item()) for axis in (shape.ring[0::2], shape.ring[1::2]))
    x, y = regions.percent(np.array([x0, x1 - x0]), width), regions.percent(np.array([y0, y1 - y0]), height)
    return {"x": x[0].item(), "y": y[0].item(), "width": x[1].item(), "height": y[1].item(), "rotation": 0}


def _gives_back(points: list[list[float]], masks: Masks, number: int, orientation: int) -> bool:
    """Whether the points of a polygon, in percent, are the object's mask when they are read."""
    height, width = upright_size(orientation, masks.height, masks.width)
    ring = np.array([(x * width / 100, y * height / 100) for x, y in points]).reshape(-1)
    stored = drawing.to_stored(Shape(ring), orientation, masks.height, masks.width)
    return drawing.masks_of([stored], masks.height, masks.width) == masks[number : number + 1]


def _on_picture(shape: Shape, height: int, width: int) -> Any:
    """(H, W) bool, a mask of a part of the picture on all of it."""
    canvas = np.zeros((height, width), bool)
    (x, y), crop = shape.corner, shape.crop
    if crop is not None:
        canvas[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
    return canvas
