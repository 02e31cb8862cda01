"""Cityscapes' instance-level evaluation: AP and AP50 by the rules of its own evaluator.

- A match has an IoU strictly above the threshold: 0.5, 0.55 … 0.95.
- Objects under 100 pixels and groups are not counted; a prediction that lies on them, or on void, by a larger share
  than the threshold is dropped (a group under 100 pixels counts for both).
- Of several predictions on one object the best scored is right and the others are wrong.
- Precision–recall points at the unique scores and (recall 0, precision 1); each precision is weighted by half the
  distance in recall between its neighbours. No interpolation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import FloatArray, IntArray
from segdata.core.predictions import Crop
from segdata.core.rle import constant_runs
from segdata.metrics.cityscapes.classes import GROUP_LIMIT, Classes
from segdata.metrics.result import mean

THRESHOLDS = np.arange(0.5, 1.0, 0.05)
"""IoU thresholds, (10,) float64, with the evaluator's own rounding."""

SMALLEST = 100
"""Pixels of the smallest object that is counted."""


@dataclass(frozen=True, eq=False)
class Matches:
    """The objects and predictions of one image or of many, and the pairs of them that intersect, as columns.

    Attributes:
        category, size: (T,) int64 of ground-truth regions with a category that is evaluated: objects and groups.
        is_group: (T,) bool.
        predicted, score, pixels, on_void: (P,) of predictions: category, score, size, pixels on void.
        truth, prediction, intersection: (M,) int64 of pairs of one category that intersect: index of the region, index of
            the prediction, common pixels.
    """

    category: IntArray
    size: IntArray
    is_group: npt.NDArray[np.bool_]
    predicted: IntArray
    score: FloatArray
    pixels: IntArray
    on_void: IntArray
    truth: IntArray
    prediction: IntArray
    intersection: IntArray


def match(
    instances: npt.NDArray[Any],
    category: npt.NDArray[np.int64],
    score: npt.NDArray[np.float64],
    crops: Sequence[Crop],
    classes: Classes,
) -> Matches:
    """Compare the predictions of one image with its instance map.

    Args:
        instances: (H, W) unsigned instance ids: label id · 1000 + n for objects, label ids elsewhere.
        category: (P,) predicted category indices.
        score: (P,) float64.
        crops: P predicted masks; empty ones are left out, as are categories that are not evaluated or no things.
    """
    start, length = constant_runs(instances)
    size_of = np.bincount(instances.ravel()[start], length).astype(np.int64)
    ids = np.flatnonzero(size_of)
    label = classes.categories_of(ids)
    counts = classes.evaluated & classes.isthing
    is_void = (ids < GROUP_LIMIT) & ~(classes.evaluated[label] & (label >= 0))
    is_region = counts[label] & (label >= 0)
    regions = int(is_region.sum())
    areas = np.array([np.count_nonzero(crop) for _, _, crop in crops], np.int64)
    compared = np.flatnonzero((category < len(classes)) & (areas > 0))
    compared = compared[counts[category[compared]]]
    pixels = np.zeros((len(compared), regions + 1), np.int64)  # the last column is void
    for row, index in zip(pixels, compared.tolist(), strict=True):
        x, y, crop = crops[index]
        under = instances[y : y + crop.shape[0], x : x + crop.shape[1]][crop]
        of_ids = np.bincount(under, minlength=len(size_of))[ids]
        row[:-1], row[-1] = of_ids[is_region], of_ids[is_void].sum()
    predicted = category[compared]
    regional = label[is_region]
    intersects = (pixels[:, :regions] > 0) & (predicted[:, None] == regional[None, :])
    prediction, truth = np.nonzero(intersects)
    return Matches(
        category=regional,
        size=size_of[ids[is_region]],
        is_group=ids[is_region] < GROUP_LIMIT,
        predicted=predicted,
        score=score[compared],
        pixels=areas[compared],
        on_void=pixels[:, regions],
        truth=truth,
        prediction=prediction,
        intersection=pixels[prediction, truth],
    )


