"""Samples of other formats → YOLO: images/SPLIT, labels/SPLIT with an outline an object, masks/SPLIT, data.yaml.

Samples of several splits lie in images/ alone, and lists say which split has which. Where an object of an image has a mask,
boxes of others become outlines of four corners: lines of both kinds cannot stand in one file. Crowds are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace
from segdata.core.polygons import Polygons
from segdata.core.sample import Instances, Sample
from segdata.formats.adapting import (
    count_category_fields,
    count_columns,
    count_documents,
    count_fields,
    count_unmapped,
    distinct_keys,
    remark_split,
    split_names,
)
from segdata.formats.contract import Header, Kept, Plan
from segdata.formats.shared.folder import IMAGE_ENDINGS, stem
from segdata.formats.yolo import data_yaml, outlines
from segdata.formats.yolo.folders import beside

_KEPT = Kept("yolo")
_COUNTED_HERE = {"crowd flags", "polygons", "boxes as annotated", "objects without mask", "objects with empty masks"}
_UNLISTED = "unlisted"
_MASKS = "masks"


def plan(source: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """Classes 0 … n − 1 of all categories that are not ignored, in their order; a folder or a list for each split."""
    kept = [index for index, category in enumerate(source.labels.categories) if not category.ignore]
    table = np.full(len(source.labels) + 1, -1, np.int64)
    table[kept] = np.arange(len(kept))
    labels = LabelSpace(
        "custom", tuple(Category(source.labels[index].name, number) for number, index in enumerate(kept))
    )
    count_category_fields(source.labels, labels, table, findings)
    count_documents(source, "yolo", findings)
    names = split_names(source.splits)
    splits = {}
    for name, members in source.splits.items():
        remark_split(name, names[name], findings)
        splits[names[name]] = list(map(int, members))
    rest = sorted(set(range(len(keys))).difference(*splits.values()))
    if rest:
        splits[_UNLISTED] = rest
        findings.remark(f"samples of no split: in the split {_UNLISTED!r}", keys[rest[0]], len(rest))
    header = Header(labels, splits, _documents(labels, splits, len(keys)))
    return Plan(source.labels, header, distinct_keys(keys, findings, flat=False), table)


def _documents(labels: LabelSpace, splits: Mapping[str, Sequence[int]], count: int) -> list[dict[str, Any]]:
    """`data.yaml`, and a list for each split where samples are in several; the writer fills in the names of the images."""
    are_listed = sum(map(len, splits.values())) > count
    places = {name: f"{name}.txt" if are_listed else f"images/{name}" for name in splits}
    text = data_yaml.compose([category.name for category in labels.categories], places)
    lists = [{"format": "yolo", "file": f"{name}.txt", "split": name} for name in splits if are_listed]
    return [{"format": "yolo", "file": "data.yaml", "text": text, "is_new": True}, *lists]


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample with one outline or one box for each object."""
    count_unmapped(plan, sample, findings)
    count_fields(sample, findings, _KEPT)
    count_columns(sample, findings, kept=_COUNTED_HERE)
    if not sample.has_instances and sample.semantic is None:
        findings.drop("images that nobody annotated: images without objects here", sample.key)
    file = f"{_folder(plan, index)}/{plan.keys[index]}{_ending(sample.file)}"
    instances = _objects(plan, sample, findings) if sample.has_instances else None
    residue: dict[str, Any] = {"style": f"f{outlines.decimals(sample.height, sample.width)}"}
    semantic = None
    if sample.semantic is not None:
        semantic = plan.relabelled(sample.semantic)
        if semantic.dtype != np.uint8:
            findings.remark(
                "label map of more than 255 classes: a PNG of 16 bits, which Ultralytics does not read", sample.key
            )
        residue["mask"] = {"file": beside(file, _MASKS, ".png"), "mode": "L"}
    return Sample(
        plan.keys[index],
        sample.height,
        sample.width,
        file=file,
        encoded=lambda: sample.encoded,
        instances=instances,
        semantic=semantic,
        extra={"yolo": residue},
    )


def _folder(plan: Plan, index: int) -> str:
    if any("split" in document for document in plan.header.documents):
        return "images"
    return f"images/{next(name for name, members in plan.positions.items() if index in members)}"


def _ending(file: str) -> str:
    """The ending of an image file; .jpg where it has none of an image."""
    ending = file[len(stem(file)) :]
    return ending if ending.lower() in IMAGE_ENDINGS else ".jpg"


def _objects(plan: Plan, sample: Sample, findings: Findings) -> Instances:
    """The objects that can be written: outlines where any has a mask, else boxes."""
    instances = _chosen(plan, sample, findings)
    if not instances.has_mask.any():
        return _plain(plan, instances, bbox=_inside(instances.boxes, sample.height, sample.width))
    points, is_polygon, ious = outlines.outlined(instances)
    had_polygons = instances.has_mask & (np.diff(instances.polygons.pointer) > 0)
    findings.drop("polygons", sample.key, int((had_polygons & ~is_polygon).sum()))
    if not instances.has_mask.all():
        corners = instances.boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
        alone = np.flatnonzero(~instances.has_mask).tolist()
        for number in alone:
            points[number] = outlines.rounded(corners[number], sample.height, sample.width)
        without = "objects without mask: four corners of their box, beside outlines of others"
        findings.drop(without, sample.key, len(alone))
    for number in np.flatnonzero(instances.has_mask & (ious < 1)).tolist():
        findings.drop("masks of objects that change by a few pixels", sample.key, iou=float(ious[number]))
    is_empty = np.array([not len(item) for item in points], bool)
    if is_empty.any():
        findings.drop("objects with empty masks", sample.key, int(is_empty.sum()))
        instances = instances.take(~is_empty)
    polygons = Polygons.of([[item.reshape(-1)] for item in points if len(item)])
    return _plain(plan, instances, polygons=polygons)


def _chosen(plan: Plan, sample: Sample, findings: Findings) -> Instances:
    """The objects that a line can be about; others are counted."""
    instances = sample.instances
    has_place = plan.table[instances.category] >= 0
    findings.drop("objects with crowd flag", sample.key, int((has_place & instances.iscrowd).sum()))
    chosen = has_place & ~instances.iscrowd
    if not instances.has_mask.all():
        boxes = instances.boxes
        is_gone = chosen & ~instances.has_mask & ~(boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        findings.drop("objects without mask and box", sample.key, int(is_gone.sum()))
        chosen &= ~is_gone
    is_other = chosen & instances.has_mask & ~np.isnan(instances.bbox).any(axis=1)
    is_other &= (instances.bbox != instances.masks.boxes_xywh).any(axis=1)
    findings.drop("boxes as annotated", sample.key, int(is_other.sum()))
    return instances if chosen.all() else instances.take(chosen)


def _inside(boxes: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.float64]:
    """Corners x0 y0 x1 y1 as x y width height, within the image."""
    corners = boxes.clip(0, [width, height, width, height])
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def _plain(
    plan: Plan,
    instances: Instances,
    *,
    bbox: npt.NDArray[np.float64] | None = None,
    polygons: Polygons | None = None,
) -> Instances:
    """Objects with what a line says of them, in the order of the source."""
    return Instances.build(
        plan.table[instances.category],
        instances.masks,
        has_mask=np.full(len(instances), polygons is not None),
        bbox=bbox,
        polygons=polygons,
    )
