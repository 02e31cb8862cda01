"""Objects and detections of many images as columns, some images at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from segdata.core.columns import Columns, Shapes
from segdata.core.predictions import GroundTruth, Predictions

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

BLOCK_IMAGES = 1024
BLOCK_DETECTIONS = 1 << 16
BLOCK_PAIRS = 1 << 22
"""A block of columns ends at so many images, detections, or pairs of one with an object of its image."""


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of one side in some images: N of them.

    Attributes:
        image: (N,) int64, place in the block, ascending.
        category, id: (N,) int64.
        boxes: (N, 4) float64, x y width height as annotated, from the masks where nobody gave one.
        area: (N,) float64, the size that decides whether it is small, medium or large, in pixels.
        iscrowd, difficult: (N,) bool.
        score: (N,) float64.
        shapes: the masks of every image of the block; none when only boxes were asked for.
        nth: (N,) int64, place in its image's shapes.
    """

    image: IntArray
    category: IntArray
    id: IntArray
    boxes: FloatArray
    area: FloatArray
    iscrowd: BoolArray
    difficult: BoolArray
    score: FloatArray
    shapes: Sequence[Shapes]
    nth: IntArray

    def __len__(self) -> int:
        return len(self.image)

    def take(self, chosen: npt.NDArray[np.integer] | BoolArray) -> Objects:
        """Some of them, in the order given."""
        names = ("image", "category", "id", "boxes", "area", "iscrowd", "difficult", "score", "nth")
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})


@dataclass(frozen=True, eq=False)
class Block:
    """Truth and predictions of some images; `places` are theirs in the truth."""

    places: IntArray
    truth: Objects
    found: Objects


def order_of(truth: GroundTruth) -> IntArray:
    """Places of the images in the order in which COCO's evaluator takes them: by number, where all have one."""
    ids = truth.ids
    has_numbers = len(ids) > 0 and ids.min() >= 0 and len(np.unique(ids)) == len(ids)
    return np.argsort(ids, kind="stable") if has_numbers else np.arange(len(truth))


def blocks(predictions: Predictions, truth: GroundTruth, *, masks: bool) -> Iterator[Block]:
    """All images, some at a time.

    Args:
        masks: whether masks are compared, and detections are as large as their masks where nobody says how large.
    """
    places: list[int] = []
    mine: list[Columns] = []
    theirs: list[Columns] = []
    detections = products = 0
    order = order_of(truth).tolist()
    for number, place in enumerate(truth.walk(order)):
        places.append(place)
        mine.append(truth.columns(place))
        theirs.append(predictions.columns(place))
        detections += len(theirs[-1])
        products += len(theirs[-1]) * len(mine[-1])
        is_full = len(places) == BLOCK_IMAGES or detections >= BLOCK_DETECTIONS or products >= BLOCK_PAIRS
        if is_full or number == len(order) - 1:
            yield Block(
                np.array(places),
                _joined(mine, masks=masks, is_truth=True),
                _joined(theirs, masks=masks, is_truth=False),
            )
            places, mine, theirs, detections, products = [], [], [], 0, 0


def _joined(images: Sequence[Columns], *, masks: bool, is_truth: bool) -> Objects:
    counts = np.array([len(item) for item in images], np.int64)
    bbox = np.concatenate([item.bbox for item in images])
    area = np.concatenate([item.area for item in images])
    score = np.concatenate([item.score for item in images])
    has_mask = np.concatenate([item.has_mask for item in images])
    has_box = ~np.isnan(bbox[:, 0])
    is_known = ~np.isnan(area)
    shapes: list[Shapes] = []
    pixels = np.full(len(bbox), np.nan)
    if masks or not has_box.all() or (is_truth and np.any(has_mask & ~is_known)):
        shapes = [item.shapes() for item in images]
        frames, pixels = (
            np.concatenate([item.boxes_xywh for item in shapes]),
            np.concatenate([item.areas for item in shapes]),
        )
        bbox = np.where(has_box[:, None], bbox, frames)
    from_box = bbox[:, 2] * bbox[:, 3]
    if masks or is_truth:
        area = np.where(is_known, area, np.where(has_mask, pixels, from_box))
    else:
        area = np.where(has_box, from_box, np.where(is_known, area, pixels))
    return Objects(
        np.repeat(np.arange(len(images)), counts),
        np.concatenate([item.category for item in images]),
        np.concatenate([item.id for item in images]),
        bbox,
        area,
        np.concatenate([item.iscrowd for item in images]),
        np.concatenate([item.difficult for item in images]),
        score,
        shapes,
        np.arange(len(bbox)) - np.repeat(np.cumsum(counts) - counts, counts),
    )
