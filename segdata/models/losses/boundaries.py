"""Losses that weigh pixels by their distance to the boundaries of classes, which they transform themselves."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from segdata.models.losses import distances
from segdata.models.losses.options import Boundary, DistancePenalisedCe, Hausdorff
from segdata.models.losses.pixels import Pixels, pixels


def _foreground(batch: Pixels, values: Tensor, *, include_background: bool) -> Tensor:
    """(N, C, H, W) values without those of class 0 where asked; one channel is the foreground."""
    return values if include_background or batch.is_binary else values[:, 1:]


def boundary(logits: Tensor, target: Tensor, options: Boundary) -> tuple[Tensor, Tensor]:
    """Σ p φ over pixels and classes, φ the signed distance to the boundary of the class, and their number."""
    batch = pixels(logits, target, options.ignore_index)
    masks = _foreground(batch, batch.masks(), include_background=options.include_background)
    weights = distances.signed(masks, batch.logits.dtype) * batch.valid[:, None]
    probabilities = _foreground(batch, batch.probabilities(), include_background=options.include_background)
    return (probabilities * weights).sum(), batch.count * masks.shape[1]


def hausdorff(logits: Tensor, target: Tensor, options: Hausdorff) -> tuple[Tensor, Tensor]:
    """Σ (p - y)² (dp^a + dy^a) over pixels and classes, d the distance to either boundary, and their number."""
    batch = pixels(logits, target, options.ignore_index)
    include = options.include_background
    masks = _foreground(batch, batch.masks(), include_background=include)
    probabilities = _foreground(batch, batch.probabilities(), include_background=include)
    errors = torch.where(batch.valid[:, None], (probabilities - masks.to(probabilities.dtype)).square(), 0.0)
    if options.form == "erosion":
        weighted = torch.where(batch.valid[:, None], _eroded(errors, options.steps, options.alpha), 0.0).sum()
    else:
        predicted = (probabilities.detach() > 0.5) & batch.valid[:, None]
        apart = [distances.to_boundary(each, errors.dtype) ** options.alpha for each in (predicted, masks)]
        weighted = (errors * (apart[0] + apart[1])).sum()
    return weighted, batch.count * masks.shape[1]


def _eroded(errors: Tensor, steps: int, alpha: float) -> Tensor:
    """Σ over the steps (k = 1, …) of what is left of the errors, scaled to 0 … 1, times k^alpha.

    A step is a mean over a pixel and its four neighbours, minus 0.5, but not below 0.
    """
    offsets = torch.arange(-1, 2, device=errors.device)
    cross = 0.2 * (offsets[:, None].abs() + offsets.abs() < 2).to(errors.dtype)
    left = errors.reshape(1, -1, *errors.shape[2:])
    kernels = cross.expand(left.shape[1], 1, 3, 3)
    total = torch.zeros_like(left)
    for step in range(1, steps + 1):
        left = (functional.conv2d(left, kernels, padding=1, groups=len(kernels)) - 0.5).clamp(min=0)
        low, high = left.amin((2, 3), keepdim=True), left.amax((2, 3), keepdim=True)
        extent = torch.where(high > low, high - low, 1.0)
        left = torch.where(high > low, (left - low) / extent, left)
        total = total + left * step**alpha
    return total.view(errors.shape)


def distance_penalised_ce(logits: Tensor, target: Tensor, options: DistancePenalisedCe) -> tuple[Tensor, Tensor]:
    """Σ (1 + Φ) CE over pixels, Φ from 1 at the border of the pixel's class to 0 at its deepest point, and their number."""
    batch = pixels(logits, target, options.ignore_index).as_two_classes()
    depths = distances.edt(masks := batch.masks(), batch.logits.dtype)
    deepest = depths.amax((2, 3), keepdim=True)
    reversed_ = torch.where(masks, deepest - depths, 0.0)
    largest = reversed_.amax((2, 3), keepdim=True)
    penalties = torch.where(largest > 0, reversed_ / torch.where(largest > 0, largest, 1.0), masks.to(depths.dtype))
    weights = 1 + penalties.sum(1)
    return (batch.cross_entropy() * weights).sum(), batch.count
