"""IoU of detections and objects: of boxes, masks and masks' boundaries.

Where the object is a crowd, the area of the detection takes the place of the union (maskApi.c of the COCO API). Masks
are compared only where their boxes and areas leave it possible that they reach the smallest IoU; the numbers are then
pycocotools' own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import FloatArray, IntArray
from segdata.metrics.coco.blocks import Objects
from segdata.metrics.coco.matching import Candidates, Pairs

DILATION = 0.02
"""Width of a boundary as a share of the image's diagonal (Cheng et al. 2021, Boundary IoU)."""

FindCandidates = Callable[[Objects, Objects, Pairs, float], Candidates]
"""(detections, objects, pairs to compare, smallest IoU) → the pairs that reach it."""


def boxes(detections: Objects, truth: Objects, pairs: Pairs, min_iou: float) -> Candidates:
    """Pairs by the IoU of their boxes."""
    box, truth_box = detections.boxes[pairs[0]], truth.boxes[pairs[1]]
    width, height = _common_sides(box, truth_box)
    common = width * height
    area, truth_area = box[:, 2] * box[:, 3], truth_box[:, 2] * truth_box[:, 3]
    union = np.where(truth.iscrowd[pairs[1]], area, area + truth_area - common)
    iou = np.zeros(len(common))
    np.divide(common, union, out=iou, where=(width > 0) & (height > 0))
    return _reaching(min_iou, Candidates(*pairs, iou))


def masks(detections: Objects, truth: Objects, pairs: Pairs, min_iou: float) -> Candidates:
    """Pairs by the IoU of their masks."""
    pairs = _possible(detections, truth, pairs, min_iou)
    iou = np.zeros(len(pairs[0]))
    for rows in _rows_by_image(detections, pairs[0]):
        iou[rows] = _mask_iou(detections, truth, (pairs[0][rows], pairs[1][rows]))
    return _reaching(min_iou, Candidates(*pairs, iou))


def boundaries(detections: Objects, truth: Objects, pairs: Pairs, min_iou: float) -> Candidates:
    """Pairs by the smaller of the IoU of their masks and of the masks' boundaries; crowds by their masks alone."""
    candidates = masks(detections, truth, pairs, min_iou)
    iou = candidates.iou.copy()
    compared = np.flatnonzero(~truth.iscrowd[candidates.truth])
    for rows in _rows_by_image(detections, candidates.detection[compared]):
        rows = compared[rows]
        of_rows = candidates.detection[rows], candidates.truth[rows]
        iou[rows] = np.minimum(iou[rows], _boundary_iou(detections, truth, of_rows))
    return _reaching(min_iou, Candidates(candidates.detection, candidates.truth, iou))


