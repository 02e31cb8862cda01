"""Training targets of anchors and proposals, as in Matterport's training.

Matching (which anchor overlaps which object) is separate from random sampling, so that matching can be tested
deterministically. Crowds have a negative class: anchors and proposals on them are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from segdata.models.matterport.boxes import box_refinement, compute_overlaps
from segdata.models.matterport.config import ModelConfig
from segdata.models.matterport.crops import crop_and_resize

_CROWD_IOU = 0.001
"""A box with at least this IoU with a crowd is no background."""


def match_anchors(anchors: Tensor, class_ids: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Match anchors with objects by IoU.

    Args:
        anchors: (A, 4) pixels.
        class_ids: (G,), negative for crowds.
        boxes: (G, 4) pixels.

    Returns:
        (A,) int64: 1 (positive: IoU ≥ 0.7, or the highest of an object), −1 (negative: IoU < 0.3 with every object, and
        not on a crowd), 0 (ignored); and (A,) the object with the highest IoU.
    """
    anchors = anchors.to(torch.float64)
    match = torch.zeros(len(anchors), dtype=torch.int64, device=anchors.device)
    crowds, objects = boxes[class_ids < 0], torch.nonzero(class_ids > 0)[:, 0]
    off_crowds = torch.ones(len(anchors), dtype=torch.bool, device=anchors.device)
    if len(crowds):
        off_crowds = compute_overlaps(anchors, crowds.to(torch.float64)).amax(dim=1) < _CROWD_IOU
    if not len(objects):
        match[off_crowds] = -1
        return match, torch.zeros_like(match)
    iou = compute_overlaps(anchors, boxes[objects].to(torch.float64))
    best, of = iou.max(dim=1)
    match[(best < 0.3) & off_crowds] = -1
    match[(iou == iou.amax(dim=0)).any(dim=1)] = 1
    match[best >= 0.7] = 1
    return match, objects[of]


def rpn_targets(
    anchors: Tensor, class_ids: Tensor, boxes: Tensor, config: ModelConfig, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Sample the anchors of the RPN losses, at most half of them positive.

    Args:
        anchors, class_ids, boxes: as in `match_anchors`.

    Returns:
        (A,) int64 as in `match_anchors`, 0 for what was not sampled; and
        (P, 4) float64 box deltas of the positive ones, in their order, divided by `rpn_bbox_std_dev`.
    """
    match, of = match_anchors(anchors, class_ids, boxes)
    count = config.rpn_train_anchors_per_image
    for value, most in ((1, count // 2), (-1, count)):
        candidates = torch.nonzero(match == value)[:, 0]
        most = most if value == 1 else count - int((match == 1).sum())
        match[candidates[_drawn(rng, len(candidates), len(candidates) - most)]] = 0
    positive = match == 1
    deltas = box_refinement(anchors[positive].to(torch.float64), boxes[of[positive]].to(torch.float64))
    return match, deltas / torch.tensor(config.rpn_bbox_std_dev, dtype=torch.float64, device=deltas.device)


def _drawn(rng: np.random.Generator, count: int, drawn: int) -> npt.NDArray[np.int64]:
    """`drawn` random indices below `count`; none where it is not above zero."""
    chosen: npt.NDArray[np.int64] = rng.permutation(count)[: max(drawn, 0)]
    return chosen


@dataclass(frozen=True, eq=False)
class RegionTargets:
    """The sampled proposals of one image, and the targets of the heads.

    Attributes:
        rois: (T, 4) normalised, T = `train_rois_per_image`; positives first, padded with zeros.
        class_ids: (T,) int64, 0 for the background (padding counts as such, as in the original).
        deltas: (P, 4) box deltas of the P positives, divided by `bbox_std_dev`.
        masks: (P, h, w) float32, 0 or 1, the mask of the object within the proposal.
    """

    rois: Tensor
    class_ids: Tensor
    deltas: Tensor
    masks: Tensor


def detection_targets(
    proposals: Tensor,
    class_ids: Tensor,
    boxes: Tensor,
    masks: Tensor,
    config: ModelConfig,
    rng: np.random.Generator,
) -> RegionTargets:
    """Sample the proposals of the heads' losses, a third of them positive, and make their targets.

    Args:
        proposals: (R, 4) normalised; rows of zeros are padding.
        class_ids: (G,), negative for crowds, 0 for padding.
        boxes: (G, 4) normalised.
        masks: (G, h, w) bool, small crops of the boxes (`use_mini_mask`), or of the network's whole input.
    """
    device = proposals.device
    proposals = proposals[proposals.abs().sum(dim=1) > 0]
    crowds, is_object = boxes[class_ids < 0], class_ids > 0
    class_ids, boxes, masks = class_ids[is_object], boxes[is_object], masks[is_object]
    best = torch.zeros(len(proposals), device=device)
    of = torch.zeros(len(proposals), dtype=torch.int64, device=device)
    if len(boxes) and len(proposals):
        best, of = compute_overlaps(proposals, boxes).max(dim=1)
    off_crowds = torch.ones(len(proposals), dtype=torch.bool, device=device)
    if len(crowds) and len(proposals):
        off_crowds = compute_overlaps(proposals, crowds).amax(dim=1) < _CROWD_IOU
    positive = torch.nonzero(best >= 0.5)[:, 0]
    negative = torch.nonzero((best < 0.5) & off_crowds)[:, 0]
    positive = positive[_drawn(rng, len(positive), int(config.train_rois_per_image * config.roi_positive_ratio))]
    most = int(len(positive) / config.roi_positive_ratio)
    negative = negative[_drawn(rng, len(negative), min(most, config.train_rois_per_image) - len(positive))]
    rois, of = proposals[positive], of[positive]
    deltas = box_refinement(rois, boxes[of]) / torch.tensor(config.bbox_std_dev, device=device)
    where = rois.detach()
    if config.use_mini_mask:
        low, size = boxes[of][:, :2].repeat(1, 2), (boxes[of][:, 2:] - boxes[of][:, :2]).repeat(1, 2)
        where = (where - low) / size
    side = 2 * config.mask_pool_size
    sampled = torch.zeros((0, side, side), device=device)
    if len(rois):
        level = torch.zeros(len(rois), dtype=torch.int64, device=device)
        sampled = torch.round(crop_and_resize([masks[:, None].float()], where, of, level, side)[:, 0])
    rois = torch.cat((rois, proposals[negative]))
    blank = config.train_rois_per_image
    return RegionTargets(
        functional.pad(rois, (0, 0, 0, blank - len(rois))),
        functional.pad(class_ids[of].to(torch.int64), (0, blank - len(of))),
        deltas,
        sampled,
    )


def objects_in(
    class_ids: npt.NDArray[Any], masks: npt.NDArray[Any], config: ModelConfig, rng: np.random.Generator
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The objects that an image is trained with: those that have a pixel, at most `max_gt_instances`, sampled at random."""
    seen = np.flatnonzero(masks.any(axis=(0, 1)))
    if len(seen) > config.max_gt_instances:
        seen = rng.permutation(seen)[: config.max_gt_instances]
    return class_ids[seen], masks[:, :, seen]
