"""Photos and masks into the network's frame and back, with the arithmetic of Matterport's model.

Its resizing is bilinear with half-pixel centres, without smoothing, and takes everything outside the image for zero, so
the outermost pixels of an enlarged photo are darker. Whole-number images are cut off, not rounded. Both are visible in
the network's input and are kept here to the bit: weights by weights in the order in which SciPy's `zoom` sums them.

Boxes are (y1, x1, y2, x2) in pixels, half-open; images are (H, W, 3) RGB, 0 … 255; masks are (H, W, N) bool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.errors import UsageError

RESIZE_MODES = ("square", "pad64", "none", "crop")
STRIDE = 64
"""Sides of the network's input are multiples of this: its coarsest map is so much smaller."""

Array = npt.NDArray[Any]
Padding = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Letterbox:
    """A photo in the network's frame.

    Attributes:
        image: (H′, W′, 3), the dtype of the photo.
        window: (y1, x1, y2, x2), where the photo lies in it.
        scale: how much larger the photo became.
        padding: zeros added (before, after) in y, x and channels.
        crop: (y, x, height, width) that was cut out of the enlarged photo, in mode "crop".
    """

    image: Array
    window: tuple[int, int, int, int]
    scale: float
    padding: Padding
    crop: tuple[int, int, int, int] | None


def resize_image(
    image: Array,
    min_dim: int | None = None,
    max_dim: int | None = None,
    min_scale: float | None = None,
    mode: str = "square",
    *,
    rng: np.random.Generator | None = None,
) -> Letterbox:
    """Bring a photo into the network's frame.

    Args:
        image: (H, W, 3) uint8 or float.
        min_dim: the shorter side becomes at least this; it never shrinks a photo. The side of the cut in mode "crop".
        max_dim: the side of the frame in mode "square"; a photo that would be longer is shrunk to it.
        min_scale: enlarge at least so much.
        mode: "square" pads to max_dim × max_dim, "pad64" to the next multiples of 64, "none" changes nothing (the sides
            must already be multiples of 64), "crop" cuts min_dim × min_dim out at a random place (for training).
        rng: where the random place comes from.

    Raises:
        UsageError: an unknown mode, or sizes that the mode cannot work with.
    """
    height, width = image.shape[:2]
    if mode not in RESIZE_MODES:
        raise UsageError(f"there is no resize mode {mode!r}", fix=f"modes are {', '.join(RESIZE_MODES)}")
    if mode == "none":
        if height % STRIDE or width % STRIDE:
            raise UsageError(
                f"a photo of {width} × {height} cannot go into the network as it is",
                why=f"in resize mode 'none' both sides must be multiples of {STRIDE}",
                fix="use image_resize_mode='pad64' or 'square'",
            )
        return Letterbox(image, (0, 0, height, width), 1.0, ((0, 0), (0, 0), (0, 0)), None)
    scale = _scale(height, width, min_dim, max_dim, min_scale, mode)
    if scale != 1:
        image = resize(image, max(1, round(height * scale)), max(1, round(width * scale)))
        height, width = image.shape[:2]
    if mode == "crop":
        side = _needed(min_dim, "image_min_dim", mode)
        rng = rng or np.random.default_rng()
        y = int(rng.integers(0, height - side, endpoint=True))
        x = int(rng.integers(0, width - side, endpoint=True))
        cut = image[y : y + side, x : x + side]
        return Letterbox(cut, (0, 0, side, side), scale, ((0, 0), (0, 0), (0, 0)), (y, x, side, side))
    if mode == "pad64":
        if _needed(min_dim, "image_min_dim", mode) % STRIDE:
            raise UsageError(f"in resize mode 'pad64' image_min_dim must be a multiple of {STRIDE}, not {min_dim}")
        frame = (height + -height % STRIDE, width + -width % STRIDE)
    else:
        side = _needed(max_dim, "image_max_dim", mode)
        frame = (side, side)
    if height > frame[0] or width > frame[1]:
        raise UsageError(
            f"a photo of {width} × {height} does not fit into {frame[1]} × {frame[0]}",
            fix="image_max_dim must be at least image_min_dim",
        )
    top, left = (frame[0] - height) // 2, (frame[1] - width) // 2
    padding = ((top, frame[0] - height - top), (left, frame[1] - width - left), (0, 0))
    window = (top, left, top + height, left + width)
    return Letterbox(np.pad(image, padding), window, scale, padding, None)


def _scale(
    height: int, width: int, min_dim: int | None, max_dim: int | None, min_scale: float | None, mode: str
) -> float:
    scale = 1.0
    if min_dim:
        scale = max(1.0, min_dim / min(height, width))
    if min_scale:
        scale = max(scale, float(min_scale))
    if mode == "square" and max_dim and round(max(height, width) * scale) > max_dim:
        scale = max_dim / max(height, width)
    return scale


def _needed(value: int | None, name: str, mode: str) -> int:
    if not value:
        raise UsageError(f"resize mode {mode!r} needs {name}")
    return value


