"""Label maps against label maps: the metrics `semantic`, `voc-segmentation` and `cityscapes-pixel`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segdata.catalog import manifest
from segdata.core.labels import LabelSpace, look_up
from segdata.core.predictions import GroundTruth, Predictions
from segdata.errors import InvalidAnnotation, LabelMismatch
from segdata.metrics.cityscapes import pixel as cityscapes_pixel
from segdata.metrics.cityscapes.classes import Classes, instance_numbers
from segdata.metrics.result import Result
from segdata.metrics.semantic import label_maps as maps
from segdata.metrics.semantic.confusion import Confusion, count, scores


@dataclass(frozen=True, eq=False)
class Details:
    """What the report draws of a pixel metric.

    Attributes:
        names: of the C classes that count.
        confusion: (C, C + 1) pixels, the last column no class.
        keys: of the images.
        accuracy: (N,) share of right pixels in each image, NaN where all is void.
    """

    names: tuple[str, ...]
    confusion: Confusion
    keys: tuple[str, ...]
    accuracy: npt.NDArray[np.float64]


def semantic(predictions: Predictions, truth: GroundTruth) -> Result:
    """IoU, accuracies and confusion over all categories that are not ignored (`Category.ignore` is void)."""
    return _semantic(predictions, truth, "semantic")


def voc_segmentation(predictions: Predictions, truth: GroundTruth) -> Result:
    """The same by VOC's rule: every pixel of a result has a class, background among them.

    Raises:
        InvalidAnnotation: predictions hold void (255), which VOC's evaluation refuses.
    """
    result = _semantic(predictions, truth, "voc-segmentation")
    without = sum(result.numbers["unpredicted"])
    if without:
        raise InvalidAnnotation(
            "VOC segmentation results hold pixels without a class",
            file=predictions.path,
            why=f"{without:,} pixels; VOC's evaluation takes 0 (background) to {len(truth.labels) - 1} alone, no 255",
            fix="write 0 for background, or use --metric semantic, which counts them as wrong",
        )
    return result


def _semantic(predictions: Predictions, truth: GroundTruth, metric: str) -> Result:
    maps.require(predictions, "semantic", metric)
    labels = truth.labels
    total = np.zeros((len(labels), len(labels) + 1), np.int64)
    rows = np.flatnonzero([not category.ignore for category in labels.categories])
    keys, accuracy = [], []
    for place, known, predicted in maps.pairs(predictions, truth):
        own = count(known, predicted, len(labels))
        total += own
        keys.append(truth.keys[place])
        accuracy.append(_accuracy(own, rows))
    maps.refuse_misread(total, labels, predictions)
    confusion = evaluated(total, labels)
    names = tuple(category.name for category in labels.categories if not category.ignore)
    _note(confusion, predictions)
    return Result(scores(confusion, names), Details(names, confusion, tuple(keys), np.array(accuracy)))


def cityscapes_pixel_level(predictions: Predictions, truth: GroundTruth) -> Result:
    """Cityscapes' pixel-level evaluation, for a truth in its label space or a view of it."""
    maps.require(predictions, "semantic", "cityscapes-pixel")
    city, classes, table = cityscapes_classes(truth, "cityscapes-pixel")
    total = cityscapes_pixel.nothing(classes)
    keys, accuracy = [], []
    for place, known, predicted in maps.pairs(predictions, truth):
        numbers = instance_numbers(truth, place, table, city)
        if numbers is None:
            numbers = np.zeros(known.shape, np.uint16)
        if numbers.shape != known.shape:
            truth.get(place)  # says which file is of another size
        own = cityscapes_pixel.count(look_up(table, known), numbers, look_up(table, predicted), classes)
        total += own
        keys.append(truth.keys[place])
        accuracy.append(_accuracy(own.confusion, np.flatnonzero(classes.evaluated)))
    full = np.zeros((len(city), len(city) + 1), np.int64)
    full[: len(classes), : len(classes)] = total.confusion[:, :-1]
    maps.refuse_misread(full, city, predictions)
    counted = evaluated(full, city)
    counted[:, -1] += total.confusion[classes.evaluated, -1]
    _note(counted, predictions)
    names = tuple(np.array(classes.names)[classes.evaluated].tolist())
    return Result(cityscapes_pixel.scores(total, classes), Details(names, counted, tuple(keys), np.array(accuracy)))


def cityscapes_classes(truth: GroundTruth, metric: str) -> tuple[LabelSpace, Classes, npt.NDArray[np.uint8]]:
    """Cityscapes' label space, its classes, and the table from the truth's indices to the space's (255 for nothing).

    Raises:
        LabelMismatch: the truth has categories that Cityscapes does not have.
    """
    city = manifest.shipped("cityscapes")
    table = np.arange(256, dtype=np.uint8)
    for index, category in enumerate(truth.labels.categories):
        if category.name not in city.labels.index_of_name:
            raise LabelMismatch(
                f"{metric} is defined over Cityscapes' categories alone",
                file=truth.path,
                why=f"the truth ({truth.labels.name!r}) has {category.name!r}",
                fix="map the truth with --labels cityscapes, or name another metric",
            )
        table[index] = city.labels.index_of_name[category.name]
    return city.labels, Classes.of(city.labels, city.average_sizes), table


def evaluated(confusion: Confusion, labels: LabelSpace) -> Confusion:
    """The matrix of the categories that are not ignored; what was predicted as an ignored one is no class."""
    counts = np.array([not category.ignore for category in labels.categories], bool)
    rows = confusion[counts]
    return np.column_stack((rows[:, :-1][:, counts], rows[:, :-1][:, ~counts].sum(1) + rows[:, -1]))


def _accuracy(confusion: Confusion, rows: npt.NDArray[np.int64]) -> float:
    total = confusion[rows].sum()
    return float(confusion[rows, rows].sum() / total) if total else np.nan


def _note(confusion: Confusion, predictions: Predictions) -> None:
    """Tell what decides a number without being seen in it."""
    findings = predictions.findings
    without = int(confusion[:, -1].sum())
    if without:
        findings.remark("pixels without a predicted class: counted as wrong", str(predictions.path), without)
    if not confusion.sum():
        findings.remark("all of the truth is void: nothing is defined", str(predictions.path))
