"""Precision and recall of detections, accumulated block by block, in the order of COCO's evaluator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray, FloatArray, IntArray
from segdata.core.predictions import GroundTruth, Predictions
from segdata.metrics.coco.blocks import Block
from segdata.metrics.coco.iou import FindCandidates
from segdata.metrics.coco.matching import match, pairs_of_groups

THRESHOLDS: FloatArray = np.linspace(0.5, 0.95, 10)
"""IoU thresholds, (10,)."""

RECALLS: FloatArray = np.linspace(0.0, 1.0, 101)
"""Recalls at which precision is interpolated, (101,)."""

SIZES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Ranges of areas in pixels, both ends included."""

CELLS = 1 << 22
"""Most detections times sizes times thresholds of one step; it bounds the memory."""


@dataclass
class Cut:
    """What the limit of detections left out, and how many objects there are to find.

    Attributes:
        limit: most detections of a group (an image and category, or an image where categories do not count).
        has_classes: whether categories count.
        detections: how many are beyond the limit.
        images: how many images these are in.
        first: index of the first of these images in the ground truth, −1 for none.
        most: objects of the largest group.
        crowded: groups with more objects than the limit.
    """

    limit: int
    has_classes: bool
    detections: int = 0
    images: int = 0
    first: int = -1
    most: int = 0
    crowded: int = 0

    def add(self, block: Block, images: IntArray, truth_group: IntArray) -> None:
        """Count a block.

        Args:
            images: of the detections that are left out, indices in the block.
            truth_group: (T,) the group of every object, ascending.
        """
        sizes = np.diff(np.flatnonzero(np.diff(truth_group, prepend=-1, append=-1)))
        self.most = max(self.most, int(sizes.max(initial=0)))
        self.crowded += int((sizes > self.limit).sum())
        if len(images):
            self.detections += len(images)
            self.images += len(np.unique(images))
            self.first = self.first if self.first >= 0 else int(block.images[images.min()])

    def remark(self, predictions: Predictions, truth: GroundTruth) -> None:
        """Say what was left out, or that there are more objects than detections that count."""
        group = "an image and category" if self.has_classes else "an image"
        objects = f"the ground truth has up to {self.most:,} objects of {group}; see --max-detections"
        findings = predictions.findings
        if self.detections:
            kind = f"detections beyond the best {self.limit:,} of {group} were not counted, in {self.images:,} images: "
            where, count = truth.keys[self.first], self.detections
        elif self.crowded:
            kind = f"more objects than the best {self.limit:,} detections of {group} that count: "
            where, count = str(truth.path), self.crowded
        else:
            return
        if kind + objects not in findings.remarks:  # of several metrics the first says it
            findings.remark(kind + objects, where, count)


