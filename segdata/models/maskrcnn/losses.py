"""The five losses of Mask R-CNN (He et al. 2017, section 3; in torchvision's forms), each as a sum and a count.

Sums are divided by the counts of the whole batch over all ranks, so the training does not depend on the number of ranks.
Anchors, and proposals by the index of their anchor, are sampled with random keys drawn from a seed per image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection._utils import BoxCoder, encode_boxes
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, concat_box_prediction_layers
from torchvision.ops import batched_nms, clip_boxes_to_image

from segdata.models.contract import Losses
from segdata.models.losses.boxes import iou_balanced
from segdata.models.losses.options import IouBalanced
from segdata.models.maskrcnn import targets
from segdata.models.maskrcnn.augment import TrainSample, ground_truth
from segdata.models.maskrcnn.config import Config

_BETA = 1 / 9
_PADDING = -1
"""Class of padding rows, which are masked out."""
NAMES = ("rpn_class_loss", "rpn_bbox_loss", "class_loss", "bbox_loss", "mask_loss")


class _Proposals(NamedTuple):
    """Of each image: boxes (P, 4), and the index of the anchor of each (P,)."""

    boxes: list[Tensor]
    anchors: list[Tensor]


def losses(model: MaskRCNN, images: ImageList, samples: Sequence[TrainSample], config: Config) -> Losses:
    """Forward pass in training: the five losses in the order of `NAMES`.

    GPU→CPU synchronisations: the number of proposals after NMS, the FPN level of each RoI, and the extent of mask
    targets; there are no others.

    Args:
        images: as `augment.to_batch` made them.
        samples: their objects.
    """
    device = images.tensors.device
    truth = [ground_truth(sample, device) for sample in samples]
    keys: list[Tensor] = []
    features = model.backbone(images.tensors)
    proposals, rpn_class, rpn_bbox, anchors = _rpn(model.rpn, images, list(features.values()), truth, samples, keys)
    rois = _sampled_rois(model, proposals, truth, keys)
    pooled = model.roi_heads.box_roi_pool(features, [roi.boxes for roi in rois], images.image_sizes)
    scores, deltas = model.roi_heads.box_predictor(model.roi_heads.box_head(pooled))
    label = torch.cat([roi.labels for roi in rois])
    deltas = _of_label(deltas.float().reshape(len(label), -1, 4), label)
    wanted = torch.cat([roi.deltas for roi in rois])
    if config.iou_balanced:
        iou = _iou(*(_decoded(model.roi_heads.box_coder, each.detach(), rois) for each in (deltas, wanted)))
        options = IouBalanced(eta=config.iou_balanced, ignore_index=_PADDING)
        class_loss, _ = iou_balanced(scores, label, options, iou)
    else:
        class_loss = F.cross_entropy(scores.float(), label, reduction="sum", ignore_index=_PADDING)
    bbox_loss = F.smooth_l1_loss(deltas, wanted, beta=_BETA, reduction="none")
    mask_loss, cells = _mask_loss(model, features, images, samples, rois, config)
    rows = (label != _PADDING).sum()
    return Losses(
        torch.stack((rpn_class, rpn_bbox, class_loss, _sum(bbox_loss, label > 0), mask_loss)),
        torch.stack((anchors, anchors, rows, rows, cells)).float(),
    )


def _sum(losses: Tensor, counts: Tensor) -> Tensor:
    """The sum over the rows where `counts` is true."""
    return torch.where(counts.view(-1, *[1] * (losses.dim() - 1)), losses, 0.0).sum()


def _decoded(coder: BoxCoder, deltas: Tensor, rois: Sequence[_Rois]) -> Tensor:
    """(R, 4) boxes from the deltas of RoIs."""
    boxes: Tensor = coder.decode_single(deltas, torch.cat([roi.boxes for roi in rois]))
    return boxes


def _iou(boxes: Tensor, others: Tensor) -> Tensor:
    """(R,) IoU of each box with the other of the same row; 0 where both are empty."""
    low, high = torch.maximum(boxes[:, :2], others[:, :2]), torch.minimum(boxes[:, 2:], others[:, 2:])
    intersection = (high - low).clamp(min=0).prod(1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (others[:, 2:] - others[:, :2]).prod(1) - intersection
    return intersection / union.clamp(min=torch.finfo(union.dtype).tiny)


def _of_label(values: Tensor, label: Tensor) -> Tensor:
    """(R, K, …) predictions for every class → (R, …) those for the class of each row."""
    return values[torch.arange(len(label), device=label.device), label.clamp(min=0)]


def _rpn(
    rpn: RegionProposalNetwork,
    images: ImageList,
    features: list[Tensor],
    truth: list[dict[str, Tensor]],
    samples: Sequence[TrainSample],
    keys: list[Tensor],
) -> tuple[_Proposals, Tensor, Tensor, Tensor]:
    """Proposals, the two losses of the RPN as sums, and the number of sampled anchors; appends to `keys` by image."""
    objectness, deltas = rpn.head(features)
    anchors = rpn.anchor_generator(images, features)
    levels = [level[0].numel() for level in objectness]
    objectness, deltas = concat_box_prediction_layers(objectness, deltas)
    objectness = objectness.float().view(len(anchors), -1)
    deltas = deltas.float().view(len(anchors), -1, 4)
    with torch.no_grad():
        boxes = rpn.box_coder.decode(deltas.detach().flatten(0, 1), anchors).view(len(anchors), -1, 4)
        proposals = _proposals(rpn, boxes, objectness, images.image_sizes, levels)
    sampler, matcher = rpn.fg_bg_sampler, rpn.proposal_matcher
    class_losses, bbox_losses, sampled = [], [], []
    for sample, boxes_of_anchors, image, logits, offsets in zip(
        samples, anchors, truth, objectness, deltas, strict=True
    ):
        keys.append(targets.keys_of(sample.seed, len(boxes_of_anchors), boxes_of_anchors.device))
        iou = rpn.box_similarity(image["boxes"], boxes_of_anchors)
        match, verdict = targets.match(iou, matcher.low_threshold, matcher.high_threshold, keep_best=True)
        indices, counts = targets.sample(
            verdict == 1, verdict == 0, keys[-1], sampler.batch_size_per_image, sampler.positive_fraction
        )
        is_positive = counts & (verdict[indices] == 1)
        wanted = _deltas(rpn.box_coder, _boxes(image)[match[indices]], boxes_of_anchors[indices])
        class_loss = F.binary_cross_entropy_with_logits(logits[indices], is_positive.float(), reduction="none")
        bbox_loss = F.smooth_l1_loss(offsets[indices], wanted, beta=_BETA, reduction="none")
        class_losses.append(_sum(class_loss, counts))
        bbox_losses.append(_sum(bbox_loss, is_positive))
        sampled.append(counts.sum())
    return proposals, torch.stack(class_losses).sum(), torch.stack(bbox_losses).sum(), torch.stack(sampled).sum()


def _deltas(coder: BoxCoder, wanted: Tensor, boxes: Tensor) -> Tensor:
    """(R, 4) box regression targets, with the coder's weights as scalars, which need no copy to the device."""
    deltas: Tensor = encode_boxes(wanted, boxes, torch.stack([boxes.new_full((), each) for each in coder.weights]))
    return deltas


