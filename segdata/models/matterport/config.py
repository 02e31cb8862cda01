"""Settings of a model of Matterport's kind: its names in lower case, its defaults, and what is allowed.

`ModelConfig` has what prediction and both trainings share; `Config` adds the original's own settings of its SGD, for
`matterport.load` and `Training`; `LoopConfig` adds what `segdata train` asks of a model, which has an optimiser of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from msgspec import Meta, field

from segdata.errors import UsageError
from segdata.models.matterport.molding import STRIDE
from segdata.models.settings import Metric, ModelSettings, Rule

LOSSES = ("rpn_class_loss", "rpn_bbox_loss", "mrcnn_class_loss", "mrcnn_bbox_loss", "mrcnn_mask_loss")

_OFF = ("image_min_dim", "image_min_scale", "detection_min_confidence")
"""Settings whose None in the original is 0 here."""

Fraction = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=1, le=10**9)]
StdDev = tuple[Annotated[float, Meta(ge=1e-6, le=100)], ...]
Weight = Annotated[float, Meta(ge=0, le=1000)]

_SAMPLING = frozenset(
    {
        "post_nms_rois_training",
        "rpn_train_anchors_per_image",
        "train_rois_per_image",
        "roi_positive_ratio",
        "max_gt_instances",
        "use_mini_mask",
        "mini_mask_shape",
        "train_bn",
    }
)
"""Settings of the targets, which both trainings share."""


class ModelConfig(ModelSettings, frozen=True, kw_only=True):
    """Settings of network, images, proposals, detections and targets, named as in Matterport's `Config`, in lower case.

    Raises:
        UsageError: a value of another type or out of its range.
    """

    METRIC: ClassVar = Metric("AP", "mask AP")

    # the image in the network's frame
    image_resize_mode: Annotated[
        Literal["square", "pad64", "none", "crop"],
        Meta(description="resizing: padded to a square, to multiples of 64, unchanged, or cropped (training only)"),
    ] = "square"
    image_min_dim: Annotated[int, Meta(ge=0, le=16384, description="lower limit of the shorter side, 0 = off")] = 800
    image_max_dim: Annotated[int, Meta(ge=64, le=16384, description="side of the square")] = 1024
    image_min_scale: Annotated[float, Meta(ge=0, le=64, description="lower limit of the resize factor, 0 = off")] = 0.0
    mean_pixel: Annotated[
        tuple[Annotated[float, Meta(ge=0, le=255)], ...],
        Meta(min_length=3, max_length=3, description="mean RGB, subtracted from every pixel, padding included"),
    ] = (123.7, 116.8, 103.9)

    # the network; what a weights file shows is read from it
    top_down_pyramid_size: Annotated[int, Meta(ge=1, le=4096, description="channels of the FPN")] = 256
    fpn_classif_fc_layers_size: Annotated[int, Meta(ge=1, le=16384, description="units of the box head")] = 1024
    pool_size: Annotated[int, Meta(ge=1, le=64, description="RoI size of the box head (side)")] = 7
    mask_pool_size: Annotated[
        int, Meta(ge=1, le=128, description="RoI size of the mask head (side); masks have twice this size")
    ] = 14

    # proposals
    rpn_anchor_scales: Annotated[
        tuple[Annotated[float, Meta(ge=1, le=16384)], ...],
        Meta(min_length=5, max_length=5, description="anchor size of each FPN level, in pixels"),
    ] = (32.0, 64.0, 128.0, 256.0, 512.0)
    rpn_anchor_ratios: Annotated[
        tuple[Annotated[float, Meta(ge=0.01, le=100)], ...],
        Meta(min_length=1, description="aspect ratios of anchors, width / height"),
    ] = (0.5, 1.0, 2.0)
    rpn_anchor_stride: Annotated[
        Literal[1, 2], Meta(description="anchors at every cell of a feature map, or at every second")
    ] = 1
    rpn_bbox_std_dev: Annotated[
        StdDev, Meta(min_length=4, max_length=4, description="std of RPN box deltas (y, x, height, width)")
    ] = (0.1, 0.1, 0.2, 0.2)
    rpn_nms_threshold: Annotated[Fraction, Meta(description="NMS IoU threshold of the RPN")] = 0.7
    pre_nms_limit: Annotated[Count, Meta(description="proposals that enter NMS, highest scores first")] = 6000
    post_nms_rois_inference: Annotated[Count, Meta(description="proposals after NMS, in prediction")] = 1000

    # detections
    bbox_std_dev: Annotated[
        StdDev, Meta(min_length=4, max_length=4, description="std of box deltas (y, x, height, width)")
    ] = (0.1, 0.1, 0.2, 0.2)
    detection_min_confidence: Annotated[Fraction, Meta(description="score threshold of detections, 0 = off")] = 0.7
    detection_nms_threshold: Annotated[Fraction, Meta(description="NMS IoU threshold of detections of a class")] = 0.3
    detection_max_instances: Annotated[
        Count, Meta(description="maximum of detections per image, highest scores first")
    ] = 100

    # training
    post_nms_rois_training: Annotated[Count, Meta(description="proposals after NMS, in training")] = 2000
    rpn_train_anchors_per_image: Annotated[
        int, Meta(ge=2, le=10**9, description="anchors sampled per image for the RPN losses")
    ] = 256
    train_rois_per_image: Annotated[
        Count, Meta(description="proposals sampled per image for the losses of the heads")
    ] = 200
    roi_positive_ratio: Annotated[
        float, Meta(ge=1e-6, le=1, description="maximum fraction of positives among these proposals")
    ] = 0.33
    max_gt_instances: Annotated[
        Count, Meta(description="maximum of ground-truth objects per image, sampled at random")
    ] = 100
    use_mini_mask: Annotated[bool, Meta(description="ground-truth masks as small crops of their boxes")] = True
    mini_mask_shape: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=4096)], ...],
        Meta(min_length=2, max_length=2, description="height and width of these crops"),
    ] = (56, 56)
    train_bn: Annotated[
        bool, Meta(description="batch norm in training mode (False here is None in the original: frozen)")
    ] = False

    @classmethod
    def converted(cls, rule: Rule, value: Any) -> Any:
        """NumPy's numbers as Python's, whole floats as integers, and None as 0 where the original has it for "off"."""
        if value is None and rule.name in _OFF:
            return 0
        if isinstance(value, Mapping):
            return dict(value)
        if isinstance(value, (np.ndarray, np.generic)):
            value = value.tolist()
        if isinstance(value, (list, tuple)):
            return [cls.converted(rule, item) for item in value]
        return int(value) if rule.item is int and isinstance(value, float) and value.is_integer() else value

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_resize_mode == "square" and self.image_max_dim % STRIDE:
            raise UsageError(f"image_max_dim must be a multiple of {STRIDE}", why=f"got {self.image_max_dim}")


class Config(ModelConfig, frozen=True, kw_only=True):
    """All settings of `matterport.load` and `Training`; every name is that of Matterport's `Config`, in lower case.

    Raises:
        UsageError: a value of another type or out of its range.
    """

    HELP: ClassVar = "docs/matterport.md lists all settings"
    TRAINING: ClassVar = _SAMPLING | {
        "learning_rate",
        "learning_momentum",
        "weight_decay",
        "gradient_clip_norm",
        "loss_weights",
    }

    images_per_gpu: Annotated[Count, Meta(description="images per batch in prediction; changes no result")] = 1
    learning_rate: Annotated[float, Meta(ge=0, le=1000, description="learning rate of SGD")] = 0.001
    learning_momentum: Annotated[float, Meta(ge=0, le=0.999999, description="momentum of SGD")] = 0.9
    weight_decay: Annotated[
        float, Meta(ge=0, le=1000, description="L2 penalty: factor of each weight's mean square in the loss")
    ] = 0.0001
    gradient_clip_norm: Annotated[float, Meta(ge=1e-6, le=10**9, description="maximum global L2 norm of gradients")] = (
        5.0
    )
    loss_weights: Annotated[dict[str, float], Meta(description="weight of each of the five losses")] = field(
        default_factory=lambda: dict.fromkeys(LOSSES, 1.0)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = sorted(set(self.loss_weights) - set(LOSSES))
        if unknown or any(not 0 <= weight < math.inf for weight in self.loss_weights.values()):
            raise UsageError(
                "loss_weights gives a number from 0 on to some of the five losses",
                why=f"got {dict(self.loss_weights)!r}",
                fix=f"the losses are {', '.join(LOSSES)}",
            )

    def changed(self, **values: Any) -> Config:
        """The same settings but for some; the original's upper-case names are taken too.

        Raises:
            UsageError: an unknown name (close ones are named), or a bad value.
        """
        return super().changed(**{name.lower(): value for name, value in values.items()})


class LoopConfig(ModelConfig, frozen=True, kw_only=True):
    """Settings of the model in `segdata train`; `segdata config matterport` prints them all with their meanings.

    Raises:
        UsageError: a value of another type or out of its range.
    """

    ON_CPU: ClassVar = "--set image_min_dim=256 --set image_max_dim=256 --set layers=heads"
    RUN: ClassVar[Mapping[str, Any]] = {
        "learning_rate": 0.001,
        "weight_decay": 0.0,
        "schedule": "constant",
        "warmup_steps": 0,
        "gradient_clip_norm": 5.0,
        "aspect_batches": False,
    }
    TRAINING: ClassVar = _SAMPLING | {*LOSSES, "weight_penalty", "boxes_as_masks"}
    SECTIONS: ClassVar = {
        "image_resize_mode": "images",
        "top_down_pyramid_size": "model",
        "rpn_anchor_scales": "proposals",
        "bbox_std_dev": "detection",
        "post_nms_rois_training": "targets",
        "backbone": "model",
        "rpn_class_loss": "losses",
        "boxes_as_masks": "data",
    }

    backbone: Annotated[
        Literal["resnet50", "resnet101"],
        Meta(
            description="ResNet of the feature pyramid network (FPN); read from a .h5", extra={"original": "BACKBONE"}
        ),
    ] = "resnet101"
    detection_min_confidence: Annotated[
        Fraction,
        Meta(
            description="score threshold of detections, 0 = off; AP needs low ones, the original takes 0.7",
            extra={"original": "DETECTION_MIN_CONFIDENCE"},
        ),
    ] = 0.05
    rpn_class_loss: Annotated[
        Weight, Meta(description="weight of the RPN's classification loss (object or background)")
    ] = 1.0
    rpn_bbox_loss: Annotated[Weight, Meta(description="weight of the RPN's box loss")] = 1.0
    mrcnn_class_loss: Annotated[Weight, Meta(description="weight of the box head's classification loss")] = 1.0
    mrcnn_bbox_loss: Annotated[Weight, Meta(description="weight of the box head's box loss")] = 1.0
    mrcnn_mask_loss: Annotated[Weight, Meta(description="weight of the mask loss")] = 1.0
    weight_penalty: Annotated[
        Weight,
        Meta(
            description="L2 penalty of the original: factor of each trained weight's mean square in the loss",
            extra={"original": "WEIGHT_DECAY"},
        ),
    ] = 0.0001
    boxes_as_masks: Annotated[
        bool, Meta(description="train objects that have a box and no mask with their box filled as the mask")
    ] = False

    def require_consistent(self) -> None:
        """See `Settings.require_consistent`."""
        if self.image_resize_mode in ("square", "crop") and self.image_min_dim > self.image_max_dim:
            raise UsageError(
                "image_min_dim is above image_max_dim: no image could have its shorter side",
                place="image_min_dim",
                why=f"got {self.image_min_dim} and {self.image_max_dim}",
                fix=f"--set image_min_dim={self.image_max_dim} or less",
            )
        self.as_config()
        self.require_effect("mini_mask_shape", "use_mini_mask = false", has_effect=self.use_mini_mask)

    def as_config(self) -> Config:
        """These settings for a `matterport.Model`, which takes whole images where the training takes crops.

        Raises:
            UsageError: image_max_dim is no side of a square that the network takes.
        """
        values = {name: getattr(self, name) for name in ModelConfig.rules()}
        mode = "square" if self.image_resize_mode == "crop" else self.image_resize_mode
        return Config(**values | {"image_resize_mode": mode})
