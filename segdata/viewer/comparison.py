"""Predictions against a pack: what the grid, the queries, the matrix and the list of worst images ask for.

Everything is found once, in the background: which predictions and objects overlap, and what label maps say. What an IoU
and a score mean is then counted in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray, FloatArray, IntArray
from segdata.core.predictions import GroundTruth, Predictions
from segdata.pack import layout
from segdata.pack.columns import ShardTable
from segdata.query.fields import COMPARED, OTHER, Of
from segdata.query.meaning import compiled
from segdata.query.values import WITHOUT_OTHER, Absent, Names
from segdata.viewer import kept
from segdata.viewer.background import Work
from segdata.viewer.index import Index
from segdata.viewer.matches import MIN_IOU, Matching, Overlaps, Truth, one_image, overlaps_of
from segdata.viewer.pixels import Pixels, compared

SORTS = ("f1", "iou", "pq", "miou", "tp", "fp", "fn")
"""What images can be ordered by, beside `index.SORTS`."""

CHANGE = "change"
"""The same of two predictions: by how much more F1 these have than the other."""


@dataclass(frozen=True)
class Thresholds:
    """From which IoU a prediction matches an object, and which score it needs to count."""

    iou: float = 0.5
    score: float = 0.0

    def __post_init__(self) -> None:
        if not MIN_IOU <= self.iou <= 1:
            object.__setattr__(self, "iou", float(np.clip(self.iou, MIN_IOU, 1)))


@dataclass(frozen=True)
class _Results:
    matching: Matching
    pixels: Pixels | None


class Comparison:
    """Predictions compared with a pack.

    Args:
        index: of the pack.
        truth: the pack.
        version: of both, by which the overlaps are kept for the next start.

    Attributes:
        other: other predictions compared with the same pack, which these are compared with.
    """

    def __init__(self, predictions: Predictions, truth: GroundTruth, index: Index, version: str) -> None:
        self.other: Comparison | None = None
        self._version = version
        self.predictions = predictions
        self._truth = truth
        self._index = index
        self._objects = truth_of(index, predictions)
        self._work = Work(self._compute)
        labels = index.pack.labels
        names = index.pack.query_columns.names
        has_scores = "scores" in predictions.holds and ("object", "score") in names.missing
        self._gives_score = has_scores
        missing = {} if has_scores else {key: why for key, why in names.missing.items() if key[1] == "score"}
        self._names: Names = replace(names, missing=missing)
        self.has_maps = bool(index.has_semantic.any()) and bool({"semantic", "panoptic"} & predictions.holds)
        self.kind = "objects" if {"boxes", "masks"} & predictions.holds else "pixels"
        self._classes = len(labels)

    @property
    def names(self) -> Names:
        """What queries are compared with."""
        if self.other is not None:
            return self._names
        without: dict[tuple[Of, str], Absent] = {("image", name): WITHOUT_OTHER for name in OTHER}
        return replace(self._names, missing={**self._names.missing, **without})

    @property
    def sorts(self) -> tuple[str, ...]:
        """What images can be ordered by, beside `index.SORTS`."""
        return SORTS if self.other is None else (*SORTS, CHANGE)

    def start(self) -> None:
        """Begin to compare."""
        self._work.start()
        if self.other is not None:
            self.other.start()

    def stop(self) -> None:
        """Compare no further."""
        self._work.stop()
        if self.other is not None:
            self.other.stop()

    @property
    def is_ready(self) -> bool:
        """Whether all is compared."""
        return self._work.is_done

    def _compute(self, progress: Callable[[int, int], None]) -> _Results:
        images = len(self._truth)
        passes = 1 + self.has_maps
        overlaps = self._kept()
        if overlaps is None:
            overlaps = overlaps_of(
                self.predictions, self._truth, self._objects, lambda done, _: progress(done, images * passes)
            )
            kept.save(self._version, vars(overlaps))
        pixels = None
        if self.has_maps:
            is_compared = covered(self._index, self.predictions)
            pixels = compared(
                self.predictions, self._truth, is_compared, lambda done, _: progress(images + done, images * passes)
            )
        return _Results(Matching(overlaps, self._objects), pixels)

    def _kept(self) -> Overlaps | None:
        """The overlaps of an earlier start; None where there are none that fit."""
        arrays = kept.load(self._version)
        if arrays is None or arrays.keys() != Overlaps.__dataclass_fields__.keys():
            return None
        overlaps = Overlaps(**arrays)
        return overlaps if overlaps.fit(self._objects) else None

    # ------------------------------------------------------------------ of all images

    def _results(self) -> _Results:
        results: _Results = self._work.result()
        return results

    def columns(self, at: Thresholds) -> Mapping[tuple[Of, str], npt.NDArray[Any]]:
        """The fields of queries that a comparison adds, over all images and objects.

        Raises:
            Pending: they are not computed yet.
        """
        results = self._results()
        counts = results.matching.counts(at.iou, at.score)
        nothing = np.full(len(self._index), np.nan)
        pixels = results.pixels
        columns = {
            **counts.columns(),
            ("image", "pq"): nothing if pixels is None else pixels.pq,
            ("image", "miou"): nothing if pixels is None else pixels.miou,
        }
        if self.other is not None:
            others = self.other.columns(at)
            columns |= {("image", name): others["image", name.removeprefix("other_")] for name in OTHER}
        return columns | ({("object", "score"): counts.matched_score} if self._gives_score else {})

    def adds(self, of: Of, name: str) -> bool:
        """Whether a field comes from the comparison."""
        return name in COMPARED[of] or (self._gives_score and (of, name) == ("object", "score"))

    @property
    def pointer(self) -> IntArray:
        """(N + 1,) int64, the objects of image i are `pointer[i] … pointer[i + 1] − 1`."""
        return self._objects.pointer

    def matching(self, query: str, at: Thresholds) -> BoolArray:
        """(N,) bool, which images a query means, at an IoU and a score.

        Raises:
            InvalidQuery: with the column of what is wrong.
            Pending: it asks for what is not computed yet.
        """
        meaning = compiled(query, self.names)
        tables = self._index.pack.query_columns.tables
        parts = [meaning(_Table(table, self, at)) for table in tables]
        return np.concatenate(parts) if parts else np.zeros(0, bool)

    def totals(self, is_meant: BoolArray | None, at: Thresholds) -> dict[str, int | None]:
        """Matches and mistakes in the images that are meant; None while they are not computed."""
        if not self.is_ready:
            return dict.fromkeys(("tp", "fp", "fn"))
        counts = self._results().matching.counts(at.iou, at.score)
        chosen = slice(None) if is_meant is None else is_meant
        return {name: int(getattr(counts, name)[chosen].sum()) for name in ("tp", "fp", "fn")}

    def tile(self, number: int, at: Thresholds) -> dict[str, Any]:
        """The same of one image, with its F1; nothing while they are not computed."""
        if not self.is_ready or not self._objects.is_compared[number]:
            return {}
        counts = self._results().matching.counts(at.iou, at.score)
        other = None if self.other is None else self.other.tile(number, at)
        return {
            "f1": float(counts.f1[number]),
            **{name: int(getattr(counts, name)[number]) for name in ("tp", "fp", "fn")},
            **({"other": other} if other else {}),
        }

    # ------------------------------------------------------------------ with other predictions

    @property
    def measure(self) -> str:
        """By what an image's predictions are better: `f1`, or `miou` where label maps alone are predicted."""
        return "f1" if self.kind == "objects" else "miou"

    def change(self, at: Thresholds) -> FloatArray:
        """(N,) by how much more than the other predictions have of the measure; NaN for images where one has none.

        Raises:
            Pending: it is not computed yet.
        """
        columns = self.columns(at)
        change: FloatArray = columns["image", self.measure] - columns["image", f"other_{self.measure}"]
        return change

    def values(self, sort: str, at: Thresholds) -> npt.NDArray[Any]:
        """(N,) what images are ordered by.

        Raises:
            Pending: it is not computed yet.
        """
        return self.change(at) if sort == CHANGE else self.columns(at)["image", sort]

    def compared_with(self, other: Comparison, is_meant: BoolArray | None, at: Thresholds) -> dict[str, Any]:
        """Where one is better, and matches and mistakes of both, in the images of those meant that both are about."""
        change = self.change(at)
        meant = np.ones(len(change), bool) if is_meant is None else is_meant
        both = meant & self._objects.is_compared & other._objects.is_compared
        counts = [side._results().matching.of_categories(both, at.iou, at.score) for side in (self, other)]
        numbers = {"better": change > 0, "worse": change < 0, "equal": change == 0, "none": np.isnan(change)}
        return {
            "by": self.measure,
            "images": {name: int(np.count_nonzero(is_so & meant)) for name, is_so in numbers.items()},
            "totals": [_total(*side.sum(axis=0).tolist()) for side in counts],
            "categories": np.hstack(counts).tolist(),
        }

    def confusion(self, is_meant: BoolArray | None, at: Thresholds) -> dict[str, Any]:
        """What is taken for what in the images that are meant: of objects, or of pixels where objects are not predicted."""
        results = self._results()
        if self.kind == "pixels" and results.pixels is not None:
            matrix = results.pixels.confusion(is_meant, self._classes)
        else:
            image, row, column = self._cells(at)
            chosen = slice(None) if is_meant is None else is_meant[image]
            side = self._classes + 1
            matrix = np.bincount(row[chosen] * side + column[chosen], minlength=side * side).reshape(side, side)
        occurs = np.flatnonzero(matrix.sum(0) + matrix.sum(1))
        occurs = np.append(occurs[occurs < self._classes], self._classes)
        return {"kind": self.kind, "labels": occurs[:-1].tolist(), "matrix": matrix[np.ix_(occurs, occurs)].tolist()}

    def has_cell(self, truth: int | None, predicted: int | None, at: Thresholds) -> BoolArray:
        """(N,) bool, images in which something of a category is taken for another; None stands for nothing."""
        results = self._results()
        cell = (self._classes if truth is None else truth, self._classes if predicted is None else predicted)
        if self.kind == "pixels" and results.pixels is not None:
            return results.pixels.has_cell(*cell)
        image, row, column = self._cells(at)
        has = np.zeros(len(self._index), bool)
        has[image[(row == cell[0]) & (column == cell[1])]] = True
        return has

    def _cells(self, at: Thresholds) -> tuple[IntArray, IntArray, IntArray]:
        """Every prediction and every missed object: its image, its row and its column of the matrix."""
        matching = self._results().matching
        overlaps, truth = matching.overlaps, matching.truth
        taken = matching.taken_by_any(at.iou)
        counts = (overlaps.score >= at.score) & ~matching.is_ignored(taken)
        taken = np.where(overlaps.score >= at.score, taken, -1)
        is_missed = truth.is_counted & truth.is_compared[truth.image]
        is_missed[taken[taken >= 0]] = False
        row = np.where(taken < 0, self._classes, np.append(truth.category, 0)[taken])
        missed = np.flatnonzero(is_missed)
        return (
            np.concatenate((overlaps.image[counts], truth.image[missed])).astype(np.int64),
            np.concatenate((row[counts], truth.category[missed])).astype(np.int64),
            np.concatenate((overlaps.category[counts], np.full(len(missed), self._classes))).astype(np.int64),
        )

    # ------------------------------------------------------------------ of one image

    def of_image(self, number: int, at: Thresholds) -> dict[str, Any]:
        """What became of the objects and predictions of one image; it is matched alone while the others are not."""
        count = len(self.predictions.columns(number))
        if self.is_ready:
            return self._results().matching.of_image(number, count, at.iou, at.score)
        objects = self._objects.only(number)
        predictions, truth = one_image(self.predictions, self._truth, number)
        return Matching(overlaps_of(predictions, truth, objects), objects).of_image(0, count, at.iou, at.score)