def joined(parts: Iterable[Matches]) -> Matches:
    """The matches of many images as one."""
    parts = list(parts)
    columns = {name: [getattr(part, name) for part in parts] for name in Matches.__annotations__}
    for name, of in (("truth", "category"), ("prediction", "predicted")):
        begin = np.cumsum([0] + [len(column) for column in columns[of]])
        columns[name] = [column + start for column, start in zip(columns[name], begin, strict=False)]
    empty = {"is_group": bool, "score": np.float64}
    return Matches(
        **{
            name: np.concatenate(column) if column else np.zeros(0, empty.get(name, np.int64))
            for name, column in columns.items()
        }
    )


def scores(matches: Matches, classes: Classes) -> dict[str, Any]:
    """AP over all thresholds and at 0.5, per class and on average; None for a class without objects to find.

    Returns:
        `allAp`, `allAp50%`, `classes`: name → {`ap`, `ap50%`}.
    """
    chosen = np.flatnonzero(classes.evaluated & classes.isthing)
    table = np.array(
        [[_average_precision(matches, index, limit) for limit in THRESHOLDS.tolist()] for index in chosen.tolist()]
    )
    return {
        "allAp": mean(table),
        "allAp50%": mean(table[:, 0]),
        "classes": {
            classes.names[index]: {"ap": mean(row), "ap50%": mean(row[:1])}
            for index, row in zip(chosen.tolist(), table, strict=True)
        },
    }


def _average_precision(matches: Matches, category: int, limit: float) -> float:
    """AP of one class at one threshold; NaN without objects, 0 without predictions."""
    right, wrong, objects = outcomes(matches, category, limit)
    if not objects:
        return np.nan
    recall, precision, _ = curve(right, wrong, objects)
    neighbours = np.concatenate((recall[:1], recall, [0.0]))
    return float(precision @ ((neighbours[:-2] - neighbours[2:]) / 2))


def outcomes(matches: Matches, category: int, limit: float) -> tuple[FloatArray, FloatArray, int]:
    """Scores of the right and of the wrong predictions of a class, and the number of objects to find."""
    is_small = matches.size < SMALLEST
    is_wanted = (matches.category == category) & ~matches.is_group & ~is_small
    of_class = matches.predicted == category
    truth, prediction, intersection = matches.truth, matches.prediction, matches.intersection
    union = matches.size[truth] + matches.pixels[prediction] - intersection
    is_match = (intersection / union > limit) & of_class[prediction]
    # The best prediction of every object is right, its others are wrong.
    pairs = np.flatnonzero(is_match & is_wanted[truth])
    pairs = pairs[np.lexsort((-matches.score[prediction[pairs]], truth[pairs]))]
    is_best = np.concatenate(([True], truth[pairs][1:] != truth[pairs][:-1]))[: len(pairs)]
    # What matches nothing is wrong too, unless too much of it is where nobody could tell.
    unmatched = of_class.copy()
    unmatched[prediction[is_match]] = False
    times = (matches.is_group.astype(np.int64) + is_small)[truth]
    excused = matches.on_void + np.bincount(prediction, intersection * times, len(of_class))
    unmatched &= excused / matches.pixels <= limit
    score = matches.score
    wrong = np.concatenate((score[prediction[pairs[~is_best]]], score[unmatched]))
    return score[prediction[pairs[is_best]]], wrong, int(is_wanted.sum())


def curve(right: FloatArray, wrong: FloatArray, objects: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Recall, precision and score at every unique score, from the lowest on, and the point (0, 1, ∞) at the end."""
    values, inverse = np.unique(np.concatenate((right, wrong)), return_inverse=True)
    hits = np.bincount(inverse[: len(right)], minlength=len(values))[::-1].cumsum()[::-1]
    total = np.bincount(inverse, minlength=len(values))[::-1].cumsum()[::-1]
    return (
        np.append(hits / objects, 0.0) if objects else np.full(len(values) + 1, np.nan),
        np.append(hits / np.maximum(total, 1), 1.0),
        np.append(values, np.inf),
    )
