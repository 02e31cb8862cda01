"""Detections of results files as columns, sorted by the images of the ground truth that they are about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segdata.core.masks import Masks
from segdata.core.predictions import Columns, GroundTruth, Shapes
from segdata.core.sample import Instances, Sample

LARGEST = 1e100
"""Of the numbers of boxes and areas: JSON has whole numbers of any length, with which no arithmetic works."""


@dataclass(frozen=True, eq=False)
class Detections:
    """N detections of all images, those of an image in the order of the file.

    Attributes:
        pointer: (images + 1,) int64, where each image of the ground truth begins.
        row: (N,) int64, position in the file.
        id: (N,) int64, the numbers that metrics report detections by.
        category: (N,) int64, index into the label space of the ground truth.
        score: (N,) float64.
        bbox: (N, 4) float64, x y width height, NaN where there is none.
        area: (N,) float64, the size that decides whether a detection is small, NaN where the file implies none.
        strings: the checked compressed strings of some detections of one image (its index, and a slice of the
            columns); None where the file has no masks.
    """

    truth: GroundTruth
    pointer: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    id: npt.NDArray[np.int64]
    category: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    bbox: npt.NDArray[np.float64]
    area: npt.NDArray[np.float64]
    strings: Callable[[int, slice], list[bytes]] | None = None

    def images(self) -> list[int]:
        """The images that have detections."""
        indices: list[int] = np.flatnonzero(np.diff(self.pointer)).tolist()
        return indices

    def columns(self, index: int) -> Columns:
        """The detections of image `index` of the ground truth."""
        rows = slice(*self.pointer[index : index + 2].tolist())
        count = rows.stop - rows.start
        return Columns(
            category=self.category[rows],
            id=self.id[rows],
            bbox=self.bbox[rows],
            area=self.area[rows],
            iscrowd=np.zeros(count, bool),
            difficult=np.zeros(count, bool),
            score=self.score[rows],
            has_mask=np.full(count, self.strings is not None),
            shapes=lambda: self._shapes(index, rows),
        )

    def _shapes(self, index: int, rows: slice) -> Shapes:
        height, width = self.truth.sizes[index].tolist()
        if self.strings is None:
            return Shapes.of_masks(Masks.empty(height, width, rows.stop - rows.start))
        return Shapes.of_strings(self.strings(index, rows), height, width)

    def sample(self, index: int) -> Sample | None:
        """The same as a sample; None where there are none."""
        rows = slice(*self.pointer[index : index + 2].tolist())
        count = rows.stop - rows.start
        if not count:
            return None
        height, width = self.truth.sizes[index].tolist()
        masks = Masks.empty(height, width, count)
        if self.strings is not None:
            rles = [{"size": [height, width], "counts": string} for string in self.strings(index, rows)]
            masks = Masks.from_rle(rles, height, width)
        return Sample(
            self.truth.keys[index],
            height,
            width,
            id=int(self.truth.ids[index]),
            instances=Instances.build(
                self.category[rows],
                masks,
                has_mask=np.full(count, self.strings is not None),
                id=self.row[rows] + 1,
                bbox=self.bbox[rows],
                area=self.area[rows],
                score=self.score[rows],
                order=self.row[rows],
            ),
        )
