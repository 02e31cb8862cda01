"""Detections on a validation split during training: COCO's average precision, and pictures beside the truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import distributed

from segdata.core.labels import LabelSpace
from segdata.core.predictions import GroundTruth, Predictions
from segdata.core.sample import Instances, Sample
from segdata.metrics.coco import metrics as coco
from segdata.models.maskrcnn.augment import label_of_category
from segdata.models.maskrcnn.config import Config
from segdata.pack.read import Pack
from segdata.training.distributed import World
from segdata.training.predict import Model
from segdata.viz import overlay as draw

_SEAM = 8
"""White pixels between truth and detections."""

Found = dict[int, Instances]


def detections(model: Model, pack: Pack, config: Config, world: World, is_stopped: Callable[[], bool]) -> Found | None:
    """Instances by place in the pack; every process detects its share, and all get all.

    Args:
        is_stopped: asked between batches; one process alone then gives up, and there is nothing.
    """
    count = min(len(pack), config.validation_images or len(pack))
    own = range(world.rank, count, world.size)
    found: Found = {}
    for begin in range(0, len(own), config.batch_size):
        if world.size == 1 and is_stopped():
            return None
        members = own[begin : begin + config.batch_size]
        for index, instances in zip(members, model([pack[i].image for i in members]), strict=True):
            found[index] = instances
    if world.size > 1:
        shares: list[Any] = [None] * world.size
        distributed.all_gather_object(shares, found)
        found = {index: instances for share in shares for index, instances in share.items()}
    return dict(sorted(found.items()))


def average_precision(pack: Pack, found: Found) -> dict[str, float]:
    """COCO's AP, AP50, AP75 of masks and AP of boxes (`segdata.evaluate`), in 0..1; nothing where there is no object.

    `category_AP/NAME` is the mask AP of one category.

    Args:
        found: instances of the images that count, by place in the pack.
    """
    places, label = list(found), label_of_category(pack.labels)

    def objects(place: int) -> Sample:
        sample = pack[places[place]]
        counts = (label[sample.instances.category] > 0) & sample.instances.has_mask
        return sample.with_annotations(instances=sample.instances.take(counts), semantic=None, extra={})

    def detected(place: int) -> Sample:
        sample = pack[places[place]]
        return sample.with_annotations(instances=found[places[place]], semantic=None, extra={})

    def images() -> npt.NDArray[np.int64]:
        return np.array([(place, pack[place].height, pack[place].width) for place in places], np.int64)

    keys = [pack[place].key for place in places]
    truth = GroundTruth(pack.path, "pack", "pack", pack.labels, {}, keys, objects, images)
    predictions = Predictions(pack.path, "pack", frozenset({"boxes", "masks", "scores"}), detected)
    masks, boxes = coco.segm(predictions, truth).numbers, coco.bbox(predictions, truth).numbers
    numbers = {name: masks[name] for name in ("AP", "AP50", "AP75")} | {"box_AP": boxes["AP"]}
    for category in pack.labels.categories:
        numbers[f"category_AP/{category.name}"] = masks["per_category_AP"][str(category.id)]
    return {name: value for name, value in numbers.items() if value is not None}


def beside_truth(sample: Sample, instances: Instances, labels: LabelSpace, *, least: float) -> npt.NDArray[np.uint8]:
    """A picture of the truth (left) and of detections with a score from `least` on (right), (H, W, 3) uint8 RGB."""
    image = sample.image
    seen = sample.with_annotations(instances=instances.take(instances.score >= least), semantic=None, extra={})
    pictures = [
        draw.overlay(one, labels, legend=False, title=False, semantic=False, image=image) for one in (sample, seen)
    ]
    seam = np.full((len(pictures[0]), _SEAM, 3), 255, np.uint8)
    return np.concatenate((pictures[0], seam, pictures[1]), axis=1)
