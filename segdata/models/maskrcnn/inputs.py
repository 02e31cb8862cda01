"""Images of several sizes → one padded batch on the device, resized and normalised there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torchvision.models.detection.image_list import ImageList

from segdata.models.maskrcnn.augment import CropTransform, TrainSample
from segdata.models.maskrcnn.config import Config


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


_STRIDE = 32
"""Sides of a batch are multiples of this, the coarsest stride of the FPN."""


def _up(size: int) -> int:
    return -(-size // _STRIDE) * _STRIDE


def ground_truth(sample: TrainSample, device: torch.device) -> dict[str, Tensor]:
    """`boxes` (N, 4) float32 and `labels` (N,) int64 of a training image, on the device."""
    return {
        "boxes": torch.from_numpy(sample.boxes).to(device, non_blocking=True),
        "labels": torch.from_numpy(sample.labels).to(device, non_blocking=True),
    }
