"""Augmentation: random crop, resize and horizontal flip, chosen per sample; large scale jitter among them.

A `CropTransform` is what was chosen. Boxes go through it; masks do not: mask targets are sampled from the mask's crop in
source pixels, through the transform (`targets.mask_targets`). Images stay uint8 until they are on the device, where they
are resized as torchvision resizes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torchvision.models.detection.image_list import ImageList

from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.sample import Instances, Sample
from segdata.loading.crops import CropTransform, cropped, window_of
from segdata.models.maskrcnn.config import Config
from segdata.torch import object_categories

_LARGE_JITTER = (0.1, 2.0)


@dataclass(frozen=True, eq=False)
class TrainSample:
    """One training image with its objects.

    Attributes:
        pixels: (h, w, 3) uint8 RGB, the crop before resizing; perhaps of a reduced JPEG.
        boxes: (N, 4) float32 x0 y0 x1 y1 after the transform, in pixels.
        labels: (N,) int64 class of the network, from 1; 0 is the background.
        frames: (N, 4) int64 x y width height of each mask's bounding box, in source pixels.
        crops: (sum of h · w,) uint8 0/1, the masks within these boxes, row by row, one after another.
        seed: random seed of the sampling of anchors and proposals.
    """

    pixels: npt.NDArray[np.uint8]
    transform: CropTransform
    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    frames: npt.NDArray[np.int64]
    crops: npt.NDArray[np.uint8]
    seed: int


def scaled_size(height: int, width: int, config: Config, min_size: int | None = None) -> tuple[int, int]:
    """Height and width of an image after resizing, by torchvision's rule (and the original's `IMAGE_MIN_SCALE`)."""
    least = config.min_size[-1] if min_size is None else min_size
    scale = min(least / min(height, width), config.max_size / max(height, width))
    scale = max(scale, config.min_scale)
    return max(1, int(np.floor(height * scale))), max(1, int(np.floor(width * scale)))


class TrainTransform:
    """The transform of the Loader in training: decode, augment at random, take the objects along."""

    def __init__(self, config: Config, labels: LabelSpace) -> None:
        self.config = config
        self.label = label_of_category(labels)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> TrainSample:
        config = self.config
        seed = int(rng.integers(2**62))
        transform = self._transform(sample, rng)
        times = 1
        if config.jpeg_reduction:
            transform, times = transform.reduced(sample.height, sample.width)
        instances = filled(sample.instances) if config.boxes_as_masks else sample.instances
        boxes = transform.boxes(instances.boxes)
        keep = (
            (self.label[instances.category] > 0)
            & ~instances.iscrowd
            & instances.has_mask
            & (boxes[:, 2] - boxes[:, 0] >= 1)
            & (boxes[:, 3] - boxes[:, 1] >= 1)
            & (instances.masks.areas > 0)
        )
        indices = np.nonzero(keep)[0]
        if config.max_objects and len(indices) > config.max_objects:
            largest = np.argsort(-instances.masks.areas[indices], kind="stable")[: config.max_objects]
            indices = indices[np.sort(largest)]
        masks = instances.masks[indices]
        crops = [np.ascontiguousarray(crop).reshape(-1) for crop in masks.crops()]
        return TrainSample(
            pixels=window_of(sample, transform, times),
            transform=transform,
            boxes=boxes[indices],
            labels=self.label[instances.category[indices]],
            frames=masks.boxes_xywh.astype(np.int64),
            crops=np.concatenate(crops) if crops else np.zeros(0, np.uint8),
            seed=seed,
        )

    def _transform(self, sample: Sample, rng: np.random.Generator) -> CropTransform:
        config = self.config
        height, width = sample.height, sample.width
        flipped = bool(rng.random() < config.flip)
        if config.large_scale_jitter:
            factor = rng.uniform(*_LARGE_JITTER) * config.max_size / max(height, width)
            return cropped(height, width, factor, (config.max_size, config.max_size), flipped, rng)
        size = scaled_size(height, width, config, int(rng.choice(config.min_size)))
        if config.scale_jitter == (1.0, 1.0):
            return CropTransform((0, 0, width, height), *size, flipped)
        factor = rng.uniform(config.scale_jitter[0], config.scale_jitter[1]) * size[0] / height
        return cropped(height, width, factor, size, flipped, rng)


def has_box_alone(instances: Instances) -> npt.NDArray[np.bool_]:
    """(N,) bool, objects that have a box with a size and no mask."""
    sides = instances.boxes[:, 2:] - instances.boxes[:, :2]
    alone: npt.NDArray[np.bool_] = ~instances.has_mask & (sides > 0).all(axis=1)
    return alone


def filled(instances: Instances) -> Instances:
    """The same objects; those that have a box alone have it filled as their mask.

    A pixel belongs to the mask where its centre is inside the box; a box between the centres has the pixel it lies in.
    """
    if instances.has_mask.all():
        return instances
    alone = has_box_alone(instances)
    height, width = instances.masks.height, instances.masks.width
    low, high = instances.boxes[alone, :2], instances.boxes[alone, 2:]
    begin, end = np.ceil(low - 0.5), np.ceil(high - 0.5)
    begin = np.where(end > begin, begin, np.floor(low)).clip(0, (width - 1, height - 1)).astype(np.int64)
    end = np.maximum(end, begin + 1).clip(1, (width, height)).astype(np.int64)
    crops = [np.ones((y1 - y0, x1 - x0), np.uint8) for (x0, y0), (x1, y1) in zip(begin, end, strict=True)]
    boxes = Masks.from_crops(crops, [(int(x), int(y)) for x, y in begin], height, width)
    order = np.arange(len(instances))
    order[alone] = len(instances) + np.arange(len(boxes))
    masks = Masks.concatenate([instances.masks, boxes], height, width)[order]
    return replace(instances, masks=masks, has_mask=instances.has_mask | alone)


def label_of_category(labels: LabelSpace) -> npt.NDArray[np.int64]:
    """(K,) the network's class of each category: from 1 in the order of the label space, 0 for stuff."""
    table = np.zeros(max(len(labels), 1), np.int64)
    chosen = object_categories(labels)
    table[chosen] = np.arange(1, len(chosen) + 1)
    return table


