"""Boxes, scores and flags of one image's objects as arrays; masks are decoded only when a metric asks for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segdata.core.arrays import BoolArray, FloatArray, IntArray
from segdata.core.masks import Masks
from segdata.core.sample import Instances

_BATCH = 255
"""pycocotools 2.0.11 cannot compute the areas of more masks than this in one call on NumPy 2."""


@dataclass(frozen=True, eq=False)
class Shapes:
    """N masks of one image: boxes and areas at hand, COCO RLE on demand.

    Attributes:
        boxes_xywh: (N, 4) float64, x y width height of each mask's tight box; all 0 for an empty mask.
        areas: (N,) float64, number of pixels of each mask.
        rle: indices, (K,) int64 → COCO RLE dictionaries of these masks, as pycocotools takes them.
    """

    boxes_xywh: FloatArray
    areas: FloatArray
    rle: Callable[[IntArray], list[dict[str, Any]]]

    @classmethod
    def of_masks(cls, masks: Masks) -> Shapes:
        """From the masks of a sample."""
        return cls(
            masks.boxes_xywh.astype(np.float64), masks.areas.astype(np.float64), lambda indices: masks[indices].rle()
        )

    @classmethod
    def of_strings(cls, strings: Sequence[bytes], height: int, width: int) -> Shapes:
        """From COCO's compressed RLE strings of the full image, which must have been checked (`rle.check_strings`)."""
        from pycocotools import mask as coco_mask

        size = [height, width]
        rles = [{"size": size, "counts": string} for string in strings]
        areas = np.zeros(len(rles))
        for begin in range(0, len(rles), _BATCH):
            areas[begin : begin + _BATCH] = coco_mask.area(rles[begin : begin + _BATCH])
        boxes = np.asarray(coco_mask.toBbox(rles), np.float64) if rles else np.zeros((0, 4))
        return cls(boxes, areas, lambda indices: [rles[index] for index in indices.tolist()])


@dataclass(frozen=True, eq=False)
class Columns:
    """N objects of one image: the columns of `Instances` that metrics of boxes and masks look at.

    Attributes:
        shapes: gives the N masks, empty where `has_mask` is False.
    """

    category: IntArray
    id: IntArray
    bbox: FloatArray
    area: FloatArray
    iscrowd: BoolArray
    difficult: BoolArray
    score: FloatArray
    has_mask: BoolArray
    shapes: Callable[[], Shapes]

    def __len__(self) -> int:
        return len(self.category)

    @classmethod
    def of(cls, instances: Instances) -> Columns:
        """From the instances of a sample; their masks are decoded when `shapes` is called."""
        return cls(
            category=instances.category,
            id=instances.id,
            bbox=instances.bbox,
            area=instances.area,
            iscrowd=instances.iscrowd,
            difficult=instances.difficult,
            score=instances.score,
            has_mask=instances.has_mask,
            shapes=lambda: Shapes.of_masks(instances.masks),
        )

    @classmethod
    def none(cls) -> Columns:
        """Columns of no object at all."""
        return cls.of(Instances.none(1, 1))
