"""Predictions matched with the objects of all images, at any IoU and score.

Every pair of a prediction and an object of one image that overlap is found once. COCO's greedy matching takes predictions
by falling score, so those below a score change nothing for those above: one matching at an IoU serves all scores.
Crowds, difficult objects and categories that are ignored are neither found nor missed, and predictions that take one of
them are not counted; nor are those beyond the best 100 of an image and category.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray, FloatArray, IntArray
from segdata.core.predictions import GroundTruth, Predictions
from segdata.metrics.coco import iou as coco_iou
from segdata.metrics.coco.blocks import Block, Objects, blocks
from segdata.metrics.coco.matching import Candidates, match, pairs_of_groups
from segdata.metrics.coco.metrics import LIMITS
from segdata.query.fields import Of

MIN_IOU = 0.1
"""Pairs below it are not kept; the smallest IoU that can be asked for."""

IOU, SCORE = 0.5, 0.0
"""What counts as a match unless somebody says otherwise."""


@dataclass(frozen=True, eq=False)
class Overlaps:
    """D predictions of all images, the best of each image and category, and the C pairs of one and an object that overlap.

    Attributes:
        image: (D,) int32, ascending.
        row: (D,) int32, which of its image's predictions it is.
        category: (D,) int32, ascending within an image.
        score: (D,) float64, falling within a category; 1 where the prediction has none.
        detection, truth: (C,) int32, the prediction, and the object, numbered over all images.
        iou: (C,) float64, at least `MIN_IOU`.
    """

    image: npt.NDArray[np.int32]
    row: npt.NDArray[np.int32]
    category: npt.NDArray[np.int32]
    score: FloatArray
    detection: npt.NDArray[np.int32]
    truth: npt.NDArray[np.int32]
    iou: FloatArray

    def fit(self, truth: Truth) -> bool:
        """Whether all numbers are those of images, objects and predictions that there are."""
        limits = (
            (self.image, len(truth.is_compared)),
            (self.category, len(truth.ignored)),
            (self.detection, len(self.image)),
            (self.truth, len(truth.category)),
        )
        are_columns = len({len(self.image), len(self.row), len(self.category), len(self.score)}) == 1
        are_pairs = len(self.detection) == len(self.truth) == len(self.iou)
        return are_columns and are_pairs and all(((values >= 0) & (values < end)).all() for values, end in limits)


@dataclass(frozen=True, eq=False)
class Truth:
    """The T objects of N images that predictions are matched with.

    Attributes:
        pointer: (N + 1,) int64, the objects of image i are `pointer[i] … pointer[i + 1] − 1`.
        image, category: (T,) of each object.
        is_counted: (T,) bool, False for crowds, difficult objects and categories that are ignored.
        is_compared: (N,) bool, images whose objects were annotated, and that the predictions are about.
        ignored: (K,) bool, categories that are ignored.
        has_mask: (T,) bool.
    """

    pointer: IntArray
    image: npt.NDArray[np.int32]
    category: npt.NDArray[np.uint16]
    is_counted: BoolArray
    is_compared: BoolArray
    ignored: BoolArray
    has_mask: BoolArray

    def only(self, number: int) -> Truth:
        """The objects of one image alone, which is then number 0."""
        objects = slice(*self.pointer[number : number + 2].tolist())
        return replace(
            self,
            pointer=np.array([0, objects.stop - objects.start]),
            image=np.zeros(objects.stop - objects.start, np.int32),
            category=self.category[objects],
            is_counted=self.is_counted[objects],
            is_compared=self.is_compared[[number]],
            has_mask=self.has_mask[objects],
        )


@dataclass(frozen=True, eq=False)
class Counts:
    """What became of N images and T objects at one IoU and score.

    Attributes:
        tp, fp, fn: (N,) int64.
        f1, iou: (N,) float64, NaN where there is nothing; `iou` is the mean over the matches.
        matched: (T,) bool.
        matched_iou, matched_score: (T,) float64, of the prediction that matches; NaN where none does.
    """

    tp: IntArray
    fp: IntArray
    fn: IntArray
    f1: FloatArray
    iou: FloatArray
    matched: BoolArray
    matched_iou: FloatArray
    matched_score: FloatArray

    def columns(self) -> Mapping[tuple[Of, str], npt.NDArray[Any]]:
        """The fields of queries, over all images and objects."""
        of_images = {name: getattr(self, name) for name in ("tp", "fp", "fn", "f1", "iou")}
        of_objects = {"matched": self.matched, "iou": self.matched_iou}
        return {
            **{("image", name): values for name, values in of_images.items()},
            **{("object", name): values for name, values in of_objects.items()},
        }


class Matching:
    """Matches at any IoU and score; the last ones are kept."""

    def __init__(self, overlaps: Overlaps, truth: Truth) -> None:
        self.overlaps = overlaps
        self.truth = truth
        self.taken = lru_cache(4)(self._taken)
        self.taken_by_any = lru_cache(4)(self._taken_by_any)
        self.counts = lru_cache(2)(self._counts)

    def is_ignored(self, taken: IntArray) -> BoolArray:
        """(D,) bool, predictions that count neither as right nor as wrong."""
        takes_uncounted = ~np.append(self.truth.is_counted, True)[taken]
        overlaps = self.overlaps
        is_out = ~self.truth.is_compared[overlaps.image] | self.truth.ignored[overlaps.category]
        ignored: BoolArray = takes_uncounted | is_out
        return ignored

    def _taken(self, iou: float) -> tuple[IntArray, FloatArray]:
        """(D,) the object of its category that each prediction takes, −1 for none, and the IoU with it, NaN for none."""
        overlaps, truth = self.overlaps, self.truth
        is_same = overlaps.category[overlaps.detection] == truth.category[overlaps.truth]
        categories = len(truth.ignored) + 1
        group = overlaps.image.astype(np.int64) * categories + overlaps.category
        return self._matched(np.flatnonzero(is_same & (overlaps.iou >= iou)), group, np.arange(len(group)), iou)

    def _taken_by_any(self, iou: float) -> IntArray:
        """(D,) the object that each prediction takes, whatever its category."""
        overlaps = self.overlaps
        order = np.lexsort((-overlaps.score, overlaps.image))
        return self._matched(np.flatnonzero(overlaps.iou >= iou), overlaps.image.astype(np.int64)[order], order, iou)[0]

    def _matched(self, pairs: IntArray, group: IntArray, order: IntArray, iou: float) -> tuple[IntArray, FloatArray]:
        """Match some pairs.

        Args:
            group: (D,) ascending, of the predictions in this order.
            order: (D,) the predictions by group and falling score.
        """
        overlaps, truth = self.overlaps, self.truth
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        objects = overlaps.truth[pairs].astype(np.int64)
        candidates = Candidates(rank[overlaps.detection[pairs]], objects, overlaps.iou[pairs])
        uncounted = ~truth.is_counted
        matches = match(candidates, group, uncounted[None], uncounted, np.array([iou]))[0, 0]
        taken = np.full(len(order), -1)
        taken[order] = matches
        is_taken = taken[overlaps.detection[pairs]] == objects
        of_taken = np.full(len(order), np.nan)
        of_taken[overlaps.detection[pairs[is_taken]]] = overlaps.iou[pairs[is_taken]]
        return taken, of_taken

    def _outcomes(self, iou: float, score: float) -> tuple[IntArray, IntArray, IntArray]:
        """Predictions that take an object, those that take none, and objects that none takes: of what counts."""
        overlaps, truth = self.overlaps, self.truth
        taken, _ = self.taken(iou)
        counts = (overlaps.score >= score) & ~self.is_ignored(taken)
        right = np.flatnonzero(counts & (taken >= 0))
        is_missed = truth.is_counted & truth.is_compared[truth.image]
        is_missed[taken[right]] = False
        return right, np.flatnonzero(counts & (taken < 0)), np.flatnonzero(is_missed)

    def of_categories(self, is_meant: BoolArray, iou: float, score: float) -> IntArray:
        """(K, 3) int64, true and false positives and false negatives of each category in the images that are meant."""
        overlaps, truth = self.overlaps, self.truth
        right, wrong, missed = self._outcomes(iou, score)
        sides = ((overlaps, right), (overlaps, wrong), (truth, missed))
        return np.column_stack(
            [
                np.bincount(side.category[chosen][is_meant[side.image[chosen]]], minlength=len(truth.ignored))
                for side, chosen in sides
            ]
        ).astype(np.int64)

    def _counts(self, iou: float, score: float) -> Counts:
        overlaps, truth = self.overlaps, self.truth
        images = len(truth.is_compared)
        taken, ious = self.taken(iou)
        right, wrong, missed = self._outcomes(iou, score)
        matched = np.zeros(len(truth.category), bool)
        matched[taken[right]] = True
        matched_iou, matched_score = np.full(len(matched), np.nan), np.full(len(matched), np.nan)
        matched_iou[taken[right]], matched_score[taken[right]] = ious[right], overlaps.score[right]
        tp = np.bincount(overlaps.image[right], minlength=images)
        fp = np.bincount(overlaps.image[wrong], minlength=images)
        fn = np.bincount(truth.image[missed], minlength=images)
        whole = 2 * tp + fp + fn
        nothing = np.full(images, np.nan)
        return Counts(
            tp=tp,
            fp=fp,
            fn=fn,
            f1=np.divide(2 * tp, whole, out=nothing.copy(), where=whole > 0),
            iou=np.divide(np.bincount(overlaps.image[right], ious[right], images), tp, out=nothing, where=tp > 0),
            matched=matched,
            matched_iou=matched_iou,
            matched_score=matched_score,
        )

    def of_image(self, number: int, predicted: int, iou: float, score: float) -> dict[str, Any]:
        """What became of the objects and predictions of one image.

        Args:
            predicted: how many predictions it has.
        """
        overlaps, truth = self.overlaps, self.truth
        counts = self.counts(iou, score)
        objects = slice(*truth.pointer[number : number + 2].tolist())
        mine = slice(*np.searchsorted(overlaps.image, [number, number + 1]).tolist())
        taken, ious = self.taken(iou)
        is_right = (taken[mine] >= 0) & (overlaps.score[mine] >= score)
        takes = np.where(is_right, taken[mine] - objects.start, -1)
        rows = overlaps.row[mine]
        of_predictions, iou_of, is_counted = (
            np.full(predicted, -1),
            np.full(predicted, np.nan),
            np.zeros(predicted, bool),
        )
        of_predictions[rows], iou_of[rows] = takes, np.where(is_right, ious[mine], np.nan)
        is_counted[rows] = ~self.is_ignored(taken)[mine] & (overlaps.score[mine] >= score)
        of_truth = np.full(objects.stop - objects.start, -1)
        of_truth[takes[takes >= 0]] = rows[takes >= 0]
        return {
            "truth": of_truth.tolist(),
            "predictions": of_predictions.tolist(),
            "iou": iou_of.tolist(),
            "counted": {
                "truth": (truth.is_counted[objects] & truth.is_compared[number]).tolist(),
                "predictions": is_counted.tolist(),
            },
            "f1": float(counts.f1[number]),
            **{name: int(getattr(counts, name)[number]) for name in ("tp", "fp", "fn")},
        }


def overlaps_of(
    predictions: Predictions, truth: GroundTruth, objects: Truth, progress: Callable[[int, int], None] | None = None
) -> Overlaps:
    """Find all pairs that overlap.

    Args:
        objects: those of `truth`.
        progress: called as `progress(images done, images in all)`.
    """
    parts = [_none()]
    by_mask = bool({"masks", "panoptic"} & predictions.holds)
    truth = replace(truth, progress=progress)
    count = 0
    for block in blocks(predictions, truth, masks=by_mask):
        part = _of_block(block, objects, by_mask=by_mask)
        parts.append(replace(part, detection=part.detection + count))
        count += len(part.image)
    names = list(Overlaps.__dataclass_fields__)
    return _sorted(Overlaps(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names}))


def one_image(predictions: Predictions, truth: GroundTruth, number: int) -> tuple[Predictions, GroundTruth]:
    """The same of one image alone, which is then number 0."""
    return (
        replace(
            predictions,
            get=lambda _: predictions.get(number),
            find_columns=lambda _: predictions.columns(number),
            find_covered=None,
        ),
        replace(
            truth,
            keys=[truth.keys[number]],
            splits={},
            get=lambda _: truth.get(number),
            find_images=lambda: truth.image_table[[number]],
            find_columns=None,
            find_semantic=None,
            progress=None,
        ),
    )


def _none() -> Overlaps:
    ints, floats = np.zeros(0, np.int32), np.zeros(0)
    return Overlaps(ints, ints, ints, floats, detection=ints, truth=ints, iou=floats)


def _of_block(block: Block, objects: Truth, *, by_mask: bool) -> Overlaps:
    detections, truth = block.detections, block.truth
    score = np.where(np.isnan(detections.score), 1.0, detections.score)
    chosen = _best(detections, score)
    detections, score = detections.take(chosen), score[chosen]
    image = block.images[detections.image]
    numbers = objects.pointer[block.images[truth.image]] + truth.nth
    candidates = _candidates(detections, truth, objects.has_mask[numbers] if by_mask else None)
    return Overlaps(
        image=image.astype(np.int32),
        row=detections.nth.astype(np.int32),
        category=detections.category.astype(np.int32),
        score=score.astype(np.float64),
        detection=candidates.detection.astype(np.int32),
        truth=numbers[candidates.truth].astype(np.int32),
        iou=candidates.iou,
    )


def _best(detections: Objects, score: FloatArray) -> IntArray:
    """Those that count, by image, category and falling score."""
    order = np.lexsort((-score, detections.category, detections.image))
    image, category = detections.image[order], detections.category[order]
    begins = np.flatnonzero((np.diff(image, prepend=-1) != 0) | (np.diff(category, prepend=-1) != 0))
    lengths = np.diff(np.append(begins, len(order)))
    return order[np.arange(len(order)) - np.repeat(begins, lengths) < LIMITS[-1]]


def _candidates(detections: Objects, truth: Objects, has_mask: BoolArray | None) -> Candidates:
    """Pairs of an image that overlap: by masks where all of its objects have one, else by boxes.

    Args:
        has_mask: (T,) bool, of the objects; None where boxes are compared.
    """
    pairs = pairs_of_groups(detections.image, truth.image)
    if has_mask is None:
        return coco_iou.boxes(detections, truth, pairs, MIN_IOU)
    lacks = np.bincount(truth.image[~has_mask], minlength=len(truth.shapes)) > 0
    is_box = lacks[truth.image[pairs[1]]]
    parts = [coco_iou.masks(detections, truth, (pairs[0][~is_box], pairs[1][~is_box]), MIN_IOU)]
    if is_box.any():
        parts.append(coco_iou.boxes(detections, truth, (pairs[0][is_box], pairs[1][is_box]), MIN_IOU))
    return Candidates(
        np.concatenate([part.detection for part in parts]),
        np.concatenate([part.truth for part in parts]),
        np.concatenate([part.iou for part in parts]),
    )


def _sorted(overlaps: Overlaps) -> Overlaps:
    """The predictions by image; within an image they are in order."""
    order = np.argsort(overlaps.image, kind="stable")
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    names = ("image", "row", "category", "score")
    columns = {name: getattr(overlaps, name)[order] for name in names}
    return replace(overlaps, **columns, detection=rank[overlaps.detection])
