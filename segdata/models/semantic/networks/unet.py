"""U-Net (Ronneberger et al. 2015): the paper's valid convolutions, and the form that pads and normalises."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from segdata.models.semantic.network import Network, Outputs
from segdata.models.semantic.networks.settings import UNet as Settings

_LEVELS = 5
_BORDER = 92
"""Pixels that the valid convolutions of five levels take away on each side."""


class UNet(Network):
    """Five levels of two 3×3 convolutions; each upsampled level is joined with the contracting path's features.

    Without padding, images get a mirrored border instead, as in the paper, so that the logits have the images' size.
    """

    stride = 2 ** (_LEVELS - 1)

    def __init__(self, settings: Settings, classes: int, in_channels: int) -> None:
        super().__init__()
        self.padded = settings.padded
        widths = [settings.width * 2**level for level in range(_LEVELS)]
        if settings.bilinear:
            widths[-1] //= 2
        self.down = nn.ModuleList(
            _pair(inputs, outputs, settings)
            for inputs, outputs in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        self.dropout = nn.Dropout(settings.dropout)
        self.up, self.joined = nn.ModuleList(), nn.ModuleList()
        below = widths[-1]
        for level in range(_LEVELS - 2, -1, -1):
            width = settings.width * 2**level
            outputs = width // 2 if settings.bilinear and level else width
            self.up.append(
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
                if settings.bilinear
                else nn.ConvTranspose2d(below, width, 2, 2)
            )
            self.joined.append(_pair(width * 2, outputs, settings, width if settings.bilinear else None))
            below = outputs
        self.last = nn.Conv2d(settings.width, classes, 1)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def outputs(self, images: Tensor) -> Outputs:
        """See `Network`."""
        if self.padded:
            return super().outputs(images)
        height, width = images.shape[-2:]
        rows, columns = (_mirrored(size, images.device) for size in (height, width))
        logits = self.outputs_of_padded(images[..., rows, :][..., columns]).logits
        return Outputs(logits[..., :height, :width])

    def outputs_of_padded(self, images: Tensor) -> Outputs:
        """See `Network`; without padding, logits lack 92 pixels on each side."""
        skips = []
        x = images
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
            if level >= _LEVELS - 2:
                x = self.dropout(x)
            skips.append(x)
        for up, joined, skip in zip(self.up, self.joined, skips[-2::-1], strict=True):
            x = up(x)
            x = joined(torch.cat([_centre(skip, x), x], 1))
        return Outputs(self.last(x))


def _pair(inputs: int, outputs: int, settings: Settings, middle: int | None = None) -> nn.Sequential:
    """Two 3×3 convolutions, each with its norm and ReLU."""
    layers: list[nn.Module] = []
    middle = middle or outputs
    for first, second in ((inputs, middle), (middle, outputs)):
        layers.append(nn.Conv2d(first, second, 3, padding=int(settings.padded), bias=settings.norm == "none"))
        if settings.norm != "none":
            layers.append(nn.BatchNorm2d(second))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _centre(skip: Tensor, like: Tensor) -> Tensor:
    """The centre of a tensor, as large as another."""
    top, left = ((skip.shape[axis] - like.shape[axis]) // 2 for axis in (-2, -1))
    return skip[..., top : top + like.shape[-2], left : left + like.shape[-1]]


def _mirrored(size: int, device: torch.device) -> Tensor:
    """Which row or column stands where in an image with a mirrored border that the valid convolutions fit into.

    The lowest level has n pixels after its convolutions where the input has 16 n + 124, and the output 16 n − 60.
    """
    lowest = (size + 60 + 15) // 16
    positions = torch.arange(16 * lowest + 124, device=device) - _BORDER
    period = torch.full_like(positions, 2 * (size - 1))  # a tensor, since exporters take no remainder of a number
    positions = positions.remainder(period)
    return torch.minimum(positions, period - positions)
