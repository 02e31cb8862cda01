"""Detections on a validation split during training: COCO's average precision, and pictures beside the truth."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import distributed

from segdata import draw
from segdata.labels import LabelSpace
from segdata.loading.loader import Samples
from segdata.masks import Masks
from segdata.sample import Instances, Sample
from segdata.train.config import Config
from segdata.train.distributed import World
from segdata.train.predict import Model
from segdata.train.views import categories_of, label_of_category

Found = dict[int, Instances]


def detections(
    model: Model, pack: Samples, config: Config, world: World, is_stopped: Callable[[], bool]
) -> Found | None:
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


def average_precision(pack: Samples, found: Found) -> dict[str, float]:
    """COCO's AP, AP50, AP75 of masks and AP of boxes by pycocotools, in 0..1; nothing where there is no object.

    `category_AP/NAME` is the mask AP of one category.

    Args:
        found: instances of the images that count, by place in the pack.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    places = list(found)
    numbers = {}
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = _document(pack.labels, [pack[place] for place in places], places)
        truth.createIndex()
        results = [row for place in places for row in _rows(found[place], place)]
        if not results:
            return {"AP": 0.0, "AP50": 0.0, "AP75": 0.0, "box_AP": 0.0} if truth.anns else {}
        predicted = truth.loadRes(results)
        for kind, names in (("segm", ("AP", "AP50", "AP75")), ("bbox", ("box_AP",))):
            judged = COCOeval(truth, predicted, kind)
            judged.evaluate()
            judged.accumulate()
            judged.summarize()
            numbers.update({name: float(judged.stats[place]) for place, name in enumerate(names)})
            if kind == "segm":
                numbers.update(_by_category(judged, pack.labels))
    return {name: value for name, value in numbers.items() if value >= 0}


def _by_category(judged: Any, labels: LabelSpace) -> dict[str, float]:
    """AP of each category from pycocotools' precisions (T, R, K, A, M): all sizes, at most 100 detections."""
    precision = judged.eval["precision"][:, :, :, 0, -1]
    means = {int(i): precision[:, :, place] for place, i in enumerate(judged.params.catIds)}
    return {
        f"category_AP/{labels[i].name.replace('/', '_')}": float(own[own > -1].mean())
        for i, own in means.items()
        if (own > -1).any()
    }


def _document(labels: LabelSpace, samples: Sequence[Sample], places: Sequence[int]) -> dict[str, Any]:
    label = label_of_category(labels)
    annotations: list[dict[str, Any]] = []
    for sample, place in zip(samples, places, strict=True):
        instances = sample.instances.take((label[sample.instances.category] > 0) & sample.instances.has_mask)
        area = np.where(np.isnan(instances.area), instances.masks.areas, instances.area)
        for row, crowd, size in zip(_rows(instances, place), instances.iscrowd.tolist(), area.tolist(), strict=True):
            annotations.append({**row, "id": len(annotations) + 1, "iscrowd": int(crowd), "area": size})
    return {
        "images": [
            {"id": place, "height": sample.height, "width": sample.width}
            for sample, place in zip(samples, places, strict=True)
        ],
        "categories": [{"id": int(i), "name": labels[int(i)].name} for i in categories_of(labels)],
        "annotations": annotations,
    }


def _rows(instances: Instances, place: int) -> Iterator[dict[str, Any]]:
    corners = instances.boxes
    boxes = np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), axis=1).tolist()
    masks: Masks = instances.masks
    for rle, box, category, score in zip(
        masks.rle(), boxes, instances.category.tolist(), instances.score.tolist(), strict=True
    ):
        yield {"image_id": place, "category_id": category, "segmentation": rle, "bbox": box, "score": score}


def beside_truth(sample: Sample, instances: Instances, labels: LabelSpace, *, least: float) -> npt.NDArray[np.uint8]:
    """A picture of the truth (left) and of detections with a score from `least` on (right), (H, W, 3) uint8 RGB."""
    image = sample.image
    seen = sample.with_annotations(instances=instances.take(instances.score >= least), semantic=None, extra={})
    pictures = [
        draw.overlay(one, labels, legend=False, title=False, semantic=False, image=image) for one in (sample, seen)
    ]
    return np.concatenate(pictures, axis=1)
