"""What became of every detection and object: the counts behind the report's curves, matrix and breakdowns.

One rule for all of the report, whatever the metric: detections are taken by falling score (the best hundred of an
image), each takes the free object that it overlaps most, by 0.5 or more; masks are compared where both sides have them,
boxes elsewhere. Crowds and difficult objects are left out, as are detections that lie on them. It is COCO's matching at
one threshold, so that the pictures agree with AP50; the official numbers come from the metrics alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.predictions import GroundTruth, Predictions
from segdata.core.sample import Instances

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

OVERLAP = 0.5
MOST = 100
SIZES = (32.0**2, 96.0**2)
"""COCO's limits between small, medium and large objects, in pixels."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """Columns over D detections and T objects of all images.

    Attributes:
        image, category, score: (D,) of detections.
        is_right: (D,) bool, matched to an object of its category.
        met: (D,) category of the object that it lies on whatever its category, −1 for none.
        truth_image, truth_category, area: (T,) of objects.
        found: (T,) score of the detection of its category that matches, −inf where there is none.
        seen: (T,) the same for any category.
    """

    image: IntArray
    category: IntArray
    score: FloatArray
    is_right: npt.NDArray[np.bool_]
    met: IntArray
    truth_image: IntArray
    truth_category: IntArray
    area: FloatArray
    found: FloatArray
    seen: FloatArray

    @property
    def threshold(self) -> float:
        """The score from which on detections are best kept: the one with the highest F1 over all categories."""
        if not len(self.score):
            return 0.0
        order = np.argsort(-self.score, kind="stable")
        hits = np.cumsum(self.is_right[order])
        f1 = 2 * hits / (np.arange(1, len(order) + 1) + len(self.found))
        last_of_score = np.append(self.score[order][1:] != self.score[order][:-1], True)
        return float(self.score[order][int(np.argmax(np.where(last_of_score, f1, -1)))])

    def curve(self, category: int | None = None) -> tuple[FloatArray, FloatArray]:
        """Recall and precision by falling score, of one category or of all."""
        mine = slice(None) if category is None else self.category == category
        objects = len(self.found) if category is None else int((self.truth_category == category).sum())
        order = np.argsort(-self.score[mine], kind="stable")
        hits = np.cumsum(self.is_right[mine][order])
        precision = hits / np.arange(1, len(hits) + 1)
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        return hits / max(objects, 1), precision

    def confusion(self, classes: int, threshold: float) -> IntArray:
        """(K + 1, K + 1) objects and detections from a score on: rows truth, columns prediction, the last is nothing."""
        kept = self.score >= threshold
        table = np.zeros((classes + 1, classes + 1), np.int64)
        np.add.at(table, (np.where(self.met < 0, classes, self.met)[kept], self.category[kept]), 1)
        missed = self.truth_category[self.seen < threshold]
        np.add.at(table, (missed, np.full(len(missed), classes)), 1)
        return table

    def errors(self, images: int, threshold: float) -> tuple[IntArray, FloatArray]:
        """(N,) wrong detections and missed objects of every image, and its F1 (NaN where nothing is)."""
        kept = self.score >= threshold
        wrong = np.bincount(self.image[kept & ~self.is_right], minlength=images)
        right = np.bincount(self.image[kept & self.is_right], minlength=images)
        missed = np.bincount(self.truth_image[self.found < threshold], minlength=images)
        whole = 2 * right + wrong + missed
        return wrong + missed, np.divide(2 * right, whole, out=np.full(images, np.nan), where=whole > 0)


@dataclass
class _Columns:
    parts: dict[str, list[npt.NDArray[Any]]] = field(default_factory=dict)

    def add(self, **columns: npt.NDArray[Any]) -> None:
        for name, column in columns.items():
            self.parts.setdefault(name, []).append(column)

    def joined(self, name: str, kind: Any) -> npt.NDArray[Any]:
        return np.concatenate([np.zeros(0, kind), *self.parts.get(name, ())]).astype(kind)


def outcome(predictions: Predictions, truth: GroundTruth) -> Outcome:
    """Match everything once."""
    by_mask = "masks" in predictions.holds
    columns = _Columns()
    for place in truth.walk():
        known = truth.get(place)
        if not known.has_instances:
            continue
        predicted = predictions.get(place)
        objects = known.instances
        found = objects.take(np.zeros(0, np.int64)) if predicted is None else predicted.instances
        found = found.take(np.argsort(-found.score, kind="stable")[:MOST])
        _match(found, objects, place, columns, by_mask=by_mask)
    kinds: dict[str, Any] = {"score": np.float64, "is_right": bool, "area": np.float64, "found": np.float64}
    kinds["seen"] = np.float64
    return Outcome(**{name: columns.joined(name, kinds.get(name, np.int64)) for name in Outcome.__annotations__})


def _match(found: Instances, objects: Instances, place: int, columns: _Columns, *, by_mask: bool) -> None:
    by_mask = by_mask and bool(objects.has_mask.all())
    counts = ~(objects.iscrowd | objects.difficult)
    overlaps = _overlaps(found, objects, by_mask=by_mask)
    same = found.category[:, None] == objects.category[None, :]
    own = _greedy(np.where(same & counts, overlaps, 0))
    any_ = _greedy(np.where(counts, overlaps, 0))
    excused = (np.where(same & ~counts, overlaps, 0) >= OVERLAP).any(1) & (own < 0)
    kept = np.flatnonzero(~excused)
    at = np.flatnonzero(counts)
    area = np.where(np.isnan(objects.area), objects.masks.areas, objects.area)
    columns.add(
        image=np.full(len(kept), place),
        category=found.category[kept],
        score=found.score[kept],
        is_right=(own >= 0)[kept],
        met=np.where(any_ >= 0, np.append(objects.category, -1)[any_], -1)[kept],
        truth_image=np.full(len(at), place),
        truth_category=objects.category[at],
        area=area[at],
        found=_scores(own, found.score, len(objects))[at],
        seen=_scores(any_, found.score, len(objects))[at],
    )


def _overlaps(found: Instances, objects: Instances, *, by_mask: bool) -> FloatArray:
    """(D, T) intersection over union, over the detection alone where the object is a crowd."""
    from pycocotools import mask as coco_mask

    if not len(found) or not len(objects):
        return np.zeros((len(found), len(objects)))
    sides = []
    for side in (found, objects):
        boxes = side.boxes
        sides.append(side.masks.rle() if by_mask else np.column_stack((boxes[:, :2], boxes[:, 2:] - boxes[:, :2])))
    overlaps: FloatArray = np.asarray(coco_mask.iou(*sides, objects.iscrowd.astype(np.uint8).tolist()), np.float64)
    return overlaps


def _greedy(overlaps: FloatArray) -> IntArray:
    """(D,) the object that each detection takes in turn, −1 for none."""
    free = np.ones(overlaps.shape[1], bool)
    taken = np.full(len(overlaps), -1)
    for row in np.flatnonzero((overlaps >= OVERLAP).any(1)).tolist():
        best = np.where(free, overlaps[row], 0)
        choice = int(best.argmax())
        if best[choice] >= OVERLAP:
            taken[row], free[choice] = choice, False
    return taken


def _scores(taken: IntArray, score: FloatArray, objects: int) -> FloatArray:
    scores = np.full(objects, -np.inf)
    rows = np.flatnonzero(taken >= 0)
    scores[taken[rows]] = score[rows]
    return scores