class Accumulator:
    """Matches detections block by block, and keeps of each what precision and recall are made of.

    Args:
        ids: (K,) int64, the source's id of every category.
        limits: most detections of a group that count, ascending.
        find_candidates: `iou.boxes`, `iou.masks` or `iou.boundaries`.
        classes: whether a detection matches only objects of its category.

    Attributes:
        cut: what the highest limit left out.
    """

    def __init__(self, ids: IntArray, limits: Sequence[int], find_candidates: FindCandidates, *, classes: bool) -> None:
        self._limits = tuple(limits)
        self._find_candidates = find_candidates
        self._has_classes = classes
        self._rank_of = np.argsort(np.argsort(ids, kind="stable"), kind="stable")
        self._positives = np.zeros((len(SIZES), len(ids) if classes else 1), np.int64)
        self._rank_type = np.result_type(np.uint16, np.min_scalar_type(self._limits[-1]))
        self.cut = Cut(self._limits[-1], has_classes=classes)
        self._score: list[FloatArray] = []
        self._category: list[npt.NDArray[np.uint16]] = []
        self._rank: list[npt.NDArray[np.unsignedinteger]] = []
        self._hits: list[npt.NDArray[np.uint16]] = []  # (A, D), bit u: a true positive at threshold u
        self._ignored: list[npt.NDArray[np.uint16]] = []

    def add(self, block: Block) -> None:
        """Match the detections of a block."""
        categories = self._positives.shape[1]
        truth, detections = block.truth, block.detections
        category, truth_category = detections.category, truth.category
        if not self._has_classes:
            category, truth_category = np.zeros_like(category), np.zeros_like(truth_category)
        group, truth_group = detections.image * categories + category, truth.image * categories + truth_category
        order = np.lexsort((self._rank_of[truth.category], truth_group))
        truth, truth_group, truth_category = truth.take(order), truth_group[order], truth_category[order]
        order = np.lexsort((self._rank_of[detections.category], -detections.score, group))
        rank = _rank_in_group(group[order])
        self.cut.add(block, detections.image[order[rank >= self._limits[-1]]], truth_group)
        order, rank = order[rank < self._limits[-1]], rank[rank < self._limits[-1]]
        detections, group, category = detections.take(order), group[order], category[order]

        ranges = np.array(list(SIZES.values()))
        ignored = truth.iscrowd | (truth.area < ranges[:, :1]) | (truth.area > ranges[:, 1:])
        outside = (detections.area < ranges[:, :1]) | (detections.area > ranges[:, 1:])
        for size, counts in enumerate(~ignored):
            self._positives[size] += np.bincount(truth_category[counts], minlength=categories)
        candidates = self._find_candidates(detections, truth, pairs_of_groups(group, truth_group), THRESHOLDS[0])
        taken = match(candidates, group, ignored, truth.iscrowd, THRESHOLDS)
        # Index -1, no object, is an object more at the end that is neither ignored nor has the id 0.
        nothing = np.zeros((len(SIZES), 1), bool)
        takes_ignored = np.append(ignored, nothing, axis=1)[np.arange(len(SIZES))[:, None, None], taken]
        is_hit = (taken >= 0) & (np.append(truth.id, 1)[taken] != 0)
        is_ignored = takes_ignored | (~is_hit & outside[:, None])
        bits = (1 << np.arange(len(THRESHOLDS))).astype(np.uint16)[:, None]
        self._score.append(detections.score)
        self._category.append(category.astype(np.uint16))
        self._rank.append(rank.astype(self._rank_type))
        self._hits.append(((is_hit & ~is_ignored) * bits).sum(1, dtype=np.uint16))
        self._ignored.append((is_ignored * bits).sum(1, dtype=np.uint16))

    def curves(self) -> Curves:
        """Precision and recall of everything that was added."""
        categories = self._positives.shape[1]
        shape = (len(SIZES), len(THRESHOLDS), categories)
        precision = np.full((*shape, len(RECALLS)), np.nan)
        recall = np.full((len(self._limits), *shape), np.nan)
        score = np.concatenate([np.zeros(0), *self._score])
        category = np.concatenate([np.zeros(0, np.uint16), *self._category])
        rank = np.concatenate([np.zeros(0, self._rank_type), *self._rank])
        none = np.zeros((len(SIZES), 0), np.uint16)
        hits, ignored = (np.concatenate([none, *parts], axis=1) for parts in (self._hits, self._ignored))
        by_category = np.argsort(category, kind="stable")
        limits = np.searchsorted(category[by_category], np.arange(categories + 1))
        for which in np.flatnonzero(self._positives.any(0)).tolist():
            members = by_category[limits[which] : limits[which + 1]]
            members = members[np.argsort(-score[members], kind="stable")]
            is_counted = [rank[members] < limit for limit in self._limits]
            sizes, thresholds = np.indices(shape[:2]).reshape(2, -1)[
                :, np.repeat(self._positives[:, which] > 0, shape[1])
            ]
            parts = -(-len(sizes) * len(members) // CELLS) or 1
            for size, threshold in zip(np.array_split(sizes, parts), np.array_split(thresholds, parts), strict=True):
                cell, bit = (size[:, None], members), threshold[:, None].astype(np.uint16)
                is_hit = (hits[cell] >> bit & 1).astype(bool)
                is_miss = ~is_hit & (ignored[cell] >> bit & 1 == 0)
                positives = self._positives[size, which]
                for most, counts in enumerate(is_counted):
                    recall[most, size, threshold, which] = np.sum(is_hit & counts, axis=1) / positives
                precision[size, threshold, which] = interpolated(is_hit, is_miss, positives)
        return Curves(precision, recall)


def _rank_in_group(group: IntArray) -> IntArray:
    """0, 1, 2 … within each run of equal values."""
    begins = np.flatnonzero(np.diff(group, prepend=-1))
    return np.arange(len(group)) - np.repeat(begins, np.diff(np.append(begins, len(group))))


@dataclass(frozen=True, eq=False)
class Curves:
    """Precision and recall by A ranges of sizes, U IoU thresholds and K categories; NaN where there are no objects.

    Attributes:
        precision: (A, U, K, 101) float64 at the recalls 0, 0.01 … 1.
        recall: (M, A, U, K) float64 with the M limits of detections (the best 1, 10, 100 of an image and category).
    """

    precision: FloatArray
    recall: FloatArray


def interpolated(hit: BoolArray, miss: BoolArray, positives: IntArray) -> FloatArray:
    """Precision at 101 recalls: the largest at this recall or a higher one, 0 where it is not reached.

    Args:
        hit, miss: (R, D) bool of D detections by falling score, true and false positives under R settings.
        positives: (R,) int64, objects that count.

    Returns:
        (R, 101) float64.
    """
    hits = np.cumsum(hit, axis=1, dtype=np.float64)
    precision = hits / (np.cumsum(miss, axis=1) + hits + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    needed = {count: np.searchsorted(np.arange(1.0, count + 1) / count, RECALLS) for count in set(positives.tolist())}
    row, column = np.nonzero(hit)
    begin = np.searchsorted(row, np.arange(len(hit) + 1))[:, None]
    nth = begin[:-1] + np.stack([needed[count] for count in positives.tolist()])
    is_reached = nth < begin[1:]
    at_recalls = np.zeros(nth.shape)
    at_recalls[is_reached] = precision[np.nonzero(is_reached)[0], column[nth[is_reached]]]
    return at_recalls
