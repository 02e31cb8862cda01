"""COCO's detection metrics: AP and AR of boxes, equal to pycocotools' `COCOeval`.

Precision is interpolated at 101 recalls and averaged over overlaps 0.50:0.05:0.95, categories and images as in Lin et
al. 2014 (Microsoft COCO), by the rules of the COCO API: objects that are crowds or outside a range of sizes are ignored,
and so is a detection that is matched to one, or that matches nothing and is itself outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.evaluate.columns import Block, Objects, blocks
from segdata.evaluate.evaluation import Result
from segdata.evaluate.matching import Edges, match, pairs
from segdata.formats.results import Predictions, Truth

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

THRESHOLDS: FloatArray = np.linspace(0.5, 0.95, 10)
RECALLS: FloatArray = np.linspace(0.0, 1.0, 101)
SIZES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
MOST = (1, 10, 100)
"""Most detections of an image and category that count."""


def bbox(predictions: Predictions, truth: Truth) -> Result:
    """AP and AR of boxes."""
    table = _Table(len(truth.labels), MOST)
    for block in blocks(predictions, truth, by_mask=False):
        table.add(block)
    return Result(_summary(table, truth))


def _box_overlaps(found: Objects, truth: Objects, at: IntArray, to: IntArray) -> FloatArray:
    """Intersection over union of boxes, over the detection's area where the object is a crowd."""
    mine, theirs = found.boxes[at], truth.boxes[to]
    low = np.maximum(mine[:, :2], theirs[:, :2])
    high = np.minimum(mine[:, 2:] + mine[:, :2], theirs[:, 2:] + theirs[:, :2])
    width, height = (high - low).T
    common = width * height
    own, other = mine[:, 2] * mine[:, 3], theirs[:, 2] * theirs[:, 3]
    union = np.where(truth.iscrowd[to], own, own + other - common)
    overlaps = np.zeros(len(at))
    np.divide(common, union, out=overlaps, where=(width > 0) & (height > 0))
    return overlaps


class _Table:
    """Collects what became of every detection, block by block, in the evaluator's order.

    Attributes:
        positives: (A, K) int64, objects that count, by range of sizes and category.
    """

    def __init__(self, categories: int, most: Sequence[int]) -> None:
        self.most = tuple(most)
        self.positives = np.zeros((len(SIZES), categories), np.int64)
        self._score: list[FloatArray] = []
        self._category: list[npt.NDArray[np.uint16]] = []
        self._rank: list[npt.NDArray[np.uint16]] = []
        self._hits: list[npt.NDArray[np.uint16]] = []  # (A, D), bit t: a match at threshold t
        self._ignored: list[npt.NDArray[np.uint16]] = []

    def add(self, block: Block) -> None:
        """Match the detections of a block."""
        categories = self.positives.shape[1]
        truth, found = block.truth, block.found
        truth_group = truth.image * categories + truth.category
        order = np.argsort(truth_group, kind="stable")
        truth, truth_group = truth.take(order), truth_group[order]
        found_group = found.image * categories + found.category
        order = np.lexsort((-found.score, found_group))
        found_group = found_group[order]
        begins = np.flatnonzero(np.diff(found_group, prepend=-1))
        rank = np.arange(len(order)) - np.repeat(begins, np.diff(np.append(begins, len(order))))
        is_kept = rank < self.most[-1]
        found, found_group, rank = found.take(order[is_kept]), found_group[is_kept], rank[is_kept]

        limits = np.array(list(SIZES.values()))
        ignored = truth.iscrowd | (truth.area < limits[:, :1]) | (truth.area > limits[:, 1:])
        outside = (found.area < limits[:, :1]) | (found.area > limits[:, 1:])
        for size, counts in enumerate(~ignored):
            self.positives[size] += np.bincount(truth.category[counts], minlength=categories)
        at, to = pairs(found_group, truth_group)
        overlaps = _box_overlaps(found, truth, at, to)
        is_edge = overlaps >= THRESHOLDS[0]
        edges = Edges(at[is_edge], to[is_edge], overlaps[is_edge])
        taken = match(edges, found_group, ignored, truth.iscrowd, THRESHOLDS)
        is_match = taken >= 0
        its_ignored = ignored[np.arange(len(SIZES))[:, None, None], taken] if len(truth) else is_match
        is_hit = is_match & (truth.id[taken] != 0) if len(truth) else is_match
        is_ignored = (is_match & its_ignored) | (~is_hit & outside[:, None])
        bits = (1 << np.arange(len(THRESHOLDS))).astype(np.uint16)[:, None]
        self._score.append(found.score)
        self._category.append(found.category.astype(np.uint16))
        self._rank.append(rank.astype(np.uint16))
        self._hits.append(((is_hit & ~is_ignored) * bits).sum(1, dtype=np.uint16))
        self._ignored.append((is_ignored * bits).sum(1, dtype=np.uint16))

    def finish(self) -> Curves:
        """Precision and recall of everything that was added."""
        categories = self.positives.shape[1]
        shape = (len(SIZES), len(THRESHOLDS), categories)
        precision = np.full((*shape, len(RECALLS)), np.nan)
        recall = np.full((len(self.most), *shape), np.nan)
        score = np.concatenate([np.zeros(0), *self._score])
        category = np.concatenate([np.zeros(0, np.uint16), *self._category])
        rank = np.concatenate([np.zeros(0, np.uint16), *self._rank])
        none = np.zeros((len(SIZES), 0), np.uint16)
        hits, ignored = (np.concatenate([none, *parts], axis=1) for parts in (self._hits, self._ignored))
        by_category = np.argsort(category, kind="stable")
        limits = np.searchsorted(category[by_category], np.arange(categories + 1))
        for which in np.flatnonzero(self.positives.any(0)).tolist():
            own = by_category[limits[which] : limits[which + 1]]
            own = own[np.argsort(-score[own], kind="stable")]
            own_rank = rank[own]
            for size in np.flatnonzero(self.positives[:, which]).tolist():
                positives = int(self.positives[size, which])
                hit_bits, ignored_bits = hits[size, own], ignored[size, own]
                for threshold in range(len(THRESHOLDS)):
                    hit = (hit_bits >> threshold & 1).astype(bool)
                    for most, limit in enumerate(self.most):
                        count = np.count_nonzero(hit & (own_rank < limit))
                        recall[most, size, threshold, which] = count / positives
                    miss = ~hit & (ignored_bits >> threshold & 1 == 0)
                    precision[size, threshold, which] = interpolated(hit, miss, positives)
        return Curves(precision, recall)


