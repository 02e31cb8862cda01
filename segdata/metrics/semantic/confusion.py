"""Confusion matrices of label maps, and their scores: IoU, mean IoU, frequency-weighted IoU and accuracies.

One matrix is summed over all images (never a mean over images), rows ground truth, columns prediction. Pixels that are
void in the ground truth are left out. Names are detectron2's (`mIoU`, `fwIoU`, `mACC`, `pACC`, `IoU-NAME`, `ACC-NAME`),
values 0..1.

Evaluators differ on a class that is predicted but not in the ground truth. As in VOC's and Cityscapes' own, its IoU is 0
here (detectron2 leaves it out of the mean); a class in neither is undefined and left out by everybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.labels import LabelSpace
from segdata.core.rle import constant_runs
from segdata.metrics.result import mean

Confusion = npt.NDArray[np.int64]
"""(K, K + 1) int64 pixels: row is the class in the ground truth, column the predicted one, the last column no class."""


def count(truth: npt.NDArray[Any], prediction: npt.NDArray[Any], classes: int) -> Confusion:
    """The confusion matrix of one image.

    Args:
        truth: (H, W) unsigned class indices; values ≥ `classes` are void and left out.
        prediction: (H, W) unsigned class indices; values ≥ `classes` are no class (always wrong, never a false positive).
    """
    start, length = constant_runs(truth, prediction)
    return tally(truth.ravel()[start], prediction.ravel()[start], length, classes)


def tally(truth: npt.NDArray[Any], prediction: npt.NDArray[Any], pixels: npt.NDArray[Any], classes: int) -> Confusion:
    """The confusion matrix of (S,) pairs of values, each over a number of pixels."""
    side = classes + 1
    key = np.minimum(truth, classes).astype(np.int64) * side + np.minimum(prediction, classes)
    table = np.bincount(key, pixels, side * side).reshape(side, side)
    return table[:classes].astype(np.int64)


def without_ignored(confusion: Confusion, labels: LabelSpace) -> Confusion:
    """The matrix of the categories that are not ignored; pixels predicted as an ignored one count as no class."""
    counts = np.array([not category.ignore for category in labels.categories], bool)
    rows = confusion[counts]
    return np.column_stack((rows[:, :-1][:, counts], rows[:, :-1][:, ~counts].sum(1) + rows[:, -1]))


def pixel_accuracy(confusion: Confusion, rows: npt.NDArray[np.int64]) -> float:
    """The share of right pixels of the classes `rows`; NaN where the ground truth has none of them."""
    total = confusion[rows].sum()
    return float(confusion[rows, rows].sum() / total) if total else np.nan


def scores(confusion: Confusion, names: Sequence[str]) -> dict[str, Any]:
    """The metrics of a confusion matrix; what is undefined is None.

    Args:
        confusion: see `Confusion`.
        names: of the K classes.

    Returns:
        `mIoU` over classes with a non-empty union, `fwIoU` = Σ f·IoU with f the class's share of valid pixels of the
        ground truth, `mACC` over classes in the ground truth, `pACC`, `IoU-NAME` and `ACC-NAME` per class, `confusion` (K
        lists of K) and `unpredicted` (K ground-truth pixels without a predicted class).
    """
    square = confusion[:, :-1].astype(np.float64)
    hit = np.diagonal(square)
    truth = confusion.sum(1).astype(np.float64)
    union = truth + square.sum(0) - hit
    total = truth.sum()
    iou, accuracy = ratio(hit, union), ratio(hit, truth)
    per_class = {f"IoU-{name}": value for name, value in zip(names, nullable(iou), strict=True)}
    per_class |= {f"ACC-{name}": value for name, value in zip(names, nullable(accuracy), strict=True)}
    return {
        "mIoU": mean(iou),
        "fwIoU": float(np.nansum(iou * truth) / total) if total else None,
        "mACC": mean(accuracy),
        "pACC": float(hit.sum() / total) if total else None,
        **per_class,
        "confusion": confusion[:, :-1].tolist(),
        "unpredicted": confusion[:, -1].tolist(),
    }


def ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """`part / whole`, NaN where `whole` is 0."""
    quotient: npt.NDArray[np.float64] = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=quotient, where=np.asarray(whole) != 0)
    return quotient


def nullable(values: npt.NDArray[np.float64]) -> list[float | None]:
    """Floats, with None for NaN."""
    return [None if np.isnan(value) else value for value in values.tolist()]
