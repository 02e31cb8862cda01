"""Cityscapes' instance-level evaluation: AP and AP50 by the rules of its own evaluator.

- The overlap must be above the threshold, strictly: 0.5, 0.55 … 0.95.
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

from segdata.core.regions import Crop
from segdata.core.rle import constant_runs
from segdata.metrics.cityscapes.classes import GROUP_LIMIT, Classes
from segdata.metrics.semantic.confusion import mean

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

OVERLAPS = np.arange(0.5, 1.0, 0.05)
"""The thresholds, (10,) float64, with the evaluator's own rounding."""

SMALLEST = 100
"""Pixels of the smallest object that is counted."""


@dataclass(frozen=True, eq=False)
class Matches:
    """The objects, predictions and meetings of one image or of many, as columns.

    Attributes:
        category, size: (T,) of regions of the truth with a category that is evaluated: objects and groups.
        is_group: (T,) bool.
        predicted, score, pixels, on_void: (P,) of predictions: category, score, size, pixels on void.
        at_truth, at_prediction, common: (M,) places in the columns above and common pixels of each pair of one category
            that meets.
    """

    category: IntArray
    size: IntArray
    is_group: npt.NDArray[np.bool_]
    predicted: IntArray
    score: FloatArray
    pixels: IntArray
    on_void: IntArray
    at_truth: IntArray
    at_prediction: IntArray
    common: IntArray


def match(
    instances: npt.NDArray[Any],
    category: npt.NDArray[np.int64],
    score: npt.NDArray[np.float64],
    crops: Sequence[Crop],
    classes: Classes,
) -> Matches:
    """Compare the predictions of one image with its instance map.

    Args:
        instances: (H, W) unsigned numbers: label id · 1000 + n for objects, label ids elsewhere.
        category: (P,) predicted category indices.
        score: (P,) float64.
        crops: P predicted masks; empty ones are left out, as are categories that are not evaluated or no things.
    """
    start, length = constant_runs(instances)
    size_of = np.bincount(instances.ravel()[start], length).astype(np.int64)
    numbers = np.flatnonzero(size_of)
    label = classes.labels_of(numbers)
    counts = classes.evaluated & classes.isthing
    is_void = (numbers < GROUP_LIMIT) & ~(classes.evaluated[label] & (label >= 0))
    is_region = counts[label] & (label >= 0)
    regions = int(is_region.sum())
    areas = np.array([np.count_nonzero(crop) for _, _, crop in crops], np.int64)
    kept = np.flatnonzero((category < len(classes)) & (areas > 0))
    kept = kept[counts[category[kept]]]
    common = np.zeros((len(kept), regions + 1), np.int64)  # the last column is void
    for row, place in zip(common, kept.tolist(), strict=True):
        x, y, crop = crops[place]
        under = instances[y : y + crop.shape[0], x : x + crop.shape[1]][crop]
        pixels = np.bincount(under, minlength=len(size_of))[numbers]
        row[:-1], row[-1] = pixels[is_region], pixels[is_void].sum()
    predicted = category[kept]
    regional = label[is_region]
    meets = (common[:, :regions] > 0) & (predicted[:, None] == regional[None, :])
    at_prediction, at_truth = np.nonzero(meets)
    return Matches(
        regional,
        size_of[numbers[is_region]],
        numbers[is_region] < GROUP_LIMIT,
        predicted,
        score[kept],
        areas[kept],
        common[:, regions],
        at_truth,
        at_prediction,
        common[at_prediction, at_truth],
    )


def joined(parts: Iterable[Matches]) -> Matches:
    """The matches of many images as one."""
    parts = list(parts)
    columns = {name: [getattr(part, name) for part in parts] for name in Matches.__annotations__}
    for name, of in (("at_truth", "category"), ("at_prediction", "predicted")):
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
        [[_average_precision(matches, index, limit) for limit in OVERLAPS.tolist()] for index in chosen.tolist()]
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
    to_find = (matches.category == category) & ~matches.is_group & ~is_small
    mine = matches.predicted == category
    at_truth, at_prediction, common = matches.at_truth, matches.at_prediction, matches.common
    union = matches.size[at_truth] + matches.pixels[at_prediction] - common
    is_match = (common / union > limit) & mine[at_prediction]
    # The best prediction of every object is right, its others are wrong.
    found = np.flatnonzero(is_match & to_find[at_truth])
    order = found[np.lexsort((-matches.score[at_prediction[found]], at_truth[found]))]
    is_best = np.concatenate(([True], at_truth[order][1:] != at_truth[order][:-1]))[: len(order)]
    # What matches nothing is wrong too, unless too much of it is where nobody could tell.
    unmatched = mine.copy()
    unmatched[at_prediction[is_match]] = False
    times = (matches.is_group.astype(np.int64) + is_small)[at_truth]
    excused = matches.on_void + np.bincount(at_prediction, common * times, len(mine))
    unmatched &= excused / matches.pixels <= limit
    score = matches.score
    wrong = np.concatenate((score[at_prediction[order[~is_best]]], score[unmatched]))
    return score[at_prediction[order[is_best]]], wrong, int(to_find.sum())


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
