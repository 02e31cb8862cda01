"""What a file of bare tensors implies: the settings of its model, and COCO's categories for torchvision's weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from torch import Tensor

from segdata.catalog import manifest
from segdata.errors import InvalidInput, UsageError
from segdata.models import class_names
from segdata.models.class_names import Named
from segdata.models.maskrcnn.config import Config

CLASSES = "roi_heads.box_predictor.cls_score.bias"
"""The tensor whose length is the number of classes with the background."""

_COCO = "coco-2017"
_MOST_CLASSES = 65_536
COCO_CLASSES = 91
"""torchvision's heads have a class for every id of COCO up to 90, used or not, and the background."""

_Backbone = Literal["resnet18", "resnet34", "resnet50", "resnet101"]
_DEPTHS: dict[tuple[bool, int], _Backbone] = {
    (False, 2): "resnet18",
    (False, 6): "resnet34",
    (True, 6): "resnet50",
    (True, 23): "resnet101",
}


def config_of(tensors: Mapping[str, Tensor], source: str) -> Config:
    """The settings of a model with these tensors; those that leave no trace are torchvision's.

    Raises:
        InvalidInput: they are not those of a Mask R-CNN on a ResNet that is known here.
    """
    bottleneck = "backbone.body.layer1.0.conv3.weight" in tensors
    stem, block = (f"backbone.body.{name}.weight" for name in ("conv1", "layer1.0.conv1"))
    blocks = sum(name.startswith("backbone.body.layer3.") and name.endswith(".conv1.weight") for name in tensors)
    try:
        return Config(
            backbone=_DEPTHS[bottleneck, blocks],
            backbone_width=len(tensors[block]) / len(tensors[stem]),
            heads="v2" if "rpn.head.conv.1.0.weight" in tensors else "v1",
            norm="frozen" if "backbone.body.bn1.running_mean" in tensors else "group",
            fpn_channels=tensors["rpn.head.cls_logits.weight"].shape[1],
            box_head_size=tensors["roi_heads.box_predictor.cls_score.weight"].shape[1],
            mask_head_channels=tensors["roi_heads.mask_predictor.mask_fcn_logits.weight"].shape[1],
        )
    except (IndexError, TypeError, ZeroDivisionError, UsageError) as error:
        raise InvalidInput(
            "the weights are not those of a Mask R-CNN with a ResNet and a feature pyramid",
            file=source,
            why=f"tensors have shapes that none of these has: {getattr(error, 'message', error)}",
        ) from error
    except KeyError as error:
        raise InvalidInput(
            "the weights are not those of a Mask R-CNN with a ResNet and a feature pyramid",
            file=source,
            why=f"{error.args[0]} is not there",
        ) from error


def class_count(tensors: Mapping[str, Tensor], source: str) -> int:
    """How many classes a model with these tensors has, without the background.

    Raises:
        InvalidInput: they have no classification head.
    """
    if CLASSES not in tensors:
        raise InvalidInput(
            "the weights are not those of a trained Mask R-CNN",
            file=source,
            why=f"{CLASSES} is not there",
            fix="segdata train PACK -o RUN --weights FILE begins with them",
        )
    shape = tuple(tensors[CLASSES].shape)
    if len(shape) != 1 or not 2 <= shape[0] <= _MOST_CLASSES:
        raise InvalidInput(
            "the weights are not those of a trained Mask R-CNN", file=source, place=CLASSES, why=f"its shape is {shape}"
        )
    return shape[0] - 1


def classes_of(tensors: Mapping[str, Tensor], source: str) -> Named:
    """The categories of a model with these tensors: COCO's, or numbered ones.

    Raises:
        InvalidInput: they have no classification head.
    """
    count = class_count(tensors, source)
    if count + 1 == COCO_CLASSES:
        space = manifest.shipped(_COCO).labels
        return Named(space, np.array([space.index_of_id.get(label, -1) for label in range(1, count + 1)], np.int64))
    return class_names.numbered(count)
