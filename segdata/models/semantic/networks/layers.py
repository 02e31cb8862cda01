"""Small parts that several networks are made of."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional


def convolution(inputs: int, outputs: int, kernel: int, *, dilation: int = 1, separable: bool = False) -> nn.Sequential:
    """A convolution that keeps the size, batch norm, and ReLU.

    Args:
        separable: depthwise, batch norm, ReLU, then 1×1.
    """
    padding = dilation * (kernel // 2)
    first: list[nn.Module] = []
    if separable:
        first = [
            nn.Conv2d(inputs, inputs, kernel, padding=padding, dilation=dilation, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU(inplace=True),
        ]
        kernel, padding, dilation = 1, 0, 1
    return nn.Sequential(
        *first,
        nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def resized(x: Tensor, like: Tensor, *, align_corners: bool = False) -> Tensor:
    """(N, C, h, w) → bilinearly at the height and width of `like`."""
    return functional.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=align_corners)


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """The context in which autocast, where it is on, does not concern what is calculated on the device of `x`."""
    kind = x.device.type
    is_on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if is_on else nullcontext()


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling (Chen et al. 2017): 1×1, dilated 3×3 and the pooled image, concatenated, 1×1.

    Args:
        rates: dilations of the 3×3 convolutions.
    """

    def __init__(
        self, inputs: int, outputs: int, rates: Sequence[int], *, dropout: float = 0.5, separable: bool = False
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [convolution(inputs, outputs, 1)]
            + [convolution(inputs, outputs, 3, dilation=rate, separable=separable) for rate in rates]
        )
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), *convolution(inputs, outputs, 1))
        self.project = nn.Sequential(*convolution(outputs * (len(rates) + 2), outputs, 1), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pooled(x).expand(-1, -1, *x.shape[-2:])
        return self.project(torch.cat([*(branch(x) for branch in self.branches), pooled], 1))  # type: ignore[no-any-return]
