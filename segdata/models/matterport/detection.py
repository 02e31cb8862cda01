"""From what the network says of anchors and regions to boxes: proposals, detections, and these in the photo's pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from segdata.models.matterport.boxes import apply_box_deltas, clip_boxes, denorm_boxes, non_max_suppression, norm_boxes
from segdata.models.matterport.config import Config
from segdata.models.matterport.molding import resize


def propose(scores: Tensor, deltas: Tensor, anchors: Tensor, config: Config, count: int) -> Tensor:
    """The regions of one image that are worth a closer look.

    All levels compete: the `pre_nms_limit` likeliest anchors, moved, cut at the border, thinned out together.

    Args:
        scores: (A,) probability of an object.
        deltas: (A, 4) as the network gives them.
        anchors: (A, 4) normalised.

    Returns:
        (count, 4) normalised, best first, zeros where there are fewer.
    """
    order = torch.sort(scores, descending=True, stable=True).indices[: config.pre_nms_limit]
    moved = apply_box_deltas(anchors[order], deltas[order] * _units(config.rpn_bbox_std_dev, deltas))
    moved = clip_boxes(moved, (0, 0, 1, 1))
    kept = moved[non_max_suppression(moved, scores[order], config.rpn_nms_threshold)[:count]]
    return torch.nn.functional.pad(kept, (0, 0, 0, count - len(kept)))


def refine(proposals: Tensor, probabilities: Tensor, deltas: Tensor, window: Tensor, config: Config) -> Tensor:
    """The detections of one image: each proposal becomes at most one, of its likeliest class.

    Args:
        proposals: (R, 4) normalised.
        probabilities: (R, K), class 0 is the background.
        deltas: (R, K, 4) as the network gives them.
        window: (4,) normalised, where the photo lies.

    Returns:
        (D, 6): normalised box, class, score; best first.
    """
    scores, classes = probabilities.max(dim=1)
    chosen = deltas[torch.arange(len(deltas), device=deltas.device), classes]
    boxes = apply_box_deltas(proposals, chosen * _units(config.bbox_std_dev, deltas))
    boxes = clip_boxes(boxes, window)
    keep = classes > 0
    if config.detection_min_confidence:
        keep &= scores >= config.detection_min_confidence
    survivors = []
    for number in torch.unique(classes[keep]).tolist():
        of_class = torch.nonzero(keep & (classes == number))[:, 0]
        kept = non_max_suppression(boxes[of_class], scores[of_class], config.detection_nms_threshold)
        survivors.append(of_class[kept[: config.detection_max_instances]])
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
    """Detections in the network's frame → the photo's pixels.

    Args:
        detections: (D, 6) as `refine` gives them.
        maps: (D, 28, 28) probability of each detection's class.
        original, molded: (H, W, …) of the photo and of the network's frame.
        window: (y1, x1, y2, x2) pixels, where the photo lies in the frame.

    Returns:
        rois (n, 4) int32 y1 x1 y2 x2, half-open; class_ids (n,) int32; scores (n,) float32; masks (H, W, n) bool.
        A box that rounds to nothing is left out.
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
