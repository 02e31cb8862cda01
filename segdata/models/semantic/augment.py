"""Augmentation: random crop, scale, flip and colour, chosen per sample; crops around rare classes among them.

Images and label maps are cut in the Loader's threads, as bytes; scaled, flipped and coloured they are on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from segdata.core.labels import LabelSpace, look_up
from segdata.core.sample import Sample
from segdata.loading.crops import CropTransform, window_of
from segdata.models.semantic.classes import ClassPixels, class_table, ignore_index, label_map
from segdata.models.semantic.config import SemanticConfig

_TRIES = 10
"""Crops that are drawn at most until one is accepted."""


@dataclass(frozen=True, eq=False)
class TrainSample:
    """One training crop.

    Attributes:
        pixels: (h, w, 3) uint8 RGB, before resizing; of a reduced JPEG fewer than the classes.
        classes: (h, w) uint8 or int32 class of each pixel, `classes.ignore_index` where none counts.
        transform: what was chosen.
        color: factors of brightness, contrast and saturation.
        ignored: value of pixels that do not count.
    """

    pixels: npt.NDArray[np.uint8]
    classes: npt.NDArray[Any]
    transform: CropTransform
    color: tuple[float, float, float]
    ignored: int


@dataclass(frozen=True)
class Batch:
    """Training crops on the device.

    Attributes:
        images: (N, 3, H, W) float32, normalised; zeros where a crop does not reach.
        classes: (N, H, W) int64, `ignore_index` where none counts.
    """

    images: Tensor
    classes: Tensor
    ignore_index: int


class TrainTransform:
    """The transform of the Loader in training: decode, choose a crop, cut image and label map.

    Args:
        counted: pixels of the classes, for crops around rare ones.
    """

    def __init__(self, settings: SemanticConfig, labels: LabelSpace, counted: ClassPixels) -> None:
        self._settings, self._labels = settings, labels
        self._table, self._ignored = class_table(labels), ignore_index(labels)
        self._counted = counted.pixels

    def __call__(self, sample: Sample, rng: np.random.Generator) -> TrainSample:
        settings = self._settings
        semantic = label_map(sample, self._labels, from_objects=settings.from_objects)
        assert semantic is not None, "samples without a label map were left out"
        classes = look_up(self._table, semantic)
        transform = self._chosen(classes, rng)
        times = 1
        if settings.jpeg_reduction:
            transform, times = transform.reduced(sample.height, sample.width)
        x0, y0, x1, y1 = transform.window
        jitter = settings.color_jitter
        brightness, contrast, saturation = (
            (1 + jitter * (2 * rng.random(3) - 1)).tolist() if jitter else (1.0, 1.0, 1.0)
        )
        return TrainSample(
            pixels=window_of(sample, transform, times),
            classes=classes[y0:y1, x0:x1].copy(),
            transform=transform,
            color=(brightness, contrast, saturation),
            ignored=self._ignored,
        )

    def _chosen(self, classes: npt.NDArray[Any], rng: np.random.Generator) -> CropTransform:
        """A crop that has a pixel which counts, and not too much of one class; the last one that has a pixel otherwise."""
        settings = self._settings
        is_flipped = bool(rng.random() < settings.flip)
        low, high = np.log(settings.scale_jitter)
        scale = float(np.exp(rng.uniform(low, high)))
        centre = self._rare_pixel(classes, rng) if rng.random() < settings.rare else None
        chosen = None
        for _ in range(_TRIES):
            crop = _crop(classes.shape, scale, settings.crop, is_flipped, centre, rng)
            share = self._largest_share(classes, crop)
            if share is not None and (share <= settings.max_one_class or settings.max_one_class == 1):
                return crop
            if share is not None or chosen is None:
                chosen = crop
        assert chosen is not None
        if self._largest_share(classes, chosen) is None:  # nothing that counts in all of them: around a pixel that does
            centre = _some_pixel(classes != self._ignored, rng)
            chosen = _crop(classes.shape, scale, settings.crop, is_flipped, centre, rng)
        return chosen

    def _largest_share(self, classes: npt.NDArray[Any], crop: CropTransform) -> float | None:
        """The share of the most frequent class among the pixels of a crop that count; None without any."""
        x0, y0, x1, y1 = crop.window
        counts = np.bincount(classes[y0:y1, x0:x1].reshape(-1), minlength=self._ignored + 1)[: self._ignored]
        total = int(counts.sum())
        return float(counts.max() / total) if total else None

    def _rare_pixel(self, classes: npt.NDArray[Any], rng: np.random.Generator) -> tuple[int, int] | None:
        """Row and column of a pixel of a class that is drawn by its inverse frequency in the pack."""
        there = np.flatnonzero(np.bincount(classes.reshape(-1), minlength=len(self._counted))[: len(self._counted)])
        if not len(there):
            return None
        weights = 1 / np.maximum(self._counted[there], 1)
        chosen = there[
            int(np.searchsorted(np.cumsum(weights / weights.sum()), rng.random(), "right").clip(0, len(there) - 1))
        ]
        return _some_pixel(classes == chosen, rng)


def _some_pixel(is_one: npt.NDArray[np.bool_], rng: np.random.Generator) -> tuple[int, int]:
    """Row and column of one of the pixels, of which there is one at least."""
    pixels = np.flatnonzero(is_one.reshape(-1))
    row, column = divmod(int(pixels[rng.integers(len(pixels))]), is_one.shape[1])
    return row, column


def _crop(
    shape: tuple[int, ...],
    scale: float,
    size: Sequence[int],
    is_flipped: bool,
    centre: tuple[int, int] | None,
    rng: np.random.Generator,
) -> CropTransform:
    """A crop that is `size` (height, width) after scaling, or less where the scaled image is smaller.

    Args:
        centre: row and column of a pixel that lies in the crop, where it is; None for anywhere.
    """
    begins, ends, sides = [], [], []
    for axis in (0, 1):
        wanted = max(1, round(size[axis] / scale))
        length = min(shape[axis], wanted)
        low, high = 0, shape[axis] - length
        if centre is not None:
            low, high = max(low, centre[axis] - length + 1), min(high, centre[axis])
        begin = int(rng.integers(low, high + 1))
        begins.append(begin)
        ends.append(begin + length)
        sides.append(size[axis] if length == wanted else max(1, min(size[axis], round(length * scale))))
    return CropTransform((begins[1], begins[0], ends[1], ends[0]), sides[0], sides[1], is_flipped)


def to_batch(
    samples: Sequence[TrainSample],
    settings: SemanticConfig,
    device: torch.device,
    *,
    memory_format: Any = torch.contiguous_format,
) -> Batch:
    """Crops → a batch: moved as bytes, then scaled, flipped, coloured, normalised and padded on the device.

    Images are scaled bilinearly, label maps to the nearest pixel, both by pixels' centres, so that they stay aligned
    (torchvision's `nearest` is half a pixel off).
    """
    height, width = settings.crop
    ignored = samples[0].ignored
    images = torch.zeros(len(samples), 3, height, width, device=device).contiguous(memory_format=memory_format)
    classes = torch.full((len(samples), height, width), ignored, dtype=torch.int64, device=device)
    mean = torch.tensor(settings.mean, device=device)[:, None, None]
    std = torch.tensor(settings.std, device=device)[:, None, None]
    for row, sample in enumerate(samples):
        crop = sample.transform
        image = (
            torch.from_numpy(sample.pixels).to(device, non_blocking=True).permute(2, 0, 1).to(torch.float32).div(255)
        )
        labels = torch.from_numpy(sample.classes).to(device, non_blocking=True)
        size = crop.height, crop.width
        if size != image.shape[1:]:
            image = functional.interpolate(image[None], size, mode="bilinear")[0]
        if size != labels.shape:
            rows, columns = (_nearest(*sides, device) for sides in zip(labels.shape, size, strict=True))
            labels = labels[rows[:, None], columns]
        if crop.is_flipped:
            image, labels = image.flip(2), labels.flip(1)
        images[row, :, : crop.height, : crop.width] = colored(image, sample.color).sub(mean).div(std)
        classes[row, : crop.height, : crop.width] = labels
    return Batch(images, classes, ignored)


def _nearest(source: int, target: int, device: torch.device) -> Tensor:
    """(target,) int64, the source pixel whose centre is nearest to the centre of each target pixel."""
    return (
        ((torch.arange(target, device=device) + 0.5) * (source / target)).floor().to(torch.int64).clamp(max=source - 1)
    )


_GRAY = (0.299, 0.587, 0.114)


def colored(image: Tensor, factors: tuple[float, float, float]) -> Tensor:
    """An image with other brightness, contrast and saturation.

    Args:
        image: (3, H, W) float in 0 … 1.
        factors: 1 leaves it as it is; 0 is black, its mean gray, and without colour.

    Returns:
        The same shape, in 0 … 1.
    """
    brightness, contrast, saturation = factors
    if factors == (1.0, 1.0, 1.0):
        return image
    image = (image * brightness).clamp(0, 1)
    weights = torch.tensor(_GRAY, device=image.device)[:, None, None]
    gray = (image * weights).sum(0, keepdim=True)
    mean = gray.mean()
    image = (mean + contrast * (image - mean)).clamp(0, 1)
    gray = (mean + contrast * (gray - mean)).clamp(0, 1)
    return (gray + saturation * (image - gray)).clamp(0, 1)
