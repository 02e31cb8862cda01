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
from torchvision.models.detection._utils import BoxCoder, encode_boxes
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, concat_box_prediction_layers
from torchvision.ops import batched_nms, clip_boxes_to_image

from segdata.models.maskrcnn import targets
from segdata.models.maskrcnn.augment import Item
from segdata.models.maskrcnn.config import Config
from segdata.models.maskrcnn.inputs import truth_tensors

_BETA = 1 / 9
_NOTHING = -1
"""The label of rows that do not count."""
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

    On a GPU the processor runs ahead of the device: it waits for the proposals that survive suppression, for the level
    that regions are pooled from, and for the extent of mask targets, and for nothing else.

    Args:
        images: as `views.placed` made them.
        items: their objects.
    """
    device = images.tensors.device
    truth = [truth_tensors(item, device) for item in items]
    keys: list[Tensor] = []
    features = model.backbone(images.tensors)
    proposals, rpn_class, rpn_bbox, anchors = _rpn(model.rpn, images, list(features.values()), truth, items, keys)
    regions = _chosen(model, proposals, truth, keys)
    pooled = model.roi_heads.box_roi_pool(features, [own.boxes for own in regions], images.image_sizes)
    scores, deltas = model.roi_heads.box_predictor(model.roi_heads.box_head(pooled))
    label = torch.cat([own.labels for own in regions])
    class_loss = F.cross_entropy(scores.float(), label, reduction="sum", ignore_index=_NOTHING)
    deltas = _of_label(deltas.float().reshape(len(label), -1, 4), label)
    bbox_loss = F.smooth_l1_loss(deltas, torch.cat([own.offsets for own in regions]), beta=_BETA, reduction="none")
    mask_loss, cells = _mask_loss(model, features, images, items, regions, config)
    rows = (label != _NOTHING).sum()
    return Losses(
        torch.stack((rpn_class, rpn_bbox, class_loss, _sum(bbox_loss, label > 0), mask_loss)),
        torch.stack((anchors, anchors, rows, rows, cells)).float(),
    )


def _sum(losses: Tensor, counts: Tensor) -> Tensor:
    """The sum of the rows that count."""
    return torch.where(counts.view(-1, *[1] * (losses.dim() - 1)), losses, 0.0).sum()


def _of_label(values: Tensor, label: Tensor) -> Tensor:
    """(R, …): of every row (R, K, …) what it says about its own label."""
    return values[torch.arange(len(label), device=label.device), label.clamp(min=0)]


def _rpn(
    rpn: RegionProposalNetwork,
    images: ImageList,
    features: list[Tensor],
    truth: list[dict[str, Tensor]],
    items: Sequence[Item],
    keys: list[Tensor],
) -> tuple[_Proposals, Tensor, Tensor, Tensor]:
    """Proposals, the two losses of the proposal network as sums, and over how many anchors; fills `keys` by image."""
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
    class_losses, bbox_losses, counted = [], [], []
    for item, own, image, logits, offsets in zip(items, anchors, truth, objectness, deltas, strict=True):
        keys.append(targets.keys_of(item.seed, len(own), own.device))
        owner, verdict = targets.match(
            rpn.box_similarity(image["boxes"], own), matcher.low_threshold, matcher.high_threshold, keep_best=True
        )
        places, counts = targets.choose(
            verdict == 1, verdict == 0, keys[-1], sampler.batch_size_per_image, sampler.positive_fraction
        )
        is_positive = counts & (verdict[places] == 1)
        wanted = _offsets(rpn.box_coder, _boxes(image)[owner[places]], own[places])
        class_loss = F.binary_cross_entropy_with_logits(logits[places], is_positive.float(), reduction="none")
        bbox_loss = F.smooth_l1_loss(offsets[places], wanted, beta=_BETA, reduction="none")
        class_losses.append(_sum(class_loss, counts))
        bbox_losses.append(_sum(bbox_loss, is_positive))
        counted.append(counts.sum())
    return proposals, torch.stack(class_losses).sum(), torch.stack(bbox_losses).sum(), torch.stack(counted).sum()


def _offsets(coder: BoxCoder, wanted: Tensor, boxes: Tensor) -> Tensor:
    """(R, 4): how boxes differ from the wanted ones, in the coder's units (which are not copied to the device)."""
    offsets: Tensor = encode_boxes(wanted, boxes, torch.stack([boxes.new_full((), each) for each in coder.weights]))
    return offsets


