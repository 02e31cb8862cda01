"""Match every detection once: the counts behind the report's curves, confusion matrix and breakdowns.

One rule for all of the report, whatever the metric: detections are taken by falling score (as many of an
image and category as the evaluation counts), each takes the free object of the highest IoU, 0.5 or more; masks are compared where both sides have them, boxes
elsewhere. Crowds and difficult objects are left out, as are detections that lie on them. It is COCO's greedy matching at
one threshold, so that the pictures agree with AP50; the official numbers come from the metrics alone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from segdata.core.arrays import BoolArray, FloatArray, IntArray
from segdata.core.predictions import GroundTruth, Predictions
from segdata.core.sample import Instances

MIN_IOU = 0.5
SIZES = (32.0**2, 96.0**2)
"""COCO's limits between small, medium and large objects, in pixels."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What became of D detections and T objects, of one image or of all, as columns.

    Attributes:
        image, category: (D,) int64 of detections.
        score: (D,) float64.
        is_right: (D,) bool, matched to an object of its category.
        lies_on: (D,) int64, category of the object that it matches whatever its category, −1 for none.
        truth_image, truth_category: (T,) int64 of objects.
        area: (T,) float64 pixels.
        matched_score: (T,) float64, score of the detection of its category that matches, −inf where there is none.
        matched_score_any: (T,) float64, the same for detections of any category.
    """

    image: IntArray
    category: IntArray
    score: FloatArray
    is_right: BoolArray
    lies_on: IntArray
    truth_image: IntArray
    truth_category: IntArray
    area: FloatArray
    matched_score: FloatArray
    matched_score_any: FloatArray

    @classmethod
    def none(cls) -> Outcomes:
        """Of no image."""
        ints, floats = np.zeros(0, np.int64), np.zeros(0)
        return cls(
            image=ints,
            category=ints,
            score=floats,
            is_right=np.zeros(0, bool),
            lies_on=ints,
            truth_image=ints,
            truth_category=ints,
            area=floats,
            matched_score=floats,
            matched_score_any=floats,
        )

    @property
    def threshold(self) -> float:
        """The score threshold with the highest F1 over all categories."""
        if not len(self.score):
            return 0.0
        order = np.argsort(-self.score, kind="stable")
        hits = np.cumsum(self.is_right[order])
        f1 = 2 * hits / (np.arange(1, len(order) + 1) + len(self.truth_category))
        last_of_score = np.append(self.score[order][1:] != self.score[order][:-1], True)
        return float(self.score[order][int(np.argmax(np.where(last_of_score, f1, -1)))])

    def curve(self, category: int | None = None) -> tuple[FloatArray, FloatArray]:
        """Recall and precision by falling score, of one category or of all."""
        chosen = slice(None) if category is None else self.category == category
        objects = len(self.truth_category) if category is None else int((self.truth_category == category).sum())
        order = np.argsort(-self.score[chosen], kind="stable")
        hits = np.cumsum(self.is_right[chosen][order])
        precision = hits / np.arange(1, len(hits) + 1)
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        return hits / max(objects, 1), precision

    def confusion(self, classes: int, threshold: float) -> IntArray:
        """(K + 1, K + 1) objects and detections of a score ≥ `threshold`: rows ground truth, columns predicted.

        The last row is detections without an object, the last column objects without a detection.
        """
        above = self.score >= threshold
        table = np.zeros((classes + 1, classes + 1), np.int64)
        np.add.at(table, (np.where(self.lies_on < 0, classes, self.lies_on)[above], self.category[above]), 1)
        missed = self.truth_category[self.matched_score_any < threshold]
        np.add.at(table, (missed, np.full(len(missed), classes)), 1)
        return table

    def errors(self, images: int, threshold: float) -> tuple[IntArray, FloatArray]:
        """(N,) wrong detections and missed objects of every image, and its F1 (NaN where nothing is)."""
        above = self.score >= threshold
        wrong = np.bincount(self.image[above & ~self.is_right], minlength=images)
        right = np.bincount(self.image[above & self.is_right], minlength=images)
        missed = np.bincount(self.truth_image[self.matched_score < threshold], minlength=images)
        whole = 2 * right + wrong + missed
        return wrong + missed, np.divide(2 * right, whole, out=np.full(images, np.nan), where=whole > 0)


def match_all(predictions: Predictions, truth: GroundTruth, limit: int | None = None) -> Outcomes:
    """Match the detections of all images with their objects.

    Args:
        limit: only so many of an image and category count, the best ones; all where it is None.
    """
    by_mask = "masks" in predictions.holds
    parts = [Outcomes.none()]
    for index in truth.walk():
        sample = truth.get(index)
        if not sample.has_instances:
            continue
        predicted = predictions.get(index)
        objects = sample.instances
        detections = objects.take(np.zeros(0, np.int64)) if predicted is None else predicted.instances
        detections = detections.take(_best(detections, limit))
        parts.append(_match(detections, objects, index, by_mask=by_mask))
    names = [column.name for column in fields(Outcomes)]
    return Outcomes(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _best(detections: Instances, limit: int | None) -> IntArray:
    """Indices by falling score, at most `limit` of a category."""
    order = np.argsort(-detections.score, kind="stable")
    if limit is None or len(order) <= limit:
        return order
    category = detections.category[order]
    by_category = np.argsort(category, kind="stable")
    begins = np.searchsorted(category[by_category], category[by_category])
    is_best = np.zeros(len(order), bool)
    is_best[by_category] = np.arange(len(order)) - begins < limit
    return order[is_best]


def _match(detections: Instances, objects: Instances, image: int, *, by_mask: bool) -> Outcomes:
    """Match the detections of one image, which are sorted by falling score."""
    by_mask = by_mask and bool(objects.has_mask.all())
    counts = ~(objects.iscrowd | objects.difficult)
    iou = _ious(detections, objects, by_mask=by_mask)
    is_same = detections.category[:, None] == objects.category[None, :]
    match = _greedy(np.where(is_same & counts, iou, 0))
    match_any = _greedy(np.where(counts, iou, 0))
    is_excused = (np.where(is_same & ~counts, iou, 0) >= MIN_IOU).any(1) & (match < 0)
    counted = np.flatnonzero(~is_excused)
    counted_objects = np.flatnonzero(counts)
    area = np.where(np.isnan(objects.area), objects.masks.areas, objects.area)
    return Outcomes(
        image=np.full(len(counted), image),
        category=detections.category[counted].astype(np.int64),
        score=detections.score[counted].astype(np.float64),
        is_right=(match >= 0)[counted],
        lies_on=np.where(match_any >= 0, np.append(objects.category, -1)[match_any], -1)[counted].astype(np.int64),
        truth_image=np.full(len(counted_objects), image),
        truth_category=objects.category[counted_objects].astype(np.int64),
        area=area[counted_objects].astype(np.float64),
        matched_score=_matched_scores(match, detections.score, len(objects))[counted_objects],
        matched_score_any=_matched_scores(match_any, detections.score, len(objects))[counted_objects],
    )


def mistakes(detections: Instances, objects: Instances, *, by_mask: bool) -> tuple[BoolArray, BoolArray]:
    """(T,) objects of an image that no detection of their category matches; (D,) detections that match none.

    Crowds and difficult objects are never missed, and detections that lie on them are not wrong.
    """
    order = np.argsort(-detections.score, kind="stable")
    detections = detections.take(order)
    by_mask = by_mask and bool(objects.has_mask.all())
    counts = ~(objects.iscrowd | objects.difficult)
    is_same = detections.category[:, None] == objects.category[None, :]
    iou = np.where(is_same, _ious(detections, objects, by_mask=by_mask), 0)
    match = _greedy(np.where(counts, iou, 0))
    is_excused = (np.where(~counts, iou, 0) >= MIN_IOU).any(1)
    missed = counts.copy()
    missed[match[match >= 0]] = False
    wrong = np.zeros(len(order), bool)
    wrong[order] = (match < 0) & ~is_excused
    return missed, wrong


def _ious(detections: Instances, objects: Instances, *, by_mask: bool) -> FloatArray:
    """(D, T) IoU; where the object is a crowd, intersection over the area of the detection."""
    from pycocotools import mask as coco_mask

    if not len(detections) or not len(objects):
        return np.zeros((len(detections), len(objects)))
    sides = []
    for side in (detections, objects):
        boxes = side.boxes
        sides.append(side.masks.rle() if by_mask else np.column_stack((boxes[:, :2], boxes[:, 2:] - boxes[:, :2])))
    iou: FloatArray = np.asarray(coco_mask.iou(*sides, objects.iscrowd.astype(np.uint8).tolist()), np.float64)
    return iou


def _greedy(iou: FloatArray) -> IntArray:
    """(D,) the object that each detection takes in turn, −1 for none."""
    is_free = np.ones(iou.shape[1], bool)
    match = np.full(len(iou), -1)
    for row in np.flatnonzero((iou >= MIN_IOU).any(1)).tolist():
        free_iou = np.where(is_free, iou[row], 0)
        best = int(free_iou.argmax())
        if free_iou[best] >= MIN_IOU:
            match[row], is_free[best] = best, False
    return match


def _matched_scores(match: IntArray, score: FloatArray, objects: int) -> FloatArray:
    """(T,) the score of the detection that takes each object, −inf for none."""
    scores = np.full(objects, -np.inf)
    rows = np.flatnonzero(match >= 0)
    scores[match[rows]] = score[rows]
    return scores
