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
from torchvision.ops import batched_nms

from segdata.core.masks import Masks
from segdata.core.sample import Instances
from segdata.models.maskrcnn.augment import View, scaled_size
from segdata.models.maskrcnn.config import Config
from segdata.models.maskrcnn.inputs import placed

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
        categories: the category of each of the network's labels from 1 on; −1 for labels that do not count.
        flip: also look at the mirrored photo, and pool what is found.

    Returns:
        For each photo, instances with scores; masks in its own size, boxes from the network.
    """
    index = np.asarray(categories, np.int64)
    once = _forward(model, photos, config, mirrored=False)
    again = _forward(model, photos, config, mirrored=True) if flip else [None] * len(photos)
    return [
        _instances(_pooled(one, other, config), photo.shape[0], photo.shape[1], index, config.mask_threshold)
        for one, other, photo in zip(once, again, photos, strict=True)
    ]


Found = dict[str, Tensor]
"""Of one photo: `boxes` (N, 4) in its pixels, `labels` (N,), `scores` (N,), `masks` (N, 1, M, M)."""


def _forward(model: MaskRCNN, photos: Sequence[Photo], config: Config, *, mirrored: bool) -> list[Found]:
    """What the network finds, in pixels of the photos as they are."""
    device = next(model.parameters()).device
    views = [
        View((0, 0, photo.shape[1], photo.shape[0]), *scaled_size(photo.shape[0], photo.shape[1], config), mirrored)
        for photo in photos
    ]
    with torch.inference_mode(), torch.autocast(device.type, precision(config), enabled=config.precision != "fp32"):
        images = placed(photos, views, config, device, memory_format=memory_format(config))
        features = model.backbone(images.tensors)
        proposals, _ = model.rpn(images, features)
        found: list[Found]
        found, _ = model.roi_heads(features, proposals, images.image_sizes)
        for one, photo, view in zip(found, photos, views, strict=True):
            height, width = photo.shape[:2]
            boxes = resize_boxes(one["boxes"].float(), [view.height, view.width], [height, width])
            if mirrored:
                boxes = torch.stack((width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]), dim=1)
                one["masks"] = one["masks"].flip(3)
            one["boxes"], one["masks"] = boxes, one["masks"].float()
    return found


def _pooled(one: Found, other: Found | None, config: Config) -> Found:
    """Two looks at a photo as one: of each object the surer detection stays."""
    if other is None:
        return one
    both = {name: torch.cat((one[name], other[name])) for name in one}
    keep = batched_nms(both["boxes"], both["scores"].float(), both["labels"], config.detection_nms_threshold)
    keep = keep[: config.detection_max_instances]
    return {name: values[keep] for name, values in both.items()}


def precision(config: Config) -> torch.dtype:
    """What the network calculates in."""
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[config.precision]


def memory_format(config: Config) -> Any:
    """The order of images and weights in memory."""
    return torch.channels_last if config.channels_last else torch.contiguous_format


def _instances(found: Found, height: int, width: int, categories: npt.NDArray[np.int64], threshold: float) -> Instances:
    category = categories[found["labels"].cpu().numpy() - 1]
    counts = torch.from_numpy(category >= 0).to(found["boxes"].device)
    masks = pasted(found["masks"][counts], found["boxes"][counts], height, width, threshold)
    corners = found["boxes"][counts].cpu().numpy().astype(np.float64)
    return Instances.build(
        category[category >= 0],
        masks,
        id=np.arange(1, len(corners) + 1),
        bbox=np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), axis=1),
        area=masks.areas,
        score=found["scores"][counts].double().cpu().numpy(),
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
        crops.append(
            crop[top - y0 : max(min(y1 + 1, height) - y0, 0), left - x0 : max(min(x1 + 1, width) - x0, 0)].numpy()
        )
        places.append((left, top))
    return Masks.from_crops(crops, places, height, width)