def _boxes(image: Mapping[str, Tensor]) -> Tensor:
    """The ground-truth boxes of an image; where there are none, one dummy that nothing is matched with."""
    boxes = image["boxes"]
    return boxes if len(boxes) else boxes.new_tensor([[0.0, 0.0, 1.0, 1.0]])


def _proposals(
    rpn: RegionProposalNetwork,
    boxes: Tensor,
    objectness: Tensor,
    sizes: Sequence[tuple[int, int]],
    levels: Sequence[int],
) -> _Proposals:
    """Proposals after NMS, as `RegionProposalNetwork.filter_proposals`, with the index of the anchor of each.

    Args:
        boxes: (B, A, 4) decoded.
        objectness: (B, A) logits.
        levels: number of anchors per FPN level; they sum to A.
    """
    candidates, level_of, begin = [], [], 0
    for number, count in enumerate(levels):
        top = objectness[:, begin : begin + count].topk(min(count, rpn.pre_nms_top_n()), dim=1).indices
        candidates.append(top + begin)
        level_of.append(torch.full_like(top, number))
        begin += count
    proposals = _Proposals([], [])
    for decoded, indices, level, logits, size in zip(
        boxes, torch.cat(candidates, 1), torch.cat(level_of, 1), objectness, sizes, strict=True
    ):
        clipped = clip_boxes_to_image(decoded[indices], size)
        scores = logits[indices].sigmoid()
        sides = clipped[:, 2:] - clipped[:, :2]
        keep = torch.where((sides >= rpn.min_size).all(1) & (scores >= rpn.score_thresh))[0]
        keep = keep[batched_nms(clipped[keep], scores[keep], level[keep], rpn.nms_thresh)][: rpn.post_nms_top_n()]
        proposals.boxes.append(clipped[keep])
        proposals.anchors.append(indices[keep])
    return proposals


