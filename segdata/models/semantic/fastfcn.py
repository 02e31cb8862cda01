"""FastFCN (Wu et al. 2019): joint pyramid upsampling in place of dilation, and four heads, EncNet's (Zhang et al. 2018)
among them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.segmentation.fcn import FCNHead

from segdata.models.semantic.network import Network, Outputs
from segdata.models.semantic.networks.layers import ASPP, convolution, full_precision, resized
from segdata.models.semantic.networks.resnet import ResNet
from segdata.models.semantic.networks.settings import FastFCN as Settings

_CODES = 32
"""Codewords of EncNet."""


class JPU(nn.Module):
    """Joint pyramid upsampling: features of strides 8, 16 and 32 → (N, 4 `width`, H / 8, W / 8).

    Args:
        channels: of the three features, that of stride 8 first.
    """

    def __init__(self, channels: tuple[int, int, int], width: int = 512) -> None:
        super().__init__()
        self.conv5 = convolution(channels[2], width, 3)
        self.conv4 = convolution(channels[1], width, 3)
        self.conv3 = convolution(channels[0], width, 3)
        for number in range(4):
            self.add_module(f"dilation{number + 1}", _separable(3 * width, width, 2**number))

    def forward(self, c3: Tensor, c4: Tensor, c5: Tensor) -> Tensor:
        """The joint features."""
        third = self.conv3(c3)
        fourth, fifth = (resized(x, third, align_corners=True) for x in (self.conv4(c4), self.conv5(c5)))
        joint = torch.cat([fifth, fourth, third], 1)
        return torch.cat([self.get_submodule(f"dilation{number}")(joint) for number in (1, 2, 3, 4)], 1)


class _Depthwise(nn.Module):
    """A depthwise dilated 3×3 convolution, batch norm, and a 1×1 convolution."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inputs, 3, padding=dilation, dilation=dilation, groups=inputs, bias=False)
        self.bn = nn.BatchNorm2d(inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.bn(self.conv1(x)))  # type: ignore[no-any-return]


def _separable(inputs: int, outputs: int, dilation: int) -> nn.Sequential:
    return nn.Sequential(_Depthwise(inputs, outputs, dilation), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Encoding(nn.Module):
    """The residuals of all positions from learned codewords, summed by soft assignment.

    (N, `channels`, H, W) → (N, `codes`, `channels`); with d the codewords and s their scales,
    e_k = Σ_i softmax_k(s_k |x_i − d_k|²) (x_i − d_k). Calculated in float32.
    """

    def __init__(self, channels: int, codes: int) -> None:
        super().__init__()
        limit = (channels * codes) ** -0.5
        self.codewords = nn.Parameter(torch.empty(codes, channels).uniform_(-limit, limit))
        self.scale = nn.Parameter(torch.empty(codes).uniform_(-1, 0))

    def forward(self, x: Tensor) -> Tensor:
        """The encoding."""
        with full_precision(x):
            positions = x.float().flatten(2).transpose(1, 2)
            codes = self.codewords.float()
            squares = positions.square().sum(2, keepdim=True) + codes.square().sum(1)
            distances = squares - 2 * positions @ codes.T
            assigned = (self.scale.float() * distances).softmax(2).transpose(1, 2)
            return assigned @ positions - assigned.sum(2, keepdim=True) * codes


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


class EncModule(nn.Module):
    """EncNet's context encoding: features gated by what the image holds, and logits of the classes in it.

    (N, `channels`, H, W) → the same shape, and (N, `classes`).
    """

    def __init__(self, channels: int, codes: int, classes: int) -> None:
        super().__init__()
        self.encoding = nn.Sequential(
            *convolution(channels, channels, 1),
            Encoding(channels, codes),
            nn.BatchNorm1d(codes),
            nn.ReLU(inplace=True),
            _Mean(),
        )
        self.fc = nn.Sequential(nn.Linear(channels, channels), nn.Sigmoid())
        self.selayer = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Gated features, and presence logits."""
        encoded = self.encoding(x)
        gate = self.fc(encoded)[:, :, None, None]
        return functional.relu(x + x * gate), self.selayer(encoded)


class _EncHead(nn.Module):
    """EncNet's head; with lateral connections it also sees the features of strides 8 and 16."""

    def __init__(self, inputs: int, lateral: tuple[int, ...], classes: int) -> None:
        super().__init__()
        width = inputs // 4
        self.conv5 = convolution(inputs, width, 1)
        self.connect = nn.ModuleList(convolution(channels, width, 1) for channels in lateral)
        self.fusion = convolution((len(lateral) + 1) * width, width, 3) if lateral else None
        self.encmodule = EncModule(width, _CODES, classes)
        self.conv6 = nn.Sequential(nn.Dropout(0.1), nn.Conv2d(width, classes, 1))

    def forward(self, joint: Tensor, c3: Tensor, c4: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv5(joint)
        if self.fusion is not None:
            sides = [connect(side) for connect, side in zip(self.connect, (c3, c4), strict=True)]
            x = self.fusion(torch.cat([x, *(resized(side, x, align_corners=True) for side in sides)], 1))
        gated, presence = self.encmodule(x)
        return self.conv6(gated), presence


class _PSPHead(nn.Module):
    """Pyramid pooling (Zhao et al. 2017) with 1, 4, 9 and 36 cells."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        width = inputs // 4
        self.pooled = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(cells), *convolution(inputs, width, 1)) for cells in (1, 2, 3, 6)
        )
        self.conv5 = nn.Sequential(
            *convolution(inputs + 4 * width, width, 3), nn.Dropout(0.1), nn.Conv2d(width, classes, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        pooled = [resized(level(x), x, align_corners=True) for level in self.pooled]
        return self.conv5(torch.cat([x, *pooled], 1))  # type: ignore[no-any-return]


def _deeplab_head(inputs: int, classes: int) -> nn.Sequential:
    width = inputs // 8
    return nn.Sequential(
        ASPP(inputs, width, (12, 24, 36)),
        *convolution(width, width, 3),
        nn.Dropout(0.1),
        nn.Conv2d(width, classes, 1),
    )


class FastFCN(Network):
    """A ResNet of output stride 32, joint pyramid upsampling to stride 8, and a head."""

    def __init__(self, settings: Settings, classes: int, in_channels: int) -> None:
        super().__init__()
        self.encoder = ResNet(
            settings.backbone,
            in_channels=in_channels,
            width=settings.backbone_width,
            deep_stem=settings.stem == "deep",
        )
        _, _, c3, c4, c5 = self.encoder.channels
        self.jpu = JPU((c3, c4, c5), settings.jpu_channels)
        inputs = 4 * settings.jpu_channels
        self.head: nn.Module
        self.encodes = settings.head.startswith("encnet")
        if self.encodes:
            self.head = _EncHead(inputs, (c3, c4) if settings.head == "encnet_lateral" else (), classes)
        else:
            self.head = {"psp": _PSPHead, "deeplab": _deeplab_head, "fcn": FCNHead}[settings.head](inputs, classes)
        self.auxiliary = FCNHead(c4, classes) if settings.auxiliary else None

    def outputs_of_padded(self, images: Tensor) -> Outputs:
        """See `Network`."""
        _, _, c3, c4, c5 = self.encoder(images)
        joint = self.jpu(c3, c4, c5)
        logits, presence = self.head(joint, c3, c4) if self.encodes else (self.head(joint), None)
        logits = resized(logits, images, align_corners=True)
        if not self.training:
            return Outputs(logits)
        auxiliary = None if self.auxiliary is None else resized(self.auxiliary(c4), images, align_corners=True)
        return Outputs(logits, auxiliary, presence)
