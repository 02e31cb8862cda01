"""DeepLabV3+ (Chen et al. 2018): dilated ResNet, atrous spatial pyramid pooling, a decoder with features of stride 4."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.segmentation.fcn import FCNHead

from segdata.models.semantic.network import Network, Outputs
from segdata.models.semantic.networks.layers import ASPP, convolution, resized
from segdata.models.semantic.networks.resnet import ResNet
from segdata.models.semantic.networks.settings import DeepLabV3Plus as Settings

_RATES = {16: (6, 12, 18), 8: (12, 24, 36)}
_LOW = 48
"""Channels that the features of stride 4 are reduced to."""


class DeepLabV3Plus(Network):
    """DeepLabV3+ with the decoder of the paper, two 3×3 convolutions."""

    def __init__(self, settings: Settings, classes: int, in_channels: int) -> None:
        super().__init__()
        self.stride = settings.output_stride
        self.encoder = ResNet(
            settings.backbone,
            in_channels=in_channels,
            width=settings.backbone_width,
            output_stride=settings.output_stride,
        )
        _, low, _, third, deep = self.encoder.channels
        channels, separable = settings.head_channels, settings.decoder == "separable"
        self.aspp = ASPP(deep, channels, _RATES[settings.output_stride], separable=separable)
        self.low = convolution(low, _LOW, 1)
        self.decoder = nn.Sequential(
            convolution(channels + _LOW, channels, 3, separable=separable),
            nn.Dropout(0.5),
            convolution(channels, channels, 3, separable=separable),
            nn.Dropout(0.1),
            nn.Conv2d(channels, classes, 1),
        )
        self.auxiliary = FCNHead(third, classes) if settings.auxiliary else None

    def outputs_of_padded(self, images: Tensor) -> Outputs:
        """See `Network`."""
        _, low, _, third, deep = self.encoder(images)
        low = self.low(low)
        logits = self.decoder(torch.cat([resized(self.aspp(deep), low), low], 1))
        is_helped = self.training and self.auxiliary is not None
        auxiliary = resized(self.auxiliary(third), images) if is_helped else None  # type: ignore[misc]
        return Outputs(resized(logits, images), auxiliary)
