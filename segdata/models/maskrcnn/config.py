"""Every setting of training and detection: one frozen dataclass, checked when it is made.

Where the original Mask R-CNN (Matterport's `Config`) has the same setting, its name stands beside ours. Settings of the
original that have no counterpart: `NAME` is the run's folder, `GPU_COUNT` the number of processes, `NUM_CLASSES` the
pack's, `IMAGE_CHANNEL_COUNT` is 3, `BACKBONE_STRIDES` are 4 … 64, `RPN_ANCHOR_STRIDE` is 1, `COMPUTE_BACKBONE_SHAPE`
follows from the features, `USE_MINI_MASK` and `MINI_MASK_SHAPE` are not needed since masks stay run lengths,
`USE_RPN_ROIS` is always true.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdata.errors import NotThere, UsageError
from segdata.models.settings import check, line_of, option, parsed, read_toml, toml_lines, types


@dataclass(frozen=True)
class Config:
    """Settings of Mask R-CNN; `segdata config maskrcnn` prints them all with their meanings.

    Raises:
        UsageError: a value is of another type or out of its range.
    """

    # model
    backbone: str = option(
        "resnet50",
        "the ResNet under the feature pyramid",
        choices=("resnet18", "resnet34", "resnet50", "resnet101"),
        original="BACKBONE",
    )
    heads: str = option("v1", "torchvision's first heads, or its deeper, normalised second ones", choices=("v1", "v2"))
    norm: str = option(
        "frozen",
        "normalisation: frozen batch statistics (right for fine-tuning), trained ones, or groups (from scratch)",
        choices=("frozen", "batch", "group"),
        original="TRAIN_BN",
    )
    fpn_channels: int = option(
        256, "channels of the feature pyramid", low=8, high=1024, original="TOP_DOWN_PYRAMID_SIZE"
    )
    box_head_size: int = option(
        1024, "width of the box head's dense layers", low=8, high=8192, original="FPN_CLASSIF_FC_LAYERS_SIZE"
    )
    mask_head_channels: int = option(256, "channels of the mask head", low=8, high=1024)
    box_pool_size: int = option(
        7, "cells of a side of a proposal for the box head", low=1, high=32, original="POOL_SIZE"
    )
    mask_pool_size: int = option(
        14,
        "the same for the mask head, whose masks have twice as many",
        low=1,
        high=64,
        original="MASK_POOL_SIZE; MASK_SHAPE is twice it",
    )
    anchor_sizes: tuple[float, ...] = option(
        (32.0, 64.0, 128.0, 256.0, 512.0),
        "anchor sizes of the five levels, in pixels",
        low=1,
        high=4096,
        original="RPN_ANCHOR_SCALES",
    )
    anchor_ratios: tuple[float, ...] = option(
        (0.5, 1.0, 2.0), "height / width of anchors", low=0.01, high=100, original="RPN_ANCHOR_RATIOS (width / height)"
    )

    # images
    min_size: tuple[int, ...] = option(
        (800,),
        "the shorter side is scaled to this; of several, training picks one an image and detection takes the last",
        low=32,
        high=8192,
        original="IMAGE_MIN_DIM",
    )
    max_size: int = option(1333, "unless the longer side would pass this", low=32, high=16384, original="IMAGE_MAX_DIM")
    min_scale: float = option(0.0, "scale by at least this", low=0, high=16, original="IMAGE_MIN_SCALE")
    fixed_size: bool = option(False, "pad every image to max_size × max_size", original='IMAGE_RESIZE_MODE ("square")')
    mean: tuple[float, ...] = option(
        (0.485, 0.456, 0.406), "subtracted from R, G, B in 0..1", low=0, high=1, original="MEAN_PIXEL (0..255)"
    )
    std: tuple[float, ...] = option((0.229, 0.224, 0.225), "then divided by this", low=0.001, high=10)

    # proposals
    rpn_positive_iou: float = option(0.7, "anchors above this overlap with an object are positive", low=0, high=1)
    rpn_negative_iou: float = option(0.3, "anchors below it are negative", low=0, high=1)
    rpn_anchors_per_image: int = option(
        256, "anchors in the loss", low=1, high=100_000_000, original="RPN_TRAIN_ANCHORS_PER_IMAGE"
    )
    rpn_positive_ratio: float = option(0.5, "largest share of positive ones", low=0, high=1)
    rpn_nms_threshold: float = option(
        0.7, "overlap above which the weaker proposal goes", low=0, high=1, original="RPN_NMS_THRESHOLD"
    )
    rpn_bbox_std_dev: tuple[float, ...] = option(
        (1.0, 1.0, 1.0, 1.0),
        "unit of x y width height offsets",
        low=0.001,
        high=10,
        original="RPN_BBOX_STD_DEV (y x h w)",
    )
    pre_nms_limit_training: int = option(
        2000, "proposals of a level before suppression, in training", low=1, high=100_000, original="PRE_NMS_LIMIT"
    )
    pre_nms_limit: int = option(1000, "and in detection", low=1, high=100_000, original="PRE_NMS_LIMIT")
    post_nms_rois_training: int = option(
        2000, "proposals after it, in training", low=1, high=100_000, original="POST_NMS_ROIS_TRAINING"
    )
    post_nms_rois: int = option(1000, "and in detection", low=1, high=100_000, original="POST_NMS_ROIS_INFERENCE")

    # heads
    roi_positive_iou: float = option(0.5, "proposals above this overlap with an object are its", low=0, high=1)
    rois_per_image: int = option(
        512, "proposals in the heads' losses", low=1, high=100_000_000, original="TRAIN_ROIS_PER_IMAGE"
    )
    roi_positive_ratio: float = option(
        0.25, "largest share of positive ones", low=0, high=1, original="ROI_POSITIVE_RATIO"
    )
    bbox_std_dev: tuple[float, ...] = option(
        (0.1, 0.1, 0.2, 0.2), "unit of x y width height offsets", low=0.001, high=10, original="BBOX_STD_DEV (y x h w)"
    )
    max_objects: int = option(
        0, "most objects of a training image, the largest; 0 for all", low=0, high=65535, original="MAX_GT_INSTANCES"
    )
    mask_targets: str = option(
        "soft",
        "mask targets as sampled (torchvision's), or rounded to 0 and 1 (the original's)",
        choices=("soft", "binary"),
    )
    rpn_class_loss: float = option(1.0, "weight of a loss", low=0, high=1000, original="LOSS_WEIGHTS rpn_class_loss")
    rpn_bbox_loss: float = option(1.0, "weight of a loss", low=0, high=1000, original="LOSS_WEIGHTS rpn_bbox_loss")
    class_loss: float = option(1.0, "weight of a loss", low=0, high=1000, original="LOSS_WEIGHTS mrcnn_class_loss")
    bbox_loss: float = option(1.0, "weight of a loss", low=0, high=1000, original="LOSS_WEIGHTS mrcnn_bbox_loss")
    mask_loss: float = option(1.0, "weight of a loss", low=0, high=1000, original="LOSS_WEIGHTS mrcnn_mask_loss")

    # detection
    detection_min_confidence: float = option(
        0.05, "detections with a smaller score go", low=0, high=1, original="DETECTION_MIN_CONFIDENCE"
    )
    detection_nms_threshold: float = option(
        0.5, "overlap above which the weaker of a class goes", low=0, high=1, original="DETECTION_NMS_THRESHOLD"
    )
    detection_max_instances: int = option(
        100, "most detections of an image", low=1, high=65535, original="DETECTION_MAX_INSTANCES"
    )
    mask_threshold: float = option(0.5, "mask values from here on are inside", low=0, high=1)

    # optimisation
    batch_size: int = option(2, "images of a process at a time", low=1, high=4096, original="IMAGES_PER_GPU")
    accumulate: int = option(1, "batches to one update of the weights", low=1, high=4096)
    epochs: int = option(12, "passes over the data; stages, where given, say it instead", low=1, high=100_000)
    steps_per_epoch: int = option(
        0,
        "updates that count as an epoch; 0 for a pass over the data",
        low=0,
        high=10_000_000,
        original="STEPS_PER_EPOCH",
    )
    layers: str = option(
        "all",
        "what is trained: the heads (with the pyramid), ResNet stages from the third, fourth or fifth on, or all",
        choices=("heads", "3+", "4+", "5+", "all"),
        original="train(layers=…)",
    )
    stages: tuple[str, ...] = option(
        (), "staged training as LAYERS:EPOCHS or LAYERS:EPOCHS:FACTOR of the rate, such as heads:2, 4+:4, all:6:0.1"
    )
    optimizer: str = option("sgd", "SGD with momentum, or AdamW", choices=("sgd", "adamw"))
    learning_rate: float = option(0.005, "at its highest", low=0, high=100, original="LEARNING_RATE")
    momentum: float = option(0.9, "of SGD; beta1 of AdamW", low=0, high=0.9999, original="LEARNING_MOMENTUM")
    weight_decay: float = option(0.0001, "of all weights but norms and biases", low=0, high=1, original="WEIGHT_DECAY")
    schedule: str = option("step", "how the rate falls", choices=("step", "cosine", "constant"))
    milestones: tuple[float, ...] = option(
        (0.67, 0.92), "shares of the training at which the step schedule falls to a tenth", low=0, high=1
    )
    warmup_steps: int = option(
        500, "updates over which the rate rises, a quarter of the training at most", low=0, high=1_000_000
    )
    warmup_factor: float = option(0.001, "share of the rate at the first update", low=0, high=1)
    gradient_clip_norm: float = option(
        0.0, "longest gradient; 0 for no limit", low=0, high=1e6, original="GRADIENT_CLIP_NORM"
    )
    precision: str = option("fp32", "of the network's arithmetic", choices=("fp32", "bf16", "fp16"))
    channels_last: bool = option(False, "memory order of images and weights that GPUs prefer")

    # data
    flip: float = option(0.5, "probability that an image is mirrored", low=0, high=1)
    scale_jitter: tuple[float, ...] = option(
        (1.0, 1.0),
        "least and most random scaling after min_size; what is larger than before is cropped",
        low=0.05,
        high=20,
    )
    large_scale_jitter: bool = option(
        False, "scale max_size by 0.1 … 2, crop, and pad to max_size × max_size (Ghiasi et al. 2021)"
    )
    aspect_batches: bool = option(True, "put wide images together and tall ones together")
    workers: int = option(2, "threads that decode; 0 for none beside the training", low=0, high=256)

    # the run
    seed: int = option(0, "of weights, order, augmentation and sampling", low=0, high=2**31 - 1)
    checkpoint_steps: int = option(0, "updates between checkpoints; 0 for one an epoch", low=0, high=10_000_000)
    validate_epochs: int = option(1, "epochs between validations; 0 for none", low=0, high=100_000)
    validation_images: int = option(
        0, "most images of a validation; 0 for all", low=0, high=10**9, original="VALIDATION_STEPS"
    )
    example_pictures: int = option(4, "pictures of detections beside truth at each validation", low=0, high=64)
    log_steps: int = option(10, "updates between lines of metrics", low=1, high=1_000_000)

    def __post_init__(self) -> None:
        check(self)
        for name, count in (("mean", 3), ("std", 3), ("scale_jitter", 2), ("bbox_std_dev", 4), ("rpn_bbox_std_dev", 4)):
            if len(getattr(self, name)) != count:
                raise UsageError(f"{name} needs {count} numbers", why=f"got {getattr(self, name)!r}")
        if len(self.anchor_sizes) != 5:
            raise UsageError("anchor_sizes needs five numbers", why=f"got {self.anchor_sizes!r}")
        for name in ("anchor_ratios", "min_size"):
            if not getattr(self, name):
                raise UsageError(f"{name} needs at least one number")
        for low, high in (
            (("scale_jitter[0]", self.scale_jitter[0]), ("scale_jitter[1]", self.scale_jitter[1])),
            (("rpn_negative_iou", self.rpn_negative_iou), ("rpn_positive_iou", self.rpn_positive_iou)),
        ):
            if low[1] > high[1]:
                raise UsageError(f"{low[0]} is above {high[0]}", place=low[0], why=f"got {low[1]} and {high[1]}")
        for text in self.stages:
            _stage(text)

    # ------------------------------------------------------------------ made and written

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, file: Path | str | None = None) -> Config:
        """From names and values; what is not named keeps its default.

        Raises:
            UsageError: an unknown name (close ones are named), or a bad value.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        for name in values:
            if name not in known:
                close = difflib.get_close_matches(name.lower(), known, n=3) or sorted(_by_original(name))
                raise UsageError(
                    f"there is no setting {name!r}",
                    file=file,
                    place=name,
                    why=f"close ones are {', '.join(close)}" if close else None,
                    fix="segdata config maskrcnn lists all settings",
                )
        try:
            return cls(**values)
        except UsageError as error:
            raise error.located(file=file) from error

    @classmethod
    def from_toml(cls, path: Path) -> Config:
        """From a TOML file of `name = value` lines.

        Raises:
            UsageError: see `from_dict`; the line is named.
        """
        try:
            return cls.from_dict(read_toml(path), file=path)
        except UsageError as error:
            error.place = line_of(path, error.place) or error.place
            raise

    def changed(self, **values: Any) -> Config:
        """The same settings but for some."""
        return Config.from_dict({**self.as_dict(), **values})

    def as_dict(self) -> dict[str, Any]:
        """Names and values as JSON holds them."""
        return {
            field.name: list(value) if isinstance(value := getattr(self, field.name), tuple) else value
            for field in dataclasses.fields(self)
        }

    def as_toml(self, *, explained: bool = False) -> str:
        """A TOML file; with `explained`, meanings, ranges and the original's names as comments."""
        return "\n".join(line for row in describe(self) for line in toml_lines(row, explained=explained)) + "\n"

    @property
    def plan(self) -> tuple[tuple[str, int, float], ...]:
        """Stages of the training: (layers, epochs, factor of the learning rate)."""
        return tuple(_stage(text) for text in self.stages) or ((self.layers, self.epochs, 1.0),)


