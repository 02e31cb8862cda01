"""Label maps and panoptic maps of both sides compared image by image: which classes are taken for which, mIoU and PQ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray, FloatArray, IntArray
from segdata.core.predictions import GroundTruth, Predictions
from segdata.core.sample import Sample
from segdata.errors import CannotRepresent
from segdata.metrics.panoptic import quality
from segdata.metrics.panoptic.metrics import segments
from segdata.metrics.semantic import confusion
from segdata.viewer.matching.parts import Record

OFTEN = 1 << 6
"""After so many images progress is told."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """What the maps of N images say, under K categories.

    Attributes:
        miou, pq: (N,) float64, NaN where an image has no such maps on both sides.
        image, truth, predicted, pixels: (S,) whole numbers, how many pixels of each class are taken for each, image by image;
            K is no class.
    """

    miou: FloatArray
    pq: FloatArray
    image: npt.NDArray[np.integer]
    truth: npt.NDArray[np.integer]
    predicted: npt.NDArray[np.integer]
    pixels: npt.NDArray[np.integer]

    @classmethod
    def of_record(cls, record: Record) -> Pixels:
        """What was kept."""
        return cls(**{name: record.compact(name) for name in cls.__dataclass_fields__})

    @classmethod
    def together(cls, images: Sequence[Pixels]) -> Pixels:
        """Those of single images, numbered in this order."""
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(pixels, name) for pixels in images]) for name in cls.__dataclass_fields__
        }
        image = np.repeat(np.arange(len(images)), [len(pixels.image) for pixels in images])
        return cls(**columns | {"image": image})

    def columns(self) -> Mapping[str, npt.NDArray[Any]]:
        """What is to be kept."""
        return vars(self)

    def replaced(self, numbers: IntArray, other: Pixels) -> Pixels:
        """The same with some images, (E,) ascending, as others have them, which number them from 0."""
        is_kept = ~np.isin(self.image, numbers)
        miou, pq = self.miou.copy(), self.pq.copy()
        miou[numbers], pq[numbers] = other.miou, other.pq
        names = ("image", "truth", "predicted", "pixels")
        moved = replace(other, image=numbers[other.image])
        joined = {name: np.concatenate((getattr(self, name)[is_kept], getattr(moved, name))) for name in names}
        return Pixels(miou, pq, **joined)

    def confusion(self, is_meant: BoolArray | None, classes: int) -> IntArray:
        """(K + 1, K + 1) pixels of the images that are meant, (N,) bool, or of all."""
        chosen = slice(None) if is_meant is None else is_meant[self.image]
        side = classes + 1
        cell = self.truth[chosen].astype(np.int64) * side + self.predicted[chosen]
        return np.bincount(cell, self.pixels[chosen], side * side).astype(np.int64).reshape(side, side)

    def has_cell(self, truth: int, predicted: int) -> BoolArray:
        """(N,) bool, images with a pixel of a class that is taken for another."""
        has: npt.NDArray[np.bool_] = np.zeros(len(self.miou), bool)
        has[self.image[(self.truth == truth) & (self.predicted == predicted)]] = True
        return has


def compared(
    predictions: Predictions,
    truth: GroundTruth,
    is_compared: BoolArray,
    progress: Callable[[int, int], None],
) -> Pixels:
    """Compare the maps of all images that are compared, (N,) bool."""
    labels = truth.labels
    miou, pq = np.full(len(truth), np.nan), np.full(len(truth), np.nan)
    parts: list[npt.NDArray[Any]] = []
    for index in range(len(truth)):
        if index % OFTEN == 0:
            progress(index, len(truth))
        if not is_compared[index]:
            continue
        sample, predicted = truth.get(index), predictions.get(index)
        if predicted is None or (sample.height, sample.width) != (predicted.height, predicted.width):
            continue
        if sample.semantic is not None and predicted.semantic is not None:
            table = confusion.count(sample.semantic, predicted.semantic, len(labels))
            scores = confusion.scores(confusion.without_ignored(table, labels), _names(labels.categories))
            miou[index] = np.nan if scores["mIoU"] is None else scores["mIoU"]
            row, column = np.nonzero(table)
            parts.append(np.stack([np.full(len(row), index), row, column, table[row, column]]))
        if sample.has_semantic and sample.has_instances and (predicted.has_semantic or predicted.has_instances):
            pq[index] = _quality(sample, predicted, truth)
    columns = np.concatenate([np.zeros((4, 0), np.int64), *parts], axis=1)
    return Pixels(miou, pq, *columns)


def _names(categories: Any) -> list[str]:
    return [category.name for category in categories if not category.ignore]


def _quality(sample: Sample, predicted: Sample, truth: GroundTruth) -> float:
    """PQ of one image over all classes taken as one; NaN where objects overlap, or nothing is."""
    labels = truth.labels
    try:
        true_segments = segments(sample, labels, is_truth=True, use_annotated_areas=truth.made_from == "coco-panoptic")
        counts = quality.count(true_segments, segments(predicted, labels), len(labels))
    except CannotRepresent:
        return np.nan
    whole = counts.tp.sum() + (counts.fp.sum() + counts.fn.sum()) / 2
    return float(counts.iou.sum() / whole) if whole else np.nan
