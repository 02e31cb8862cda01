"""COCO's detection metrics: AP and AR of boxes, masks and boundaries, and AR without classes.

Precision is interpolated at 101 recalls and averaged over IoU thresholds 0.50:0.05:0.95, categories and images as in Lin et
al. 2014 (Microsoft COCO), by the rules of the COCO API: objects that are crowds or outside a range of sizes are ignored,
and so is a detection that is matched to one, or that matches nothing and is itself outside. The numbers are those of
pycocotools' `COCOeval`, also where it surprises: of equal scores the image with the lower id comes first, and a match
with annotation id 0 counts as none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from segdata.core.predictions import GroundTruth, Holding, Predictions
from segdata.errors import InvalidInput
from segdata.metrics.coco import iou
from segdata.metrics.coco.blocks import blocks
from segdata.metrics.coco.curves import THRESHOLDS, Accumulator, Curves
from segdata.metrics.coco.input_checks import InputChecks
from segdata.metrics.coco.iou import FindCandidates
from segdata.metrics.result import Result, mean

AR_LIMITS = (1, 10, 100, 1000)
"""Most detections of an image that count in the proposal protocol of DeepMask (Pinheiro et al. 2015)."""

LIMITS = (1, 10, 100)
"""Most detections of an image and category that count in COCO's; AP is that of the last."""


def bbox(predictions: Predictions, truth: GroundTruth, limits: Sequence[int] = LIMITS) -> Result:
    """AP and AR of boxes; `limits` as pycocotools' `params.maxDets`, ascending."""
    return _summary(_curves(predictions, truth, iou.boxes, limits), truth, limits)


def segm(predictions: Predictions, truth: GroundTruth, limits: Sequence[int] = LIMITS) -> Result:
    """AP and AR of masks; `limits` as for `bbox`."""
    _require_masks(predictions, "coco-segm")
    return _summary(_curves(predictions, truth, iou.masks, limits), truth, limits)


def boundary(predictions: Predictions, truth: GroundTruth, limits: Sequence[int] = LIMITS) -> Result:
    """AP and AR of masks by the smaller of mask IoU and boundary IoU (Cheng et al. 2021); `limits` as for `bbox`."""
    _require_masks(predictions, "coco-boundary")
    return _summary(_curves(predictions, truth, iou.boundaries, limits), truth, limits)


def agnostic(predictions: Predictions, truth: GroundTruth, limits: Sequence[int] = AR_LIMITS) -> Result:
    """Class-agnostic AR at 1, 10, 100, 1000 (or other) detections per image."""
    kinds: list[tuple[str, Holding, FindCandidates]] = [("bbox", "boxes", iou.boxes), ("segm", "masks", iou.masks)]
    curves = {
        name: _curves(predictions, truth, find_candidates, limits, classes=False)
        for name, holding, find_candidates in kinds
        if holding in predictions.holds
    }
    numbers = {name: _recalls(curves_of_kind, limits) for name, curves_of_kind in curves.items()}
    return Result(numbers if len(numbers) > 1 else next(iter(numbers.values())), curves)


def _require_masks(predictions: Predictions, metric: str) -> None:
    if "masks" not in predictions.holds:
        raise InvalidInput(
            f"{metric} compares masks, and the predictions have none",
            file=predictions.path,
            why=f"they hold {', '.join(sorted(predictions.holds))}",
            fix="give predictions with a segmentation, or --metric coco-bbox",
        )


def _curves(
    predictions: Predictions,
    truth: GroundTruth,
    find_candidates: FindCandidates,
    limits: Sequence[int],
    *,
    classes: bool = True,
) -> Curves:
    ids = np.array([category.id for category in truth.labels.categories], np.int64)
    accumulator = Accumulator(ids, limits, find_candidates, classes=classes)
    checks = InputChecks(predictions, truth)
    for block in blocks(predictions, truth, masks=find_candidates is not iou.boxes):
        checks.add(block)
        accumulator.add(block)
    checks.finish()
    accumulator.cut.remark(predictions, truth)
    return accumulator.curves()


def _summary(curves: Curves, truth: GroundTruth, limits: Sequence[int]) -> Result:
    precision, recall = curves.precision, curves.recall
    small, medium, large = 1, 2, 3
    numbers: dict[str, Any] = {
        "AP": mean(precision[0]),
        "AP50": mean(precision[0, 0]),
        "AP75": mean(precision[0, 5]),
        "APs": mean(precision[small]),
        "APm": mean(precision[medium]),
        "APl": mean(precision[large]),
        **{f"AR{limit}": mean(recall[row, 0]) for row, limit in enumerate(limits)},
        "ARs": mean(recall[-1, small]),
        "ARm": mean(recall[-1, medium]),
        "ARl": mean(recall[-1, large]),
        "per_category_AP": {
            str(category.id): mean(precision[0, :, index]) for index, category in enumerate(truth.labels.categories)
        },
        "per_iou_AP": {
            f"{threshold:.2f}": mean(precision[0, index]) for index, threshold in enumerate(THRESHOLDS.tolist())
        },
    }
    return Result(numbers, curves)


def _recalls(curves: Curves, limits: Sequence[int]) -> dict[str, Any]:
    sizes = ("all", "small", "medium", "large")
    numbers: dict[str, Any] = {
        f"AR@{limit}/{name}": mean(curves.recall[row, size])
        for row, limit in enumerate(limits)
        for size, name in enumerate(sizes)
    }
    for size, name in enumerate(sizes):
        numbers[f"recall_by_iou@{limits[-1]}/{name}"] = [mean(values) for values in curves.recall[-1, size]]
    return numbers
