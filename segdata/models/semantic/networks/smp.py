"""Networks of segmentation-models-pytorch, with any encoder of it or of timm."""

from __future__ import annotations

import warnings
from importlib import util
from typing import Any

from torch import Tensor

from segdata.errors import UsageError, close_names
from segdata.models.semantic.network import Network, Outputs
from segdata.models.semantic.networks.settings import SMP

_LEAST = {"pan": 128}
"""Networks that cannot do with images of 32 pixels: PAN halves the features of stride 16 three times."""


class SMPNetwork(Network):
    """The encoder, decoder and head of a network of segmentation-models-pytorch."""

    def __init__(self, parts: Any, least: int) -> None:
        super().__init__()
        self.least = least
        self.encoder = parts.encoder
        self.decoder = parts.decoder
        self.head = parts.segmentation_head

    def outputs_of_padded(self, images: Tensor) -> Outputs:
        """See `Network`."""
        return Outputs(self.head(self.decoder(self.encoder(images))))


def build(name: str, settings: SMP, classes: int, in_channels: int) -> Network:
    """A network with fresh weights.

    Args:
        name: in segmentation-models-pytorch, in lower case.

    Raises:
        UsageError: the packages are not installed, there is no such encoder, or it does not fit the network.
    """
    require_packages()
    import segmentation_models_pytorch as smp

    encoder = encoder_named(settings.backbone)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parts = smp.create_model(
                name, encoder_name=encoder, encoder_weights=None, in_channels=in_channels, classes=classes
            )
    except (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(
            f"smp:{name} cannot be built on the backbone {settings.backbone!r}",
            place="backbone",
            why=f"{type(error).__name__}: {error}",
            fix="choose another, such as resnet34 or efficientnet-b0",
        ) from error
    return SMPNetwork(parts, _LEAST.get(name, SMPNetwork.least))


def require_packages() -> None:
    """Raise unless segmentation-models-pytorch and timm are installed.

    Raises:
        UsageError: one is missing; the extra is named.
    """
    missing = [name for name in ("segmentation_models_pytorch", "timm") if util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"networks whose name begins with smp: need {' and '.join(missing)}, which "
            f"{'is' if len(missing) == 1 else 'are'} not installed",
            fix="pip install 'segdata[smp]'",
        )


def encoder_named(backbone: str) -> str:
    """An encoder's name in segmentation-models-pytorch: its own, or timm's with tu- before it.

    Raises:
        UsageError: there is none; close ones are named.
    """
    import timm
    from segmentation_models_pytorch.encoders import encoders

    name = backbone.removeprefix("tu-")
    if backbone in encoders:
        return backbone
    if timm.is_model(name):
        return f"tu-{name}"
    close = close_names(backbone, encoders) or close_names(name, timm.list_models())
    raise UsageError(
        f"there is no encoder {backbone!r}",
        place="backbone",
        why=f"close ones are {', '.join(close)}" if close else "neither segmentation-models-pytorch nor timm has it",
        fix=f"--set backbone={close[0] if close else 'resnet34'}",
    )