def chosen(file: Path | None, changes: Sequence[str], run: Path | None = None) -> Config:
    """Settings of a TOML file or of a run, else the defaults; then `changes`, each NAME=VALUE."""
    if run is not None and file is not None:
        raise UsageError("settings are a file's or a run's, not both", fix="leave out --config")
    if run is not None and not (run / "config.toml").is_file():
        raise NotThere("there is no run here", file=run, fix=f"segdata train PACK -o {run}")
    path = run / "config.toml" if run is not None else file
    written = {} if path is None else Config.from_toml(path).as_dict()
    return Config.from_dict({**written, **settings(changes)})


def settings(texts: Sequence[str]) -> dict[str, Any]:
    """`["learning_rate=0.06", "backbone=resnet18", "min_size=[256]"]` as names and values; a list may go without brackets."""
    values: dict[str, Any] = {}
    kinds = types(Config)
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals:
            raise UsageError(f"a setting is NAME=VALUE, not {text!r}", fix="--set learning_rate=0.01")
        value = value.strip()
        if kinds.get(name, (str, str))[0] is tuple and not value.startswith("["):
            values[name] = [parsed(item.strip()) for item in value.split(",") if item.strip()]
        else:
            values[name] = parsed(value)
    return values


def describe(config: Config | None = None) -> list[dict[str, Any]]:
    """Every setting: name, value, default, meaning, range or choices, and the original's name."""
    values, defaults = (config or Config()).as_dict(), Config().as_dict()
    return [
        {"name": field.name, "value": values[field.name], "default": defaults[field.name], **field.metadata}
        for field in dataclasses.fields(Config)
    ]


def _stage(text: str) -> tuple[str, int, float]:
    parts = text.split(":")
    try:
        layers, epochs, factor = parts[0], int(parts[1]), float(parts[2]) if len(parts) > 2 else 1.0
    except (IndexError, ValueError):
        layers, epochs, factor = "", 0, 0.0
    if layers not in ("heads", "3+", "4+", "5+", "all") or epochs < 1 or factor <= 0 or len(parts) > 3:
        raise UsageError(
            f"a stage is LAYERS:EPOCHS or LAYERS:EPOCHS:FACTOR, not {text!r}",
            place="stages",
            why="layers are heads, 5+, 4+, 3+ or all",
        )
    return layers, epochs, factor


def _by_original(name: str) -> set[str]:
    """Our settings that go by this name in the original."""
    return {row["name"] for row in describe() if row["original"] and name.upper() in str(row["original"]).split()}
