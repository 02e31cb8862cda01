"""Samples of other formats → YOLO: images/SPLIT, labels/SPLIT with an outline an object, masks/SPLIT, data.yaml.

Samples of several splits lie in images/ alone, and lists say which split has which. Where an object of an image has a mask,
boxes of others become outlines of four corners: lines of both kinds cannot stand in one file. Crowds are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray, IntArray
from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace
from segdata.core.polygons import Polygons
from segdata.core.sample import Instances, Sample
from segdata.formats.adapting import (
    count_category_fields,
    count_columns_of,
    count_documents,
    count_fields,
    count_unmapped,
    distinct_keys,
    remark_split,
    split_names,
)
from segdata.formats.blocks import Block, cut
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
    return adapt_block(plan, [index], [sample], findings)[0]


def adapt_block(plan: Plan, indices: Sequence[int], samples: Sequence[Sample], findings: Findings) -> list[Sample]:
    """As `adapt`, of many samples."""
    for sample in samples:
        count_unmapped(plan, sample, findings)
        count_fields(sample, findings, _KEPT)
        if not sample.has_instances and sample.semantic is None:
            findings.drop("images that nobody annotated: images without objects here", sample.key)
    block = Block.of(samples)
    count_columns_of(block, findings, kept=_COUNTED_HERE)
    objects = zip(indices, samples, _objects(plan, block, findings), strict=True)
    return [_adapted(plan, index, sample, instances, findings) for index, sample, instances in objects]


def _adapted(plan: Plan, index: int, sample: Sample, instances: Instances, findings: Findings) -> Sample:
    """The sample with these objects, and its label map in the target's classes."""
    file = f"{_folder(plan, index)}/{plan.keys[index]}{_ending(sample.file)}"
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
        instances=instances if sample.has_instances else None,
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


def _objects(plan: Plan, block: Block, findings: Findings) -> list[Instances]:
    """Of every sample, the objects that can be written: outlines where any has a mask, else boxes."""
    block = block.take(_chosen(plan, block, findings))
    has_outlines = np.bincount(block.image[block.objects.has_mask], minlength=len(block.samples)) > 0
    has_outline = has_outlines[block.image]
    points, is_empty = _points(block, has_outline, findings)
    rings = [points[number] for number in np.flatnonzero(has_outline & ~is_empty).tolist()]
    block.drop(findings, "objects with empty masks", is_empty)
    block, has_outline = block.take(~is_empty), has_outline[~is_empty]
    objects, first = block.objects, block.pointer[:-1]
    written = Instances.build(
        plan.table[objects.category],
        objects.masks,
        has_mask=has_outline,
        id=(number := np.arange(len(objects)) - first[block.image]),
        order=number,
        bbox=np.where(has_outline[:, None], np.nan, _inside(objects.boxes, block.sizes)),
        polygons=Polygons.of_rings(rings, has_outline),
    )
    return cut(written, block.pointer, block.masks())


def _points(
    block: Block, has_outline: BoolArray, findings: Findings
) -> tuple[list[npt.NDArray[np.float64]], BoolArray]:
    """Of every object its outline, (P, 2), without a point where it is written as a box, or cannot be; and (N,) which
    cannot be.
    """
    objects = block.objects
    points, is_polygon, ious = outlines.outlined(block)
    had_polygons = objects.has_mask & (np.diff(objects.polygons.pointer) > 0)
    block.drop(findings, "polygons", had_polygons & ~is_polygon)
    is_box = has_outline & ~objects.has_mask
    if is_box.any():
        corners = objects.boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
        for number in np.flatnonzero(is_box).tolist():
            points[number] = outlines.rounded(corners[number], block.sizes[number])
        block.drop(findings, "objects without mask: four corners of their box, beside outlines of others", is_box)
    for number in np.flatnonzero(objects.has_mask & (ious < 1)).tolist():
        key = block.samples[int(block.image[number])].key
        findings.drop("masks of objects that change by a few pixels", key, iou=float(ious[number]))
    return points, has_outline & np.array([not len(item) for item in points], bool)


def _chosen(plan: Plan, block: Block, findings: Findings) -> BoolArray:
    """(N,) the objects that a line can be about; others are counted."""
    objects = block.objects
    has_place = plan.table[objects.category] >= 0
    block.drop(findings, "objects with crowd flag", has_place & objects.iscrowd)
    chosen = has_place & ~objects.iscrowd
    if not objects.has_mask.all():
        boxes = objects.boxes
        is_gone = chosen & ~objects.has_mask & ~(boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        block.drop(findings, "objects without mask and box", is_gone)
        chosen &= ~is_gone
    is_other = chosen & objects.has_mask & ~np.isnan(objects.bbox).any(axis=1)
    is_other &= (objects.bbox != objects.masks.boxes_xywh).any(axis=1)
    block.drop(findings, "boxes as annotated", is_other)
    return chosen


def _inside(boxes: npt.NDArray[np.float64], sizes: IntArray) -> npt.NDArray[np.float64]:
    """Corners x0 y0 x1 y1 as x y width height, within images of these sizes (height, width)."""
    corners = boxes.clip(0, sizes[:, [1, 0, 1, 0]])
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
