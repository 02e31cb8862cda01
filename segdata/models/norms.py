"""Normalisation layers: group norm for any number of channels, and batch norms of a network replaced by others."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.ops import FrozenBatchNorm2d


def group_norm(channels: int) -> nn.GroupNorm:
    """Group norm (Wu and He 2018) with at most 32 groups, each of at least 4 channels where there are as many."""
    groups = next(
        (count for count in (32, 16, 8, 4, 2) if channels % count == 0 and channels // count >= 4),
        1,
    )
    return nn.GroupNorm(groups, channels)


class _Frozen(FrozenBatchNorm2d):  # type: ignore[misc]
    """Batch norm with fixed statistics and weights for (N, C, ...), and what the replaced layer did afterwards."""

    def __init__(self, old: _BatchNorm) -> None:
        super().__init__(old.num_features, eps=old.eps)
        for name in ("weight", "bias", "running_mean", "running_var"):
            value = getattr(old, name)
            if value is not None:
                setattr(self, name, value.detach().clone())
        self.then = _afterwards(old)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 4:
            return self.then(super().forward(x))  # type: ignore[no-any-return]
        return self.then(super().forward(x.flatten(2).unsqueeze(3)).reshape(x.shape))  # type: ignore[no-any-return]


class _Group(nn.GroupNorm):
    """Group norm, and what the replaced layer did afterwards."""

    def __init__(self, old: _BatchNorm) -> None:
        super().__init__(group_norm(old.num_features).num_groups, old.num_features, affine=old.affine)
        if old.affine:
            self.weight, self.bias = old.weight, old.bias
        self.then = _afterwards(old)

    def forward(self, input: Tensor) -> Tensor:
        # not functional.group_norm, which refuses one channel of one pixel
        normalised = torch.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)
        return self.then(normalised)  # type: ignore[no-any-return]


class _Synchronised(nn.SyncBatchNorm):
    """Batch norm over all processes, and what the replaced layer did afterwards."""

    def __init__(self, old: _BatchNorm) -> None:
        super().__init__(old.num_features, old.eps, old.momentum, old.affine, old.track_running_stats)
        self.weight, self.bias = old.weight, old.bias
        self.running_mean, self.running_var = old.running_mean, old.running_var
        self.num_batches_tracked = old.num_batches_tracked
        self.then = _afterwards(old)

    def forward(self, input: Tensor) -> Tensor:
        return self.then(super().forward(input))  # type: ignore[no-any-return]


def _afterwards(old: _BatchNorm) -> nn.Module:
    """timm's batch norms also drop and activate."""
    layers = [layer for name in ("drop", "act") if isinstance(layer := getattr(old, name, None), nn.Module)]
    return nn.Sequential(*layers) if layers else nn.Identity()


def replace(network: nn.Module, norm: str) -> None:
    """Replace the batch norms of a network, in place; names of weights stay. Layer norms and group norms stay, too.

    Args:
        norm: "batch" leaves them, "frozen" fixes their statistics and weights, "group" makes them group norms,
            "synchronised" takes statistics over all processes (PyTorch's own conversion loses the activations in timm's).
    """
    kind = {"batch": None, "frozen": _Frozen, "group": _Group, "synchronised": _Synchronised}[norm]
    if kind is None:
        return
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm) and not isinstance(child, nn.SyncBatchNorm):
                setattr(parent, name, kind(child))
