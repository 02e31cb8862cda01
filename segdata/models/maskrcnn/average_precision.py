"""COCO's average precision of Mask R-CNN's predictions, as validation logs it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from segdata.core.predictions import GroundTruth, Predictions
from segdata.core.sample import Instances, Sample
from segdata.metrics.coco import metrics as coco
from segdata.models.contract import Prediction
from segdata.models.maskrcnn.augment import filled, label_of_category
from segdata.pack.read import Pack


def average_precision(
    pack: Pack, predictions: Mapping[int, Prediction], *, boxes_as_masks: bool = False
) -> dict[str, float | None]:
    """COCO's AP, AP50, AP75 of masks and AP of boxes (`segdata.evaluate`), in 0..1; None where there is no object.

    `category_AP/NAME` is the mask AP of one category that has objects. Objects without masks count for boxes alone.

    Args:
        predictions: instances of the images that count, by their indices in the pack.
        boxes_as_masks: objects that have a box and no mask count for masks, too, with their box filled.
    """
    indices, label = list(predictions), label_of_category(pack.labels)

    def objects(position: int) -> Sample:
        sample = pack[indices[position]]
        instances = sample.instances.take(label[sample.instances.category] > 0)
        return _with(sample, filled(instances) if boxes_as_masks else instances)

    def masked(position: int) -> Sample:
        sample = objects(position)
        return _with(sample, sample.instances.take(sample.instances.has_mask))

    def detected(position: int) -> Sample:
        return predictions[indices[position]].on(pack[indices[position]])

    def images() -> npt.NDArray[np.int64]:
        sizes = [(index, pack[index].height, pack[index].width) for index in indices]
        return np.array(sizes, np.int64).reshape(-1, 3)

    keys = [pack[index].key for index in indices]
    by_mask, by_box = (
        GroundTruth(
            pack.path,
            format="pack",
            made_from="pack",
            labels=pack.labels,
            splits={},
            keys=keys,
            get=get,
            find_images=images,
        )
        for get in (masked, objects)
    )
    scored = Predictions(pack.path, "pack", frozenset({"boxes", "masks", "scores"}), detected)
    masks, boxes = coco.segm(scored, by_mask).numbers, coco.bbox(scored, by_box).numbers
    numbers = {name: masks[name] for name in ("AP", "AP50", "AP75")} | {"box_AP": boxes["AP"]}
    for category in pack.labels.categories:
        value = masks["per_category_AP"][str(category.id)]
        numbers |= {} if value is None else {f"category_AP/{category.name}": value}
    return numbers


def _with(sample: Sample, instances: Instances) -> Sample:
    return sample.with_annotations(instances=instances, semantic=None, extra={})
