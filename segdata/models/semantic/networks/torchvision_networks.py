"""DeepLabV3, FCN and LR-ASPP as torchvision has them, so that its weights fit.

Images are not padded: torchvision resizes the logits to any size.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torchvision.models import segmentation

from segdata.models.semantic.network import Network, Outputs
from segdata.models.semantic.networks.layers import resized
from segdata.models.semantic.networks.settings import FCN, LRASPP, DeepLabV3

_NAMES = {"backbone.": "encoder.", "classifier.": "head.", "aux_classifier.": "auxiliary."}
"""What names of weights begin with in torchvision, and here."""


class TorchvisionNetwork(Network):
    """The parts of a torchvision network."""

    stride = 1

    def __init__(self, parts: nn.Module) -> None:
        super().__init__()
        modules = dict(parts.named_children())
        self.encoder, self.head = modules["backbone"], modules["classifier"]
        self.auxiliary = modules.get("aux_classifier")

    def outputs_of_padded(self, images: Tensor) -> Outputs:
        """See `Network`."""
        features = self.encoder(images)
        logits = resized(self.head(features.get("out", features)), images)
        if not self.training or self.auxiliary is None:
            return Outputs(logits)
        return Outputs(logits, resized(self.auxiliary(features["aux"]), images))


def deeplabv3(settings: DeepLabV3, classes: int, in_channels: int) -> Network:
    """DeepLabV3 (Chen et al. 2017) with output stride 8; MobileNetV3 has 16."""
    return _with_auxiliary("deeplabv3", settings, classes, in_channels)


def fcn(settings: FCN, classes: int, in_channels: int) -> Network:
    """FCN (Long et al. 2015) on a ResNet with output stride 8."""
    return _with_auxiliary("fcn", settings, classes, in_channels)


def lraspp(settings: LRASPP, classes: int, in_channels: int) -> Network:
    """LR-ASPP (Howard et al. 2019) on MobileNetV3."""
    parts = segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes)
    return TorchvisionNetwork(_seeing(parts, in_channels))


def _with_auxiliary(name: str, settings: DeepLabV3 | FCN, classes: int, in_channels: int) -> Network:
    made = getattr(segmentation, f"{name}_{settings.backbone}")
    parts = made(weights=None, weights_backbone=None, num_classes=classes, aux_loss=settings.auxiliary)
    return TorchvisionNetwork(_seeing(parts, in_channels))


def _seeing(parts: nn.Module, in_channels: int) -> nn.Module:
    """The same with a first convolution for images of as many channels."""
    if in_channels != 3:
        first = next(part for part in parts.modules() if isinstance(part, nn.Conv2d))
        first.in_channels = in_channels
        first.weight = nn.Parameter(torch.empty(first.out_channels, in_channels, *first.kernel_size))
        nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
    return parts


def torchvision_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's names of weights → those of the networks here; other names stay."""
    return {
        next(
            (ours + name.removeprefix(theirs) for theirs, ours in _NAMES.items() if name.startswith(theirs)), name
        ): value
        for name, value in state.items()
    }