def resize(image: Array, height: int, width: int) -> Array:
    """Bilinear, half-pixel centres, zero outside, no smoothing.

    Args:
        image: (h, w) or (h, w, C); uint8 results are cut off, floats keep their type.
    """
    dtype = image.dtype
    padded = np.pad(image.astype(np.float64), ((1, 1), (1, 1)) + ((0, 0),) * (image.ndim - 2))
    row, down = _places(image.shape[0], height)
    column, right = _places(image.shape[1], width)
    tail = (1,) * (image.ndim - 2)
    down, right = down.reshape(-1, 1, *tail), right.reshape(-1, *tail)
    upper, lower = padded[row] * (1.0 - down), padded[row + 1] * down
    result = np.take(upper, column, axis=1) * (1.0 - right)
    result += np.take(upper, column + 1, axis=1) * right
    result += np.take(lower, column, axis=1) * (1.0 - right)
    result += np.take(lower, column + 1, axis=1) * right
    if image.size:
        np.clip(result, image.min(), image.max(), out=result)
    return result.astype(dtype)


def _places(size: int, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """For each of `count` pixel centres along an axis of `size`: the neighbour before (in the padded axis), and how far on."""
    at = (np.arange(count) + 0.5) * (size / count) - 0.5
    before = np.floor(at)
    return before.astype(np.int64) + 1, at - before


def mold_image(image: Array, mean_pixel: Sequence[float]) -> npt.NDArray[np.float32]:
    """(H, W, 3) RGB → what the network sees: the mean taken off, also off the padding."""
    molded: npt.NDArray[np.float32] = np.subtract(image, np.asarray(mean_pixel, np.float64)).astype(np.float32)
    return molded


def resize_mask(mask: Array, scale: float, padding: Padding, crop: tuple[int, int, int, int] | None = None) -> Array:
    """Masks (H, W, N) into the frame of a `Letterbox`: nearest neighbour, then the same padding or cut."""
    row, inside_y = _nearest(mask.shape[0], round(mask.shape[0] * scale))
    column, inside_x = _nearest(mask.shape[1], round(mask.shape[1] * scale))
    inside = inside_y[:, None, None] & inside_x[None, :, None]
    larger = np.where(inside, mask[row][:, column], np.zeros((), mask.dtype))
    if crop is None:
        return np.pad(larger, padding)
    y, x, height, width = crop
    return larger[y : y + height, x : x + width]


def _nearest(size: int, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """The nearest place for each of `count`, ends on ends; a last one that rounding pushes over the end is outside."""
    at = np.arange(count) * ((size - 1) / max(count - 1, 1))
    place = np.floor(at + 0.5).astype(np.int64)
    return np.minimum(place, size - 1), at <= size - 1


def minimize_mask(boxes: Array, masks: Array, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Masks (H, W, N) → their box crops at one small size, (h, w, N).

    Raises:
        UsageError: a box without area.
    """
    small = np.zeros((*shape, masks.shape[-1]), bool)
    for index, (y1, x1, y2, x2) in enumerate(np.asarray(boxes)[:, :4].astype(int).tolist()):
        crop = masks[y1:y2, x1:x2, index]
        if not crop.size:
            raise UsageError(f"box {index} has no area: {(y1, x1, y2, x2)}", fix="leave empty masks out")
        small[:, :, index] = np.around(resize(crop.astype(np.float64), *shape)) != 0
    return small


def expand_mask(boxes: Array, small: Array, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The way back: small masks (h, w, N) into full ones (H, W, N), as far as they can be had again."""
    masks = np.zeros((*shape[:2], small.shape[-1]), bool)
    for index, (y1, x1, y2, x2) in enumerate(np.asarray(boxes)[:, :4].astype(int).tolist()):
        masks[y1:y2, x1:x2, index] = np.around(resize(small[:, :, index].astype(np.float64), y2 - y1, x2 - x1)) != 0
    return masks


def unmold_mask(mask: Array, box: Sequence[int] | Array, shape: Sequence[int]) -> npt.NDArray[np.bool_]:
    """A predicted map into the photo.

    Args:
        mask: (28, 28) float32, probability of the object.
        box: (y1, x1, y2, x2) in pixels of the photo.
        shape: (H, W, …) of the photo.
    """
    y1, x1, y2, x2 = (int(value) for value in box)
    full = np.zeros(tuple(shape[:2]), bool)
    full[y1:y2, x1:x2] = resize(mask, y2 - y1, x2 - x1) >= 0.5
    return full


def extract_bboxes(masks: Array) -> npt.NDArray[np.int32]:
    """Tight boxes of masks (H, W, N): (N, 4) int32 y1 x1 y2 x2, half-open; zeros for an empty mask."""
    boxes = np.zeros((masks.shape[-1], 4), np.int32)
    for index in range(masks.shape[-1]):
        rows = np.flatnonzero(masks[:, :, index].any(axis=1))
        columns = np.flatnonzero(masks[:, :, index].any(axis=0))
        if len(rows):
            boxes[index] = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
    return boxes
