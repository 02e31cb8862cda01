"""Panoptic quality (Kirillov et al., Panoptic Segmentation, CVPR 2019) by the rules of COCO's panopticapi.

A predicted and a ground-truth segment of one class match when their IoU is above 0.5, where the union leaves out what the
prediction covers of void. Crowds match nothing. An unmatched prediction is no false positive when more than half of it
lies on void and on the crowd of its class (where an image has several crowds of a class, on the last one).

    PQ = Σ IoU of matches / (TP + FP/2 + FN/2) = SQ · RQ
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import FloatArray, IntArray
from segdata.core.rle import constant_runs

VOID = 0
"""The id of pixels that belong to no segment."""


@dataclass(frozen=True, eq=False)
class Segments:
    """The panoptic segmentation of one image.

    Attributes:
        map: (H, W) integers, each pixel's segment id, 0 for void.
        id: (N,) int64, the segments' ids, none 0.
        category: (N,) int64, class indices.
        iscrowd: (N,) bool.
        area: (N,) int64 pixels, as annotated.
    """

    map: npt.NDArray[Any]
    id: IntArray
    category: IntArray
    iscrowd: npt.NDArray[np.bool_]
    area: IntArray


@dataclass(frozen=True, eq=False)
class Counts:
    """Matches per class, (K,) each: true and false positives, false negatives, and the sum of the matches' IoU."""

    tp: IntArray
    fp: IntArray
    fn: IntArray
    iou: FloatArray

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.iou + other.iou)


def nothing(classes: int) -> Counts:
    """Counts before the first image."""
    zero = np.zeros(classes, np.int64)
    return Counts(zero, zero, zero, np.zeros(classes))


def count(truth: Segments, prediction: Segments, classes: int) -> Counts:
    """Match the segments of one image; both maps are of one size, predicted areas are counted from the map."""
    pixels = _intersections(truth, prediction)
    on_void, inter = pixels[0, 1:], pixels[1:-1, 1:]
    area = pixels[:, 1:].sum(0)
    union = area[None, :] + truth.area[:, None] - inter - on_void[None, :]
    candidate = (
        (inter > 0) & (union > 0) & (truth.category[:, None] == prediction.category[None, :]) & ~truth.iscrowd[:, None]
    )
    iou = np.divide(inter, union, out=np.zeros(inter.shape), where=candidate)
    matched_truth, matched_prediction = np.nonzero(iou > 0.5)
    is_missed = ~truth.iscrowd
    is_missed[matched_truth] = False
    # Where a class has several crowds in an image, the last one stands for all.
    crowd = np.full(classes, -1, np.int64)
    crowd[truth.category[truth.iscrowd]] = np.flatnonzero(truth.iscrowd)
    crowd_of_class = crowd[prediction.category]
    on_crowd = np.where(crowd_of_class >= 0, inter[crowd_of_class, np.arange(len(area))] if len(inter) else 0, 0)
    is_wrong = np.divide(on_void + on_crowd, area, out=np.zeros(len(area)), where=area > 0) <= 0.5
    is_wrong[matched_prediction] = False
    matched = truth.category[matched_truth]
    return Counts(
        np.bincount(matched, minlength=classes),
        np.bincount(prediction.category[is_wrong], minlength=classes),
        np.bincount(truth.category[is_missed], minlength=classes),
        np.bincount(matched, iou[matched_truth, matched_prediction], classes).astype(np.float64),
    )


def scores(counts: Counts, ids: Sequence[int], isthing: Sequence[bool]) -> dict[str, Any]:
    """PQ, SQ and RQ of everything, of things, of stuff and per class.

    Args:
        ids: the classes' ids, which become the keys of `per_class` and `counts`.
        isthing: whether each class is a thing.

    Returns:
        `All`, `Things`, `Stuff`: {pq, sq, rq, n}, means over the n classes that occur, None when none does;
        `per_class`: id → {pq, sq, rq}, zeros for a class that occurs nowhere; `counts`: id → {tp, fp, fn, iou}.
    """
    occurs = counts.tp + counts.fp + counts.fn > 0
    whole = np.where(occurs, counts.tp + 0.5 * counts.fp + 0.5 * counts.fn, 1)
    per_class = {
        "pq": counts.iou / whole,
        "sq": counts.iou / np.maximum(counts.tp, 1),
        "rq": counts.tp / whole,
    }
    things = np.asarray(isthing, bool)
    groups = {"All": occurs, "Things": occurs & things, "Stuff": occurs & ~things}
    columns = {"tp": counts.tp, "fp": counts.fp, "fn": counts.fn, "iou": counts.iou}
    return {
        **{name: _averages(per_class, which) for name, which in groups.items()},
        "per_class": _rows(per_class, ids),
        "counts": _rows(columns, ids),
    }


def _averages(per_class: Mapping[str, FloatArray], which: npt.NDArray[np.bool_]) -> dict[str, Any]:
    n = int(which.sum())
    return {**{name: float(values[which].mean()) if n else None for name, values in per_class.items()}, "n": n}


def _rows(columns: Mapping[str, npt.NDArray[Any]], ids: Sequence[int]) -> dict[str, dict[str, Any]]:
    return {
        str(category): {name: values[index].item() for name, values in columns.items()}
        for index, category in enumerate(ids)
    }


def _intersections(truth: Segments, prediction: Segments) -> IntArray:
    """(T + 2, P + 1) int64 pixels: rows void, ground-truth segments, unknown ids; columns void, predicted segments."""
    start, length = constant_runs(truth.map, prediction.map)
    row = _positions(truth.map.ravel()[start], truth.id)
    column = _positions(prediction.map.ravel()[start], prediction.id)
    rows, columns = len(truth.id) + 2, len(prediction.id) + 2
    table = np.bincount(row * columns + column, length, rows * columns).reshape(rows, columns)
    return table[:, :-1].astype(np.int64)


def _positions(values: npt.NDArray[Any], ids: IntArray) -> IntArray:
    """0 for void, 1 + i for `ids[i]`, 1 + N for any other id."""
    order = np.argsort(ids)
    ascending = np.concatenate((ids[order], [np.iinfo(np.int64).max]))
    nearest = np.searchsorted(ascending, values.astype(np.int64))
    positions = np.where(ascending[nearest] == values, np.append(order, 0)[nearest] + 1, len(ids) + 1)
    return np.where(values == VOID, 0, positions)
