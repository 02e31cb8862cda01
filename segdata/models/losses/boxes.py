"""IoU-balanced classification loss of detected boxes (Wu et al. 2019)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from segdata.models.losses.options import IouBalanced


def iou_balanced(logits: Tensor, labels: Tensor, options: IouBalanced, iou: Tensor) -> tuple[Tensor, Tensor]:
    """Σ w CE over boxes, and their number.

    The weights of positives are their IoU to a power, scaled so that the sum of their losses stays; negatives weigh 1.

    Args:
        logits: (K, C).
        labels: (K,) class, 0 for the background.
        iou: (K,) IoU of the predicted box with the object that it is matched with; only that of positives counts.
    """
    valid = labels != options.ignore_index
    labels = torch.where(valid, labels.long(), -1)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    losses = functional.cross_entropy(logits, labels, ignore_index=-1, reduction="none")
    return (losses * weights(losses.detach(), labels, iou, options.eta)).sum(), valid.sum().to(losses.dtype)


def weights(losses: Tensor, labels: Tensor, iou: Tensor, eta: float) -> Tensor:
    """(K,) what each box counts; see `iou_balanced`.

    Args:
        losses: (K,) cross-entropies.
    """
    is_positive = labels > 0
    powers = torch.where(is_positive, iou.detach().to(losses.dtype), 0.0).clamp(0, 1) ** eta
    positive = torch.where(is_positive, losses, 0.0)
    return torch.where(is_positive, powers * (positive.sum() / ((positive * powers).sum() + 1e-6)), 1.0)
