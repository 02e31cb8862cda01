"""Images → instances with scores: torchvision's detection, whose masks become RLE one box crop at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.roi_heads import expand_boxes, expand_masks
from torchvision.models.detection.transform import resize_boxes
from torchvision.ops import batched_nms

from segdata.core.masks import Masks
from segdata.core.sample import Instances
from segdata.loading.crops import CropTransform
from segdata.models.contract import DIVERGED, FULL, Autocast, Prediction, at_most, is_plausible
from segdata.models.maskrcnn.augment import scaled_size, to_batch
from segdata.models.maskrcnn.config import Config


def detect(
    model: MaskRCNN,
    images: Sequence[npt.NDArray[np.uint8]],
    config: Config,
    categories: Sequence[int] | npt.NDArray[Any],
    *,
    flip: bool = False,
    autocast: Autocast = FULL,
) -> list[Prediction]:
    """Detect the objects of images, highest scores first.

    Args:
        model: in evaluation mode.
        images: each (H, W, 3) uint8 RGB.
        categories: the category of each of the network's classes from 1 on; −1 for classes to leave out.
        flip: also detect in the horizontally flipped image, and merge by NMS.

    Returns:
        For each image, instances with scores, masks in its size, boxes as the network predicts them; and remarks.
    """
    category_of = np.asarray(categories, np.int64)
    counted = torch.from_numpy(category_of >= 0)
    plain, are_plausible, best = _forward(model, images, config, autocast, counted, flipped=False)
    flipped: Sequence[Detections | None] = [None] * len(images)
    if flip:
        flipped, are_plausible_flipped, best_flipped = _forward(model, images, config, autocast, counted, flipped=True)
        are_plausible, best = are_plausible & are_plausible_flipped, torch.maximum(best, best_flipped)
    predictions = []
    rows = zip(plain, flipped, images, are_plausible.tolist(), best.tolist(), strict=True)
    for one, other, image, plausible, highest in rows:
        merged = _merged(one, other, config)
        remarks = []
        if not plausible:
            merged = {name: values[:0] for name, values in merged.items()}
            remarks.append(DIVERGED)
        if len(merged["scores"]) >= config.detection_max_instances:
            remarks.append(at_most(config.detection_max_instances))
        height, width = image.shape[:2]
        detected = _instances(merged, height, width, category_of, config.mask_threshold)
        predictions.append(Prediction(detected, remarks=tuple(remarks), best=highest if plausible else None))
    return predictions


Detections = dict[str, Tensor]
"""Of one image: `boxes` (N, 4) in its pixels, `labels` (N,), `scores` (N,), `masks` (N, 1, M, M)."""


def _forward(
    model: MaskRCNN,
    images: Sequence[npt.NDArray[np.uint8]],
    config: Config,
    autocast: Autocast,
    counted: Tensor,
    *,
    flipped: bool,
) -> tuple[list[Detections], Tensor, Tensor]:
    """The network's detections, in pixels of the images as they are.

    Args:
        counted: (C,) bool, classes that `best` may be of.

    Returns:
        The detections; (N,) bool, whether the network's numbers are `is_plausible`; (N,) float32, `Prediction.best`.
    """
    device = next(model.parameters()).device
    sizes = [image.shape[:2] for image in images]
    transforms = [
        CropTransform((0, 0, width, height), *scaled_size(height, width, config), flipped) for height, width in sizes
    ]
    with torch.inference_mode(), autocast.on(device), contextlib.ExitStack() as stack:
        proposed, classified = (
            _outputs_of(module, stack) for module in (model.rpn.head, model.roi_heads.box_predictor)
        )
        batch = to_batch(images, transforms, config, device, memory_format=autocast.memory_format)
        features = model.backbone(batch.tensors)
        proposals, _ = model.rpn(batch, features)
        detections: list[Detections]
        detections, _ = model.roi_heads(features, proposals, batch.image_sizes)
        counts = [len(boxes) for boxes in proposals]
        parts = [
            *proposed,
            *(torch.split(values, counts) for values in classified),
            [one["masks"] for one in detections],
        ]
        are_plausible = torch.stack(
            [torch.stack([is_plausible(part[index]) for index in range(len(images))]) for part in parts]
        ).all(0)
        for one, (height, width), transform in zip(detections, sizes, transforms, strict=True):
            boxes = resize_boxes(one["boxes"].float(), [transform.height, transform.width], [height, width])
            if flipped:
                boxes = torch.stack((width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]), dim=1)
                one["masks"] = one["masks"].flip(3)
            one["boxes"], one["masks"] = boxes, one["masks"].float()
        best = torch.stack([_best(logits, counted.to(device)) for logits in torch.split(classified[0], counts)])
    return detections, are_plausible, best


def _best(logits: Tensor, counted: Tensor) -> Tensor:
    """() the highest score among the proposals of an image, of the classes that count; 0 without any."""
    scores = torch.softmax(logits.float(), dim=1)[:, 1:][:, counted]
    return scores.max() if scores.numel() else scores.new_zeros(())


def _outputs_of(module: nn.Module, stack: contextlib.ExitStack) -> list[Any]:
    """What a module returns, tensor by tensor, filled while the stack is open."""
    outputs: list[Any] = []

    def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
        for part in output:
            outputs.extend(part if isinstance(part, (list, tuple)) else [part])

    stack.callback(module.register_forward_hook(note).remove)
    return outputs


def _merged(one: Detections, other: Detections | None, config: Config) -> Detections:
    """Detections of an image and of its flipped copy, merged by NMS."""
    if other is None:
        return one
    both = {name: torch.cat((one[name], other[name])) for name in one}
    keep = batched_nms(both["boxes"], both["scores"].float(), both["labels"], config.detection_nms_threshold)
    keep = keep[: config.detection_max_instances]
    return {name: values[keep] for name, values in both.items()}


def _instances(
    detections: Detections, height: int, width: int, category_of: npt.NDArray[np.int64], threshold: float
) -> Instances:
    category = category_of[detections["labels"].cpu().numpy() - 1]
    counts = torch.from_numpy(category >= 0).to(detections["boxes"].device)
    boxes = detections["boxes"][counts]
    masks = pasted(detections["masks"][counts], boxes, height, width, threshold)
    return instances(category[category >= 0], masks, boxes, detections["scores"][counts])


def instances(category: npt.NDArray[np.int64], masks: Masks, boxes: Tensor, scores: Tensor) -> Instances:
    """Detected objects, numbered from 1 on.

    Args:
        category: (N,).
        boxes: (N, 4) x0 y0 x1 y1 in pixels.
        scores: (N,).
    """
    corners = boxes.cpu().numpy().astype(np.float64)
    return Instances.build(
        category,
        masks,
        id=np.arange(1, len(corners) + 1),
        bbox=np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), axis=1),
        area=masks.areas,
        score=scores.double().cpu().numpy(),
    )


def pasted(masks: Tensor, boxes: Tensor, height: int, width: int, threshold: float) -> Masks:
    """Predicted masks resized into their boxes, as torchvision's `paste_masks_in_image`, without full-size arrays.

    Args:
        masks: (N, 1, M, M) float32 probabilities.
        boxes: (N, 4) x0 y0 x1 y1 in pixels of the image.
        threshold: pixels of at least this probability belong to the mask.
    """
    padded, scale = expand_masks(masks, padding=1)
    whole = expand_boxes(boxes, scale).to(torch.int64).tolist()
    padded = padded.cpu()
    crops, corners = [], []
    for mask, (x0, y0, x1, y1) in zip(padded, whole, strict=True):
        sides = (max(y1 - y0 + 1, 1), max(x1 - x0 + 1, 1))
        crop = F.interpolate(mask[None], size=sides, mode="bilinear", align_corners=False)[0, 0] >= threshold
        left, top = max(x0, 0), max(y0, 0)
        crops.append(
            crop[top - y0 : max(min(y1 + 1, height) - y0, 0), left - x0 : max(min(x1 + 1, width) - x0, 0)].numpy()
        )
        corners.append((left, top))
    return Masks.from_crops(crops, corners, height, width)
