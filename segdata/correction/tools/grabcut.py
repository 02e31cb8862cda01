"""A box and strokes → a mask, by the colours of what is inside and outside: GrabCut (Rother et al. 2004), as OpenCV has it.

It works on the part of the image around the box, made smaller, so that its time does not depend on the image's size.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray
from segdata.errors import UsageError

SIDE = 256
"""Pixels of the longer side of what is computed on."""

MARGIN = 0.25
"""Of the box's width and height, around it: what is outside is learned from there."""

ITERATIONS = 3

SECONDS = 2.0
"""No further iteration begins after these."""

_THREADS = 2

Stroke = Sequence[tuple[float, float]]


def grabcut(
    image: npt.NDArray[np.uint8],
    box: Sequence[float],
    foreground: Sequence[Stroke] = (),
    background: Sequence[Stroke] = (),
    *,
    previous: BoolArray | None = None,
    width: float = 5.0,
    side: int = SIDE,
) -> BoolArray:
    """The object in a box.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: x0 y0 x1 y1 in pixels, half-open, around the object; foreground strokes outside make it larger.
        foreground, background: strokes, each its points (x, y), on what is the object and on what is not.
        previous: (H, W) bool, the mask so far; the colours are learned from it.
        width: of the strokes, in pixels of the image.
        side: pixels of the longer side of what is computed on.

    Returns:
        (H, W) bool. The same arguments give the same mask.

    Raises:
        UsageError: the box has no pixel of the image.
    """
    x0, y0, x1, y1 = _box(image, box, foreground)
    crop = _crop(image, (x0, y0, x1, y1))
    left, top, right, bottom = crop
    part = image[top:bottom, left:right]
    scale = min(1.0, side / max(part.shape[:2]))
    size = max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale))
    cv2 = _opencv()
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA) if scale < 1 else np.ascontiguousarray(part)
    scales = size[0] / part.shape[1], size[1] / part.shape[0]
    labels = np.full((size[1], size[0]), cv2.GC_BGD, np.uint8)
    inner = (x0 - left) * scales[0], (y0 - top) * scales[1], (x1 - left) * scales[0], (y1 - top) * scales[1]
    rows, columns = slice(math.floor(inner[1]), math.ceil(inner[3])), slice(math.floor(inner[0]), math.ceil(inner[2]))
    labels[rows, columns] = cv2.GC_PR_FGD
    if previous is not None:
        before = cv2.resize(previous[top:bottom, left:right].astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0
        labels[rows, columns] = np.where(before[rows, columns], cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    thickness = max(1, round(width * scales[0]))
    for strokes, value in ((background, cv2.GC_BGD), (foreground, cv2.GC_FGD)):
        for stroke in strokes:
            points = (np.asarray(stroke, np.float64).reshape(-1, 2) - (left, top)) * scales
            _draw(labels, points, value, thickness)
    is_inside = _cut(small, labels)
    enlarged = is_inside.astype(np.float32)
    if scale < 1:
        enlarged = cv2.resize(enlarged, part.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    mask = np.zeros(image.shape[:2], bool)
    mask[top:bottom, left:right] = enlarged > 0.5
    return mask


def _opencv() -> Any:
    import cv2

    cv2.setNumThreads(_THREADS)
    return cv2


def _box(image: npt.NDArray[np.uint8], box: Sequence[float], foreground: Sequence[Stroke]) -> tuple[int, int, int, int]:
    """The box in whole pixels of the image, with the foreground strokes in it."""
    points = [point for stroke in foreground for point in stroke]
    x0, y0, x1, y1 = box
    xs, ys = [x0, x1, *(x for x, _ in points)], [y0, y1, *(y for _, y in points)]
    height, width = image.shape[:2]
    if not np.isfinite([*xs, *ys]).all():
        raise UsageError("a box or stroke has a coordinate that is no number")
    left, right = (int(np.clip(value, 0, width)) for value in (math.floor(min(xs)), math.ceil(max(xs))))
    top, bottom = (int(np.clip(value, 0, height)) for value in (math.floor(min(ys)), math.ceil(max(ys))))
    if left >= right or top >= bottom:
        raise UsageError(
            "the box has no pixel of the image",
            why=f"x0 y0 x1 y1 are {list(box)}, the image has {width} × {height} pixels",
        )
    return left, top, right, bottom


def _crop(image: npt.NDArray[np.uint8], box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """The box with its margin, within the image."""
    x0, y0, x1, y1 = box
    height, width = image.shape[:2]
    across, down = math.ceil((x1 - x0) * MARGIN), math.ceil((y1 - y0) * MARGIN)
    return max(x0 - across, 0), max(y0 - down, 0), min(x1 + across, width), min(y1 + down, height)


def _draw(labels: npt.NDArray[np.uint8], points: npt.NDArray[np.float64], value: int, thickness: int) -> None:
    import cv2

    whole = np.clip(np.floor(points), -(1 << 14), 1 << 14).astype(np.int32)
    if len(whole):
        whole = np.concatenate([whole, whole[-1:]])  # a point alone would not be drawn
        cv2.polylines(labels, [whole.reshape(-1, 1, 2)], isClosed=False, color=int(value), thickness=thickness)


def _cut(image: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> BoolArray:
    """(h, w) bool, what is the object; `labels` are OpenCV's, and are changed."""
    import cv2

    def is_object() -> BoolArray:
        return np.asarray((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD), bool)

    models = np.zeros((1, 65)), np.zeros((1, 65))
    begin = time.monotonic()
    cv2.setRNGSeed(0)
    for iteration in range(ITERATIONS):
        inside = is_object()
        if inside.all() or not inside.any():  # OpenCV needs both; a box of the whole image has no outside
            if iteration or not inside.any():
                break
            _mark_border(labels)
            inside = is_object()
            if inside.all() or not inside.any():
                break
        mode = cv2.GC_INIT_WITH_MASK if iteration == 0 else cv2.GC_EVAL
        # No box is given: it stands in the labels.
        cv2.grabCut(image, labels, (0, 0, 1, 1), models[0], models[1], iterCount=1, mode=mode)
        if time.monotonic() - begin > SECONDS:
            break
    return is_object()


def _mark_border(labels: npt.NDArray[np.uint8]) -> None:
    """Take the border for what is probably not the object, where no stroke says that it is."""
    import cv2

    border = np.ones(labels.shape, bool)
    border[1:-1, 1:-1] = False
    labels[border & (labels == cv2.GC_PR_FGD)] = cv2.GC_PR_BGD
