"""Weights that others publish for these networks, downloaded into the caches of the libraries that know them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor
from torchvision import models

from segdata.errors import NotThere, UsageError
from segdata.models.semantic.config import SemanticConfig
from segdata.models.semantic.networks import smp
from segdata.models.semantic.networks.settings import FCN, LRASPP, SMP, DeepLabV3, FastFCN
from segdata.models.semantic.networks.torchvision_networks import torchvision_names

_COCO_VOC, _IMAGENET = "torchvision:coco-voc", "torchvision:imagenet"


class Published(NamedTuple):
    """Weights and what is known about them.

    Attributes:
        tensors: by their names in the network here; of a backbone alone, `encoder.…`.
        file: where they were published.
        categories: of the classes, as they are published; None where the weights have no classes.
    """

    tensors: dict[str, Tensor]
    file: str
    categories: tuple[str, ...] | None = None


def names(settings: SemanticConfig) -> tuple[str, ...]:
    """Names of the weights that there are for a network with these settings.

    Raises:
        UsageError: an encoder that there is not, or a package that is missing.
    """
    if isinstance(settings, SMP):
        return tuple(f"smp:{tag}" for tag in smp.published_tags(settings.backbone))
    whole = (_COCO_VOC,) if isinstance(settings, (DeepLabV3, FCN, LRASPP)) else ()
    return whole + ((_IMAGENET,) if _backbone(settings) in models.list_models() else ())


def published(network: str, settings: SemanticConfig, name: str) -> Published:
    """Weights by name.

    Args:
        network: its name in the table of networks.
        name: one of `names(settings)`.

    Raises:
        UsageError: there are none of this name, or the settings change the network that they belong to.
        NotThere: the file could not be downloaded.
    """
    known = names(settings)
    if name not in known:
        why = f"there is {', '.join(known)}" if known else "none are published for its backbone"
        raise UsageError(f"there are no weights {name!r} for {network}", place="weights", why=why)
    if isinstance(settings, SMP):
        tensors, file = smp.pretrained(network.removeprefix("smp:"), settings, name.removeprefix("smp:"))
        return Published({f"encoder.{key}": value for key, value in tensors.items()}, file)
    if name == _COCO_VOC:
        weights = models.get_model_weights(f"{network}_{_backbone(settings)}")["COCO_WITH_VOC_LABELS_V1"]
        return Published(torchvision_names(_downloaded(weights)), weights.url, tuple(weights.meta["categories"]))
    width = getattr(settings, "backbone_width", 1.0)
    if width != 1:
        raise UsageError(f"{name} needs backbone_width=1", place="backbone_width", why=f"got {width}")
    if isinstance(settings, FastFCN) and settings.stem == "deep":
        raise UsageError(
            f"{name} needs the 7×7 stem",
            place="stem",
            why="torchvision has no ResNet with the deep stem",
            fix="--set stem=plain",
        )
    weights = models.get_model_weights(_backbone(settings))["IMAGENET1K_V1"]
    return Published(_as_encoder(_downloaded(weights)), weights.url)


def _backbone(settings: SemanticConfig) -> str:
    return str(getattr(settings, "backbone", "mobilenet_v3_large" if isinstance(settings, LRASPP) else ""))


def _as_encoder(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a classifier of torchvision without its last layers."""
    return {
        f"encoder.{name.removeprefix('features.')}": value
        for name, value in state.items()
        if not name.startswith(("fc.", "classifier."))
    }


def _downloaded(weights: Any) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        raise NotThere(
            "torchvision could not download these weights",
            file=weights.url,
            why=str(error),
            fix="download the file elsewhere and pass its path",
        ) from error
    return state
