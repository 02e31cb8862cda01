"""Losses of regions: what classes share with their labels, summed over an image or the batch."""

from __future__ import annotations

import torch
from torch import Tensor

from segdata.models.losses.options import Dice, SensitivitySpecificity
from segdata.models.losses.pixels import Pixels, pixels


def _of_own(batch: Pixels, values: Tensor, channels: int) -> Tensor:
    """(N, C) sums of (N, H, W) values by the class of their pixel; of the foreground alone for one channel."""
    count, classes = len(values), batch.classes
    sums = values.new_zeros(count, classes)
    sums = sums.scatter_add(1, batch.true_class.flatten(1), torch.where(batch.valid, values, 0.0).flatten(1))
    return sums[:, classes - channels :]


def _over_pixels(batch: Pixels, values: Tensor) -> Tensor:
    """(N, C) sums of (N, C, H, W) values over the pixels that are not ignored."""
    valid = batch.valid.to(values.dtype).flatten(1)
    return (values.flatten(2) @ valid[:, :, None])[:, :, 0]


def _own_probabilities(batch: Pixels, probabilities: Tensor) -> Tensor:
    """(N, H, W) probability of each pixel's class; for one logit that of the foreground."""
    return probabilities[:, 0] if batch.is_binary else probabilities.gather(1, batch.true_class)[:, 0]


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
    channels = probabilities.shape[1]
    overlap, every, labelled = _chosen(
        _of_own(batch, _own_probabilities(batch, probabilities), channels),
        _over_pixels(batch, probabilities.square() if options.squared else probabilities),
        _of_own(batch, torch.ones_like(batch.logits[:, 0]), channels),
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
