"""Which detections and objects overlap, and by how much: intersection over union of boxes, masks and their boundaries.

Where the object is a crowd, the area of the detection takes the place of the union (maskApi.c of the COCO API). Masks
are compared only where their boxes and areas leave it possible that they overlap by the smallest threshold; the numbers
are then pycocotools' own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.metrics.coco.blocks import Objects
from segdata.metrics.coco.matching import Edges

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

DILATION = 0.02
"""Width of a boundary as a share of the image's diagonal (Cheng et al. 2021, Boundary IoU)."""

Rles = dict[int, dict[str, Any]]
"""Run lengths as pycocotools takes them, by the index of the detection or object."""

Overlaps = Callable[[Objects, Objects, IntArray, IntArray, float], Edges]
"""(detections, objects, (P,) and (P,) the pairs to look at, smallest overlap) → the pairs that overlap by it."""


def boxes(found: Objects, truth: Objects, at: IntArray, to: IntArray, least: float) -> Edges:
    """Pairs whose boxes overlap."""
    mine, theirs = found.boxes[at], truth.boxes[to]
    width, height = _sides(mine, theirs)
    common = width * height
    own, other = mine[:, 2] * mine[:, 3], theirs[:, 2] * theirs[:, 3]
    union = np.where(truth.iscrowd[to], own, own + other - common)
    overlap = np.zeros(len(at))
    np.divide(common, union, out=overlap, where=(width > 0) & (height > 0))
    return _kept(Edges(at, to, overlap), least)


def _sides(mine: FloatArray, theirs: FloatArray) -> tuple[FloatArray, FloatArray]:
    low = np.maximum(mine[:, :2], theirs[:, :2])
    high = np.minimum(mine[:, 2:] + mine[:, :2], theirs[:, 2:] + theirs[:, :2])
    return high[:, 0] - low[:, 0], high[:, 1] - low[:, 1]


def _kept(edges: Edges, least: float) -> Edges:
    is_kept = edges.overlap >= least
    return Edges(edges.found[is_kept], edges.truth[is_kept], edges.overlap[is_kept])


def masks(found: Objects, truth: Objects, at: IntArray, to: IntArray, least: float) -> Edges:
    """Pairs whose masks overlap."""
    at, to = _possible(found, truth, at, to, least)
    overlap = np.zeros(len(at))
    for pairs, mine, theirs in _by_image(found, truth, at, to):
        overlap[pairs] = _of_masks(found, truth, at[pairs], to[pairs], mine, theirs)
    return _kept(Edges(at, to, overlap), least)


def boundaries(found: Objects, truth: Objects, at: IntArray, to: IntArray, least: float) -> Edges:
    """Pairs whose masks and whose masks' boundaries overlap: the smaller of both; crowds count as masks alone."""
    edges = masks(found, truth, at, to, least)
    overlap = edges.overlap.copy()
    is_plain = np.flatnonzero(~truth.iscrowd[edges.truth])
    for pairs, mine, theirs in _by_image(found, truth, edges.found[is_plain], edges.truth[is_plain]):
        pairs = is_plain[pairs]
        overlap[pairs] = np.minimum(
            overlap[pairs], _of_boundaries(found, truth, edges.found[pairs], edges.truth[pairs], mine, theirs)
        )
    return _kept(Edges(edges.found, edges.truth, overlap), least)


def _possible(found: Objects, truth: Objects, at: IntArray, to: IntArray, least: float) -> tuple[IntArray, IntArray]:
    """The pairs that can overlap by the least: no more can be common than the boxes' and than the smaller area."""
    frames, areas, other_frames, other_areas = *_extent(found), *_extent(truth)
    width, height = _sides(frames[at], other_frames[to])
    common = np.where((width > 0) & (height > 0), width * height, 0)
    own, other = areas[at], other_areas[to]
    common = np.minimum(common, np.minimum(own, other))
    union = np.where(truth.iscrowd[to], own, own + other - common)
    is_possible = (common > 0) & (common >= least * union * (1 - 1e-9))
    return at[is_possible], to[is_possible]


def _extent(objects: Objects) -> tuple[FloatArray, FloatArray]:
    begins = np.cumsum([0, *(len(item.areas) for item in objects.shapes)])
    row = begins[objects.image] + objects.nth
    frames = np.concatenate([item.boxes_xywh for item in objects.shapes])
    return frames[row], np.concatenate([item.areas for item in objects.shapes])[row]


def _by_image(found: Objects, truth: Objects, at: IntArray, to: IntArray) -> Iterator[tuple[IntArray, Rles, Rles]]:
    """Per group of pairs in one image: their places, and the run lengths of its detections and objects by index."""
    order = np.argsort(found.image[at], kind="stable")
    image = found.image[at][order]
    for pairs in np.split(order, np.flatnonzero(np.diff(image)) + 1):
        if len(pairs):
            which = int(found.image[at[pairs[0]]])
            yield pairs, _rles(found, which, at[pairs]), _rles(truth, which, to[pairs])


def _rles(objects: Objects, image: int, indices: IntArray) -> Rles:
    wanted = np.unique(indices)
    return dict(zip(wanted.tolist(), objects.shapes[image].rle(objects.nth[wanted]), strict=True))


def _of_masks(
    found: Objects,
    truth: Objects,
    at: IntArray,
    to: IntArray,
    mine: Rles,
    theirs: Rles,
) -> FloatArray:
    """Overlap of each pair of an image; all detections that are to be compared with one object in one call."""
    from pycocotools import mask as coco_mask

    overlap = np.zeros(len(at))
    order = np.argsort(to, kind="stable")
    for pairs in np.split(order, np.flatnonzero(np.diff(to[order])) + 1):
        target = int(to[pairs[0]])
        own = [mine[index] for index in at[pairs].tolist()]
        overlap[pairs] = coco_mask.iou(own, [theirs[target]], [int(truth.iscrowd[target])])[:, 0]
    return overlap


def _of_boundaries(
    found: Objects,
    truth: Objects,
    at: IntArray,
    to: IntArray,
    mine: Rles,
    theirs: Rles,
) -> FloatArray:
    rims = {index: _Rim(rle) for index, rle in mine.items()}
    other_rims = {index: _Rim(rle) for index, rle in theirs.items()}
    return np.array([rims[own].overlap(other_rims[other]) for own, other in zip(at.tolist(), to.tolist(), strict=True)])


class _Rim:
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

    def overlap(self, other: _Rim) -> float:
        x0, y0 = max(self.x, other.x), max(self.y, other.y)
        x1, y1 = min(self.x + self.w, other.x + other.w), min(self.y + self.h, other.y + other.h)
        if x0 >= x1 or y0 >= y1:
            return 0.0
        own = self.pixels[y0 - self.y : y1 - self.y, x0 - self.x : x1 - self.x]
        theirs = other.pixels[y0 - other.y : y1 - other.y, x0 - other.x : x1 - other.x]
        common = int(np.count_nonzero(own & theirs))
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
