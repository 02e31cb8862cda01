"""The Lovász-Softmax loss and the Lovász hinge: convex surrogates of the Jaccard index (Berman et al. 2018).

The derivative is a weight for each pixel, which depends on the order of the errors alone, so sorting is all the work.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from segdata.models.losses.options import Lovasz
from segdata.models.losses.pixels import pixels


def lovasz(logits: Tensor, target: Tensor, options: Lovasz) -> tuple[Tensor, Tensor]:
    """Σ over images of the mean over classes, and the number of images; of the batch as one image, unless per image."""
    batch = pixels(logits, target, options.ignore_index)
    per_image = batch.is_binary if options.per_image is None else options.per_image
    masks = batch.masks()
    if batch.is_binary:
        errors = torch.where(masks, 1 - batch.logits, 1 + batch.logits).relu()
    else:
        errors = (masks.to(batch.logits.dtype) - batch.probabilities()).abs()
    errors, masks, valid = (_rows(each, per_image=per_image) for each in (errors, masks, batch.valid[:, None]))
    is_counted = masks.any(-1)
    if options.classes == "all" or batch.is_binary:
        is_counted = torch.ones_like(is_counted)
    weights = _weights(errors.detach(), masks, valid, is_counted)
    count = is_counted.sum(1, keepdim=True).clamp(min=1)
    total = (errors * (weights / count[..., None])).sum()
    return total, total.new_full((), len(masks)) if per_image else batch.is_any


def _rows(values: Tensor, *, per_image: bool) -> Tensor:
    """(N, C, H, W) → (N, C, H W); (1, C, N H W) where the batch is one image."""
    return values.flatten(2) if per_image else values.transpose(0, 1).flatten(1)[None]


@torch.no_grad()
def _weights(errors: Tensor, masks: Tensor, valid: Tensor, is_counted: Tensor) -> Tensor:
    """The derivative of the loss of each class by each pixel's error.

    Args:
        errors: (N, C, P), at least 0.
        masks: (N, C, P) bool, pixels of the class.
        valid: (N, 1, P) bool, pixels that are not ignored.
        is_counted: (N, C) bool, classes whose loss is wanted; the others' weights are 0.

    Returns:
        (N, C, P), 0 for ignored pixels.
    """
    if errors.device.type == "cpu" and errors.dtype == torch.float32:
        return _weights_on_cpu(errors, masks, valid, is_counted)
    ordered = torch.where(valid, errors, -1.0).sort(dim=-1, descending=True).indices
    weights = torch.zeros_like(errors).scatter_(-1, ordered, _jaccard_steps(masks.gather(-1, ordered), errors.dtype))
    return torch.where(valid & is_counted[..., None], weights, 0.0)


def _jaccard_steps(is_own: Tensor, dtype: torch.dtype) -> Tensor:
    """How much each pixel, taken in order, adds to 1 - intersection / union of a class.

    Args:
        is_own: (…, P) bool, whether each pixel is of the class.
    """
    taken = is_own.cumsum(-1)
    left = taken[..., -1:] - taken
    rank = torch.arange(1, is_own.shape[-1] + 1, device=is_own.device)
    union = (rank + left).to(dtype)
    steps = torch.where(is_own, 1 / union, left / (union * (union - 1).clamp(min=1)))
    steps[..., 0] = torch.where(taken[..., -1] == 0, 1.0, steps[..., 0])
    return steps


def _weights_on_cpu(errors: Tensor, masks: Tensor, valid: Tensor, is_counted: Tensor) -> Tensor:
    """The same with NumPy's sort of whole numbers, ten times as fast as a sort of float32 with its indices.

    Each number is an error, as its bits order it, above the pixel's index; so equal errors keep their order, too.
    """
    weights = torch.zeros_like(errors)
    where: Any = [np.flatnonzero(each) for each in valid[:, 0].numpy()]
    for image, class_ in is_counted.nonzero().tolist():
        if not len(where[image]):
            continue
        bits = errors[image, class_].numpy()[where[image]].view(np.int32)
        keys = ((~bits).astype(np.int64) << 32) | where[image]
        keys.sort()
        order = torch.from_numpy(keys & 0xFFFFFFFF)
        weights[image, class_, order] = _jaccard_steps(masks[image, class_, order], errors.dtype)
    return weights
