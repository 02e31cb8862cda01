"""Every pair of a prediction and an object of one image that overlap, found once, in parts of some thousand images.

Crowds, difficult objects and categories that are ignored are neither found nor missed, and predictions that take one of
them are not counted; nor are those beyond the best 100 of an image and category.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray, FloatArray, IntArray
from segdata.core.predictions import GroundTruth, Predictions
from segdata.core.sample import Sample
from segdata.metrics.coco import iou as coco_iou
from segdata.metrics.coco.blocks import Block, Objects, blocks
from segdata.metrics.coco.matching import Candidates, pairs_of_groups
from segdata.metrics.coco.metrics import LIMITS

MIN_IOU = 0.1
"""Pairs below it are not kept; the smallest IoU that can be asked for."""

_IMAGES, _PREDICTIONS = 1 << 13, 1 << 18
"""A part ends with so many images or predictions."""


@dataclass(frozen=True, eq=False)
class Overlaps:
    """D predictions for some images, the best of each image and category, and the C pairs of one and an object that overlap.

    Attributes:
        image: (D,) int64, ascending, which of these images.
        row: (D,) int64, which of its image's predictions it is.
        category: (D,) int64, ascending within an image.
        score: (D,) float64, falling within a category; 1 where the prediction has none.
        detection, truth: (C,) int64, the prediction, ascending, and the object, both numbered over these images.
        iou: (C,) float64, at least `MIN_IOU`.
    """

    image: IntArray
    row: IntArray
    category: IntArray
    score: FloatArray
    detection: IntArray
    truth: IntArray
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


COLUMNS = tuple(Overlaps.__dataclass_fields__)


@dataclass(frozen=True, eq=False)
class Truth:
    """The T objects of N images that predictions are matched with.

    Attributes:
        pointer: (N + 1,) int64, the objects of image i are `pointer[i] … pointer[i + 1] − 1`.
        image, category: (T,) of each object.
        is_counted: (T,) bool, False for crowds, difficult objects and categories that are ignored.
        is_about: (N,) bool, images that the predictions are about.
        is_compared: (N,) bool, those of them whose objects were annotated.
        ignored: (K,) bool, categories that are ignored.
        has_mask: (T,) bool.
    """

    pointer: IntArray
    image: npt.NDArray[np.integer]
    category: npt.NDArray[np.integer]
    is_counted: BoolArray
    is_about: BoolArray
    is_compared: BoolArray
    ignored: BoolArray
    has_mask: BoolArray

    def part(self, images: range) -> Truth:
        """The objects of images that follow each other, which are then numbered from 0."""
        objects = self.objects(images)
        return replace(
            self,
            pointer=self.pointer[images.start : images.stop + 1] - objects.start,
            image=self.image[objects].astype(np.int64) - images.start,
            category=self.category[objects],
            is_counted=self.is_counted[objects],
            is_about=self.is_about[images.start : images.stop],
            is_compared=self.is_compared[images.start : images.stop],
            has_mask=self.has_mask[objects],
        )

    def objects(self, images: range) -> slice:
        """The objects of images that follow each other."""
        return slice(int(self.pointer[images.start]), int(self.pointer[images.stop]))


def overlaps_of(
    predictions: Predictions, truth: GroundTruth, objects: Truth, progress: Callable[[int, int], None] | None = None
) -> Iterator[tuple[range, Overlaps]]:
    """Find all pairs that overlap, in the order of the images; each part with the images that it is about.

    Args:
        objects: those of `truth`.
        progress: called as `progress(images done, images in all)`.
    """
    by_mask = bool({"masks", "panoptic"} & predictions.holds)
    begin, parts = 0, [_none()]
    end = 0
    order = np.arange(len(truth))
    for block in blocks(predictions, replace(truth, progress=progress), masks=by_mask, order=order):
        end = int(block.images[-1]) + 1
        parts.append(_of_block(block, objects, begin, by_mask=by_mask))
        if end - begin >= _IMAGES or sum(len(part.image) for part in parts) >= _PREDICTIONS:
            yield range(begin, end), joined(parts)
            begin, parts = end, [_none()]
    if end > begin:
        yield range(begin, end), joined(parts)


def one_image(
    predictions: Predictions, truth: GroundTruth, number: int, sample: Sample | None = None
) -> tuple[Predictions, GroundTruth]:
    """The same of one image alone, which is then number 0.

    Args:
        sample: the image with other annotations.
    """
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
            get=lambda _: truth.get(number) if sample is None else sample,
            find_images=lambda: truth.image_table[[number]],
            find_columns=None,
            find_semantic=None,
            progress=None,
        ),
    )


def of_one_image(predictions: Predictions, truth: GroundTruth, objects: Truth) -> Overlaps:
    """What overlaps in the only image of a ground truth."""
    ((_, overlaps),) = overlaps_of(predictions, truth, objects)
    return overlaps


def joined(parts: Sequence[Overlaps]) -> Overlaps:
    """Parts as one, whose predictions are numbered one part after another; images and objects are numbered alike already."""
    firsts = np.cumsum([0, *(len(part.image) for part in parts)])
    parts = [replace(part, detection=part.detection + first) for part, first in zip(parts, firsts[:-1], strict=True)]
    columns: Mapping[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
    return Overlaps(**columns)


def _none() -> Overlaps:
    ints, floats = np.zeros(0, np.int64), np.zeros(0)
    return Overlaps(ints, ints, ints, floats, detection=ints, truth=ints, iou=floats)


def _of_block(block: Block, objects: Truth, first: int, *, by_mask: bool) -> Overlaps:
    """What overlaps in the images of a block, which are numbered from `first`."""
    detections, truth = block.detections, block.truth
    score = np.where(np.isnan(detections.score), 1.0, detections.score)
    chosen = _best(detections, score)
    detections, score = detections.take(chosen), score[chosen]
    numbers = objects.pointer[block.images[truth.image]] + truth.nth
    candidates = _candidates(detections, truth, objects.has_mask[numbers] if by_mask else None)
    order = np.argsort(candidates.detection, kind="stable")
    return Overlaps(
        image=block.images[detections.image] - first,
        row=detections.nth,
        category=detections.category,
        score=score,
        detection=candidates.detection[order],
        truth=(numbers - objects.pointer[first])[candidates.truth[order]],
        iou=candidates.iou[order],
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
