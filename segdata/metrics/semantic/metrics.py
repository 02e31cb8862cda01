"""The metrics of label maps: `semantic` (mIoU and accuracies) and `voc-segmentation`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segdata.core.predictions import GroundTruth, Predictions
from segdata.errors import InvalidAnnotation
from segdata.metrics.checks import require_holding
from segdata.metrics.result import Result
from segdata.metrics.semantic import label_maps
from segdata.metrics.semantic.confusion import Confusion, count, pixel_accuracy, scores, without_ignored


@dataclass(frozen=True, eq=False)
class PixelDetails:
    """What the report draws of a pixel metric.

    Attributes:
        names: of the C classes that count.
        confusion: (C, C + 1) int64 pixels, rows ground truth, the last column no class.
        keys: of the images.
        accuracy: (N,) float64, share of right pixels in each image, NaN where all is void.
    """

    names: tuple[str, ...]
    confusion: Confusion
    keys: tuple[str, ...]
    accuracy: npt.NDArray[np.float64]


def semantic(predictions: Predictions, truth: GroundTruth) -> Result:
    """IoU, accuracies and confusion over all categories that are not ignored (`Category.ignore` is void)."""
    return _semantic(predictions, truth, "semantic")


def voc_segmentation(predictions: Predictions, truth: GroundTruth) -> Result:
    """The same by VOC's rule: every predicted pixel has a class, background among them.

    Raises:
        InvalidAnnotation: predictions hold void (255), which VOC's evaluation refuses.
    """
    result = _semantic(predictions, truth, "voc-segmentation")
    unpredicted = sum(result.numbers["unpredicted"])
    if unpredicted:
        raise InvalidAnnotation(
            "VOC segmentation results hold pixels without a class",
            file=predictions.path,
            why=f"{unpredicted:,} pixels; VOC's evaluation takes 0 (background) to {len(truth.labels) - 1} alone, no 255",
            fix="write 0 for background, or use --metric semantic, which counts them as wrong",
        )
    return result


def _semantic(predictions: Predictions, truth: GroundTruth, metric: str) -> Result:
    require_holding(predictions, "semantic", metric)
    labels = truth.labels
    total = np.zeros((len(labels), len(labels) + 1), np.int64)
    rows = np.flatnonzero([not category.ignore for category in labels.categories])
    keys, accuracy = [], []
    for index, label_map, predicted in label_maps.pairs(predictions, truth):
        of_image = count(label_map, predicted, len(labels))
        total += of_image
        keys.append(truth.keys[index])
        accuracy.append(pixel_accuracy(of_image, rows))
    label_maps.refuse_misread(total, labels, predictions)
    confusion = without_ignored(total, labels)
    names = tuple(category.name for category in labels.categories if not category.ignore)
    label_maps.remark_undefined(confusion, predictions)
    return Result(scores(confusion, names), PixelDetails(names, confusion, tuple(keys), np.array(accuracy)))
