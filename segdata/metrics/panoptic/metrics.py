"""Segments against segments: the metrics `panoptic` and `cityscapes-instance`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segdata.core.labels import LabelSpace
from segdata.core.predictions import GroundTruth, Predictions
from segdata.core.sample import Instances, Sample
from segdata.errors import CannotRepresent, InvalidAnnotation, InvalidInput
from segdata.metrics.cityscapes import instance as cityscapes_instance
from segdata.metrics.cityscapes.classes import instance_numbers
from segdata.metrics.panoptic import quality as panoptic
from segdata.metrics.panoptic.quality import Segments
from segdata.metrics.result import Result
from segdata.metrics.semantic import label_maps as maps
from segdata.metrics.semantic.metrics import cityscapes_classes


@dataclass(frozen=True, eq=False)
class Details:
    """What the report draws: of every image its quality, PQ over all classes taken as one, NaN where nothing is."""

    keys: tuple[str, ...]
    quality: npt.NDArray[np.float64]


def panoptic_quality(predictions: Predictions, truth: GroundTruth) -> Result:
    """PQ, SQ and RQ, equal to panopticapi's; categories that are ignored are void.

    Raises:
        CannotRepresent: segments of one image overlap.
    """
    labels = truth.labels
    total = panoptic.nothing(len(labels))
    missing: list[str] = []
    keys, quality = [], []
    as_said = truth.made_from == "coco-panoptic"
    for place in truth.walk():
        known = truth.get(place)
        if not (known.has_instances or known.has_semantic):
            predictions.findings.remark("image without annotations in the truth: left out", known.key)
            continue
        predicted = predictions.get(place)
        if predicted is None:
            missing.append(known.key)
            continue
        size = (known.height, known.width)
        maps.require_size(predictions, known.key, (predicted.height, predicted.width), size, predicted.file)
        own = panoptic.count(
            segments(known, labels, is_truth=True, as_said=as_said), segments(predicted, labels), len(labels)
        )
        total += own
        keys.append(known.key)
        whole = own.tp.sum() + (own.fp.sum() + own.fn.sum()) / 2
        quality.append(float(own.iou.sum() / whole) if whole else np.nan)
    maps.refuse_missing(missing, len(truth), predictions)
    counted = [index for index, category in enumerate(labels.categories) if not category.ignore]
    total = panoptic.Counts(total.tp[counted], total.fp[counted], total.fn[counted], total.iou[counted])
    if not (total.tp + total.fp + total.fn).any():
        predictions.findings.remark("no segments on either side: nothing is defined", str(predictions.path))
    numbers = panoptic.scores(
        total, [labels[index].id for index in counted], [bool(labels[index].isthing) for index in counted]
    )
    return Result(numbers, Details(tuple(keys), np.array(quality)))


def segments(sample: Sample, labels: LabelSpace, *, is_truth: bool = False, as_said: bool = False) -> Segments:
    """A sample as one panoptic map: its objects, and of every category that the label map adds one segment more.

    Pixels of things without an object become a crowd in the truth, as Cityscapes' groups are.

    Args:
        as_said: take areas from the annotations; they are counted otherwise.

    Raises:
        CannotRepresent: objects overlap.
    """
    ignored = np.array([*(category.ignore for category in labels.categories)], bool)
    instances: Instances = sample.instances
    instances = instances.take(instances.has_mask & ~ignored[instances.category])
    numbers = np.arange(1, len(instances) + 1)
    canvas = np.zeros((sample.height, sample.width), np.uint32)
    instances.masks.paint(numbers, canvas, np.arange(len(instances)))
    areas = instances.masks.areas
    if not np.array_equal(np.bincount(canvas.ravel(), minlength=len(instances) + 1)[1:], areas):
        raise CannotRepresent(
            f"segments of the {'truth' if is_truth else 'predictions'} overlap",
            key=sample.key,
            why="a panoptic map has one segment a pixel",
            fix="settle the overlaps first: segdata convert SOURCE OUT --to coco-panoptic --allow-loss",
        )
    area = np.where(np.isnan(instances.area), areas, instances.area).astype(np.int64) if as_said else areas
    category, crowd = instances.category, instances.iscrowd
    if sample.semantic is not None:
        rest = np.where(canvas == 0, sample.semantic, labels.void)
        pixels = np.bincount(rest.ravel(), minlength=labels.void + 1)[: len(labels)]
        added = np.flatnonzero((pixels > 0) & ~ignored)
        to_number = np.zeros(labels.void + 1, np.uint32)
        to_number[added] = len(instances) + 1 + np.arange(len(added))
        canvas += to_number[rest]
        numbers = np.arange(1, len(instances) + len(added) + 1)
        category = np.concatenate((category, added))
        isthing = np.array([bool(labels[index].isthing) for index in added.tolist()], bool)
        crowd = np.concatenate((crowd, isthing & is_truth))
        area = np.concatenate((area, pixels[added]))
    return Segments(canvas, numbers, category, crowd, area)


def cityscapes_instance_level(predictions: Predictions, truth: GroundTruth) -> Result:
    """Cityscapes' instance-level evaluation, for a truth in its label space or a view of it."""
    maps.require(predictions, "masks", "cityscapes-instance")
    city, classes, table = cityscapes_classes(truth, "cityscapes-instance")
    counts = np.zeros(city.void + 1, bool)
    counts[: len(classes)] = classes.evaluated & classes.isthing
    parts = []
    missing: list[str] = []
    keys: list[str] = []
    for place in truth.walk():
        key = truth.keys[place]
        numbers = instance_numbers(truth, place, table, city)
        if numbers is None:
            predictions.findings.remark("image without objects annotated in the truth: left out", key)
            continue
        keys.append(key)
        found = predictions.regions(place)
        if found is None:
            missing.append(key)
            continue
        maps.require_size(predictions, key, (found.height, found.width), numbers.shape)
        if np.isnan(found.score).any():
            raise InvalidAnnotation(
                "predictions without a score",
                file=predictions.path,
                key=key,
                why=f"{int(np.isnan(found.score).sum())} of {len(found.score)} have none (NaN)",
                fix="give every prediction a score",
            )
        category = table[found.category].astype(np.int64)
        passed_over = int((~counts[category]).sum())
        if passed_over:
            kind = "predictions of categories that are not evaluated: passed over"
            predictions.findings.remark(kind, key, passed_over)
        parts.append(cityscapes_instance.match(numbers, category, found.score, found.crops, classes))
    if not keys:
        raise InvalidInput("the truth has no objects annotated", file=truth.path)
    maps.refuse_missing(missing, len(keys), predictions)
    matches = cityscapes_instance.joined(parts)
    return Result(cityscapes_instance.scores(matches, classes), None)
