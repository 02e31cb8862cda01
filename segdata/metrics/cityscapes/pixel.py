"""Cityscapes' pixel-level evaluation: IoU and instance-weighted iIoU per class and per group of classes.

    IoU  = TP / (TP + FP + FN)          pixels; ground-truth pixels of ignored labels are left out
    iIoU = iTP / (iTP + FP + iFN)       every object's pixels weighted by (mean size of its class / its size)

False positives belong to no object and count unweighted; group regions have no weights and are outside of iTP and iFN.
A group of classes has an iIoU when all of its labels are things; ignored ones (caravan, trailer) are among its hits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import FloatArray
from segdata.core.rle import constant_runs
from segdata.metrics.cityscapes.classes import GROUP_LIMIT, Classes
from segdata.metrics.result import mean
from segdata.metrics.semantic.confusion import nullable, ratio, tally


@dataclass(frozen=True, eq=False)
class Counts:
    """What is summed over images, for K classes and G groups.

    Attributes:
        confusion: (K, K + 1) int64 pixels, rows ground truth, columns prediction, the last one no class.
        hit, miss: (K,) float64, weighted pixels of objects that were labelled as their class, and that were not.
        group_hit, group_miss: (G,) float64, the same for labelled as their group.
    """

    confusion: npt.NDArray[np.int64]
    hit: FloatArray
    miss: FloatArray
    group_hit: FloatArray
    group_miss: FloatArray

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{name: value + getattr(other, name) for name, value in vars(self).items()})


def nothing(classes: Classes) -> Counts:
    """Counts before the first image."""
    k, g = len(classes), len(classes.groups)
    return Counts(np.zeros((k, k + 1), np.int64), np.zeros(k), np.zeros(k), np.zeros(g), np.zeros(g))


def count(
    truth: npt.NDArray[Any], instances: npt.NDArray[Any], prediction: npt.NDArray[Any], classes: Classes
) -> Counts:
    """Count one image.

    Args:
        truth: (H, W) category indices; values ≥ K are void.
        instances: (H, W) instance ids: label id · 1000 + n for objects, less for everything else.
        prediction: (H, W) category indices; values ≥ K are no class.
    """
    start, length = constant_runs(truth, instances, prediction)
    ids, predicted = instances.ravel()[start], prediction.ravel()[start]
    confusion = tally(truth.ravel()[start], predicted, length, len(classes))
    # Objects × predicted class, over the pixels of objects alone.
    of_objects = ids > GROUP_LIMIT
    objects, row = np.unique(ids[of_objects], return_inverse=True)
    side = len(classes) + 1
    key = row * side + np.minimum(predicted[of_objects], side - 1)
    table = np.bincount(key, length[of_objects], len(objects) * side).reshape(len(objects), side)
    all_pixels, table = table.sum(1), table[:, :-1]
    category = classes.categories_of(objects)
    weighable = (category >= 0) & classes.evaluated[category] & classes.isthing[category]
    table, category, size = table[weighable], category[weighable], all_pixels[weighable]
    weight = classes.average_size[category] / size
    group = classes.group[category]
    hit = table[np.arange(len(category)), category]
    group_hit = (table * (classes.group[None, :] == group[:, None])).sum(1)
    return Counts(
        confusion,
        np.bincount(category, hit * weight, len(classes)).astype(np.float64),
        np.bincount(category, (size - hit) * weight, len(classes)).astype(np.float64),
        np.bincount(group, group_hit * weight, len(classes.groups)).astype(np.float64),
        np.bincount(group, (size - group_hit) * weight, len(classes.groups)).astype(np.float64),
    )


def scores(counts: Counts, classes: Classes) -> dict[str, Any]:
    """The evaluator's figures under its own names; what is undefined is None.

    Returns:
        `classScores`, `classInstScores` (iIoU): name → value; `categoryScores`, `categoryInstScores`: group → value;
        `averageScoreClasses`, `averageScoreInstClasses`, `averageScoreCategories`, `averageScoreInstCategories`: means
        of what is defined; `confMatrix`: K lists of K pixels.
    """
    square = counts.confusion[:, :-1].astype(np.float64)
    truth = counts.confusion.sum(1).astype(np.float64)
    evaluated = classes.evaluated
    hit = np.diagonal(square)
    wrong = square[evaluated].sum(0) - np.where(evaluated, hit, 0)
    iou = np.where(evaluated, ratio(hit, truth + wrong), np.nan)
    has_weights = evaluated & classes.isthing
    instance_iou = np.where(has_weights, ratio(counts.hit, counts.hit + counts.miss + wrong), np.nan)
    group_iou = np.full(len(classes.groups), np.nan)
    group_instance_iou = np.full(len(classes.groups), np.nan)
    for group in range(len(classes.groups)):
        members = classes.group == group
        counted = members & evaluated
        outside = square[evaluated & ~members]
        inside = square[np.ix_(counted, counted)].sum()
        group_iou[group] = _one(inside, truth[counted].sum() + outside[:, counted].sum())
        if classes.isthing[members].all():
            weighted = counts.group_hit[group] + counts.group_miss[group]
            group_instance_iou[group] = _one(counts.group_hit[group], weighted + outside[:, members].sum())
    return {
        "classScores": dict(zip(classes.names, nullable(iou), strict=True)),
        "classInstScores": dict(zip(classes.names, nullable(instance_iou), strict=True)),
        "categoryScores": dict(zip(classes.groups, nullable(group_iou), strict=True)),
        "categoryInstScores": dict(zip(classes.groups, nullable(group_instance_iou), strict=True)),
        "averageScoreClasses": mean(iou),
        "averageScoreInstClasses": mean(instance_iou),
        "averageScoreCategories": mean(group_iou),
        "averageScoreInstCategories": mean(group_instance_iou),
        "confMatrix": counts.confusion[:, :-1].tolist(),
    }


def _one(part: float, whole: float) -> float:
    return part / whole if whole else np.nan