def _total(tp: int, fp: int, fn: int) -> dict[str, Any]:
    """Counts with what follows from them; NaN where there is nothing."""
    whole, predicted, objects = 2 * tp + fp + fn, tp + fp, tp + fn
    return {
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "f1": 2 * tp / whole if whole else np.nan,
        "precision": tp / predicted if predicted else np.nan,
        "recall": tp / objects if objects else np.nan,
    }


class _Table:
    """A shard's table with the fields of a comparison; see `segdata.query.values.Table`."""

    def __init__(self, table: ShardTable, comparison: Comparison, at: Thresholds) -> None:
        self._table = table
        self._comparison = comparison
        self._at = at
        self.pointer = table.pointer
        self.is_counted = table.is_counted
        self.texts = table.texts
        self.among = table.among

    def column(self, of: Of, name: str) -> npt.NDArray[Any]:
        """A field's numbers or flags, (N,) or (M,)."""
        comparison = self._comparison
        if not comparison.adds(of, name):
            return self._table.column(of, name)
        values = comparison.columns(self._at)[of, name]
        first = self._table.first
        images = slice(first, first + len(self.pointer) - 1)
        if of == "image":
            return values[images]
        pointer = comparison.pointer
        return values[pointer[images.start] : pointer[images.stop]]


def covered(index: Index, predictions: Predictions) -> BoolArray:
    """(N,) bool, the images that predictions are about.

    Results files do not name images in which nothing was found: the images of every split that they name one of count.
    """
    if predictions.find_covered is None:
        return np.ones(len(index), bool)
    is_covered = np.zeros(len(index), bool)
    is_covered[list(predictions.find_covered())] = True
    if predictions.kind == "pack":
        return is_covered
    for members in index.in_split.values():
        is_covered[members] |= is_covered[members].any()
    return is_covered


def truth_of(index: Index, predictions: Predictions) -> Truth:
    """The objects of a pack as predictions are matched with them."""
    ignored = np.array([category.ignore for category in index.pack.labels.categories], bool)
    has_objects = bool({"boxes", "masks", "panoptic"} & predictions.holds)
    is_counted = (index.flags & (layout.IS_CROWD | layout.IS_DIFFICULT)) == 0
    return Truth(
        pointer=index.pointer,
        image=index.image,
        category=index.category,
        is_counted=is_counted & ~ignored[index.category],
        is_compared=covered(index, predictions) & index.has_instances & has_objects,
        ignored=ignored,
        has_mask=(index.flags & layout.HAS_MASK) != 0,
    )