def _common_sides(boxes: FloatArray, others: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Width and height of what each pair of boxes has in common; ≤ 0 where there is nothing."""
    low = np.maximum(boxes[:, :2], others[:, :2])
    high = np.minimum(boxes[:, 2:] + boxes[:, :2], others[:, 2:] + others[:, :2])
    return high[:, 0] - low[:, 0], high[:, 1] - low[:, 1]


def _reaching(min_iou: float, candidates: Candidates) -> Candidates:
    reaches = candidates.iou >= min_iou
    return Candidates(candidates.detection[reaches], candidates.truth[reaches], candidates.iou[reaches])


def _possible(detections: Objects, truth: Objects, pairs: Pairs, min_iou: float) -> Pairs:
    """The pairs that can reach the smallest IoU: no more can be common than the boxes' and than the smaller area."""
    (boxes, areas), (truth_boxes, truth_areas) = _extent(detections), _extent(truth)
    width, height = _common_sides(boxes[pairs[0]], truth_boxes[pairs[1]])
    common = np.where((width > 0) & (height > 0), width * height, 0)
    area, truth_area = areas[pairs[0]], truth_areas[pairs[1]]
    common = np.minimum(common, np.minimum(area, truth_area))
    union = np.where(truth.iscrowd[pairs[1]], area, area + truth_area - common)
    is_possible = (common > 0) & (common >= min_iou * union * (1 - 1e-9))
    return pairs[0][is_possible], pairs[1][is_possible]


def _extent(objects: Objects) -> tuple[FloatArray, FloatArray]:
    """(N, 4) x y width height and (N,) areas of the masks."""
    begins = np.cumsum([0, *(len(item.areas) for item in objects.shapes)])
    row = begins[objects.image] + objects.nth
    boxes = np.concatenate([item.boxes_xywh for item in objects.shapes])
    return boxes[row], np.concatenate([item.areas for item in objects.shapes])[row]


def _rows_by_image(detections: Objects, indices: IntArray) -> Iterator[IntArray]:
    """The rows of `indices`, image by image."""
    order = np.argsort(detections.image[indices], kind="stable")
    image = detections.image[indices][order]
    for rows in np.split(order, np.flatnonzero(np.diff(image)) + 1):
        if len(rows):
            yield rows


def _rles(objects: Objects, indices: IntArray) -> dict[int, dict[str, Any]]:
    """RLEs as pycocotools takes them, by index; all indices are of one image."""
    wanted = np.unique(indices)
    shapes = objects.shapes[objects.image[wanted[0]]]
    return dict(zip(wanted.tolist(), shapes.rle(objects.nth[wanted]), strict=True))


def _mask_iou(detections: Objects, truth: Objects, pairs: Pairs) -> FloatArray:
    """IoU of each pair of one image; one call for all detections that are compared with the same object."""
    from pycocotools import mask as coco_mask

    rles, truth_rles = _rles(detections, pairs[0]), _rles(truth, pairs[1])
    iou = np.zeros(len(pairs[0]))
    order = np.argsort(pairs[1], kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(pairs[1][order])) + 1):
        target = int(pairs[1][rows[0]])
        of_rows = [rles[index] for index in pairs[0][rows].tolist()]
        iou[rows] = coco_mask.iou(of_rows, [truth_rles[target]], [int(truth.iscrowd[target])])[:, 0]
    return iou


def _boundary_iou(detections: Objects, truth: Objects, pairs: Pairs) -> FloatArray:
    """IoU of the boundaries of each pair of one image."""
    boundary = {index: _Boundary(rle) for index, rle in _rles(detections, pairs[0]).items()}
    truth_boundary = {index: _Boundary(rle) for index, rle in _rles(truth, pairs[1]).items()}
    both = zip(pairs[0].tolist(), pairs[1].tolist(), strict=True)
    return np.array([boundary[detection].iou(truth_boundary[target]) for detection, target in both])


class _Boundary:
    """The boundary of a mask: what an erosion by the boundary's width takes away; outside the image counts as outside."""

    def __init__(self, rle: Mapping[str, Any]) -> None:
        from pycocotools import mask as coco_mask

        height, width = rle["size"]
        x, y, w, h = np.asarray(coco_mask.toBbox(rle)).astype(np.int64).tolist()
        mask = coco_mask.decode(rle)[y : y + h, x : x + w].astype(bool)
        reach = max(1, round(DILATION * float(np.sqrt(height**2 + width**2))))
        self.x, self.y, self.w, self.h = x, y, w, h
        self.pixels = mask & ~_eroded(_eroded(mask, reach).T, reach).T
        self.area = int(np.count_nonzero(self.pixels))

    def iou(self, other: _Boundary) -> float:
        x0, y0 = max(self.x, other.x), max(self.y, other.y)
        x1, y1 = min(self.x + self.w, other.x + other.w), min(self.y + self.h, other.y + other.h)
        if x0 >= x1 or y0 >= y1:
            return 0.0
        pixels = self.pixels[y0 - self.y : y1 - self.y, x0 - self.x : x1 - self.x]
        other_pixels = other.pixels[y0 - other.y : y1 - other.y, x0 - other.x : x1 - other.x]
        common = int(np.count_nonzero(pixels & other_pixels))
        return common / (self.area + other.area - common) if common else 0.0


def _eroded(mask: npt.NDArray[np.bool_], reach: int) -> npt.NDArray[np.bool_]:
    """Where a column of 2 · reach + 1 pixels around a pixel is all set."""
    height = len(mask)
    if height < 2 * reach + 1:
        return np.zeros_like(mask)
    sums = np.zeros((height + 1, mask.shape[1]), np.int32)
    np.cumsum(mask, axis=0, out=sums[1:])
    inner = np.zeros_like(mask)
    inner[reach : height - reach] = sums[2 * reach + 1 :] - sums[: height - 2 * reach] == 2 * reach + 1
    return inner
