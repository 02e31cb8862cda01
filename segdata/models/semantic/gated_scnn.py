"""Gated-SCNN (Takikawa et al. 2019): a second stream at full size that sees shapes, gated by the first one.

Written from the paper. Where it begins is a trunk of output stride 8; the shape stream starts with its first features and
is gated by three deeper ones; the edges that it ends with join the spatial pyramid pooling.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock

from segdata.models.semantic.network import Network, Outputs
from segdata.models.semantic.networks.layers import convolution, full_precision, resized
from segdata.models.semantic.networks.resnet import ResNet
from segdata.models.semantic.networks.settings import GatedSCNN as Settings
from segdata.models.semantic.networks.wide_resnet import WideResNet38

_FINE = 48
"""Channels that the fine features are reduced to in the decoder."""

_WEAK, _STRONG = 10 / 57.6, 100 / 57.6
"""The paper's thresholds of Canny edges, 10 and 100 grey levels, in units of a normalised image: 0.226 × 255 levels."""


class Gate(nn.Module):
    """A gated convolution: features, weighted by where a deeper feature agrees with them.

    (N, `inputs`, H, W) features and (N, 1, H, W) → (N, `outputs`, H, W).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 1, 1))
        nn.init.xavier_normal_(self.weight)
        self._gate_conv = nn.Sequential(
            nn.BatchNorm2d(inputs + 1),
            nn.Conv2d(inputs + 1, inputs + 1, 1),
            nn.ReLU(),
            nn.Conv2d(inputs + 1, 1, 1),
            nn.BatchNorm2d(1),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor, gating: Tensor) -> Tensor:
        """The gated features."""
        attention = self._gate_conv(torch.cat([features, gating], 1))
        return functional.conv2d(features * (attention + 1), self.weight)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling with an edge map: (N, `inputs`, h, w) and (N, 1, H, W) → (N, 6 `outputs`, h, w).

    Of its six parts the pooled image is first, the edges second, the dilations follow.
    """

    def __init__(self, inputs: int, outputs: int = 256) -> None:
        super().__init__()
        self.features = nn.ModuleList(
            [convolution(inputs, outputs, 1)]
            + [convolution(inputs, outputs, 3, dilation=rate) for rate in (12, 24, 36)]
        )
        self.img_conv = convolution(inputs, outputs, 1)
        self.edge_conv = convolution(1, outputs, 1)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """The joined features."""
        pooled = self.img_conv(functional.adaptive_avg_pool2d(x, 1)).expand(-1, -1, *x.shape[-2:])
        edges = self.edge_conv(resized(edges, x, align_corners=True))
        return torch.cat([pooled, edges, *(feature(x) for feature in self.features)], 1)


class _Residual(BasicBlock):  # type: ignore[misc]
    """A block of two 3×3 convolutions that keeps the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels)


class GatedSCNN(Network):
    """The two streams, their fusion, and the decoder; its edges are logits in training and in evaluation."""

    stride = 8

    def __init__(self, settings: Settings, classes: int, in_channels: int) -> None:
        super().__init__()
        if settings.backbone == "wideresnet38":
            self.encoder: nn.Module = WideResNet38(in_channels=in_channels, width=settings.backbone_width)
            self._taken = (0, 1, 2, 3, 6)
        else:
            self.encoder = ResNet(
                settings.backbone, in_channels=in_channels, width=settings.backbone_width, output_stride=8
            )
            self._taken = (0, 1, 1, 2, 4)
        first, fine, *gating = (self.encoder.channels[index] for index in self._taken)
        widths = [first, 32, 16, 8]
        for number, deep in enumerate(gating, 1):
            before, after = widths[number - 1 : number + 1]
            self.add_module(f"res{number}", _Residual(before))
            self.add_module(f"d{number}", nn.Conv2d(before, after, 1))
            self.add_module(f"dsn{number}", nn.Conv2d(deep, 1, 1))
            self.add_module(f"gate{number}", Gate(after, after))
        self.fuse = nn.Conv2d(widths[-1], 1, 1, bias=False)
        self.cw = nn.Conv2d(2, 1, 1, bias=False)
        channels = settings.head_channels
        self.aspp = ASPP(gating[-1], channels)
        self.bot_fine = nn.Conv2d(fine, _FINE, 1, bias=False)
        self.bot_aspp = nn.Conv2d(6 * channels, channels, 1, bias=False)
        self.final_seg = nn.Sequential(
            *convolution(channels + _FINE, channels, 3),
            *convolution(channels, channels, 3),
            nn.Conv2d(channels, classes, 1, bias=False),
        )

    def outputs_of_padded(self, images: Tensor) -> Outputs:
        """See `Network`."""
        features = self.encoder(images)
        first, fine, *gating = (features[index] for index in self._taken)
        shape = resized(first, images, align_corners=True)
        for number, deep in enumerate(gating, 1):
            shape = self.get_submodule(f"d{number}")(self.get_submodule(f"res{number}")(shape))
            seen = resized(self.get_submodule(f"dsn{number}")(deep), images, align_corners=True)
            shape = self.get_submodule(f"gate{number}")(shape, seen)
        edges = self.fuse(shape)
        joined = self.cw(torch.cat([edges.sigmoid(), gradient_edges(images)], 1)).sigmoid()
        deep = self.bot_aspp(self.aspp(gating[-1], joined))
        fine = self.bot_fine(fine)
        logits = self.final_seg(torch.cat([fine, resized(deep, fine, align_corners=True)], 1))
        return Outputs(resized(logits, images, align_corners=True), edges=edges)


def gradient_edges(images: Tensor) -> Tensor:
    """Edges in the images themselves: (N, C, H, W) normalised → (N, 1, H, W) in 0 … 1, without gradient.

    Canny's first steps: Sobel gradients of each channel, the strongest channel's is taken, and it stays where it is the
    highest across its direction. In place of Canny's tracing of weak edges from strong ones, an edge counts the more the
    stronger it is: 0 at a gradient of 10 grey levels, 1 at 100. Calculated in float32.
    """
    with torch.no_grad(), full_precision(images):
        padded = functional.pad(images.detach().float(), (1, 1, 1, 1), mode="replicate")
        smooth_rows = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
        smooth_columns = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
        across = smooth_rows[..., 2:] - smooth_rows[..., :-2]
        down = smooth_columns[..., 2:, :] - smooth_columns[..., :-2, :]
        strength, channel = (across.abs() + down.abs()).max(1, keepdim=True)
        across, down = across.gather(1, channel), down.gather(1, channel)
        around = functional.pad(strength, (1, 1, 1, 1))
        height, width = strength.shape[-2:]

        def beside(rows: int, columns: int) -> Tensor:
            shifted = [around[..., 1 + sign * rows :, 1 + sign * columns :][..., :height, :width] for sign in (-1, 1)]
            return torch.maximum(shifted[0], shifted[1])

        is_flat, is_steep = down.abs() <= 0.4142 * across.abs(), across.abs() <= 0.4142 * down.abs()
        diagonal = torch.where(across * down > 0, beside(1, 1), beside(1, -1))
        highest = torch.where(is_flat, beside(0, 1), torch.where(is_steep, beside(1, 0), diagonal))
        scaled = ((strength - _WEAK) / (_STRONG - _WEAK)).clamp(0, 1)
        return (scaled * (strength >= highest)).to(images.dtype)
