"""PASCAL VOC's detection metric: AP of boxes for every class, by eleven points (until 2009) and by area (from 2010).

Each detection belongs to the object of its class that it overlaps most; by falling score the first one of an object is
a hit, further ones are misses, and so is what does not overlap by *more* than the threshold. Difficult objects are
neither counted nor penalised; crowds are taken as such (Everingham et al. 2010, The PASCAL Visual Object Classes
Challenge).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.predictions import GroundTruth, Predictions
from segdata.metrics.coco import iou as overlap
from segdata.metrics.coco.blocks import Block, blocks
from segdata.metrics.coco.input_checks import Watch
from segdata.metrics.coco.matching import pairs
from segdata.metrics.result import Result, mean

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

OVERLAPS = (0.5, 0.7)


@dataclass(frozen=True, eq=False)
class _Best:
    """Detections with the object that each overlaps most: its number over all blocks, −1 for none."""

    category: IntArray
    score: FloatArray
    line: IntArray
    object: IntArray
    overlap: FloatArray
    is_ignored: BoolArray


def detection(predictions: Predictions, truth: GroundTruth) -> Result:
    """AP of every class that has objects or detections, at overlaps above 0.5 and 0.7."""
    categories = len(truth.labels)
    positives = np.zeros(categories, np.int64)
    is_there = np.zeros(categories, bool)
    watch = Watch(predictions, truth)
    parts: list[_Best] = []
    objects = detections = 0
    for block in blocks(predictions, truth, masks=False):
        watch.look(block)
        ignored = block.truth.difficult | block.truth.iscrowd
        positives += np.bincount(block.truth.category[~ignored], minlength=categories)
        is_there[block.truth.category] = is_there[block.found.category] = True
        line = block.found.id if predictions.kind == "voc-results" else detections + np.arange(len(block.found))
        parts.append(_best(block, categories, ignored, objects, line))
        objects += len(block.truth)
        detections += len(block.found)
    watch.finish()
    found = _joined(parts)
    numbers: dict[str, Any] = {}
    for least in OVERLAPS:
        for rule, average in (("voc07_11point", eleven_points), ("area", area)):
            per_class: dict[str, float | None] = {}
            for index in np.flatnonzero(is_there).tolist():
                recall, precision = _curve(found, index, least, int(positives[index]))
                value = average(recall, precision)
                per_class[truth.labels[index].name] = None if np.isnan(value) else value
            counted = [per_class[truth.labels[index].name] for index in np.flatnonzero(positives).tolist()]
            numbers[f"iou{least}_{rule}"] = {
                "per_class": per_class,
                "mean_of_finite": mean(np.array([np.nan if value is None else value for value in counted])),
            }
    return Result(numbers)


def _best(block: Block, categories: int, ignored: BoolArray, first: int, line: IntArray) -> _Best:
    truth, found = block.truth, block.found
    group = truth.image * categories + truth.category
    by_group = np.argsort(group, kind="stable")
    truth = truth.take(by_group)
    at, to = pairs(found.image * categories + found.category, group[by_group])
    edges = overlap.boxes(found, truth, at, to, np.nextafter(0, 1))
    # The last of a detection's edges by rising overlap and falling place: the first object of the largest.
    order = np.lexsort((-edges.truth, edges.overlap, edges.found))
    its, last = edges.found[order], np.flatnonzero(np.diff(edges.found[order], append=-1))
    best = np.full(len(found), -1)
    most = np.zeros(len(found))
    best[its[last]] = edges.truth[order][last]
    most[its[last]] = edges.overlap[order][last]
    is_ignored = (best >= 0) & np.append(ignored[by_group], False)[best]
    return _Best(found.category, found.score, line, np.where(best >= 0, best + first, -1), most, is_ignored)


def _joined(parts: list[_Best]) -> _Best:
    return _Best(*(np.concatenate([getattr(part, name) for part in parts]) for name in _Best.__dataclass_fields__))


def _curve(found: _Best, category: int, least: float, positives: int) -> tuple[FloatArray, FloatArray]:
    """Recall and precision after each detection of a class, by falling score."""
    own = np.flatnonzero(found.category == category)
    own = own[np.lexsort((found.line[own], -found.score[own]))]
    is_over = found.overlap[own] > least
    is_hit = np.zeros(len(own), bool)
    over = np.flatnonzero(is_over & ~found.is_ignored[own])
    is_hit[over[np.unique(found.object[own][over], return_index=True)[1]]] = True
    is_miss = ~is_hit & ~(is_over & found.is_ignored[own])
    hits = np.cumsum(is_hit).astype(np.float64)
    recall = hits / positives if positives else np.full(len(own), np.nan)
    return recall, hits / np.maximum(hits + np.cumsum(is_miss), np.finfo(np.float64).eps)


def eleven_points(recall: FloatArray, precision: FloatArray) -> float:
    """Mean over recalls 0, 0.1 … 1 of the highest precision at this recall or a higher one."""
    return float(sum(precision[recall >= point].max(initial=0.0) / 11 for point in np.arange(0.0, 1.1, 0.1)))


def area(recall: FloatArray, precision: FloatArray) -> float:
    """Area under the precision, made to fall with recall; NaN where recall is."""
    if np.isnan(recall).any():
        return float("nan")
    at = np.concatenate(([0.0], recall, [1.0]))
    height = np.maximum.accumulate(np.concatenate(([0.0], precision, [0.0]))[::-1])[::-1]
    steps = np.flatnonzero(at[1:] != at[:-1])
    return float(np.sum((at[steps + 1] - at[steps]) * height[steps + 1]))
