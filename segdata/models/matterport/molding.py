"""Images and masks → the network's input size and back, equal to Matterport's to the bit.

Its resizing is bilinear with half-pixel centres, without antialiasing, and pads with zeros, so the outermost pixels of an
enlarged image are darker. Integer images are truncated, not rounded. Both are visible in the network's input and are
reproduced here to the bit, with sums in the order of SciPy's `zoom`.

Boxes are (y1, x1, y2, x2) in pixels, y2 and x2 exclusive; images are (H, W, 3) RGB, 0 … 255; masks are (H, W, N) bool.
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
"""Sides of the network's input are multiples of this, the stride of its coarsest feature map."""

Array = npt.NDArray[Any]
Padding = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Letterbox:
    """A resized and padded image.

    Attributes:
        image: (H′, W′, 3), of the image's dtype.
        window: (y1, x1, y2, x2), the image without padding.
        scale: resize factor.
        padding: zeros added (before, after) in y, x and channels.
        crop: (y, x, height, width) of the resized image, in mode "crop".
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
    """Resize and pad an image for the network.

    Args:
        image: (H, W, 3) uint8 or float.
        min_dim: lower limit of the shorter side; images are never shrunk to it. The side of the crop in mode "crop".
        max_dim: side of the square in mode "square", and upper limit of the longer side.
        min_scale: lower limit of the resize factor.
        mode: "square" pads to max_dim × max_dim, "pad64" to the next multiples of 64, "none" changes nothing (the sides
            must already be multiples of 64), "crop" is a random crop of min_dim × min_dim (for training).
        rng: for the random crop.

    Raises:
        UsageError: an unknown mode, or sizes that the mode cannot work with.
    """
    height, width = image.shape[:2]
    if mode not in RESIZE_MODES:
        raise UsageError(f"there is no resize mode {mode!r}", fix=f"modes are {', '.join(RESIZE_MODES)}")
    if mode == "none":
        if height % STRIDE or width % STRIDE:
            raise UsageError(
                f"an image of {width} × {height} cannot go into the network as it is",
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
            f"an image of {width} × {height} does not fit into {frame[1]} × {frame[0]}",
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
    """Resize: bilinear, half-pixel centres, zero padding, no antialiasing.

    Args:
        image: (h, w) or (h, w, C); uint8 results are truncated, floats keep their type.
    """
    dtype = image.dtype
    padded = np.pad(image.astype(np.float64), ((1, 1), (1, 1)) + ((0, 0),) * (image.ndim - 2))
    row, down = _neighbours(image.shape[0], height)
    column, right = _neighbours(image.shape[1], width)
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


def _neighbours(size: int, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """For `count` pixel centres along an axis of `size`: the neighbour before (in the padded axis), and the fraction."""
    position = (np.arange(count) + 0.5) * (size / count) - 0.5
    before = np.floor(position)
    return before.astype(np.int64) + 1, position - before


def mold_image(image: Array, mean_pixel: Sequence[float]) -> npt.NDArray[np.float32]:
    """(H, W, 3) RGB → float32, the mean subtracted, also from the padding."""
    molded: npt.NDArray[np.float32] = np.subtract(image, np.asarray(mean_pixel, np.float64)).astype(np.float32)
    return molded


def resize_mask(mask: Array, scale: float, padding: Padding, crop: tuple[int, int, int, int] | None = None) -> Array:
    """Masks (H, W, N) resized as the image of a `Letterbox`: nearest neighbour, then the same padding or crop."""
    row, inside_y = _nearest(mask.shape[0], round(mask.shape[0] * scale))
    column, inside_x = _nearest(mask.shape[1], round(mask.shape[1] * scale))
    inside = inside_y[:, None, None] & inside_x[None, :, None]
    larger = np.where(inside, mask[row][:, column], np.zeros((), mask.dtype))
    if crop is None:
        return np.pad(larger, padding)
    y, x, height, width = crop
    return larger[y : y + height, x : x + width]


def _nearest(size: int, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """The nearest of `size` pixels for each of `count`, corners aligned; one rounded to beyond the end is outside."""
    position = np.arange(count) * ((size - 1) / max(count - 1, 1))
    nearest = np.floor(position + 0.5).astype(np.int64)
    return np.minimum(nearest, size - 1), position <= size - 1


def minimize_mask(boxes: Array, masks: Array, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Mini masks: masks (H, W, N) cropped to their boxes and resized to one small size, (h, w, N).

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
    """Mini masks (h, w, N) → masks (H, W, N), approximately."""
    masks = np.zeros((*shape[:2], small.shape[-1]), bool)
    for index, (y1, x1, y2, x2) in enumerate(np.asarray(boxes)[:, :4].astype(int).tolist()):
        masks[y1:y2, x1:x2, index] = np.around(resize(small[:, :, index].astype(np.float64), y2 - y1, x2 - x1)) != 0
    return masks


def unmold_mask(mask: Array, box: Sequence[int] | Array, shape: Sequence[int]) -> npt.NDArray[np.bool_]:
    """A predicted mask → (H, W) bool, in pixels of the image.

    Args:
        mask: (28, 28) float32, probability of the object.
        box: (y1, x1, y2, x2) in pixels of the image.
        shape: (H, W, …) of the image.
    """
    y1, x1, y2, x2 = (int(value) for value in box)
    full = np.zeros(tuple(shape[:2]), bool)
    full[y1:y2, x1:x2] = resize(mask, y2 - y1, x2 - x1) >= 0.5
    return full


def extract_bboxes(masks: Array) -> npt.NDArray[np.int32]:
    """Bounding boxes of masks (H, W, N): (N, 4) int32 y1 x1 y2 x2, y2 and x2 exclusive; zeros for an empty mask."""
    boxes = np.zeros((masks.shape[-1], 4), np.int32)
    for index in range(masks.shape[-1]):
        rows = np.flatnonzero(masks[:, :, index].any(axis=1))
        columns = np.flatnonzero(masks[:, :, index].any(axis=0))
        if len(rows):
            boxes[index] = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
    return boxes
