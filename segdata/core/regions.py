"""Scored masks of one image as dense crops, for metrics that compare pixels (Cityscapes' instance level)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segdata.core.sample import Instances

Crop = tuple[int, int, npt.NDArray[np.bool_]]
"""x and y of the crop's top left pixel in its image, and the mask inside it, (h, w) bool."""


@dataclass(frozen=True, eq=False)
class Regions:
    """The P scored masks of one image.

    Attributes:
        height, width: of the image in pixels.
        category: (P,) int64, indices into the label space.
        score: (P,) float64.
        crops: P crops; one of size 0 for a prediction without a mask.
    """

    height: int
    width: int
    category: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    crops: Sequence[Crop]

    @classmethod
    def of(cls, instances: Instances) -> Regions:
        """From the instances of a sample."""
        masks = instances.masks
        crops = [
            (x, y, crop.view(bool)) for crop, (x, y, _, _) in zip(masks.crops(), masks.boxes_xywh.tolist(), strict=True)
        ]
        return cls(masks.height, masks.width, instances.category, instances.score, crops)
