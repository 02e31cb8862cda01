"""Average precision of detections in one photo, as Matterport's own evaluation has it: VOC's, with masks.

For a dataset use `segdata.evaluate`; these figures serve to compare with runs of the original.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import FloatArray

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Precision:
    """Precision and recall of one photo.

    Attributes:
        average: area under the precision envelope.
        precisions, recalls: (D + 2,), an end on each side.
        overlaps: (D, G) of the detections, best first, with the objects.
    """

    average: float
    precisions: FloatArray
    recalls: FloatArray
    overlaps: FloatArray


def compute_overlaps_masks(masks: Array, others: Array) -> FloatArray:
    """(N, M) intersection over union of masks (H, W, N) and (H, W, M); 0 where both are empty."""
    first = masks.reshape(-1, masks.shape[-1]).astype(np.float64)
    second = others.reshape(-1, others.shape[-1]).astype(np.float64)
    both = first.T @ second
    either = first.sum(axis=0)[:, None] + second.sum(axis=0) - both
    overlaps: FloatArray = np.divide(both, either, out=np.zeros_like(both), where=either > 0)
    return overlaps


def compute_ap(
    truth: Array,
    truth_ids: Array,
    masks: Array,
    class_ids: Array,
    scores: Array,
    iou_threshold: float = 0.5,
) -> Precision:
    """Average precision of one photo.

    The best detections choose first: each takes, of the free objects of its class, the one that it overlaps most. Of
    equal scores and equal overlaps the last counts as the best, as the original's reversed sorting has it.

    Args:
        truth, masks: (H, W, G) and (H, W, D) bool.
        truth_ids, class_ids: (G,), (D,).
        scores: (D,).
    """
    order = np.argsort(scores, kind="stable")[::-1]
    overlaps = compute_overlaps_masks(masks[..., order], truth)
    is_right = np.zeros(len(order), bool)
    truth_ids = np.asarray(truth_ids)
    free = np.ones(len(truth_ids), bool)
    for row, class_id in enumerate(np.asarray(class_ids)[order].tolist()):
        near = np.flatnonzero(free & (truth_ids == class_id) & (overlaps[row] >= iou_threshold))[::-1]
        if len(near):
            is_right[row] = True
            free[near[np.argmax(overlaps[row, near])]] = False
    hits = np.cumsum(is_right)
    precisions = np.concatenate(([0.0], hits / np.arange(1, len(hits) + 1), [0.0]))
    recalls = np.concatenate(([0.0], hits / max(len(truth_ids), 1), [1.0]))
    precisions = np.maximum.accumulate(precisions[::-1])[::-1]
    average = float(np.sum(np.diff(recalls) * precisions[1:]))
    return Precision(average, precisions, recalls, overlaps)


def compute_ap_range(
    truth: Array,
    truth_ids: Array,
    masks: Array,
    class_ids: Array,
    scores: Array,
    iou_thresholds: Sequence[float] = tuple(np.arange(0.5, 1.0, 0.05).tolist()),
) -> float:
    """Mean average precision over several thresholds of overlap, by default 0.5, 0.55 … 0.95."""
    every = [compute_ap(truth, truth_ids, masks, class_ids, scores, limit).average for limit in iou_thresholds]
    return float(np.mean(every))
