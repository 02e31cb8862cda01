"""Losses of regions: what classes share with their labels, summed over an image or the batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from segdata.models.losses.options import Dice, SensitivitySpecificity
from segdata.models.losses.pixels import Pixels, pixels


def _of_own(batch: Pixels, values: Tensor, channels: int) -> Tensor:
    """(N, C) sums of (N, H, W) values by the class of their pixel; of the foreground alone for one channel."""
    return batch.by_class(values)[:, batch.classes - channels :]


def _over_pixels(batch: Pixels, values: Tensor) -> Tensor:
    """(N, C) sums of (N, C, H, W) values over the pixels that are not ignored."""
    valid = batch.valid.to(values.dtype).flatten(1)
    return torch.stack([image @ each for image, each in zip(values.flatten(2), valid, strict=True)])


def _own_probabilities(batch: Pixels, probabilities: Tensor) -> Tensor:
    """(N, H, W) probability of each pixel's class; for one logit that of the foreground."""
    return probabilities[:, 0] if batch.is_binary else probabilities.gather(1, batch.true_class)[:, 0]


class _Overlap(torch.autograd.Function):
    """(N, C) Σ p y and Σ p or Σ p² over the pixels that are not ignored.

    Their gradient is a number for each class, and another at its own pixels: one tensor of the size of the probabilities,
    where autograd would make four.
    """

    @staticmethod
    def forward(ctx: Any, probabilities: Tensor, batch: Pixels, squared: bool) -> tuple[Tensor, Tensor]:
        """Both sums."""
        ctx.save_for_backward(probabilities)
        ctx.batch, ctx.squared = batch, squared
        every = probabilities.square() if squared else probabilities
        matching = _own_probabilities(batch, probabilities)
        return _of_own(batch, matching, probabilities.shape[1]), _over_pixels(batch, every)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_own: Tensor, by_every: Tensor) -> tuple[Tensor, None, None]:
        """The gradient by the probabilities."""
        (probabilities,) = ctx.saved_tensors
        batch: Pixels = ctx.batch
        gradient = by_every[..., None, None] * batch.valid[:, None].to(by_every.dtype)
        if ctx.squared:
            gradient *= 2 * probabilities
        if batch.is_binary:
            gradient += by_own[..., None, None] * batch.masks()
        else:
            at_own = by_own.gather(1, batch.true_class.flatten(1)).view(batch.labels.shape)
            gradient.scatter_add_(1, batch.true_class, torch.where(batch.valid, at_own, 0.0)[:, None])
        return gradient, None, None


def _chosen(*sums: Tensor, batch: bool, include_background: bool) -> list[Tensor]:
    """Of (N, C) sums those of the whole batch, (1, C), and without class 0, where asked; one channel is the foreground."""
    first = 0 if include_background or sums[0].shape[1] == 1 else 1
    return [each[:, first:].sum(0, keepdim=True) if batch else each[:, first:] for each in sums]


def _quotient(above: Tensor, below: Tensor) -> Tensor:
    """0 where it would be 0 / 0."""
    return torch.where(below > 0, above, 0.0) / torch.where(below > 0, below, 1.0)


def _mean(batch: Pixels, losses: Tensor, is_counted: Tensor, *, of_batch: bool) -> tuple[Tensor, Tensor]:
    """The sum of those (N, C) losses that count, and their number; of a batch their mean, and 1."""
    total, count = torch.where(is_counted, losses, 0.0).sum(), is_counted.sum().to(losses.dtype)
    return (total / count.clamp(min=1), batch.is_any) if of_batch else (total, count)


def dice(logits: Tensor, target: Tensor, options: Dice) -> tuple[Tensor, Tensor]:
    """Σ 1 - (2 Σ p y + s) / (Σ p^k + Σ y + s) over images and classes, and their number."""
    batch = pixels(logits, target, options.ignore_index)
    probabilities = batch.probabilities()
    overlap, every, labelled = _chosen(
        *_Overlap.apply(probabilities, batch, options.squared),
        _of_own(batch, torch.ones_like(batch.logits[:, 0]), probabilities.shape[1]),
        batch=options.batch,
        include_background=options.include_background,
    )
    above, below = 2 * overlap + options.smooth, every + labelled + options.smooth
    losses = _quotient(below - above, below)
    is_counted = labelled > 0 if options.absent == "skip" else torch.ones_like(losses, dtype=torch.bool)
    return _mean(batch, losses, is_counted, of_batch=options.batch)


def sensitivity_specificity(logits: Tensor, target: Tensor, options: SensitivitySpecificity) -> tuple[Tensor, Tensor]:
    """Σ r Σ (1 - p)² y / (Σ y + s) + (1 - r) Σ p² (1 - y) / (Σ (1 - y) + s) over images and classes, and their number."""
    batch = pixels(logits, target, options.ignore_index)
    if options.two_class:
        batch = batch.as_two_classes()
    probabilities = batch.probabilities()
    channels = probabilities.shape[1]
    others = torch.where(batch.masks(), 0.0, probabilities)
    labelled = _of_own(batch, torch.ones_like(batch.logits[:, 0]), channels)
    missed, wrong, positives, negatives = _chosen(
        _of_own(batch, (1 - _own_probabilities(batch, probabilities)).square(), channels),
        _over_pixels(batch, others.square()),
        labelled,
        batch.valid.sum((1, 2))[:, None] - labelled,
        batch=options.batch,
        include_background=options.include_background,
    )
    losses = options.share * _quotient(missed, positives + options.smooth)
    losses = losses + (1 - options.share) * _quotient(wrong, negatives + options.smooth)
    return _mean(batch, losses, torch.ones_like(losses, dtype=torch.bool), of_batch=options.batch)