class _Rois(NamedTuple):
    """RoIs of an image sampled for the heads, positives first.

    Attributes:
        boxes: (R, 4).
        labels: (R,) class, 0 for the background, `_PADDING` for padding.
        matches: (R,) index of the matched object.
        deltas: (R, 4) box regression targets.
    """

    boxes: Tensor
    labels: Tensor
    matches: Tensor
    deltas: Tensor


@torch.no_grad()
def _sampled_rois(
    model: MaskRCNN, proposals: _Proposals, truth: Sequence[Mapping[str, Tensor]], keys: Sequence[Tensor]
) -> list[_Rois]:
    """The RoIs of each image that the heads are trained on; ground-truth boxes are candidates, too."""
    heads = model.roi_heads
    sampler, matcher = heads.fg_bg_sampler, heads.proposal_matcher
    rois = []
    for proposed, anchors, image, key in zip(proposals.boxes, proposals.anchors, truth, keys, strict=True):
        candidates = torch.cat((proposed, image["boxes"]))
        key = torch.cat((key[anchors], -torch.ones(len(image["boxes"]), device=key.device)))
        iou = heads.box_similarity(image["boxes"], candidates)
        match, verdict = targets.match(iou, matcher.low_threshold, matcher.high_threshold, keep_best=False)
        indices, counts = targets.sample(
            verdict == 1, verdict == 0, key, sampler.batch_size_per_image, sampler.positive_fraction
        )
        boxes, match = candidates[indices], match[indices]
        classes = image["labels"] if len(image["labels"]) else match.new_zeros(1)
        label = torch.where(verdict[indices] == 1, classes[match], 0)
        label = torch.where(counts, label, _PADDING)
        rois.append(_Rois(boxes, label, match, _deltas(heads.box_coder, _boxes(image)[match], boxes)))
    return rois


def _mask_loss(
    model: MaskRCNN,
    features: Mapping[str, Tensor],
    images: ImageList,
    samples: Sequence[TrainSample],
    rois: Sequence[_Rois],
    config: Config,
) -> tuple[Tensor, Tensor]:
    """The mask loss of positive RoIs as a sum, and the number of mask pixels that it is over."""
    heads = model.roi_heads
    sampler = heads.fg_bg_sampler
    most = int(sampler.batch_size_per_image * sampler.positive_fraction)
    fixed = targets.has_fixed_size(images.tensors.device)
    first = [slice(most if fixed else int((roi.labels > 0).sum())) for roi in rois]
    boxes = [roi.boxes[rows] for roi, rows in zip(rois, first, strict=True)]
    label = torch.cat([roi.labels[rows] for roi, rows in zip(rois, first, strict=True)])
    pooled = heads.mask_roi_pool(features, boxes, images.image_sizes)
    logits = _of_label(heads.mask_predictor(heads.mask_head(pooled)).float(), label)
    with torch.no_grad(), torch.autocast(label.device.type, enabled=False):
        wanted = []
        for sample, roi, box, rows in zip(samples, rois, boxes, first, strict=True):
            match = torch.where(roi.labels > 0, roi.matches, len(sample.labels))[rows]
            wanted.append(targets.mask_targets(sample, box, match, logits.shape[-1]))
        target = torch.cat(wanted)
        if config.mask_targets == "binary":
            target = target.round()
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    is_object = label > 0
    return _sum(loss, is_object), is_object.sum() * logits.shape[-1] ** 2
