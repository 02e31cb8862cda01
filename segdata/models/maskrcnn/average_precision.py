"""COCO's average precision of Mask R-CNN's predictions, as validation logs it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from segdata.core.predictions import GroundTruth, Predictions
from segdata.core.sample import Sample
from segdata.metrics.coco import metrics as coco
from segdata.models.contract import Prediction
from segdata.models.maskrcnn.augment import label_of_category
from segdata.pack.read import Pack


def average_precision(pack: Pack, predictions: Mapping[int, Prediction]) -> dict[str, float]:
    """COCO's AP, AP50, AP75 of masks and AP of boxes (`segdata.evaluate`), in 0..1; nothing where there is no object.

    `category_AP/NAME` is the mask AP of one category.

    Args:
        predictions: instances of the images that count, by their indices in the pack.
    """
    indices, label = list(predictions), label_of_category(pack.labels)

    def objects(position: int) -> Sample:
        sample = pack[indices[position]]
        counts = (label[sample.instances.category] > 0) & sample.instances.has_mask
        return sample.with_annotations(instances=sample.instances.take(counts), semantic=None, extra={})

    def detected(position: int) -> Sample:
        return predictions[indices[position]].on(pack[indices[position]])

    def images() -> npt.NDArray[np.int64]:
        return np.array([(index, pack[index].height, pack[index].width) for index in indices], np.int64)

    keys = [pack[index].key for index in indices]
    truth = GroundTruth(
        pack.path,
        format="pack",
        made_from="pack",
        labels=pack.labels,
        splits={},
        keys=keys,
        get=objects,
        find_images=images,
    )
    scored = Predictions(pack.path, "pack", frozenset({"boxes", "masks", "scores"}), detected)
    masks, boxes = coco.segm(scored, truth).numbers, coco.bbox(scored, truth).numbers
    numbers = {name: masks[name] for name in ("AP", "AP50", "AP75")} | {"box_AP": boxes["AP"]}
    for category in pack.labels.categories:
        numbers[f"category_AP/{category.name}"] = masks["per_category_AP"][str(category.id)]
    return {name: value for name, value in numbers.items() if value is not None}
