"""What a file of bare tensors implies: the settings of its model, and COCO's categories for torchvision's weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from segdata.catalog import manifest
from segdata.core.labels import Category, LabelSpace
from segdata.errors import InvalidInput
from segdata.models.maskrcnn.config import Config

CLASSES = "roi_heads.box_predictor.cls_score.bias"
"""The tensor whose length is the number of classes with the background."""

_COCO = "coco-2017"
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
    blocks = sum(name.startswith("backbone.body.layer3.") and name.endswith(".conv1.weight") for name in tensors)
    try:
        return Config(
            backbone=_DEPTHS[bottleneck, blocks],
            heads="v2" if "rpn.head.conv.1.0.weight" in tensors else "v1",
            norm="frozen" if "backbone.body.bn1.running_mean" in tensors else "group",
            fpn_channels=tensors["rpn.head.cls_logits.weight"].shape[1],
            box_head_size=tensors["roi_heads.box_predictor.cls_score.weight"].shape[1],
            mask_head_channels=tensors["roi_heads.mask_predictor.mask_fcn_logits.weight"].shape[1],
        )
    except KeyError as error:
        raise InvalidInput(
            "the weights are not those of a Mask R-CNN with a ResNet and a feature pyramid",
            file=source,
            why=f"{error.args[0]} is not there",
        ) from error


def labels_of(tensors: Mapping[str, Tensor], source: str) -> tuple[LabelSpace, npt.NDArray[np.int64]]:
    """The categories of a model with these tensors, and the category of each label from 1 on (−1 for none).

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
    count = len(tensors[CLASSES])
    if count == COCO_CLASSES:
        space = manifest.shipped(_COCO).labels
        return space, np.array([space.index_of_id.get(label, -1) for label in range(1, count)], np.int64)
    categories = tuple(Category(f"class {label}", label, isthing=True) for label in range(1, count))
    return LabelSpace("unnamed", categories), np.arange(count - 1)
