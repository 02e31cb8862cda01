"""The table of models. A model is a package with `config.Config`, its settings, and `model.MODEL`, a `contract.Model`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segdata.errors import NotThere
from segdata.models import weights
from segdata.models.settings import ModelSettings

if TYPE_CHECKING:
    from segdata.models.contract import AnyModel, Predictor
    from segdata.models.maskrcnn import model as maskrcnn
    from segdata.models.matterport import keras

    _MODELS: Mapping[str, AnyModel] = {"maskrcnn": maskrcnn.MODEL}
    _LOADED: Predictor = keras.load("")

MODELS: dict[str, str] = {
    "maskrcnn": "segdata.models.maskrcnn",
}
"""Name → package of the models that can be trained."""

PREDICTORS: dict[str, str] = {
    ".h5": "segdata.models.matterport.keras",
    ".hdf5": "segdata.models.matterport.keras",
}
"""Ending of a weights file → module whose `load` makes a predictor of it; such weights are not trained here."""

DEFAULT = "maskrcnn"
"""The model of settings and weights that name none."""


def model(name: str) -> AnyModel:
    """A model by name.

    Raises:
        NotThere: there is none with this name.
    """
    found: AnyModel = import_module(f"{_package(name)}.model").MODEL
    return found


def settings_type(name: str) -> type[ModelSettings]:
    """The type of a model's settings, without importing the model.

    Raises:
        NotThere: there is no model with this name.
    """
    config: type[ModelSettings] = import_module(f"{_package(name)}.config").Config
    return config


def name_of(source: str | Path) -> str:
    """Which model weights belong to: what a run or a checkpoint says, else the default."""
    document = weights.document_of(source)
    return DEFAULT if document is None else str(document["config"].get("model", DEFAULT))


def load_foreign(path: Path, **options: Any) -> Predictor:
    """A predictor from a file with one of the endings in `PREDICTORS`."""
    predictor: Predictor = import_module(PREDICTORS[path.suffix]).load(path, **options)
    return predictor


def _package(name: str) -> str:
    if name not in MODELS:
        raise NotThere(f"there is no model {name!r}", why=f"there is {', '.join(MODELS)}")
    return MODELS[name]
