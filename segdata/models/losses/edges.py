"""Losses of Gated-SCNN (Takikawa et al. 2019): on edges, from edges, and between the edges of two label maps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from segdata.errors import UsageError
from segdata.models.losses.options import DualTask, Edge, EdgeAttention
from segdata.models.losses.pixels import IGNORED, Pixels, pixels

_SMALL = 1e-10
_REACH = 4
"""Pixels to either side of a triangle filter."""


def dual_task(
    logits: Tensor,
    target: Tensor,
    options: DualTask,
    *,
    uniform: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Half the mean difference of edge strengths over predicted edges, half that over true ones; and 1.

    Args:
        uniform: N C H W numbers in [0, 1) that the Gumbel noise on the logits is made of.
        generator: draws them, on the device of the logits; without either there is no noise.
    """
    batch = pixels(logits, target, options.ignore_index).as_two_classes()
    scores = torch.where(batch.valid[:, None], batch.logits, 0.0)
    if uniform is None and generator is not None:
        uniform = torch.rand(scores.shape, generator=generator, dtype=scores.dtype, device=scores.device)
    if uniform is not None:
        scores = scores - torch.log(_SMALL - torch.log(uniform.reshape(scores.shape).to(scores) + _SMALL))
    predicted = _strengths((scores / options.temperature).softmax(1))
    with torch.no_grad():
        classes = torch.arange(batch.classes, device=scores.device)[:, None, None]
        true = _strengths((batch.true_class == classes).to(scores.dtype))
    difference = (predicted - true).abs()
    means = [_mean(difference, strengths.detach() >= 1e-8) for strengths in (predicted, true)]
    return torch.where(batch.valid.any(), (means[0] + means[1]) / 2, 0.0), batch.is_any


def _mean(values: Tensor, is_counted: Tensor) -> Tensor:
    return torch.where(is_counted, values, 0.0).sum() / is_counted.sum().clamp(min=1)


def _strengths(maps: Tensor) -> Tensor:
    """(N, C, H, W) length of the gradient of smoothed maps, divided by the largest."""
    smooth = _smoothed(maps)
    across = functional.pad(smooth, (1, 1))
    down = functional.pad(smooth, (0, 0, 1, 1))
    across = (across[..., 2:] - across[..., :-2]) / 2
    down = (down[..., 2:, :] - down[..., :-2, :]) / 2
    lengths = (across.square() + down.square() + 1e-6).sqrt()
    return lengths / lengths.max()


def _smoothed(maps: Tensor) -> Tensor:
    """Maps after a triangle filter along both axes; pixels beyond the border are mirrored."""
    rows, columns = (_mirrored(size, _REACH, maps.device) for size in maps.shape[2:])
    planes = maps.reshape(1, -1, *maps.shape[2:]).index_select(2, rows).index_select(3, columns)
    apart = torch.arange(-_REACH, _REACH + 1, dtype=maps.dtype, device=maps.device).abs()
    kernels = ((_REACH + 1 - apart) / (_REACH + 1) ** 2).expand(planes.shape[1], 1, 1, -1)
    planes = functional.conv2d(planes, kernels.transpose(2, 3), groups=len(kernels))
    return functional.conv2d(planes, kernels, groups=len(kernels)).view(maps.shape)


def _mirrored(size: int, more: int, device: torch.device) -> Tensor:
    """Indices 0 … size - 1 with `more` mirrored ones at both ends, the outermost pixel repeated."""
    indices = torch.arange(-more, size + more, device=device) % (2 * size)
    return torch.minimum(indices, 2 * size - 1 - indices)


def edge(logits: Tensor, target: Tensor, options: Edge) -> tuple[Tensor, Tensor]:
    """Mean binary cross-entropy of edges, each kind of pixel weighted by the share of the other; and 1.

    The mean is over all pixels, ignored ones with 0, as its authors have it.

    Args:
        logits: (N, 1, H, W).
        target: classes, whose edges are meant; with radius 0 the edges themselves, 0 and 1.
    """
    if logits.shape[1:2] != (1,):
        raise UsageError("the loss 'edge' takes one logit for each pixel", why=f"got {tuple(logits.shape)}")
    valid = target != options.ignore_index
    edges = target if not options.radius else edges_of(torch.where(valid, target.long(), IGNORED), options.radius)
    batch = pixels(logits, torch.where(valid, edges.long(), IGNORED), IGNORED)
    is_edge = batch.labels == 1
    share = is_edge.sum() / batch.count.clamp(min=1)
    weights = torch.where(is_edge, 1 - share, share)
    return (batch.cross_entropy() * weights).mean(), batch.is_any


def edges_of(labels: Tensor, radius: float) -> Tensor:
    """(N, H, W) bool, pixels with a pixel of another label within the radius; the border of the image is an edge, too.

    Args:
        labels: (N, H, W) int64; below 0 for no class.
    """
    reach = int(radius)
    labels = labels.clamp(min=-1)
    height, width = labels.shape[1:]
    padded = functional.pad(labels, (reach, reach, reach, reach), value=-1)
    result = torch.zeros_like(labels, dtype=torch.bool)
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            if 0 < down * down + right * right <= radius * radius:
                rows, columns = slice(reach + down, reach + down + height), slice(reach + right, reach + right + width)
                result |= padded[:, rows, columns] != labels
    return result


def edge_attention(logits: Tensor, target: Tensor, options: EdgeAttention, edges: Tensor) -> tuple[Tensor, Tensor]:
    """Σ over images of the weighted cross-entropy of pixels on predicted edges, and 1.

    Weights are 2 - the share of a class among them, and 1 for a class that is not there.

    Args:
        edges: (N, 1, H, W) probability that a pixel is on an edge.
    """
    batch = pixels(logits, target, options.ignore_index)
    is_on = batch.valid & (edges[:, 0] > options.threshold)
    batch = Pixels(batch.logits, torch.where(is_on, batch.labels, IGNORED), is_on)
    counts = batch.by_class(is_on)
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    weights = torch.where(counts > 0, 2 - shares, 1.0)
    weights = torch.where(is_on, weights.gather(1, batch.true_class.flatten(1)).view(is_on.shape), 0.0)
    sums = (batch.cross_entropy() * weights).flatten(1).sum(1)
    return (sums / weights.flatten(1).sum(1).clamp(min=1)).sum(), batch.is_any
