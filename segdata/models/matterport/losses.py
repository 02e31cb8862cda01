"""Matterport's five losses, each a mean over what counts, and the penalty on large weights.

Predictions of the network are logits; where there is nothing to learn from a loss is zero (and still has a gradient).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

_EPSILON = 1e-7


def rpn_class_loss(match: Tensor, logits: Tensor) -> Tensor:
    """Object or not, cross-entropy over the anchors that are 1 or −1.

    Args:
        match: (N, A) of 1 (object), −1 (none), 0 (does not count).
        logits: (N, A, 2) none, object.
    """
    counts = match != 0
    if not counts.any():
        return logits.sum() * 0
    return functional.cross_entropy(logits[counts], (match[counts] == 1).to(torch.int64))


def rpn_bbox_loss(match: Tensor, deltas: Tensor, predicted: Tensor) -> Tensor:
    """Where the object is, seen from its anchor: smooth L1 over the anchors that are 1.

    Args:
        match: (N, A).
        deltas: (P, 4) of these anchors, one photo after another.
        predicted: (N, A, 4).
    """
    return _smooth_l1(predicted[match == 1], deltas)


def mrcnn_class_loss(class_ids: Tensor, logits: Tensor, active: Tensor) -> Tensor:
    """Which class, cross-entropy over the proposals whose likeliest class is one that the data could have.

    Args:
        class_ids: (T,) 0 for the background.
        logits: (T, K).
        active: (K,) which classes occur in the data that the photos are of.
    """
    weight = active.to(logits.dtype)[logits.argmax(dim=1)]
    losses = functional.cross_entropy(logits, class_ids, reduction="none") * weight
    total = weight.sum()
    return losses.sum() / total if total > 0 else logits.sum() * 0


def mrcnn_bbox_loss(class_ids: Tensor, deltas: Tensor, predicted: Tensor) -> Tensor:
    """Where the object is, seen from its proposal: smooth L1 on the true class's deltas.

    Args:
        class_ids: (T,).
        deltas: (P, 4) of the proposals on objects, in their order.
        predicted: (T, K, 4).
    """
    found = torch.nonzero(class_ids > 0)[:, 0]
    return _smooth_l1(predicted[found, class_ids[found]], deltas)


def mrcnn_mask_loss(class_ids: Tensor, masks: Tensor, logits: Tensor) -> Tensor:
    """Which pixels, binary cross-entropy on the true class's map.

    As in Keras, probabilities stay 1e-7 off 0 and 1: a pixel costs at most about 15, and one so far off has no gradient.

    Args:
        class_ids: (P,) of the proposals on objects.
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
