"""Matterport's five losses, each a mean, and its L2 penalty.

Predictions of the network are logits. A loss over nothing is zero, and still has a gradient.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

_EPSILON = 1e-7


def rpn_class_loss(match: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy of the RPN (object or background) over the anchors that are 1 or −1.

    Args:
        match: (N, A) of 1 (positive), −1 (negative), 0 (ignored).
        logits: (N, A, 2) background, object.
    """
    counts = match != 0
    if not counts.any():
        return logits.sum() * 0
    return functional.cross_entropy(logits[counts], (match[counts] == 1).to(torch.int64))


def rpn_bbox_loss(match: Tensor, deltas: Tensor, predicted: Tensor) -> Tensor:
    """Smooth L1 on box deltas of positive anchors (match = 1).

    Args:
        match: (N, A).
        deltas: (P, 4) targets of these anchors, image by image.
        predicted: (N, A, 4).
    """
    return _smooth_l1(predicted[match == 1], deltas)


def mrcnn_class_loss(class_ids: Tensor, logits: Tensor, active: Tensor) -> Tensor:
    """Cross-entropy over the proposals whose predicted class is active.

    Args:
        class_ids: (T,) 0 for the background.
        logits: (T, K).
        active: (K,) whether each class occurs in the data set of the images.
    """
    weight = active.to(logits.dtype)[logits.argmax(dim=1)]
    losses = functional.cross_entropy(logits, class_ids, reduction="none") * weight
    total = weight.sum()
    return losses.sum() / total if total > 0 else logits.sum() * 0


def mrcnn_bbox_loss(class_ids: Tensor, deltas: Tensor, predicted: Tensor) -> Tensor:
    """Smooth L1 loss of the box deltas of the ground-truth class.

    Args:
        class_ids: (T,).
        deltas: (P, 4) targets of the positive proposals, in their order.
        predicted: (T, K, 4).
    """
    positive = torch.nonzero(class_ids > 0)[:, 0]
    return _smooth_l1(predicted[positive, class_ids[positive]], deltas)


def mrcnn_mask_loss(class_ids: Tensor, masks: Tensor, logits: Tensor) -> Tensor:
    """Binary cross-entropy of the mask of the ground-truth class.

    As in Keras, probabilities are clipped to 1e-7 … 1 − 1e-7: the loss of a pixel is at most about 15, and a clipped one
    has no gradient.

    Args:
        class_ids: (P,) of the positive proposals.
        masks: (P, h, w) 0 or 1.
        logits: (P, K, h, w).
    """
    if not len(class_ids):
        return logits.sum() * 0
    chosen = torch.sigmoid(logits[torch.arange(len(class_ids), device=logits.device), class_ids].float())
    chosen = chosen.clamp(_EPSILON, 1 - _EPSILON)
    return -torch.where(masks > 0, torch.log(chosen + _EPSILON), torch.log(1 - chosen + _EPSILON)).mean()


def _smooth_l1(predicted: Tensor, target: Tensor) -> Tensor:
    if not len(predicted):
        return predicted.sum() * 0
    return functional.smooth_l1_loss(predicted, target.to(predicted.dtype), beta=1.0)


def weight_penalty(weights: Iterable[Tensor], decay: float) -> Tensor:
    """`decay` times the mean square of each weight, summed."""
    return decay * torch.stack([weight.square().mean() for weight in weights]).sum()
