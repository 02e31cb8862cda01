"""Boxes, scores and flags of many images' objects and detections as NumPy arrays, a block of images at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray, FloatArray, IntArray
from segdata.core.predictions import Columns, GroundTruth, Predictions, Shapes

BLOCK_IMAGES = 1024
BLOCK_DETECTIONS = 1 << 16
BLOCK_PAIRS = 1 << 22
"""A block ends at so many images, detections, or pairs of a detection and an object of its image."""


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of the ground truth, or the detections, in the images of a block: N of them.

    Attributes:
        image: (N,) int64, index of the image in the block, ascending.
        category, id: (N,) int64.
        boxes: (N, 4) float64, x y width height in pixels as annotated, from the masks where nobody gave one.
        area: (N,) float64 pixels, which decide whether it is small, medium or large.
        iscrowd, difficult: (N,) bool.
        score: (N,) float64, NaN in ground truth.
        shapes: the masks of every image of the block; none when only boxes were asked for.
        nth: (N,) int64, index in its image's shapes.
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
        """Subset by index (in that order) or by boolean mask."""
        names = ("image", "category", "id", "boxes", "area", "iscrowd", "difficult", "score", "nth")
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})


@dataclass(frozen=True, eq=False)
class Block:
    """Ground truth and detections of B images.

    Attributes:
        images: (B,) int64, indices of the images in the ground truth.
        truth: their objects.
        detections: their detections.
    """

    images: IntArray
    truth: Objects
    detections: Objects


def order_of(truth: GroundTruth) -> IntArray:
    """Indices of the images in the order of COCO's evaluator: by id, where all have one of their own."""
    ids = truth.ids
    has_ids = len(ids) > 0 and ids.min() >= 0 and len(np.unique(ids)) == len(ids)
    return np.argsort(ids, kind="stable") if has_ids else np.arange(len(truth))


def blocks(
    predictions: Predictions, truth: GroundTruth, *, masks: bool, order: IntArray | None = None
) -> Iterator[Block]:
    """All images, a block at a time.

    Args:
        masks: whether masks are compared; then a detection without an annotated area is as large as its mask, else as its
            box.
        order: indices of the images, in another order than that of COCO's evaluator.
    """
    images: list[int] = []
    objects: list[Columns] = []
    detections: list[Columns] = []
    count = pairs = 0
    indices = (order_of(truth) if order is None else order).tolist()
    for number, index in enumerate(truth.walk(indices)):
        images.append(index)
        objects.append(truth.columns(index))
        detections.append(predictions.columns(index))
        count += len(detections[-1])
        pairs += len(detections[-1]) * len(objects[-1])
        is_full = len(images) == BLOCK_IMAGES or count >= BLOCK_DETECTIONS or pairs >= BLOCK_PAIRS
        if is_full or number == len(indices) - 1:
            yield Block(
                np.array(images),
                _joined(objects, masks=masks, is_truth=True),
                _joined(detections, masks=masks, is_truth=False),
            )
            images, objects, detections, count, pairs = [], [], [], 0, 0


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
        pixels = np.concatenate([item.areas for item in shapes])
        bbox = np.where(has_box[:, None], bbox, np.concatenate([item.boxes_xywh for item in shapes]))
    from_box = bbox[:, 2] * bbox[:, 3]
    if masks or is_truth:
        area = np.where(is_known, area, np.where(has_mask, pixels, from_box))
    else:
        area = np.where(has_box, from_box, np.where(is_known, area, pixels))
    return Objects(
        image=np.repeat(np.arange(len(images)), counts),
        category=np.concatenate([item.category for item in images]),
        id=np.concatenate([item.id for item in images]),
        boxes=bbox,
        area=area,
        iscrowd=np.concatenate([item.iscrowd for item in images]),
        difficult=np.concatenate([item.difficult for item in images]),
        score=score,
        shapes=shapes,
        nth=np.arange(len(bbox)) - np.repeat(np.cumsum(counts) - counts, counts),
    )
