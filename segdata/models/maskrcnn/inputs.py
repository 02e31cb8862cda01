"""Images of several sizes → one padded batch on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torchvision.models.detection.image_list import ImageList

from segdata.models.maskrcnn.augment import _STRIDE, Item, View
from segdata.models.maskrcnn.config import Config


def placed(
    photos: Sequence[npt.NDArray[np.uint8]],
    views: Sequence[View],
    config: Config,
    device: torch.device,
    *,
    memory_format: Any = torch.contiguous_format,
) -> ImageList:
    """Photos → the network's input: moved as uint8, then normalised, scaled, mirrored and padded on the device.

    Args:
        photos: (h, w, 3) uint8 RGB, the views' windows.
    """
    mean = torch.tensor(config.mean, device=device)[:, None, None]
    std = torch.tensor(config.std, device=device)[:, None, None]
    images = []
    for photo, view in zip(photos, views, strict=True):
        image = torch.from_numpy(photo).to(device, non_blocking=True).permute(2, 0, 1).to(torch.float32).div(255)
        image = image.sub(mean).div(std)
        image = image.flip(2) if view.is_mirrored else image
        if (view.height, view.width) != image.shape[1:]:
            image = F.interpolate(image[None], (view.height, view.width), mode="bilinear", align_corners=False)[0]
        images.append(image)
    if config.fixed_size or config.large_scale_jitter:
        height = width = _up(config.max_size)
    else:
        height = _up(max(view.height for view in views))
        width = _up(max(view.width for view in views))
    batch = torch.zeros(len(images), 3, height, width, device=device).contiguous(memory_format=memory_format)
    for row, image in zip(batch, images, strict=True):
        row[:, : image.shape[1], : image.shape[2]] = image
    return ImageList(batch, [(view.height, view.width) for view in views])


def _up(size: int) -> int:
    return -(-size // _STRIDE) * _STRIDE


def truth_tensors(item: Item, device: torch.device) -> dict[str, Tensor]:
    """Boxes and labels of an image on the device."""
    return {
        "boxes": torch.from_numpy(item.boxes).to(device, non_blocking=True),
        "labels": torch.from_numpy(item.labels).to(device, non_blocking=True),
    }


def aspect_batches(sizes: npt.NDArray[Any], batch: int, world: int, seed: int, epoch: int) -> list[list[int]]:
    """An epoch's batches, wide images together and tall ones together; neighbours are what ranks take at one step.

    Every image is in the epoch once, but for what does not fill a last batch on every rank: there, images of the same
    shape are seen again.

    Args:
        sizes: (N, 2) heights and widths.
        batch: images of a rank's batch.
    """
    rng = np.random.default_rng((seed, epoch, 1))
    order = rng.permutation(len(sizes))
    is_wide = sizes[order, 1] >= sizes[order, 0]
    groups = []
    for members in (order[is_wide], order[~is_wide]):
        if len(members):
            full = np.resize(members, -(-len(members) // (batch * world)) * batch * world)
            groups += list(full.reshape(-1, world, batch))
    shuffled = [groups[place] for place in rng.permutation(len(groups)).tolist()]
    return [own.tolist() for group in shuffled for own in group]
