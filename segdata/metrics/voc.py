"""PASCAL VOC's detection metric: AP of boxes for every class, by eleven points (until 2009) and by area (from 2010).

Each detection is assigned to the object of its class with the highest IoU; by falling score the first detection of an
object is a true positive, further ones are false positives, and so is what has no IoU *above* the threshold. Difficult
objects are neither counted nor penalised, nor are crowds (Everingham et al. 2010, The PASCAL Visual Object Classes
Challenge).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from segdata.core.arrays import BoolArray, FloatArray, IntArray
from segdata.core.predictions import GroundTruth, Predictions
from segdata.metrics.coco import iou
from segdata.metrics.coco.blocks import Block, blocks
from segdata.metrics.coco.input_checks import InputChecks
from segdata.metrics.coco.matching import pairs_of_groups
from segdata.metrics.result import Result, mean

THRESHOLDS = (0.5, 0.7)
"""IoU above which a detection matches."""


@dataclass(frozen=True, eq=False)
class _Assigned:
    """D detections, each with the object of its class with the highest IoU.

    Attributes:
        category: (D,) int64.
        score: (D,) float64.
        line: (D,) int64, what orders detections of one score.
        object: (D,) int64, index of the object over all blocks, −1 for none.
        iou: (D,) float64.
        is_ignored: (D,) bool, whether the object is difficult or a crowd.
    """

    category: IntArray
    score: FloatArray
    line: IntArray
    object: IntArray
    iou: FloatArray
    is_ignored: BoolArray


def detection(predictions: Predictions, truth: GroundTruth) -> Result:
    """AP per class at IoU > 0.5 and at IoU > 0.7, of the classes with objects or detections; 11-point and area."""
    categories = len(truth.labels)
    positives = np.zeros(categories, np.int64)
    occurs = np.zeros(categories, bool)
    checks = InputChecks(predictions, truth)
    parts: list[_Assigned] = []
    objects = detections = 0
    for block in blocks(predictions, truth, masks=False):
        checks.add(block)
        ignored = block.truth.difficult | block.truth.iscrowd
        positives += np.bincount(block.truth.category[~ignored], minlength=categories)
        occurs[block.truth.category] = occurs[block.detections.category] = True
        count = len(block.detections)
        line = block.detections.id if predictions.kind == "voc-results" else detections + np.arange(count)
        parts.append(_assigned(block, categories, ignored, objects, line))
        objects += len(block.truth)
        detections += count
    checks.finish()
    assigned = _joined(parts)
    numbers: dict[str, Any] = {}
    for threshold in THRESHOLDS:
        for rule, average in (("voc07_11point", eleven_points), ("area", area)):
            per_class: dict[str, float | None] = {}
            for index in np.flatnonzero(occurs).tolist():
                recall, precision = _curve(assigned, index, threshold, int(positives[index]))
                value = average(recall, precision)
                per_class[truth.labels[index].name] = None if np.isnan(value) else value
            counted = [per_class[truth.labels[index].name] for index in np.flatnonzero(positives).tolist()]
            numbers[f"iou{threshold}_{rule}"] = {
                "per_class": per_class,
                "mean_of_finite": mean(np.array([np.nan if value is None else value for value in counted])),
            }
    return Result(numbers)


def _assigned(block: Block, categories: int, ignored: BoolArray, first: int, line: IntArray) -> _Assigned:
    truth, detections = block.truth, block.detections
    group = truth.image * categories + truth.category
    by_group = np.argsort(group, kind="stable")
    truth = truth.take(by_group)
    pairs = pairs_of_groups(detections.image * categories + detections.category, group[by_group])
    candidates = iou.boxes(detections, truth, pairs, np.nextafter(0, 1))
    # The last of a detection's candidates by rising IoU and falling index: the first object of the highest.
    order = np.lexsort((-candidates.truth, candidates.iou, candidates.detection))
    owner, last = candidates.detection[order], np.flatnonzero(np.diff(candidates.detection[order], append=-1))
    best = np.full(len(detections), -1)
    best_iou = np.zeros(len(detections))
    best[owner[last]] = candidates.truth[order][last]
    best_iou[owner[last]] = candidates.iou[order][last]
    return _Assigned(
        category=detections.category,
        score=detections.score,
        line=line,
        object=np.where(best >= 0, best + first, -1),
        iou=best_iou,
        is_ignored=(best >= 0) & np.append(ignored[by_group], False)[best],
    )


def _joined(parts: Sequence[_Assigned]) -> _Assigned:
    names = [column.name for column in fields(_Assigned)]
    return _Assigned(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _curve(assigned: _Assigned, category: int, threshold: float, positives: int) -> tuple[FloatArray, FloatArray]:
    """Recall and precision after each detection of a class, by falling score."""
    members = np.flatnonzero(assigned.category == category)
    members = members[np.lexsort((assigned.line[members], -assigned.score[members]))]
    is_over = assigned.iou[members] > threshold
    is_ignored = assigned.is_ignored[members]
    is_hit = np.zeros(len(members), bool)
    over = np.flatnonzero(is_over & ~is_ignored)
    is_hit[over[np.unique(assigned.object[members][over], return_index=True)[1]]] = True
    is_miss = ~is_hit & ~(is_over & is_ignored)
    hits = np.cumsum(is_hit).astype(np.float64)
    recall = hits / positives if positives else np.full(len(members), np.nan)
    return recall, hits / np.maximum(hits + np.cumsum(is_miss), np.finfo(np.float64).eps)


def eleven_points(recall: FloatArray, precision: FloatArray) -> float:
    """Mean over recalls 0, 0.1 … 1 of the highest precision at this recall or a higher one."""
    return float(sum(precision[recall >= point].max(initial=0.0) / 11 for point in np.arange(0.0, 1.1, 0.1)))


def area(recall: FloatArray, precision: FloatArray) -> float:
    """Area under the precision, made to fall with recall; NaN where recall is."""
    if np.isnan(recall).any():
        return float("nan")
    recall = np.concatenate(([0.0], recall, [1.0]))
    height = np.maximum.accumulate(np.concatenate(([0.0], precision, [0.0]))[::-1])[::-1]
    steps = np.flatnonzero(recall[1:] != recall[:-1])
    return float(np.sum((recall[steps + 1] - recall[steps]) * height[steps + 1]))
