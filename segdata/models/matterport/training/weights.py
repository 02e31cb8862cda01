"""Weights into a network that will be trained, or was: a Keras file's, a run's; heads of other classes start afresh."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segdata.core.labels import LabelSpace
from segdata.errors import InvalidInput, NotThere
from segdata.models import weights
from segdata.models.maskrcnn import fitting
from segdata.models.maskrcnn.augment import categories_of
from segdata.models.matterport import keras
from segdata.models.matterport.network import Network
from segdata.models.weights import Weights

ENDINGS = (".h5", ".hdf5")
"""Of Keras's weights files."""

_HEADS = ("box_predictor.", "mask_predictor.mask_fcn_logits.")
"""What names of tensors begin with whose shapes depend on the number of classes."""
_CLASSES = "box_predictor.cls_score.bias"
_SHAPING = (
    "backbone",
    "top_down_pyramid_size",
    "fpn_classif_fc_layers_size",
    "pool_size",
    "mask_pool_size",
    "rpn_anchor_ratios",
)
"""Settings that decide which tensors a network has."""


def read(source: str | Path) -> Weights:
    """Open weights: a run's folder, one of its checkpoints, or a Keras file (`.h5`) of Matterport's model.

    Raises:
        NotThere: no such file, or no checkpoint in the run.
        DamagedData: a checksum differs, or the file is cut short.
        Unsafe: a file that would run code, or leads out of itself.
        InvalidInput: of another model.
    """
    checkpoint = weights.of_checkpoint(source)
    if checkpoint is not None:
        return checkpoint
    path = Path(source)
    if not path.is_file() and not str(source).startswith("torchvision:"):
        raise NotThere("there are no such weights", file=path, fix="name a run or a .h5 file")
    if path.suffix not in ENDINGS:
        raise InvalidInput(
            "these weights are not those of Matterport's model",
            file=source,
            why=f"they are in Keras files ({', '.join(ENDINGS)}) and in runs of it",
            fix="--model maskrcnn for torchvision's Mask R-CNN",
        )
    model = keras.of_file(path)
    is_named = model.labels.name != "unnamed"
    return Weights(
        str(source),
        model.network.state_dict(),
        labels=model.labels if is_named else None,
        categories=np.arange(len(model.labels)),
        remarks=model.remarks + (() if is_named else (_NOT_STORED,)),
    )


_NOT_STORED = (
    "a .h5 does not hold anchors, sizes of images and the mean; the run's settings count (rpn_anchor_scales, "
    "rpn_anchor_ratios, image_resize_mode, image_min_dim, image_max_dim, mean_pixel): give what the weights were trained with"
)


def put(source: Weights, network: Network, labels: LabelSpace | None = None) -> list[str]:
    """Copy weights into a network; returns remarks about what starts afresh.

    Heads for other classes start afresh, but for the rows of categories that have the same name on both sides;
    everything else must fit.

    Args:
        labels: the network's, for one that will be trained.

    Raises:
        InvalidInput: another model: the first differences are listed.
        DamagedData: values that are not finite.
    """
    present, tensors, remarks = network.state_dict(), dict(source.tensors), list(source.remarks)
    if labels is not None and _CLASSES in tensors:
        here = categories_of(labels).tolist()
        there = [] if source.labels is None else categories_of(source.labels).tolist()
        there = there if source.categories is None else source.categories.tolist()
        classes = len(tensors[_CLASSES]), len(here) + 1
        pairs = fitting.same_classes(source, there, classes, labels, here)
        if pairs is not None:
            tensors, layers = fitting.adapted(tensors, present, pairs, _HEADS)
            remarks.append(fitting.remark_on_heads((classes[0] - 1, classes[1] - 1), pairs, layers))
    wrong = weights.differences(tensors, present, list(present))
    if wrong:
        raise weights.another_model(
            source, wrong, f"set {', '.join(_shaping(source))} as the file's model has them (segdata config matterport)"
        )
    weights.require_finite(tensors, present, source)
    network.load_state_dict({name: value.to(present[name].dtype) for name, value in tensors.items()}, strict=False)
    return remarks


def _shaping(source: Weights) -> list[str]:
    """The settings that decide which tensors a network has, with their values in these weights where they show."""
    values = source.config or (keras.shown_by(Path(source.source)) if Path(source.source).suffix in ENDINGS else {})
    return [f"{name}={values[name]}" if name in values else name for name in _SHAPING]
