"""Which prediction takes which object in some images, at any IoU and score.

COCO's greedy matching takes predictions by falling score, so those below a score change nothing for those above: one
matching at an IoU serves all scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray, FloatArray, IntArray
from segdata.metrics.coco.matching import Candidates, match
from segdata.query.fields import Of
from segdata.viewer.matching.overlaps import Overlaps, Truth
from segdata.viewer.matching.stored import Stored

NUMBERS = ("tp", "fp", "fn")
"""What is counted of an image."""


@dataclass(frozen=True, eq=False)
class Counts:
    """What became of N images and T objects at one IoU and score.

    Attributes:
        tp, fp, fn: (N,) int32.
        f1, iou: (N,) float64, NaN where there is nothing; `iou` is the mean over the matches.
        matched: (T,) bool.
        matched_iou, matched_score: (T,) float64, of the prediction that matches; NaN where none does.
    """

    tp: npt.NDArray[np.int32]
    fp: npt.NDArray[np.int32]
    fn: npt.NDArray[np.int32]
    f1: FloatArray
    iou: FloatArray
    matched: BoolArray
    matched_iou: FloatArray
    matched_score: FloatArray

    @classmethod
    def none(cls, images: int, objects: int) -> Counts:
        """Counts of so many images and objects, of which nothing became."""
        tp, fp, fn = (np.zeros(images, np.int32) for _ in NUMBERS)
        f1, iou, matched_iou, matched_score = (np.full(count, np.nan) for count in (images, images, objects, objects))
        return cls(
            tp=tp,
            fp=fp,
            fn=fn,
            f1=f1,
            iou=iou,
            matched=np.zeros(objects, bool),
            matched_iou=matched_iou,
            matched_score=matched_score,
        )

    def put(self, other: Counts, images: Any, objects: slice | None) -> None:
        """Set those of some images, and of their objects where they are among these."""
        for name in (*NUMBERS, "f1", "iou"):
            getattr(self, name)[images] = getattr(other, name)
        if objects is None:
            return
        for name in ("matched", "matched_iou", "matched_score"):
            getattr(self, name)[objects] = getattr(other, name)

    def columns(self) -> Mapping[tuple[Of, str], npt.NDArray[Any]]:
        """The fields of queries, over all images and objects."""
        of_images = {name: getattr(self, name) for name in (*NUMBERS, "f1", "iou")}
        of_objects = {"matched": self.matched, "iou": self.matched_iou}
        return {
            **{("image", name): values for name, values in of_images.items()},
            **{("object", name): values for name, values in of_objects.items()},
        }


@dataclass(frozen=True, eq=False)
class Matching:
    """The predictions and objects of some images.

    What a prediction *takes* is a pair of it and an object, (D,) int, index of the pair, −1 for none.
    """

    overlaps: Overlaps | Stored
    truth: Truth

    def taken(self, iou: float) -> IntArray:
        """What each prediction takes of its category."""
        overlaps, truth = self.overlaps, self.truth
        is_same = overlaps.category[overlaps.detection] == truth.category[overlaps.truth]
        group = overlaps.image * (len(truth.ignored) + 1) + overlaps.category
        return self._matched(np.flatnonzero(is_same & (overlaps.iou >= iou)), group, np.arange(len(group)), iou)

    def taken_by_any(self, iou: float) -> IntArray:
        """What each prediction takes, whatever its category."""
        overlaps = self.overlaps
        order = np.lexsort((-overlaps.score, overlaps.image))
        return self._matched(np.flatnonzero(overlaps.iou >= iou), overlaps.image[order], order, iou)

    def _matched(self, pairs: IntArray, group: IntArray, order: IntArray, iou: float) -> IntArray:
        """Match some pairs.

        Args:
            group: (D,) ascending, of the predictions in this order.
            order: (D,) the predictions by group and falling score.
        """
        overlaps, truth = self.overlaps, self.truth
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        detections, objects = overlaps.detection[pairs], overlaps.truth[pairs]
        candidates = Candidates(rank[detections], objects, overlaps.iou[pairs])
        uncounted = ~truth.is_counted
        matches = match(candidates, group, uncounted[None], uncounted, np.array([iou]))[0, 0]
        taken = np.full(len(order), -1)
        taken[order] = matches
        is_taken = taken[detections] == objects
        pair = np.full(len(order), -1)
        pair[detections[is_taken]] = pairs[is_taken]
        return pair

    def objects(self, taken: npt.NDArray[np.integer]) -> IntArray:
        """(D,) the object that each prediction takes, −1 for none."""
        objects: IntArray = np.append(self.overlaps.truth, -1)[taken]
        return objects

    def is_ignored(self, taken: npt.NDArray[np.integer]) -> BoolArray:
        """(D,) bool, predictions that count neither as right nor as wrong."""
        overlaps, truth = self.overlaps, self.truth
        takes_uncounted = ~np.append(truth.is_counted, True)[self.objects(taken)]
        is_out = ~truth.is_compared[overlaps.image] | truth.ignored[overlaps.category]
        ignored: BoolArray = takes_uncounted | is_out
        return ignored

    def _outcomes(self, taken: npt.NDArray[np.integer], score: float) -> tuple[IntArray, IntArray, IntArray]:
        """Predictions that take an object, those that take none, and objects that none takes: of what counts."""
        overlaps, truth = self.overlaps, self.truth
        counts = (overlaps.score >= score) & ~self.is_ignored(taken)
        right = np.flatnonzero(counts & (taken >= 0))
        is_missed = truth.is_counted & truth.is_compared[truth.image]
        is_missed[overlaps.truth[taken[right]]] = False
        return right, np.flatnonzero(counts & (taken < 0)), np.flatnonzero(is_missed)

    def of_categories(self, taken: npt.NDArray[np.integer], is_meant: BoolArray, score: float) -> IntArray:
        """(K, 3) int64, true and false positives and false negatives of each category in the images that are meant."""
        overlaps, truth = self.overlaps, self.truth
        right, wrong, missed = self._outcomes(taken, score)
        sides = (
            (overlaps.category, overlaps.image, right),
            (overlaps.category, overlaps.image, wrong),
            (truth.category, truth.image, missed),
        )
        return np.column_stack(
            [
                np.bincount(category[chosen][is_meant[image[chosen]]], minlength=len(truth.ignored))
                for category, image, chosen in sides
            ]
        ).astype(np.int64)

    def counts(self, taken: npt.NDArray[np.integer], score: float) -> Counts:
        """What became of the images and objects."""
        overlaps, truth = self.overlaps, self.truth
        images = len(truth.is_compared)
        right, wrong, missed = self._outcomes(taken, score)
        objects, ious = overlaps.truth[taken[right]], overlaps.iou[taken[right]]
        matched = np.zeros(len(truth.category), bool)
        matched[objects] = True
        matched_iou, matched_score = np.full(len(matched), np.nan), np.full(len(matched), np.nan)
        matched_iou[objects], matched_score[objects] = ious, overlaps.score[right]
        tp = np.bincount(overlaps.image[right], minlength=images)
        fp = np.bincount(overlaps.image[wrong], minlength=images)
        fn = np.bincount(truth.image[missed], minlength=images)
        whole = 2 * tp + fp + fn
        nothing = np.full(images, np.nan)
        return Counts(
            tp=tp.astype(np.int32),
            fp=fp.astype(np.int32),
            fn=fn.astype(np.int32),
            f1=np.divide(2 * tp, whole, out=nothing.copy(), where=whole > 0),
            iou=np.divide(np.bincount(overlaps.image[right], ious, images), tp, out=nothing, where=tp > 0),
            matched=matched,
            matched_iou=matched_iou,
            matched_score=matched_score,
        )

    def cells(self, taken: npt.NDArray[np.integer], score: float) -> tuple[IntArray, IntArray, IntArray]:
        """Every prediction and every missed object: its image, its row and its column of the matrix; K is nothing."""
        overlaps, truth = self.overlaps, self.truth
        classes = len(truth.ignored)
        is_high = overlaps.score >= score
        counts = is_high & ~self.is_ignored(taken)
        objects = np.where(is_high, self.objects(taken), -1)
        is_missed = truth.is_counted & truth.is_compared[truth.image]
        is_missed[objects[objects >= 0]] = False
        row = np.where(objects < 0, classes, np.append(truth.category, 0)[objects])
        missed = np.flatnonzero(is_missed)
        return (
            np.concatenate((overlaps.image[counts], truth.image[missed])).astype(np.int64),
            np.concatenate((row[counts], truth.category[missed])).astype(np.int64),
            np.concatenate((overlaps.category[counts], np.full(len(missed), classes))).astype(np.int64),
        )

    def of_image(self, taken: npt.NDArray[np.integer], number: int, predicted: int, score: float) -> dict[str, Any]:
        """What became of the objects and predictions of one image.

        Args:
            number: which of these images.
            predicted: how many predictions it has.
        """
        overlaps, truth = self.overlaps, self.truth
        counts = self.counts(taken, score)
        objects = slice(*truth.pointer[number : number + 2].tolist())
        mine = slice(*np.searchsorted(overlaps.image, [number, number + 1]).tolist())
        pairs = taken[mine]
        is_right = (pairs >= 0) & (overlaps.score[mine] >= score)
        takes = np.where(is_right, self.objects(pairs) - objects.start, -1)
        rows = overlaps.row[mine]
        of_predictions, iou_of, is_counted = (
            np.full(predicted, -1),
            np.full(predicted, np.nan),
            np.zeros(predicted, bool),
        )
        of_predictions[rows], iou_of[rows] = takes, np.where(is_right, np.append(overlaps.iou, np.nan)[pairs], np.nan)
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
            **{name: int(getattr(counts, name)[number]) for name in NUMBERS},
        }
