"""Photos → instances with scores: torchvision's detection, whose masks become run lengths one crop at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.roi_heads import expand_boxes, expand_masks
from torchvision.models.detection.transform import resize_boxes

from segdata.masks import Masks
from segdata.sample import Instances
from segdata.train.config import Config
from segdata.train.views import View, placed, scaled_size

Photo = npt.NDArray[np.uint8]


def detect(
    model: MaskRCNN,
    photos: Sequence[Photo],
    config: Config,
    categories: Sequence[int] | npt.NDArray[Any],
    *,
    flip: bool = False,
) -> list[Instances]:
    """Find the objects of photos, the surest first.

    Args:
        model: in evaluation mode.
        photos: each (H, W, 3) uint8 RGB.
        categories: the category index of the network's label 1, 2, ….
        flip: also look at the mirrored photo, and pool what is found.

    Returns:
        For each photo, instances with scores; masks in its own size, boxes from the network.
    """
    device = next(model.parameters()).device
    index = np.asarray(categories, np.int64)
    views = [View((0, 0, photo.shape[1], photo.shape[0]), *scaled_size(*photo.shape[:2], config)) for photo in photos]
    with torch.inference_mode(), torch.autocast(device.type, precision(config), enabled=config.precision != "fp32"):
        images = placed(photos, views, config, device, memory_format=memory_format(config))
        features = model.backbone(images.tensors)
        proposals, _ = model.rpn(images, features)
        found, _ = model.roi_heads(features, proposals, images.image_sizes)
    return [
        _instances(one, photo.shape[:2], (view.height, view.width), index, config.mask_threshold)
        for one, photo, view in zip(found, photos, views, strict=True)
    ]


def precision(config: Config) -> torch.dtype:
    """What the network calculates in."""
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[config.precision]


def memory_format(config: Config) -> Any:
    """The order of images and weights in memory."""
    return torch.channels_last if config.channels_last else torch.contiguous_format


def _instances(
    found: dict[str, Tensor], size: tuple[int, ...], seen: tuple[int, int], categories: Any, threshold: float
) -> Instances:
    height, width = size
    boxes = resize_boxes(found["boxes"].float(), list(seen), [height, width])
    masks = pasted(found["masks"].float(), boxes, height, width, threshold)
    corners = boxes.cpu().numpy().astype(np.float64)
    return Instances.build(
        categories[found["labels"].cpu().numpy() - 1],
        masks,
        id=np.arange(1, len(corners) + 1),
        bbox=np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), axis=1),
        area=masks.areas,
        score=found["scores"].double().cpu().numpy(),
    )


def pasted(masks: Tensor, boxes: Tensor, height: int, width: int, threshold: float) -> Masks:
    """Mask maps scaled into their boxes, as torchvision's `paste_masks_in_image`, without a plane for each.

    Args:
        masks: (N, 1, M, M) float32 probabilities.
        boxes: (N, 4) x0 y0 x1 y1 in pixels of the photo.
        threshold: values from here on are inside.
    """
    padded, scale = expand_masks(masks, padding=1)
    whole = expand_boxes(boxes, scale).to(torch.int64).tolist()
    padded = padded.cpu()
    crops, places = [], []
    for mask, (x0, y0, x1, y1) in zip(padded, whole, strict=True):
        sides = (max(y1 - y0 + 1, 1), max(x1 - x0 + 1, 1))
        crop = F.interpolate(mask[None], size=sides, mode="bilinear", align_corners=False)[0, 0] >= threshold
        left, top = max(x0, 0), max(y0, 0)
        crops.append(crop[top - y0 : max(min(y1 + 1, height) - y0, 0), left - x0 : max(min(x1 + 1, width) - x0, 0)].numpy())
        places.append((left, top))
    return Masks.from_crops(crops, places, height, width)
