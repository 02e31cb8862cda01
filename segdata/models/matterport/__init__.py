"""Matterport's Mask R-CNN in PyTorch, equal to the original: Keras weights, prediction, training targets and losses.

.h5 → weights → keras (by layer names) → model ← network, layers
image → molding → network → boxes, crops, detection → rois, class_ids, scores, masks

model = matterport.load("mask_rcnn_coco.h5", detection_min_confidence=0.8)
result = model.detect([image])[0]

What needs PyTorch is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segdata.models.contract import AnyModel
    from segdata.models.matterport.config import Config, LoopConfig
    from segdata.models.matterport.keras import load, save
    from segdata.models.matterport.layers import LABELLED
    from segdata.models.matterport.model import Model, instances_of
    from segdata.models.matterport.training import Example, Training

__all__ = [
    "LABELLED",
    "Config",
    "Model",
    "Training",
    "Example",
    "instances_of",
    "load",
    "save",
    "architecture",
    "settings",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from segdata.models.matterport import config, keras, layers, model, training

    globals().update(
        LABELLED=layers.LABELLED,
        Config=config.Config,
        Model=model.Model,
        Training=training.Training,
        Example=training.Example,
        instances_of=model.instances_of,
        load=keras.load,
        save=keras.save,
    )
    return globals()[name]


def settings() -> type[LoopConfig]:
    """See `registry.Package`."""
    from segdata.models.matterport.config import LoopConfig

    return LoopConfig


def architecture() -> AnyModel:
    """See `registry.Package`."""
    from segdata.models.matterport.training.architecture import MODEL

    return MODEL
