"""The objects of one image as columns, with masks that nothing is done to before somebody compares them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.masks import Masks
from segdata.core.sample import Instances

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_AT_ONCE = 255
"""pycocotools 2.0.11 cannot sum up more masks than this in one call on NumPy 2."""


@dataclass(frozen=True, eq=False)
class Shapes:
    """N masks of one image.

    Attributes:
        boxes_xywh: (N, 4) float64, x y width height of the box around each; all 0 for an empty mask.
        areas: (N,) float64, pixels of each.
        rle: places → COCO run lengths of these masks, as pycocotools takes them.
    """

    boxes_xywh: FloatArray
    areas: FloatArray
    rle: Callable[[IntArray], list[dict[str, Any]]]

    @classmethod
    def of_masks(cls, masks: Masks) -> Shapes:
        """From masks as packs have them."""
        return cls(
            masks.boxes_xywh.astype(np.float64), masks.areas.astype(np.float64), lambda places: masks[places].rle()
        )

    @classmethod
    def of_strings(cls, strings: Sequence[bytes], height: int, width: int) -> Shapes:
        """From COCO's compressed strings of the full frame, which must have been checked."""
        from pycocotools import mask as coco_mask

        size = [height, width]
        rles = [{"size": size, "counts": string} for string in strings]
        areas = np.zeros(len(rles))
        for begin in range(0, len(rles), _AT_ONCE):
            areas[begin : begin + _AT_ONCE] = coco_mask.area(rles[begin : begin + _AT_ONCE])
        frames = np.asarray(coco_mask.toBbox(rles), np.float64) if rles else np.zeros((0, 4))
        return cls(frames, areas, lambda places: [rles[place] for place in places.tolist()])


@dataclass(frozen=True, eq=False)
class Columns:
    """N objects of one image; the columns are those of `Instances`.

    Attributes:
        shapes: makes the masks, empty where `has_mask` is False.
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
        """Instances reduced to what metrics of boxes and masks look at."""
        return cls(
            instances.category,
            instances.id,
            instances.bbox,
            instances.area,
            instances.iscrowd,
            instances.difficult,
            instances.score,
            instances.has_mask,
            lambda: Shapes.of_masks(instances.masks),
        )

    @classmethod
    def none(cls) -> Columns:
        """No object."""
        return cls.of(Instances.none(1, 1))
