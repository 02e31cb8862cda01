"""Cityscapes' two evaluations over a dataset: `cityscapes-pixel` and `cityscapes-instance`."""

from __future__ import annotations

import numpy as np

from segdata.core.labels import look_up
from segdata.core.predictions import GroundTruth, Predictions, Regions
from segdata.errors import InvalidAnnotation, InvalidInput
from segdata.metrics.checks import require_all, require_holding, require_size
from segdata.metrics.cityscapes import instance, pixel
from segdata.metrics.cityscapes.classes import classes_of, instance_ids
from segdata.metrics.result import Result
from segdata.metrics.semantic import label_maps
from segdata.metrics.semantic.confusion import pixel_accuracy, without_ignored
from segdata.metrics.semantic.metrics import PixelDetails


def pixel_level(predictions: Predictions, truth: GroundTruth) -> Result:
    """IoU and iIoU per class and per group, for ground truth in Cityscapes' label space or a view of it."""
    require_holding(predictions, "semantic", "cityscapes-pixel")
    labels, classes, table = classes_of(truth, "cityscapes-pixel")
    total = pixel.nothing(classes)
    keys, accuracy = [], []
    for index, label_map, predicted in label_maps.pairs(predictions, truth):
        ids = instance_ids(truth, index, table, labels)
        if ids is None:
            ids = np.zeros(label_map.shape, np.uint16)
        if ids.shape != label_map.shape:
            truth.get(index)  # says which file is of another size
        of_image = pixel.count(look_up(table, label_map), ids, look_up(table, predicted), classes)
        total += of_image
        keys.append(truth.keys[index])
        accuracy.append(pixel_accuracy(of_image.confusion, np.flatnonzero(classes.evaluated)))
    full = np.zeros((len(labels), len(labels) + 1), np.int64)
    full[: len(classes), : len(classes)] = total.confusion[:, :-1]
    label_maps.refuse_misread(full, labels, predictions)
    evaluated = without_ignored(full, labels)
    evaluated[:, -1] += total.confusion[classes.evaluated, -1]
    label_maps.remark_undefined(evaluated, predictions)
    names = tuple(np.array(classes.names)[classes.evaluated].tolist())
    return Result(pixel.scores(total, classes), PixelDetails(names, evaluated, tuple(keys), np.array(accuracy)))


def instance_level(predictions: Predictions, truth: GroundTruth) -> Result:
    """AP and AP50 per class, for ground truth in Cityscapes' label space or a view of it."""
    require_holding(predictions, "masks", "cityscapes-instance")
    labels, classes, table = classes_of(truth, "cityscapes-instance")
    counts = np.zeros(labels.void + 1, bool)
    counts[: len(classes)] = classes.evaluated & classes.isthing
    parts = []
    missing: list[str] = []
    compared = 0
    for index in truth.walk():
        key = truth.keys[index]
        ids = instance_ids(truth, index, table, labels)
        if ids is None:
            predictions.findings.remark("image without objects annotated in the ground truth: left out", key)
            continue
        compared += 1
        regions = predictions.regions(index)
        if regions is None:
            missing.append(key)
            continue
        require_size(predictions, key, (regions.height, regions.width), ids.shape)
        _require_scores(predictions, regions, key)
        category = table[regions.category].astype(np.int64)
        not_evaluated = int((~counts[category]).sum())
        if not_evaluated:
            kind = "predictions of categories that are not evaluated: passed over"
            predictions.findings.remark(kind, key, not_evaluated)
        parts.append(instance.match(ids, category, regions.score, regions.crops, classes))
    if not compared:
        raise InvalidInput("the ground truth has no objects annotated", file=truth.path)
    require_all(missing, compared, predictions)
    return Result(instance.scores(instance.joined(parts), classes), None)


def _require_scores(predictions: Predictions, regions: Regions, key: str) -> None:
    without_score = np.isnan(regions.score)
    if without_score.any():
        raise InvalidAnnotation(
            "predictions without a score",
            file=predictions.path,
            key=key,
            why=f"{int(without_score.sum())} of {len(without_score)} have none (NaN)",
            fix="give every prediction a score",
        )