@dataclass(frozen=True, eq=False)
class Curves:
    """Precision and recall by range of sizes A, threshold T and category K; NaN where there are no objects.

    Attributes:
        precision: (A, T, K, 101) at the recalls 0, 0.01 … 1.
        recall: (M, A, T, K), with the best 1, 10, 100 detections of an image.
    """

    precision: FloatArray
    recall: FloatArray


def interpolated(hit: BoolArray, miss: BoolArray, positives: int) -> FloatArray:
    """Precision at 101 recalls: (101,), of detections by falling score; the largest at this recall or a higher one."""
    at = np.flatnonzero(hit)
    hits = np.arange(1.0, len(at) + 1)
    precision = hits / (np.cumsum(miss)[at] + hits + np.spacing(1))
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(hits / positives, RECALLS, side="left")
    return np.append(precision, 0.0)[np.minimum(place, len(at))]


def _summary(table: _Table, truth: Truth) -> dict[str, Any]:
    curves = table.finish()
    precision, recall = curves.precision, curves.recall
    small, medium, large = 1, 2, 3
    return {
        "AP": mean(precision[0]),
        "AP50": mean(precision[0, 0]),
        "AP75": mean(precision[0, 5]),
        "APs": mean(precision[small]),
        "APm": mean(precision[medium]),
        "APl": mean(precision[large]),
        "AR1": mean(recall[0, 0]),
        "AR10": mean(recall[1, 0]),
        "AR100": mean(recall[2, 0]),
        "ARs": mean(recall[2, small]),
        "ARm": mean(recall[2, medium]),
        "ARl": mean(recall[2, large]),
        "per_category_AP": {
            str(category.id): mean(precision[0, :, index]) for index, category in enumerate(truth.labels.categories)
        },
        "per_iou_AP": {
            f"{threshold:.2f}": mean(precision[0, index]) for index, threshold in enumerate(THRESHOLDS.tolist())
        },
    }


def mean(values: FloatArray) -> float | None:
    """The mean of what is defined; None when nothing is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None
