"""Losses that are means over pixels: cross-entropy, focal, and those of the hardest pixels alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from segdata.errors import UsageError
from segdata.models.losses.options import Ce, Focal, Ohem, TopK
from segdata.models.losses.pixels import IGNORED, Pixels, pixels


def ce(logits: Tensor, target: Tensor, options: Ce) -> tuple[Tensor, Tensor]:
    """Σ w CE, and Σ w over the pixels that are not ignored; with `positive_weight`, their number."""
    batch = pixels(logits, target, options.ignore_index)
    if options.positive_weight is None:
        weight = None if options.weight is None else _per_class(options.weight, batch, "weight")
        total, count = _weighted(batch, weight, options.label_smoothing)
    elif batch.is_binary and options.weight is None and not options.label_smoothing:
        losses = batch.cross_entropy()
        total, count = torch.where(batch.labels == 1, losses * options.positive_weight, losses).sum(), batch.count
    else:
        raise UsageError(
            "the loss 'ce' takes positive_weight for one logit alone, without weight and label_smoothing",
            place="positive_weight",
            why=f"the logits have {batch.logits.shape[1]} channels",
            fix="weight, one number a class",
        )
    return total, count if options.reduction == "mean" else batch.is_any


def _weighted(batch: Pixels, weight: Tensor | None, smoothing: float) -> tuple[Tensor, Tensor]:
    count = batch.count if weight is None else torch.where(batch.valid, weight[batch.true_class[:, 0]], 0.0).sum()
    if batch.is_binary and weight is None and not smoothing:
        return batch.cross_entropy().sum(), count
    total = functional.cross_entropy(
        batch.as_two_classes().logits,
        batch.labels,
        weight,
        ignore_index=IGNORED,
        reduction="sum",
        label_smoothing=smoothing,
    )
    return total, count


def _per_class(values: tuple[float, ...], batch: Pixels, place: str) -> Tensor:
    """(C,) numbers on the device.

    Raises:
        UsageError: there is not one for each class.
    """
    if len(values) != batch.classes:
        raise UsageError(
            f"{place} needs a number for each class", place=place, why=f"got {len(values)} for {batch.classes} classes"
        )
    return torch.stack([batch.logits.new_full((), value) for value in values])  # a copy would wait for the GPU


def focal(logits: Tensor, target: Tensor, options: Focal) -> tuple[Tensor, Tensor]:
    """Σ -a (1 - p)^g log p over the pixels that are not ignored, and their number (times the classes with sigmoid)."""
    batch = pixels(logits, target, options.ignore_index)
    if options.form == "sigmoid" or batch.is_binary:
        losses, count = _against_the_rest(batch, options), batch.count * batch.logits.shape[1]
    else:
        entropy = batch.cross_entropy()
        losses, count = _modulated(entropy, -torch.expm1(-entropy), options.gamma), batch.count
        if isinstance(options.alpha, tuple):
            losses = losses * _per_class(options.alpha, batch, "alpha")[batch.true_class[:, 0]]
        elif options.alpha is not None:
            raise UsageError(
                "alpha needs a number for each class with softmax", place="alpha", why=f"got {options.alpha}"
            )
    return losses.sum(), count if options.reduction == "mean" else batch.is_any


def _against_the_rest(batch: Pixels, options: Focal) -> Tensor:
    """(N, C, H, W) focal losses of every class against the rest."""
    alpha = options.alpha
    if isinstance(alpha, tuple) and not (batch.is_binary and len(alpha) == 2):
        raise UsageError("alpha is one number with sigmoid, the weight of positives", place="alpha", why=f"got {alpha}")
    is_positive = batch.masks()
    margin = torch.where(is_positive, batch.logits, -batch.logits)
    losses = _modulated(functional.softplus(-margin), torch.sigmoid(-margin), options.gamma)
    if alpha is not None:
        negatives, positives = alpha if isinstance(alpha, tuple) else (1 - alpha, alpha)
        losses = losses * torch.where(is_positive, positives, negatives)
    return torch.where(batch.valid[:, None], losses, 0.0)


def _modulated(entropy: Tensor, rest: Tensor, gamma: float) -> Tensor:
    """(1 - p)^gamma × cross-entropy.

    Args:
        rest: 1 - p; its power has no derivative at 0 for a gamma below 1, so it stays above.
    """
    if gamma == 0:
        return entropy
    if gamma < 1:
        rest = rest.clamp(min=torch.finfo(rest.dtype).tiny)
    return entropy * rest**gamma


def topk(logits: Tensor, target: Tensor, options: TopK) -> tuple[Tensor, Tensor]:
    """Mean of the largest cross-entropies, and 1."""
    batch = pixels(logits, target, options.ignore_index)
    return _mean_of_hardest(batch, options.percent, math.inf, of_all=options.of == "all"), batch.is_any


def ohem(logits: Tensor, target: Tensor, options: Ohem) -> tuple[Tensor, Tensor]:
    """Mean of the cross-entropies of pixels whose class is less probable than a threshold, and 1."""
    batch = pixels(logits, target, options.ignore_index)
    return _mean_of_hardest(batch, 100 * options.minimum, -math.log(options.threshold)), batch.is_any


def _mean_of_hardest(batch: Pixels, percent: float, limit: float, *, of_all: bool = False) -> Tensor:
    """Mean cross-entropy of the hardest pixels.

    Args:
        percent: of the pixels, at least one, that are kept in any case.
        limit: what has a larger cross-entropy is kept, too.
        of_all: ignored pixels count, with a cross-entropy of 0.
    """
    losses = batch.cross_entropy()
    if losses.device.type != "cpu":
        return mean_of_hardest_dense(losses, batch.valid, percent, limit, of_all=of_all)
    counted = losses.flatten() if of_all else losses[batch.valid]
    if not len(counted):
        return losses.sum()
    largest = counted.topk(max(int(len(counted) * percent / 100), 1)).values
    return counted[counted > limit].mean() if largest.detach()[-1] > limit else largest.mean()


def mean_of_hardest_dense(losses: Tensor, valid: Tensor, percent: float, limit: float, *, of_all: bool) -> Tensor:
    """The same without a size that depends on values, for which a GPU would have to be waited for."""
    valid = torch.ones_like(valid) if of_all else valid
    ordered = torch.where(valid, losses, -1.0).flatten().sort(dim=0, descending=True, stable=True).values
    count = valid.sum()
    least = (count.double() * percent / 100).long().clamp(min=1)
    rank = torch.arange(len(ordered), device=ordered.device)
    is_kept = (rank < count) & ((rank < least) | (ordered > limit))
    return torch.where(is_kept, ordered, 0.0).sum() / is_kept.sum().clamp(min=1)
