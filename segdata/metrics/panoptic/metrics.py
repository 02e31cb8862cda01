"""The metric `panoptic`: PQ over a dataset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segdata.core.labels import LabelSpace
from segdata.core.predictions import GroundTruth, Predictions
from segdata.core.sample import Instances, Sample
from segdata.errors import CannotRepresent
from segdata.metrics.checks import require_all, require_size
from segdata.metrics.panoptic import quality
from segdata.metrics.panoptic.quality import Counts, Segments
from segdata.metrics.result import Result


@dataclass(frozen=True, eq=False)
class PanopticDetails:
    """What the report draws of `panoptic`.

    Attributes:
        keys: of the images.
        quality: (N,) float64, PQ of each image over all classes taken as one, NaN where nothing is.
    """

    keys: tuple[str, ...]
    quality: npt.NDArray[np.float64]


def panoptic_quality(predictions: Predictions, truth: GroundTruth) -> Result:
    """PQ, SQ and RQ, equal to panopticapi's; categories that are ignored are void.

    Raises:
        CannotRepresent: segments of one image overlap.
    """
    labels = truth.labels
    total = quality.nothing(len(labels))
    missing: list[str] = []
    keys, of_images = [], []
    use_annotated_areas = truth.made_from == "coco-panoptic"
    for index in truth.walk():
        sample = truth.get(index)
        if not (sample.has_instances or sample.has_semantic):
            predictions.findings.remark("image without annotations in the ground truth: left out", sample.key)
            continue
        predicted = predictions.get(index)
        if predicted is None:
            missing.append(sample.key)
            continue
        size = (sample.height, sample.width)
        require_size(predictions, sample.key, (predicted.height, predicted.width), size, predicted.file)
        true_segments = segments(sample, labels, is_truth=True, use_annotated_areas=use_annotated_areas)
        counts = quality.count(true_segments, segments(predicted, labels), len(labels))
        total += counts
        keys.append(sample.key)
        whole = counts.tp.sum() + (counts.fp.sum() + counts.fn.sum()) / 2
        of_images.append(float(counts.iou.sum() / whole) if whole else np.nan)
    require_all(missing, len(truth), predictions)
    counted = [index for index, category in enumerate(labels.categories) if not category.ignore]
    total = Counts(total.tp[counted], total.fp[counted], total.fn[counted], total.iou[counted])
    if not (total.tp + total.fp + total.fn).any():
        predictions.findings.remark("no segments on either side: nothing is defined", str(predictions.path))
    numbers = quality.scores(
        total, [labels[index].id for index in counted], [bool(labels[index].isthing) for index in counted]
    )
    return Result(numbers, PanopticDetails(tuple(keys), np.array(of_images)))


def segments(
    sample: Sample, labels: LabelSpace, *, is_truth: bool = False, use_annotated_areas: bool = False
) -> Segments:
    """A sample as one panoptic map: its objects, and one more segment for every category that its label map adds.

    Pixels of things without an object become a crowd in the ground truth, as Cityscapes' groups are.

    Args:
        use_annotated_areas: take areas from the annotations; they are counted otherwise.

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
    area = areas
    if use_annotated_areas:
        area = np.where(np.isnan(instances.area), areas, instances.area).astype(np.int64)
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
