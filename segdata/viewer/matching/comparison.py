"""Predictions against a pack: what the grid, the queries, the matrix and the list of worst images ask for.

Everything is found once, in the background: which predictions and objects overlap, and what label maps say. What an IoU
and a score mean is then counted in milliseconds. Images that were edited count with their annotations now.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray, FloatArray, IntArray
from segdata.core.predictions import GroundTruth, Predictions
from segdata.pack.columns import ShardTable
from segdata.places.address import Address
from segdata.query.fields import COMPARED, OTHER, Of
from segdata.query.meaning import compiled
from segdata.query.values import WITHOUT_OTHER, Absent, Names
from segdata.viewer.background import Work
from segdata.viewer.edited import Edited, Image
from segdata.viewer.index import Index
from segdata.viewer.matching import parts
from segdata.viewer.matching.apart import Apart, find, has_maps
from segdata.viewer.matching.matches import Matching
from segdata.viewer.matching.overlaps import Overlaps, Truth, joined, of_one_image, one_image
from segdata.viewer.matching.pixels import Pixels, compared
from segdata.viewer.matching.truth import holds_objects, together, truth_of, truth_of_sample
from segdata.viewer.matching.whole import EditedPart, Matches, Parts, Thresholds

SORTS = ("f1", "iou", "pq", "miou", "tp", "fp", "fn")
"""What images can be ordered by, beside `index.SORTS`."""

CHANGE = "change"
"""The same of two predictions: by how much more F1 these have than the other."""


@dataclass(frozen=True)
class _Results:
    parts: Parts
    pixels: Pixels | None


@dataclass(frozen=True)
class _OfImage:
    """What was found of one image that was edited."""

    image: Image
    overlaps: Overlaps
    truth: Truth
    pixels: Pixels | None


@dataclass(frozen=True)
class _Now:
    """The results with the images that were edited."""

    edited: Edited | None
    matches: Matches
    pixels: Pixels | None


class Comparison:
    """Predictions compared with a pack.

    Args:
        index: of the pack.
        truth: the pack.
        version: of both, by which the overlaps are kept for the next start.
        edited: gives the images that were edited, which count with their annotations now.

    Attributes:
        other: other predictions compared with the same pack, which these are compared with.
    """

    def __init__(
        self,
        predictions: Predictions,
        truth: GroundTruth,
        index: Index,
        version: str,
        edited: Callable[[], Edited | None] = lambda: None,
    ) -> None:
        self.other: Comparison | None = None
        self._version = version
        self.predictions = predictions
        self._truth = truth
        self._index = index
        self._edited = edited
        self._objects = truth_of(index, predictions)
        self._of_edited: dict[int, _OfImage] = {}
        self._now: _Now | None = None
        self._apart: Apart | None = None
        self._work = Work(self._compute)
        labels = index.pack.labels
        names = index.pack.query_columns.names
        has_scores = "scores" in predictions.holds and ("object", "score") in names.missing
        self._gives_score = has_scores
        missing = {} if has_scores else {key: why for key, why in names.missing.items() if key[1] == "score"}
        self._names: Names = replace(names, missing=missing)
        self.has_maps = has_maps(index, predictions)
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
        if self._apart is not None:
            self._apart.stop()
        if self.other is not None:
            self.other.stop()

    @property
    def is_ready(self) -> bool:
        """Whether all is compared."""
        return self._work.is_done

    def _compute(self, progress: Callable[[int, int], None]) -> _Results:
        file = parts.kept(self._version)
        with contextlib.suppress(ValueError, KeyError, TypeError):
            if file is not None:
                return self._read(file)
        path = parts.place(self._version)
        packs = self._index.pack.path, self.predictions.path
        are_here = self.predictions.kind == "pack" and not any(isinstance(pack, Address) for pack in packs)
        if are_here and sys.executable:
            self._apart = Apart(*packs, self._version, path)
            self._apart.run(progress)
        else:
            find(self.predictions, self._truth, self._objects, path, progress, has_maps=self.has_maps)
        file = parts.Kept(path)
        if parts.is_temporary(path):
            shutil.rmtree(path.parent, ignore_errors=True)
        return self._read(file)

    def _read(self, file: parts.Kept) -> _Results:
        """What a file has.

        Raises:
            ValueError, KeyError, TypeError: it does not fit to the pack.
        """
        pixels = next((Pixels.of_record(record) for record in file.records if record.name == "pixels"), None)
        if (pixels is not None) != self.has_maps:
            raise ValueError("label maps are missing")
        return _Results(Parts(file.records, self._objects), pixels)

    # ------------------------------------------------------------------ images that were edited

    def _results(self) -> _Now:
        """What there is now.

        Raises:
            Pending: it is not computed yet.
        """
        results: _Results = self._work.result()
        edited = self._edited()
        now = self._now
        if now is None or now.edited is not edited:
            now = self._with(edited, results)
            self._now = now
        return now

    def _with(self, edited: Edited | None, results: _Results) -> _Now:
        if edited is None:
            return _Now(None, Matches(results.parts, self._objects), results.pixels)
        images = [self._of_image(image) for image in edited.images]
        first = edited.pointer.tolist()
        part = EditedPart(
            edited.numbers,
            joined(
                [
                    replace(item.overlaps, image=item.overlaps.image + nth, truth=item.overlaps.truth + first[nth])
                    for nth, item in enumerate(images)
                ]
            ),
            together([item.truth for item in images]),
        )
        pixels = results.pixels
        if pixels is not None:
            of_images = [item.pixels for item in images if item.pixels is not None]
            pixels = pixels.replaced(edited.numbers, Pixels.together(of_images))
        return _Now(edited, Matches(results.parts, self._objects, part), pixels)

    def _of_image(self, image: Image) -> _OfImage:
        """What is found of an image that was edited."""
        known = self._of_edited.get(image.number)
        if known is not None and known.image is image:
            return known
        objects = truth_of_sample(
            image.sample, self._objects, image.number, has_objects=holds_objects(self.predictions)
        )
        predictions, truth = one_image(self.predictions, self._truth, image.number, image.sample)
        pixels = None
        if self.has_maps:
            pixels = compared(predictions, truth, objects.is_about, lambda done, whole: None)
        result = _OfImage(image, of_one_image(predictions, truth, objects), objects, pixels)
        self._of_edited[image.number] = result
        return result

    # ------------------------------------------------------------------ of all images

    def columns(self, at: Thresholds) -> Mapping[tuple[Of, str], npt.NDArray[Any]]:
        """The fields of queries that a comparison adds, over all images and objects.

        Raises:
            Pending: they are not computed yet.
        """
        results = self._results()
        counts, _ = results.matches.counts(at)
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
        meant = np.concatenate(parts) if parts else np.zeros(0, bool)
        if (edited := self._edited()) is not None:
            meant[edited.numbers] = meaning(_EditedTable(edited, self, at))
        return meant

    def of_edited(self, edited: Edited, of: Of, name: str, at: Thresholds) -> npt.NDArray[Any]:
        """A field that a comparison adds, of the images that were edited, (E,), or of their objects, (M,).

        Raises:
            Pending: it is not computed yet.
        """
        if of == "image":
            return self.columns(at)["image", name][edited.numbers]
        _, counts = self._results().matches.counts(at)
        assert counts is not None
        return counts.matched_score if name == "score" else counts.columns()[of, name]

    def totals(self, is_meant: BoolArray | None, at: Thresholds) -> dict[str, int | None]:
        """Matches and mistakes in the images that are meant; None while they are not computed."""
        if not self.is_ready:
            return dict.fromkeys(("tp", "fp", "fn"))
        counts, _ = self._results().matches.counts(at)
        chosen = slice(None) if is_meant is None else is_meant
        return {name: int(getattr(counts, name)[chosen].sum()) for name in ("tp", "fp", "fn")}

    def tile(self, number: int, at: Thresholds) -> dict[str, Any]:
        """The same of one image, with its F1; nothing while they are not computed."""
        if not self.is_ready or not self._results().matches.is_compared[number]:
            return {}
        counts, _ = self._results().matches.counts(at)
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
        sides = [side._results().matches for side in (self, other)]
        both = meant & sides[0].is_compared & sides[1].is_compared
        counts = [side.of_categories(both, at) for side in sides]
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
            matrix = results.matches.confusion(is_meant, at)
        occurs = np.flatnonzero(matrix.sum(0) + matrix.sum(1))
        occurs = np.append(occurs[occurs < self._classes], self._classes)
        return {"kind": self.kind, "labels": occurs[:-1].tolist(), "matrix": matrix[np.ix_(occurs, occurs)].tolist()}

    def has_cell(self, truth: int | None, predicted: int | None, at: Thresholds) -> BoolArray:
        """(N,) bool, images in which something of a category is taken for another; None stands for nothing."""
        results = self._results()
        cell = (self._classes if truth is None else truth, self._classes if predicted is None else predicted)
        if self.kind == "pixels" and results.pixels is not None:
            return results.pixels.has_cell(*cell)
        return results.matches.has_cell(*cell, at)

    # ------------------------------------------------------------------ of one image

    def of_image(self, number: int, at: Thresholds) -> dict[str, Any]:
        """What became of the objects and predictions of one image; it is matched alone while the others are not."""
        count = len(self.predictions.columns(number))
        if self.is_ready:
            return self._results().matches.of_image(number, count, at)
        edited = self._edited()
        image = None if edited is None else edited.get(number)
        if image is not None:
            alone = self._of_image(image)
            overlaps, objects = alone.overlaps, alone.truth
        else:
            objects = self._objects.part(range(number, number + 1))
            overlaps = of_one_image(*one_image(self.predictions, self._truth, number), objects)
        matching = Matching(overlaps, objects)
        return matching.of_image(matching.taken(at.iou), 0, count, at.score)


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


class _EditedTable:
    """The images that were edited with the fields of a comparison; see `segdata.query.values.Table`."""

    is_counted = None

    def __init__(self, edited: Edited, comparison: Comparison, at: Thresholds) -> None:
        self._edited = edited
        self._comparison = comparison
        self._at = at
        self.pointer = edited.pointer
        self.texts = edited.texts
        self.among = edited.among

    def column(self, of: Of, name: str) -> npt.NDArray[Any]:
        """A field's numbers or flags, (E,) or (M,)."""
        if self._comparison.adds(of, name):
            return self._comparison.of_edited(self._edited, of, name, self._at)
        return self._edited.column(of, name)
