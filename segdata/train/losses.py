"""The five losses of Mask R-CNN (He et al. 2017, section 3; torchvision's forms), each as a sum and what to divide it by.

Sums are divided by counts of the whole batch, over all processes, so that a training does not depend on how many there
are. Proposals keep their anchors' numbers, and are sampled by keys drawn for the anchors from the image's own seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, concat_box_prediction_layers
from torchvision.ops import batched_nms, clip_boxes_to_image

from segdata.train import targets
from segdata.train.config import Config
from segdata.train.views import Item, truth_tensors

_BETA = 1 / 9
NAMES = ("rpn_class_loss", "rpn_bbox_loss", "class_loss", "bbox_loss", "mask_loss")


class Losses(NamedTuple):
    """Sums of the five losses in the order of `NAMES`, and what each is divided by; both (5,) float32."""

    sums: Tensor
    counts: Tensor


class _Proposals(NamedTuple):
    """Of each image: boxes (P, 4), and which anchor each comes from (P,)."""

    boxes: list[Tensor]
    anchors: list[Tensor]


def losses(model: MaskRCNN, images: ImageList, items: Sequence[Item], config: Config) -> Losses:
    """Forward pass in training.

    Args:
        images: as `views.placed` made them.
        items: their objects.
    """
    device = images.tensors.device
    truth = [truth_tensors(item, device) for item in items]
    keys: list[Tensor] = []
    features = model.backbone(images.tensors)
    proposals, rpn_class, rpn_bbox, anchors = _rpn(model.rpn, images, list(features.values()), truth, items, keys)
    boxes, labels, owners, offsets = _chosen(model, proposals, truth, keys)
    pooled = model.roi_heads.box_roi_pool(features, boxes, images.image_sizes)
    scores, deltas = model.roi_heads.box_predictor(model.roi_heads.box_head(pooled))
    flat = torch.cat(labels)
    class_loss = F.cross_entropy(scores.float(), flat, reduction="sum")
    positive = torch.where(flat > 0)[0]
    deltas = deltas.float().reshape(len(flat), -1, 4)[positive, flat[positive]]
    bbox_loss = F.smooth_l1_loss(deltas, torch.cat(offsets)[positive], beta=_BETA, reduction="sum")
    mask_loss, cells = _mask_loss(model, features, images, items, boxes, labels, owners, config)
    counts = [anchors, anchors, len(flat), len(flat), cells]
    return Losses(
        torch.stack((rpn_class, rpn_bbox, class_loss, bbox_loss, mask_loss)),
        torch.tensor(counts, dtype=torch.float32, device=device),
    )


def _rpn(
    rpn: RegionProposalNetwork,
    images: ImageList,
    features: list[Tensor],
    truth: list[dict[str, Tensor]],
    items: Sequence[Item],
    keys: list[Tensor],
) -> tuple[_Proposals, Tensor, Tensor, int]:
    """Proposals, the two losses of the proposal network as sums, and over how many anchors; fills `keys` by image."""
    objectness, deltas = rpn.head(features)
    anchors = rpn.anchor_generator(images, features)
    levels = [level[0].numel() for level in objectness]
    objectness, deltas = concat_box_prediction_layers(objectness, deltas)
    objectness, deltas = objectness.float().flatten(), deltas.float()
    with torch.no_grad():
        boxes = rpn.box_coder.decode(deltas.detach(), anchors).view(len(anchors), -1, 4)
        proposals = _proposals(rpn, boxes, objectness.view(len(anchors), -1), images.image_sizes, levels)
        labels, matched = rpn.assign_targets_to_anchors(anchors, truth)
        positives, negatives = [], []
        sampler = rpn.fg_bg_sampler
        for item, label in zip(items, labels, strict=True):
            keys.append(targets.keys_of(item.seed, len(label), label.device))
            chosen = targets.choose(
                label >= 1, label == 0, keys[-1], sampler.batch_size_per_image, sampler.positive_fraction
            )
            positives.append(chosen[0])
            negatives.append(chosen[1])
        positive = torch.where(torch.cat(positives))[0]
        sampled = torch.cat((positive, torch.where(torch.cat(negatives))[0]))
        wanted = rpn.box_coder.encode(matched, anchors)
    label = torch.cat(labels)
    class_loss = F.binary_cross_entropy_with_logits(objectness[sampled], label[sampled], reduction="sum")
    bbox_loss = F.smooth_l1_loss(deltas[positive], torch.cat(wanted)[positive], beta=_BETA, reduction="sum")
    return proposals, class_loss, bbox_loss, len(sampled)


def _proposals(
    rpn: RegionProposalNetwork,
    boxes: Tensor,
    objectness: Tensor,
    sizes: Sequence[tuple[int, int]],
    levels: Sequence[int],
) -> _Proposals:
    """The best anchors of each level after suppression, as `RegionProposalNetwork.filter_proposals`, with numbers.

    Args:
        boxes: (B, A, 4) decoded.
        objectness: (B, A) logits.
        levels: anchors of each level; they sum to A.
    """
    best, level_of, begin = [], [], 0
    for number, count in enumerate(levels):
        top = objectness[:, begin : begin + count].topk(min(count, rpn.pre_nms_top_n()), dim=1).indices
        best.append(top + begin)
        level_of.append(torch.full_like(top, number))
        begin += count
    found = _Proposals([], [])
    for own, places, level, logits, size in zip(
        boxes, torch.cat(best, 1), torch.cat(level_of, 1), objectness, sizes, strict=True
    ):
        clipped = clip_boxes_to_image(own[places], size)
        scores = logits[places].sigmoid()
        sides = clipped[:, 2:] - clipped[:, :2]
        keep = torch.where((sides >= rpn.min_size).all(1) & (scores >= rpn.score_thresh))[0]
        keep = keep[batched_nms(clipped[keep], scores[keep], level[keep], rpn.nms_thresh)][: rpn.post_nms_top_n()]
        found.boxes.append(clipped[keep])
        found.anchors.append(places[keep])
    return found


def _chosen(
    model: MaskRCNN, proposals: _Proposals, truth: Sequence[Mapping[str, Tensor]], keys: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
    """Of each image the proposals for the heads: boxes, labels (0 background), whose object, offsets to it."""
    heads = model.roi_heads
    boxes, labels, owners, wanted = [], [], [], []
    with torch.no_grad():
        for own, anchors, image, key in zip(proposals.boxes, proposals.anchors, truth, keys, strict=True):
            candidates = torch.cat((own, image["boxes"]))
            key = torch.cat((key[anchors], -torch.ones(len(image["boxes"]), device=key.device)))
            (owner,), (label,) = heads.assign_targets_to_proposals([candidates], [image["boxes"]], [image["labels"]])
            sampler = heads.fg_bg_sampler
            chosen = targets.choose(
                label >= 1, label == 0, key, sampler.batch_size_per_image, sampler.positive_fraction
            )
            kept = torch.where(chosen[0] | chosen[1])[0]
            boxes.append(candidates[kept])
            labels.append(label[kept])
            owners.append(owner[kept])
            whole = image["boxes"] if len(image["boxes"]) else candidates.new_zeros(1, 4)
            wanted.append(whole[owner[kept]])
        offsets = list(heads.box_coder.encode(wanted, boxes))
    return boxes, labels, owners, offsets


def _mask_loss(
    model: MaskRCNN,
    features: Mapping[str, Tensor],
    images: ImageList,
    items: Sequence[Item],
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    owners: Sequence[Tensor],
    config: Config,
) -> tuple[Tensor, int]:
    """The mask loss over positive proposals as a sum, and over how many cells."""
    heads = model.roi_heads
    positive = [torch.where(label > 0)[0] for label in labels]
    inside = [box[places] for box, places in zip(boxes, positive, strict=True)]
    pooled = heads.mask_roi_pool(features, inside, images.image_sizes)
    logits = heads.mask_predictor(heads.mask_head(pooled)).float()
    label = torch.cat([own[places] for own, places in zip(labels, positive, strict=True)])
    if not len(label):
        return logits.sum() * 0, 0
    with torch.no_grad(), torch.autocast(label.device.type, enabled=False):
        wanted = torch.cat(
            [
                targets.at(item, box, owner[places], logits.shape[-1])
                for item, box, owner, places in zip(items, inside, owners, positive, strict=True)
            ]
        )
        if config.mask_targets == "binary":
            wanted = wanted.round()
    chosen = logits[torch.arange(len(label), device=label.device), label]
    return F.binary_cross_entropy_with_logits(chosen, wanted, reduction="sum"), wanted.numel()
