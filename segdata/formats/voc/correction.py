"""A sample of VOC that a person corrected, as VOC's writer takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from segdata.core.sample import Instances, Sample
from segdata.formats.voc.masks import VOID
from segdata.formats.voc.objects import OBJECT


def corrected(before: Sample, after: Sample) -> Sample | None:
    """The sample, its mask files written anew where their pixels changed.

    None where VOC cannot say it: crowds, masks that overlap or are of another class than the class mask has there, more
    objects than a mask file has numbers for, flags of objects that the XML does not list.
    """
    instances = after.instances
    is_unlisted = np.isnan(instances.bbox[:, 0])
    flags = instances.difficult | instances.truncated | instances.occluded
    if instances.iscrowd.any() or (is_unlisted & flags).any() or not _are_drawable(after):
        return None
    extra = []
    for row, fields in enumerate(instances.extra):
        residue = fields.get("voc", {})
        if is_unlisted[row]:
            residue = {**residue, "xml": False}
        elif instances.occluded[row] and "children" not in residue:
            residue = {**residue, "children": [*OBJECT, "occluded"]}
        others = {name: value for name, value in fields.items() if name != "voc"}
        extra.append({**others, **({"voc": residue} if residue else {})})
    residue = dict(after.extra.get("voc", {}))
    if _numbers(before.instances) != _numbers(instances):
        residue = _without(residue, "object")
    if not _are_equal(before.semantic, after.semantic):
        residue = _without(residue, "class")
    return after.with_annotations(
        instances=replace(instances, extra=extra) if after.has_instances else None,
        semantic=after.semantic,
        extra={**after.extra, "voc": residue},
    )


def _numbers(instances: Instances) -> tuple[Any, ...]:
    masks = instances.masks
    return (instances.id.tolist(), masks.boxes_xywh.tolist(), masks.pointer.tolist(), masks.runs.tobytes())


def _are_equal(mine: Any, theirs: Any) -> bool:
    return mine is theirs or (mine is not None and theirs is not None and np.array_equal(mine, theirs))


def _without(residue: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The residue without what is kept of a mask file."""
    return {what: value for what, value in residue.items() if what != name and not what.startswith(f"{name}_")}


def _are_drawable(sample: Sample) -> bool:
    """Whether all masks can be told apart in one map of numbers, each under its class."""
    instances = sample.instances
    masks, numbers = instances.masks, instances.id
    has_mask = instances.has_mask
    if not has_mask.any():
        return True
    if numbers[has_mask].min() < 1 or numbers[has_mask].max() >= VOID or len(set(numbers[has_mask])) < has_mask.sum():
        return False
    covered = masks.paint(np.ones(len(masks), np.uint8), np.zeros((sample.height, sample.width), np.uint8))
    if np.count_nonzero(covered) != masks.areas.sum():
        return False
    semantic = sample.semantic
    if semantic is None:
        return True
    for row, (crop, (x, y, width, height)) in enumerate(zip(masks.crops(), masks.boxes_xywh.tolist(), strict=True)):
        under = np.bincount(semantic[y : y + height, x : x + width][crop != 0], minlength=VOID + 1)
        under[0] = under[VOID] = 0
        if under.any() and under.argmax() != instances.category[row]:
            return False
    return True