def categories_of(labels: LabelSpace) -> npt.NDArray[np.int64]:
    """(C,) int64 the category of each of the network's classes from 1 on."""
    return np.nonzero(label_of_category(labels))[0]


def to_batch(
    images: Sequence[npt.NDArray[np.uint8]],
    transforms: Sequence[CropTransform],
    config: Config,
    device: torch.device,
    *,
    memory_format: Any = torch.contiguous_format,
) -> ImageList:
    """Images → the network's input: moved as uint8, then normalised, flipped, resized and padded on the device.

    Args:
        images: (h, w, 3) uint8 RGB, cropped.
    """
    mean = torch.tensor(config.mean, device=device)[:, None, None]
    std = torch.tensor(config.std, device=device)[:, None, None]
    inputs = []
    for pixels, transform in zip(images, transforms, strict=True):
        image = torch.from_numpy(pixels).to(device, non_blocking=True).permute(2, 0, 1).to(torch.float32).div(255)
        image = image.sub(mean).div(std)
        image = image.flip(2) if transform.is_flipped else image
        size = (transform.height, transform.width)
        if size != image.shape[1:]:
            image = F.interpolate(image[None], size, mode="bilinear", align_corners=False)[0]
        inputs.append(image)
    if config.fixed_size or config.large_scale_jitter:
        height = width = _up(config.max_size)
    else:
        height = _up(max(transform.height for transform in transforms))
        width = _up(max(transform.width for transform in transforms))
    batch = torch.zeros(len(inputs), 3, height, width, device=device).contiguous(memory_format=memory_format)
    for row, image in zip(batch, inputs, strict=True):
        row[:, : image.shape[1], : image.shape[2]] = image
    return ImageList(batch, [(transform.height, transform.width) for transform in transforms])


STRIDE = 32
"""Sides of a batch are multiples of this, the coarsest stride of the FPN."""


def _up(size: int) -> int:
    return -(-size // STRIDE) * STRIDE


def ground_truth(sample: TrainSample, device: torch.device) -> dict[str, Tensor]:
    """`boxes` (N, 4) float32 and `labels` (N,) int64 of a training image, on the device."""
    return {
        "boxes": torch.from_numpy(sample.boxes).to(device, non_blocking=True),
        "labels": torch.from_numpy(sample.labels).to(device, non_blocking=True),
    }
