"""Sanity checks on detections during evaluation: normalised boxes, corner boxes, duplicates, non-finite scores."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from segdata.core.predictions import GroundTruth, Predictions
from segdata.errors import InvalidAnnotation
from segdata.metrics.coco.blocks import Block, Objects

MANY = 10
"""Fewest boxes from which on what most of them have in common is taken for a mistake."""

SOME = 0.2
"""Share of boxes that must leave their images for all of them to be taken for corners, where all fit as corners."""


class InputChecks:
    """Checks block after block; `finish` refuses or remarks, and is called before numbers are returned."""

    def __init__(self, predictions: Predictions, truth: GroundTruth) -> None:
        self._predictions = predictions
        self._truth = truth
        self._detections = self._objects = self._crowds = 0
        self._empty = self._empty_objects = self._duplicates = 0
        self._unit = self._corners = self._far = self._past = self._plainly_past = self._fit_as_corners = 0
        self._first: dict[str, str] = {}

    def add(self, block: Block) -> None:
        """Check a block.

        Raises:
            InvalidAnnotation: scores or boxes that are no numbers, boxes of negative size.
        """
        detections, truth = block.detections, block.truth
        self._require_numbers(block, detections)
        self._detections += len(detections)
        self._objects += len(truth)
        self._crowds += int(truth.iscrowd.sum())
        if not np.isnan(truth.score).all():
            self._note(
                "objects of the ground truth with a score: were predictions and ground truth exchanged?", block, 0
            )
        has_detections = np.bincount(detections.image, minlength=len(block.images)) > 0
        self._empty += int((~has_detections).sum())
        if not has_detections.all():
            self._first.setdefault("empty", self._truth.keys[block.images[np.argmin(has_detections)]])
        self._count_scales(block, detections)
        self._count_duplicates(block, detections)

    def _count_scales(self, block: Block, detections: Objects) -> None:
        size = self._truth.sizes[block.images[detections.image]][:, ::-1].astype(np.float64)
        low, extent = detections.boxes[:, :2], detections.boxes[:, 2:]
        high = low + extent
        self._unit += int(((high <= 1.01) & (size > 2)).all(1).sum())
        self._far += int(((high > size * 1.1 + 1) | (low < -0.1 * size - 1)).any(1).sum())
        is_past = (high > size + 1).any(1)
        self._corners += int((is_past & (extent >= low).all(1) & (extent <= size + 1).all(1)).sum())
        self._plainly_past += int((high > size * 1.05 + 1).any(1).sum())
        margin = 0.1 * size + 1
        self._fit_as_corners += int(((low >= -margin) & (extent >= low) & (extent <= size + margin)).all(1).sum())
        is_past |= (low < -1).any(1)
        self._past += int(is_past.sum())
        if is_past.any():
            image = int(detections.image[np.argmax(is_past)])
            self._first.setdefault("past", self._truth.keys[block.images[image]])
        self._empty_objects += int((extent <= 0).any(1).sum())

    def _count_duplicates(self, block: Block, detections: Objects) -> None:
        if not len(detections):
            return
        row = np.column_stack((detections.image, detections.category, detections.score, detections.boxes))
        order = np.lexsort(row.T)
        is_same = (row[order[1:]] == row[order[:-1]]).all(1)
        self._duplicates += int(is_same.sum())
        if is_same.any():
            first = int(detections.image[order[1:][is_same]][0])
            self._first.setdefault("duplicate", self._truth.keys[block.images[first]])

    def _require_numbers(self, block: Block, detections: Objects) -> None:
        for mistake, is_wrong, fix in (
            ("a score that is no number", ~np.isfinite(detections.score), "give every detection a finite score"),
            ("a box that is no number", ~np.isfinite(detections.boxes).all(1), "give four finite numbers"),
            ("a box of negative size", (detections.boxes[:, 2:] < 0).any(1), "write boxes as x, y, width, height"),
        ):
            if is_wrong.any():
                first = int(np.argmax(is_wrong))
                raise InvalidAnnotation(
                    f"a detection has {mistake}",
                    file=self._predictions.path,
                    key=self._truth.keys[block.images[detections.image[first]]],
                    place=f"detection {int(detections.nth[first])} of this image",
                    why=f"score {detections.score[first]}, box {detections.boxes[first].tolist()}; "
                    f"{int(is_wrong.sum())} of {len(detections)} nearby are like this",
                    fix=fix,
                )

    def finish(self) -> None:
        """Refuse boxes in another scale, and note the rest.

        Raises:
            InvalidAnnotation: nearly all boxes are in 0..1, are corners, or lie outside their images.
        """
        count = self._detections
        if count and self._unit == count:
            self._refuse(
                "boxes are in another scale",
                f"all {count:,} boxes lie in 0..1, as fractions of the image",
                "multiply them by the image's width and height: boxes are in pixels",
            )
        are_corners = self._fit_as_corners == count and self._plainly_past >= SOME * count
        if count >= MANY and (are_corners or self._corners >= 0.5 * count):
            self._refuse(
                "boxes are corners instead of sizes",
                f"{self._past:,} of {count:,} boxes leave their image as x, y, width, height; "
                f"{'all' if are_corners else f'{self._corners:,}'} fit as x0, y0, x1, y1",
                "write boxes as x, y, width, height: x0, y0, x1 - x0, y1 - y0",
            )
        if count >= MANY and self._far >= 0.5 * count:
            self._refuse(
                "boxes are in another scale",
                f"{self._far:,} of {count:,} boxes reach far outside their images",
                "scale them to the images as stored, and write x, y, width, height in pixels",
            )
        if self._past:
            hint = "; all boxes would fit as x0, y0, x1, y1" if are_corners else ""
            self._note(
                f"boxes that reach past their image, counted as they are{hint}", None, self._past, self._first["past"]
            )
        if self._duplicates:
            self._note("detections that another one repeats: same box, category and score", None, self._duplicates)
        if self._empty_objects:
            self._note("detections without width or height", None, self._empty_objects)
        if not count:
            self._note("no detections: every recall is 0", None, 1)
        elif self._empty:
            self._note("images without any detection", None, self._empty, self._first["empty"])
        if not self._objects:
            self._note("the ground truth has no objects: nothing is defined", None, 1)
        elif self._crowds == self._objects:
            self._note("every object of the ground truth is a crowd: nothing is defined", None, 1)

    def _note(self, kind: str, block: Block | None, count: int, where: str | None = None) -> None:
        findings = self._predictions.findings
        if kind not in findings.remarks:
            where = where or self._first.get("duplicate") or str(self._predictions.path)
            findings.remark(kind, where if block is None else self._truth.keys[block.images[0]], max(count, 1))

    def _refuse(self, message: str, why: str, fix: str) -> NoReturn:
        raise InvalidAnnotation(message, file=self._predictions.path, why=why, fix=fix)
