"""COCO's greedy matching of detections to objects, over columns of many images at once.

In every group (the detections and objects of one image and one category) detections are taken by falling score, and
each takes the free object with the largest overlap, objects that count before those that are ignored; of equal overlaps
the last. The same is done under every overlap threshold and every range of sizes (`COCOeval.evaluateImg` of the COCO
API). Only pairs that overlap by the smallest threshold matter, and there are few: they are the *edges* here, and the
n-th detection with edges of every group is matched in round n.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segdata.core.rle import ranges

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Edges:
    """Pairs of a detection and an object that may match: E of them.

    Attributes:
        found, truth: (E,) int64, indices of the detection and the object.
        overlap: (E,) float64, intersection over union.
    """

    found: IntArray
    truth: IntArray
    overlap: FloatArray


def pairs(found_group: IntArray, truth_group: IntArray) -> tuple[IntArray, IntArray]:
    """Every detection with every object of its group: (P,) indices of both; `truth_group` must be ascending."""
    begin = np.searchsorted(truth_group, found_group, side="left")
    counts = np.searchsorted(truth_group, found_group, side="right") - begin
    return np.repeat(np.arange(len(found_group)), counts), ranges(begin, counts)


def match(edges: Edges, group: IntArray, ignored: BoolArray, iscrowd: BoolArray, thresholds: FloatArray) -> IntArray:
    """The object that each detection takes.

    Args:
        edges: of detections that are sorted by group and falling score.
        group: (D,) int64, ascending, the group of each detection.
        ignored: (A, G) bool, objects that do not count in each range of sizes.
        iscrowd: (G,) bool, objects that several detections may take.
        thresholds: (T,) float64, smallest overlap of a match.

    Returns:
        (A, T, D) int64, index of the object, −1 for none.
    """
    settings = (len(ignored), len(thresholds))
    taken = np.full((*settings, len(group)), -1, np.int64)
    if not len(edges.found):
        return taken
    # By detection, then rising overlap, then the object's place: the last that is free is the one to take.
    order = np.lexsort((edges.truth, edges.overlap, edges.found))
    found, truth, overlap = edges.found[order], edges.truth[order], edges.overlap[order]
    first = np.flatnonzero(np.diff(found, prepend=-1))
    counts = np.diff(np.append(first, len(found)))
    detection = found[first]
    its_group = group[detection]
    begins = np.flatnonzero(np.diff(its_group, prepend=-1))
    rounds = np.arange(len(first)) - np.repeat(begins, np.diff(np.append(begins, len(first))))
    by_round = np.argsort(rounds, kind="stable")
    limits = np.searchsorted(rounds[by_round], np.arange(int(rounds.max()) + 2))
    is_free = np.ones((*settings, ignored.shape[1]), bool)
    is_high = overlap >= thresholds[:, None]
    bonus = len(found) + 1
    for begin, end in zip(limits[:-1].tolist(), limits[1:].tolist(), strict=True):
        segments = by_round[begin:end]
        lengths = counts[segments]
        edge = ranges(first[segments], lengths)
        object_ = truth[edge]
        priority = np.where(ignored[:, object_], 1, 1 + bonus)[:, None] + edge
        priority = np.where(is_high[:, edge] & is_free[:, :, object_], priority, 0)
        best = np.maximum.reduceat(priority, np.concatenate(([0], np.cumsum(lengths)[:-1])), axis=2)
        is_match = best > 0
        taker = truth[np.where(is_match, (best - 1) % bonus, 0)]
        taken[:, :, detection[segments]] = np.where(is_match, taker, -1)
        size, threshold, _ = np.nonzero(is_match)
        is_free[size, threshold, taker[is_match]] = iscrowd[taker[is_match]]
    return taken