def _boxes(image: Mapping[str, Tensor]) -> Tensor:
    """An image's boxes; where there are none, one that nothing is ever matched with."""
    boxes = image["boxes"]
    return boxes if len(boxes) else boxes.new_tensor([[0.0, 0.0, 1.0, 1.0]])


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


class _Regions(NamedTuple):
    """Proposals of an image for the heads, those of objects first.

    Attributes:
        boxes: (R, 4).
        labels: (R,), 0 for background, `_NOTHING` for rows that fill up.
        owners: (R,), whose object.
        offsets: (R, 4), to that object.
    """

    boxes: Tensor
    labels: Tensor
    owners: Tensor
    offsets: Tensor


@torch.no_grad()
def _chosen(
    model: MaskRCNN, proposals: _Proposals, truth: Sequence[Mapping[str, Tensor]], keys: Sequence[Tensor]
) -> list[_Regions]:
    """Of each image the proposals that the heads learn from."""
    heads = model.roi_heads
    sampler, matcher = heads.fg_bg_sampler, heads.proposal_matcher
    found = []
    for own, anchors, image, key in zip(proposals.boxes, proposals.anchors, truth, keys, strict=True):
        candidates = torch.cat((own, image["boxes"]))
        key = torch.cat((key[anchors], -torch.ones(len(image["boxes"]), device=key.device)))
        owner, verdict = targets.match(
            heads.box_similarity(image["boxes"], candidates),
            matcher.low_threshold,
            matcher.high_threshold,
            keep_best=False,
        )
        places, counts = targets.choose(
            verdict == 1, verdict == 0, key, sampler.batch_size_per_image, sampler.positive_fraction
        )
        boxes, owner = candidates[places], owner[places]
        names = image["labels"] if len(image["labels"]) else owner.new_zeros(1)
        label = torch.where(verdict[places] == 1, names[owner], 0)
        label = torch.where(counts, label, _NOTHING)
        found.append(_Regions(boxes, label, owner, _offsets(heads.box_coder, _boxes(image)[owner], boxes)))
    return found


def _mask_loss(
    model: MaskRCNN,
    features: Mapping[str, Tensor],
    images: ImageList,
    items: Sequence[Item],
    regions: Sequence[_Regions],
    config: Config,
) -> tuple[Tensor, Tensor]:
    """The mask loss over the proposals of objects as a sum, and over how many cells."""
    heads = model.roi_heads
    sampler = heads.fg_bg_sampler
    most = int(sampler.batch_size_per_image * sampler.positive_fraction)
    fixed = targets.has_fixed_size(images.tensors.device)
    first = [slice(most if fixed else int((own.labels > 0).sum())) for own in regions]
    boxes = [own.boxes[rows] for own, rows in zip(regions, first, strict=True)]
    label = torch.cat([own.labels[rows] for own, rows in zip(regions, first, strict=True)])
    pooled = heads.mask_roi_pool(features, boxes, images.image_sizes)
    logits = _of_label(heads.mask_predictor(heads.mask_head(pooled)).float(), label)
    with torch.no_grad(), torch.autocast(label.device.type, enabled=False):
        wanted = []
        for item, own, box, rows in zip(items, regions, boxes, first, strict=True):
            owner = torch.where(own.labels > 0, own.owners, len(item.labels))[rows]
            wanted.append(targets.at(item, box, owner, logits.shape[-1]))
        target = torch.cat(wanted)
        if config.mask_targets == "binary":
            target = target.round()
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    is_object = label > 0
    return _sum(loss, is_object), is_object.sum() * logits.shape[-1] ** 2
