"""The matches of all images, counted part by part: what is held in memory is what was asked for, not what overlaps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray, IntArray
from segdata.system.memory import give_back
from segdata.viewer.matching.matches import Counts, Matching
from segdata.viewer.matching.overlaps import COLUMNS, MIN_IOU, Overlaps, Truth
from segdata.viewer.matching.parts import Record, Writer
from segdata.viewer.matching.stored import Stored

Taken = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Thresholds:
    """From which IoU a prediction matches an object, and which score it needs to count."""

    iou: float = 0.5
    score: float = 0.0

    def __post_init__(self) -> None:
        if not MIN_IOU <= self.iou <= 1:
            object.__setattr__(self, "iou", float(np.clip(self.iou, MIN_IOU, 1)))


class Parts:
    """The overlaps of all images in a file, and what predictions take at the IoUs that were asked for last.

    Args:
        truth: the objects of the pack.

    Raises:
        ValueError: the records do not fit to it.
    """

    def __init__(self, records: Sequence[Record], truth: Truth) -> None:
        self._parts = [(_images_of(record), record) for record in records if record.name.startswith(_NAME)]
        ends = [images.stop for images, _ in self._parts]
        starts = [images.start for images, _ in self._parts]
        if [*starts, len(truth.is_compared)] != [0, *ends]:
            raise ValueError("the parts do not follow each other")
        for images, record in self._parts:
            part = Stored(record)
            if not Overlaps(**{name: getattr(part, name) for name in COLUMNS}).fit(truth.part(images)):
                raise ValueError("a part does not fit to the pack")
        self._truth = truth
        self.taken = lru_cache(2)(self._taken)

    def __iter__(self) -> Iterator[tuple[range, Stored]]:
        return ((images, Stored(record)) for images, record in self._parts)

    def of_image(self, number: int) -> tuple[int, range, Stored]:
        """The part that has an image, and which it is."""
        for index, (images, record) in enumerate(self._parts):
            if number in images:
                return index, images, Stored(record)
        raise IndexError(number)

    def _taken(self, iou: float, *, by_any: bool = False) -> list[Taken]:
        """Of every part what its predictions take at an IoU."""
        taken = []
        for images, stored in self:
            matching = Matching(stored, self._truth.part(images))
            taken.append((matching.taken_by_any(iou) if by_any else matching.taken(iou)).astype(np.int32))
        give_back()
        return taken


@dataclass(frozen=True, eq=False)
class EditedPart:
    """Images that were edited, by ascending number: what overlaps in them now.

    Attributes:
        numbers: (E,) int64, the images' numbers in the pack; in `overlaps` and `truth` they are numbered from 0.
    """

    numbers: IntArray
    overlaps: Overlaps
    truth: Truth


@dataclass(frozen=True, eq=False)
class _Part:
    """Some images, their predictions and objects, and what is taken at an IoU.

    Attributes:
        images: their numbers in the pack.
        objects: their objects there; None for images that were edited.
    """

    images: Any
    objects: slice | None
    matching: Matching
    taken: npt.NDArray[np.integer]


class Matches:
    """What matches in all N images.

    Args:
        truth: the objects of the pack.
        edited: images that count with these objects instead.

    Attributes:
        is_compared: (N,) bool, images whose objects are annotated, and that the predictions are about.
    """

    def __init__(self, parts: Parts, truth: Truth, edited: EditedPart | None = None) -> None:
        self._parts = parts
        self._edited = edited
        self._objects = len(truth.category)
        self.is_compared = truth.is_compared
        if edited is not None:
            self.is_compared, unedited = truth.is_compared.copy(), truth.is_compared.copy()
            self.is_compared[edited.numbers], unedited[edited.numbers] = edited.truth.is_compared, False
            truth = replace(truth, is_compared=unedited)
        self._truth = truth
        self.counts = lru_cache(2)(self._counts)

    def _each(self, at: Thresholds, *, by_any: bool = False) -> Iterator[_Part]:
        taken = self._parts.taken(at.iou, by_any=by_any)
        for (images, stored), taken_here in zip(self._parts, taken, strict=True):
            matching = Matching(stored, self._truth.part(images))
            chosen = slice(images.start, images.stop)
            yield _Part(chosen, self._truth.objects(images), matching, taken_here)
        if self._edited is not None:
            matching = Matching(self._edited.overlaps, self._edited.truth)
            of_edited = matching.taken_by_any(at.iou) if by_any else matching.taken(at.iou)
            yield _Part(self._edited.numbers, None, matching, of_edited)

    def _counts(self, at: Thresholds) -> tuple[Counts, Counts | None]:
        """Of all images and the pack's objects, and of the edited images alone, with their objects."""
        counts = Counts.none(len(self.is_compared), self._objects)
        of_edited = None
        for part in self._each(at):
            of_part = part.matching.counts(part.taken, at.score)
            counts.put(of_part, part.images, part.objects)
            of_edited = of_part if part.objects is None else of_edited
        give_back()
        return counts, of_edited

    def of_categories(self, is_meant: BoolArray, at: Thresholds) -> IntArray:
        """(K, 3) int64, true and false positives and false negatives of each category in the images that are meant."""
        whole = np.zeros((len(self._truth.ignored), 3), np.int64)
        for part in self._each(at):
            whole += part.matching.of_categories(part.taken, is_meant[part.images], at.score)
        return whole

    def confusion(self, is_meant: BoolArray | None, at: Thresholds) -> IntArray:
        """(K + 1, K + 1) int64, what is taken for what in the images that are meant, or in all; K is nothing."""
        side = len(self._truth.ignored) + 1
        matrix = np.zeros(side * side, np.int64)
        for part in self._each(at, by_any=True):
            image, row, column = part.matching.cells(part.taken, at.score)
            chosen = slice(None) if is_meant is None else is_meant[part.images][image]
            matrix += np.bincount(row[chosen] * side + column[chosen], minlength=side * side)
        give_back()
        return matrix.reshape(side, side)

    def has_cell(self, row: int, column: int, at: Thresholds) -> BoolArray:
        """(N,) bool, images in which something of a category is taken for another; K is nothing."""
        has = np.zeros(len(self.is_compared), bool)
        for part in self._each(at, by_any=True):
            image, rows, columns = part.matching.cells(part.taken, at.score)
            here = np.zeros(len(part.matching.truth.is_compared), bool)
            here[image[(rows == row) & (columns == column)]] = True
            has[part.images] |= here
        return has

    def of_image(self, number: int, predicted: int, at: Thresholds) -> dict[str, Any]:
        """What became of the objects and predictions of one image.

        Args:
            predicted: how many predictions it has.
        """
        if self._edited is not None and number in self._edited.numbers:
            matching = Matching(self._edited.overlaps, self._edited.truth)
            nth = int(np.searchsorted(self._edited.numbers, number))
            return matching.of_image(matching.taken(at.iou), nth, predicted, at.score)
        index, images, stored = self._parts.of_image(number)
        matching = Matching(stored, self._truth.part(images))
        taken = self._parts.taken(at.iou)[index]
        return matching.of_image(taken, number - images.start, predicted, at.score)


_NAME = "images "


def append(writer: Writer, images: range, overlaps: Overlaps) -> None:
    """Write a part."""
    writer.append(f"{_NAME}{images.start} {images.stop}", {name: getattr(overlaps, name) for name in COLUMNS})


def _images_of(record: Record) -> range:
    start, stop = map(int, record.name.removeprefix(_NAME).split())
    return range(start, stop)
