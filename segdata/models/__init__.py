"""Networks, their losses, targets and weights; no training loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def build(name: str, classes: int, in_channels: int = 3, *, source: str | None = None, **settings: Any) -> nn.Module:
    """A network with fresh weights, drawn from PyTorch's generator.

        segdata.models.build("deeplabv3plus", 19, backbone="resnet101", output_stride=8)

    Args:
        name: of a network; `segdata config` lists them with their settings.
        classes: how many logits a pixel gets; of Mask R-CNN, kinds of objects.
        in_channels: of the images.
        source: "smp" for segmentation-models-pytorch's network of this name, which `smp:NAME` also is.
        settings: of the network, by name.

    Raises:
        NotThere: there is no network with this name.
        UsageError: an unknown setting or a bad value, or a package that the network needs is missing.
    """
    from segdata.models import registry

    return registry.build(name if source is None else f"{source}:{name}", classes, in_channels, **settings)
