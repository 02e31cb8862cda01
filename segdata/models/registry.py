"""The table of models: what is not in it, training and prediction do not know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from segdata.errors import NotThere, UsageError, close_names
from segdata.models import maskrcnn, matterport, semantic, weights
from segdata.models.settings import ModelSettings, require_effect_in_prediction

if TYPE_CHECKING:
    from torch import nn

    from segdata.models.contract import AnyModel, Predictor


class Package(Protocol):
    """What the package of a model offers; importing the package imports no torch."""

    def settings(self) -> type[ModelSettings]:
        """The type of its settings."""

    def architecture(self) -> AnyModel:
        """The model itself; imports torch."""


MODELS: dict[str, Package] = {
    "maskrcnn": maskrcnn,
    "matterport": matterport,
    **semantic.PACKAGES,
}
"""Models that can be trained, by name."""

DEFAULT = "maskrcnn"
"""The model of settings and weights that name none."""


def _matterport(path: Path, **options: Any) -> Predictor:
    require_effect_in_prediction([name.lower() for name in options], matterport.Config.TRAINING)
    return matterport.load(path, **options)


PREDICTORS: Mapping[str, Callable[..., Predictor]] = {".h5": _matterport, ".hdf5": _matterport}
"""Ending of the weights files of Keras → what makes a predictor of one, as the original predicts."""

KERAS = "matterport"
"""The model that these files belong to."""


def model(name: str) -> AnyModel:
    """A model by name.

    Raises:
        NotThere: there is none with this name.
    """
    return _package(name).architecture()


def build(name: str, classes: int, in_channels: int = 3, **settings: Any) -> nn.Module:
    """See `segdata.models.build`."""
    if name == "maskrcnn":
        from segdata.models.maskrcnn import network

        if in_channels != 3:
            raise UsageError(
                "Mask R-CNN takes images of three channels", place="in_channels", why=f"got {in_channels!r}"
            )
        built: nn.Module = network.build(maskrcnn.settings()().changed(**settings), classes)
        return built
    from segdata.models.semantic import architectures

    return architectures.build(name, classes, in_channels, **settings)


def settings_type(name: str) -> type[ModelSettings]:
    """The type of a model's settings.

    Raises:
        NotThere: there is no model with this name.
    """
    return _package(name).settings()


def name_of(source: str | Path) -> str:
    """Which model weights belong to: what a run or a checkpoint says, or the file's ending, else the default."""
    if Path(source).suffix in PREDICTORS:
        return KERAS
    document = weights.document_of(source)
    return DEFAULT if document is None else str(document["config"].get("model", DEFAULT))


def shown_by(source: str | Path) -> dict[str, Any]:
    """The settings that a weights file of Keras shows, such as its backbone; {} for other weights."""
    if Path(source).suffix not in PREDICTORS:
        return {}
    from segdata.models.matterport import keras

    return keras.shown_by(Path(source))


def _package(name: str) -> Package:
    if name not in MODELS:
        close = close_names(name.lower(), MODELS)
        fix = f"did you mean {' or '.join(map(repr, close))}?" if close else None
        raise NotThere(f"there is no model {name!r}", why=f"there is {', '.join(MODELS)}", fix=fix)
    return MODELS[name]


def require_torch(threads: int | None = None) -> None:
    """Raise unless torch, torchvision, safetensors and SciPy can be imported.

    Args:
        threads: how many processors torch may calculate with from here on.

    Raises:
        UsageError: one is missing; the extra is named.
    """
    missing = [name for name in ("torch", "torchvision", "safetensors", "scipy") if util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"this needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            fix="pip install 'segdata[train]'",
        )
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
