"""The table of networks for semantic segmentation, and `build`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from segdata.errors import NotThere, UsageError, close_names
from segdata.models import norms
from segdata.models.semantic import fastfcn, gated_scnn
from segdata.models.semantic.config import SemanticConfig
from segdata.models.semantic.network import Network
from segdata.models.semantic.networks import deeplab, smp, torchvision_networks, unet
from segdata.models.semantic.networks.settings import SETTINGS, SMP_NETWORKS

MOST_CLASSES = 65_535


@dataclass(frozen=True)
class Architecture:
    """A network that can be built.

    Attributes:
        settings: the type of its settings.
        built: settings, number of classes, number of channels of the images → the network, with batch norms.
    """

    settings: type[SemanticConfig]
    built: Callable[[Any, int, int], Network]


_BUILDERS: dict[str, Callable[[Any, int, int], Network]] = {
    "unet": unet.UNet,
    "deeplabv3": torchvision_networks.deeplabv3,
    "fcn": torchvision_networks.fcn,
    "lraspp": torchvision_networks.lraspp,
    "deeplabv3plus": deeplab.DeepLabV3Plus,
    "fastfcn": fastfcn.FastFCN,
    "gated_scnn": gated_scnn.GatedSCNN,
    **{f"smp:{name}": functools.partial(smp.build, name) for name in SMP_NETWORKS},
}

ARCHITECTURES: dict[str, Architecture] = {
    name: Architecture(settings, _BUILDERS[name]) for name, settings in SETTINGS.items()
}
"""Networks by name."""


def architecture(name: str) -> Architecture:
    """A network's entry in the table.

    Raises:
        NotThere: there is none with this name.
    """
    if name not in ARCHITECTURES:
        close = close_names(name.lower(), ARCHITECTURES)
        raise NotThere(
            f"there is no network {name!r}",
            why=f"there is {', '.join(ARCHITECTURES)}",
            fix=f"did you mean {' or '.join(map(repr, close))}?" if close else None,
        )
    return ARCHITECTURES[name]


def build(name: str, classes: int, in_channels: int = 3, **settings: Any) -> Network:
    """A network with fresh weights, drawn from PyTorch's generator.

    Args:
        classes: how many logits a pixel gets.
        in_channels: of the images.
        settings: by name; see `architecture(name).settings`.

    Raises:
        NotThere: there is no network with this name.
        UsageError: an unknown setting or a bad value, or a package that the network needs is missing.
    """
    kind = architecture(name).settings
    return built(name, kind().changed(**settings), classes, in_channels)


def built(name: str, settings: SemanticConfig, classes: int, in_channels: int = 3) -> Network:
    """The same for settings that are there already."""
    for what, count, most in (("classes", classes, MOST_CLASSES), ("in_channels", in_channels, 1024)):
        if not 1 <= count <= most:
            raise UsageError(f"{what} is out of its range", place=what, why=f"got {count!r}; 1 … {most} is possible")
    network = architecture(name).built(settings, classes, in_channels)
    if settings.norm in ("frozen", "group"):
        norms.replace(network, settings.norm)
    return network
