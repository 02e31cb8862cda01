"""Outputs of the network → proposals → detections → detections in pixels of the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from segdata.models.matterport.boxes import apply_box_deltas, clip_boxes, denorm_boxes, non_max_suppression, norm_boxes
from segdata.models.matterport.config import ModelConfig
from segdata.models.matterport.molding import resize

_LARGEST_LOG = math.log(torch.finfo(torch.float32).max)
"""exp of more overflows; nothing clips a box delta before it, as in the original."""


def have_sizes(deltas: Tensor, std_dev: Sequence[float]) -> Tensor:
    """() bool, whether the sizes that box deltas (…, 4) stand for do not overflow."""
    return (deltas[..., 2:] * _units(std_dev, deltas)[2:] < _LARGEST_LOG).all()


def propose(scores: Tensor, deltas: Tensor, anchors: Tensor, config: ModelConfig, count: int) -> Tensor:
    """The proposals of one image.

    The `pre_nms_limit` anchors with the highest scores of all FPN levels, moved by their deltas, clipped, after NMS. A box
    that is no number, from deltas beyond all measure, is empty.

    Args:
        scores: (A,) probability of an object.
        deltas: (A, 4) as the network predicts them.
        anchors: (A, 4) normalised.

    Returns:
        (count, 4) normalised, highest scores first, padded with zeros.
    """
    order = torch.sort(scores, descending=True, stable=True).indices[: config.pre_nms_limit]
    moved = apply_box_deltas(anchors[order], deltas[order] * _units(config.rpn_bbox_std_dev, deltas))
    moved = clip_boxes(moved, (0, 0, 1, 1))
    moved = torch.where(torch.isfinite(moved).all(1, keepdim=True), moved, torch.zeros_like(moved))
    proposals = moved[non_max_suppression(moved, scores[order], config.rpn_nms_threshold)[:count]]
    return torch.nn.functional.pad(proposals, (0, 0, 0, count - len(proposals)))


def refine(proposals: Tensor, probabilities: Tensor, deltas: Tensor, window: Tensor, config: ModelConfig) -> Tensor:
    """The detections of one image: at most one per proposal, of the class with the highest probability.

    Args:
        proposals: (R, 4) normalised.
        probabilities: (R, K), class 0 is the background.
        deltas: (R, K, 4) as the network predicts them.
        window: (4,) normalised, the image without padding.

    Returns:
        (D, 6): normalised box, class, score; highest scores first.
    """
    scores, classes = probabilities.max(dim=1)
    chosen = deltas[torch.arange(len(deltas), device=deltas.device), classes]
    boxes = apply_box_deltas(proposals, chosen * _units(config.bbox_std_dev, deltas))
    boxes = clip_boxes(boxes, window)
    keep = (classes > 0) & torch.isfinite(boxes).all(1) & torch.isfinite(scores)
    if config.detection_min_confidence:
        keep &= scores >= config.detection_min_confidence
    survivors = []
    for number in torch.unique(classes[keep]).tolist():
        of_class = torch.nonzero(keep & (classes == number))[:, 0]
        remaining = non_max_suppression(boxes[of_class], scores[of_class], config.detection_nms_threshold)
        survivors.append(of_class[remaining[: config.detection_max_instances]])
    index = torch.sort(torch.cat(survivors)).values if survivors else torch.zeros(0, dtype=torch.int64)
    index = index[torch.sort(scores[index], descending=True, stable=True).indices[: config.detection_max_instances]]
    return torch.cat((boxes[index], classes[index, None].to(boxes.dtype), scores[index, None]), dim=1)


def _units(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)


def unmold(
    detections: npt.NDArray[np.float32],
    maps: npt.NDArray[np.float32],
    original: Sequence[int],
    molded: Sequence[int],
    window: Sequence[int],
) -> dict[str, Any]:
    """Detections in the network's input → in pixels of the image.

    Args:
        detections: (D, 6) as `refine` gives them.
        maps: (D, 28, 28) probability of each detection's class.
        original, molded: (H, W, …) of the image and of the network's input.
        window: (y1, x1, y2, x2) in pixels, the image without padding in the network's input.

    Returns:
        rois (n, 4) int32 y1 x1 y2 x2, y2 and x2 exclusive; class_ids (n,) int32; scores (n,) float32; masks (H, W, n) bool.
        Boxes that are empty after rounding are left out.
    """
    frame = norm_boxes(np.asarray(window)[None], molded).numpy()[0]
    shift = np.tile(frame[:2], 2)
    size = np.tile(frame[2:] - frame[:2], 2)
    rois = denorm_boxes(((detections[:, :4] - shift) / size).astype(np.float32), original).numpy()
    keep = (rois[:, 2] - rois[:, 0]) * (rois[:, 3] - rois[:, 1]) > 0
    rois, maps = rois[keep], maps[keep]
    masks = np.zeros((len(rois), *original[:2]), bool)
    for mask, probabilities, (y1, x1, y2, x2) in zip(masks, maps, rois.tolist(), strict=True):
        mask[y1:y2, x1:x2] = resize(probabilities, y2 - y1, x2 - x1) >= 0.5
    return {
        "rois": rois,
        "class_ids": detections[keep, 4].astype(np.int32),
        "scores": detections[keep, 5].astype(np.float32),
        "masks": np.moveaxis(masks, 0, -1),
    }
