"""COCO's greedy matching of detections to objects, over arrays of many images at once.

In every group (the detections and objects of one image and one category) detections are taken by falling score, and
each takes the free object of the highest IoU, objects that count before those that are ignored; of equal IoUs the last.
The same is done under every IoU threshold and every range of sizes (`COCOeval.evaluateImg` of the COCO API). Only pairs
that reach the smallest threshold matter, and there are few: they are the *candidates* here, and the n-th detection with
candidates of every group is matched in round n.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segdata.core.arrays import BoolArray, FloatArray, IntArray
from segdata.core.rle import ranges

Pairs = tuple[IntArray, IntArray]
"""P pairs: (P,) int64 index of the detection, (P,) int64 index of the object."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Pairs of a detection and an object that may match: C of them.

    Attributes:
        detection, truth: (C,) int64, indices of the detection and of the object.
        iou: (C,) float64, 0..1.
    """

    detection: IntArray
    truth: IntArray
    iou: FloatArray


def pairs_of_groups(group: IntArray, truth_group: IntArray) -> Pairs:
    """Every detection with every object of its group; `truth_group` must be ascending."""
    begin = np.searchsorted(truth_group, group, side="left")
    counts = np.searchsorted(truth_group, group, side="right") - begin
    return np.repeat(np.arange(len(group)), counts), ranges(begin, counts)


def match(
    candidates: Candidates, group: IntArray, ignored: BoolArray, iscrowd: BoolArray, thresholds: FloatArray
) -> IntArray:
    """The object that each detection takes.

    Args:
        candidates: of detections that are sorted by group and falling score.
        group: (D,) int64, ascending, the group of each detection.
        ignored: (A, T) bool, objects that do not count in each range of sizes.
        iscrowd: (T,) bool, objects that several detections may take.
        thresholds: (U,) float64, smallest IoU of a match.

    Returns:
        (A, U, D) int64, index of the object, −1 for none.
    """
    settings = (len(ignored), len(thresholds))
    taken = np.full((*settings, len(group)), -1, np.int64)
    if not len(candidates.detection):
        return taken
    # By detection, then rising IoU, then the object's index: the last that is free is the one to take.
    order = np.lexsort((candidates.truth, candidates.iou, candidates.detection))
    owner, truth, iou = candidates.detection[order], candidates.truth[order], candidates.iou[order]
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    counts = np.diff(np.append(first, len(owner)))
    detection = owner[first]
    begins = np.flatnonzero(np.diff(group[detection], prepend=-1))
    rounds = np.arange(len(first)) - np.repeat(begins, np.diff(np.append(begins, len(first))))
    by_round = np.argsort(rounds, kind="stable")
    limits = np.searchsorted(rounds[by_round], np.arange(int(rounds.max()) + 2))
    is_free = np.ones((*settings, ignored.shape[1]), bool)
    is_high = iou >= thresholds[:, None]
    bonus = len(owner) + 1
    for begin, end in zip(limits[:-1].tolist(), limits[1:].tolist(), strict=True):
        of_round = by_round[begin:end]
        lengths = counts[of_round]
        candidate = ranges(first[of_round], lengths)
        objects = truth[candidate]
        priority = np.where(ignored[:, objects], 1, 1 + bonus)[:, None] + candidate
        priority = np.where(is_high[:, candidate] & is_free[:, :, objects], priority, 0)
        best = np.maximum.reduceat(priority, np.concatenate(([0], np.cumsum(lengths)[:-1])), axis=2)
        is_match = best > 0
        match_ = truth[np.where(is_match, (best - 1) % bonus, 0)]
        taken[:, :, detection[of_round]] = np.where(is_match, match_, -1)
        size, threshold, _ = np.nonzero(is_match)
        is_free[size, threshold, match_[is_match]] = iscrowd[match_[is_match]]
    return taken
