"""Objects and detections of some images as columns, in the order in which COCO's evaluator looks at them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segdata.formats.results import Predictions, Truth
from segdata.masks import Masks
from segdata.sample import Instances

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

BLOCK_IMAGES = 1024
BLOCK_DETECTIONS = 1 << 17
"""A block of columns ends at so many images or detections, so that memory does not grow with the dataset."""


@dataclass(frozen=True, eq=False)
class Objects:
    """Instances of some images: N of them.

    Attributes:
        image: (N,) int64, place in the block, ascending.
        category, id: (N,) int64.
        boxes: (N, 4) float64, x y width height as annotated, from the masks where nothing was annotated.
        area: (N,) float64, the size that decides whether it is small, medium or large.
        iscrowd: (N,) bool.
        score: (N,) float64.
        masks: per image of the block; `mask` is (N,) int64, the place in them.
    """

    image: IntArray
    category: IntArray
    id: IntArray
    boxes: FloatArray
    area: FloatArray
    iscrowd: BoolArray
    score: FloatArray
    masks: Sequence[Masks]
    mask: IntArray

    def __len__(self) -> int:
        return len(self.image)

    def take(self, chosen: npt.NDArray[np.integer] | BoolArray) -> Objects:
        """Some of them, in the order given."""
        return Objects(
            self.image[chosen],
            self.category[chosen],
            self.id[chosen],
            self.boxes[chosen],
            self.area[chosen],
            self.iscrowd[chosen],
            self.score[chosen],
            self.masks,
            self.mask[chosen],
        )


@dataclass(frozen=True, eq=False)
class Block:
    """Truth and predictions of some images; `places` are theirs in the truth."""

    places: IntArray
    truth: Objects
    found: Objects


def order_of(truth: Truth) -> IntArray:
    """Places of the images in the order in which COCO's evaluator takes them: by number, where all have one."""
    ids = truth.ids
    has_numbers = len(ids) > 0 and ids.min() >= 0 and len(np.unique(ids)) == len(ids)
    return np.argsort(ids, kind="stable") if has_numbers else np.arange(len(truth))


def blocks(predictions: Predictions, truth: Truth, *, by_mask: bool) -> Iterator[Block]:
    """All images, some at a time.

    Args:
        by_mask: whether detections are as large as their masks, where nobody says how large they are.
    """
    places: list[int] = []
    mine: list[Instances] = []
    theirs: list[Instances] = []
    count = 0
    order = order_of(truth).tolist()
    for number, place in enumerate(order):
        sample, found = truth.get(place), predictions.get(place)
        places.append(place)
        mine.append(sample.instances)
        theirs.append(Instances.none(sample.height, sample.width) if found is None else found.instances)
        count += len(theirs[-1])
        if len(places) == BLOCK_IMAGES or count >= BLOCK_DETECTIONS or number == len(order) - 1:
            yield Block(np.array(places), _columns(mine, by_mask=True), _columns(theirs, by_mask=by_mask))
            places, mine, theirs, count = [], [], [], 0


def _columns(images: Sequence[Instances], *, by_mask: bool) -> Objects:
    counts = [len(item) for item in images]

    def joined(name: str) -> npt.NDArray[np.generic]:
        return np.concatenate([getattr(item, name) for item in images])

    frames = np.concatenate([item.masks.frames for item in images]).astype(np.float64)
    bbox = np.concatenate([item.bbox for item in images])
    has_box = ~np.isnan(bbox[:, 0])
    boxes = np.where(has_box[:, None], bbox, frames)
    has_mask = joined("has_mask").astype(bool)
    box_area = boxes[:, 2] * boxes[:, 3]
    is_known = np.zeros(len(boxes), bool)
    area = np.concatenate([item.area for item in images])
    use_mask = has_mask & (by_mask | ~has_box)
    if by_mask:
        is_known = ~np.isnan(area)
    if np.any(use_mask & ~is_known):
        pixels = np.concatenate([item.masks.areas for item in images]).astype(np.float64)
        box_area = np.where(use_mask, pixels, box_area)
    return Objects(
        np.repeat(np.arange(len(images)), counts),
        joined("category").astype(np.int64),
        joined("id").astype(np.int64),
        boxes,
        np.where(is_known, area, box_area),
        joined("iscrowd").astype(bool),
        joined("score").astype(np.float64),
        [item.masks for item in images],
        np.concatenate([np.arange(count) for count in counts]) if counts else np.zeros(0, np.int64),
    )
