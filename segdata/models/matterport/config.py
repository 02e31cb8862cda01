"""Settings of a model of Matterport's kind: its names in lower case, its defaults, and what is allowed."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from segdata.errors import UsageError
from segdata.models.matterport.molding import RESIZE_MODES, STRIDE

LOSSES = ("rpn_class_loss", "rpn_bbox_loss", "mrcnn_class_loss", "mrcnn_bbox_loss", "mrcnn_mask_loss")

_INFINITE = 10**9


def _setting(
    default: Any,
    meaning: str,
    low: float = 0,
    high: float = _INFINITE,
    *,
    count: int | None = None,
    choices: Sequence[Any] | None = None,
) -> Any:
    """A field with what it means and what is allowed: a range (of each item of a list), how many, or a choice."""
    rules = {"meaning": meaning, "low": low, "high": high, "count": count, "choices": choices}
    return field(default=default, metadata=rules)


@dataclass(frozen=True)
class Config:
    """What a model can be told; every name is that of Matterport's `Config`, in lower case.

    Raises:
        UsageError: a value of another type or out of its range.
    """

    # the photo in the network's frame
    image_resize_mode: str = _setting(
        "square",
        "how a photo gets its size: padded to a square, to multiples of 64, left as it is, or cut (training only)",
        choices=RESIZE_MODES,
    )
    image_min_dim: int = _setting(800, "pixels that the shorter side has at least; 0 for no matter", high=16384)
    image_max_dim: int = _setting(1024, "pixels of the square's side", low=64, high=16384)
    image_min_scale: float = _setting(0.0, "enlarge at least so much; 0 for no matter", high=64)
    mean_pixel: tuple[float, ...] = _setting(
        (123.7, 116.8, 103.9), "red, green, blue that are taken off every pixel, padding too", high=255, count=3
    )

    # the network; what a weights file shows is found there
    top_down_pyramid_size: int = _setting(256, "channels of the feature pyramid", low=1, high=4096)
    fpn_classif_fc_layers_size: int = _setting(1024, "width of the class and box head", low=1, high=16384)
    pool_size: int = _setting(7, "points a side that the class and box head sees of a region", low=1, high=64)
    mask_pool_size: int = _setting(
        14, "points a side that the mask head sees; masks are twice as fine", low=1, high=128
    )

    # proposals
    rpn_anchor_scales: tuple[float, ...] = _setting(
        (32.0, 64.0, 128.0, 256.0, 512.0), "pixels of a square anchor's side on each level", low=1, high=16384, count=5
    )
    rpn_anchor_ratios: tuple[float, ...] = _setting(
        (0.5, 1.0, 2.0), "width / height of the anchors of a cell", low=0.01, high=100
    )
    rpn_anchor_stride: int = _setting(1, "anchors at every cell, or at every second", choices=(1, 2))
    rpn_bbox_std_dev: tuple[float, ...] = _setting(
        (0.1, 0.1, 0.2, 0.2), "units of a proposal's y, x, height, width", low=1e-6, high=100, count=4
    )
    rpn_nms_threshold: float = _setting(0.7, "overlap with a better proposal above which one goes", high=1)
    pre_nms_limit: int = _setting(6000, "likeliest anchors that are looked at", low=1)
    post_nms_rois_inference: int = _setting(1000, "proposals that stay when detecting", low=1)

    # detections
    bbox_std_dev: tuple[float, ...] = _setting(
        (0.1, 0.1, 0.2, 0.2), "units of a detection's y, x, height, width", low=1e-6, high=100, count=4
    )
    detection_min_confidence: float = _setting(0.7, "score below which a detection goes; 0 keeps all", high=1)
    detection_nms_threshold: float = _setting(
        0.3, "overlap with a better one of its class above which one goes", high=1
    )
    detection_max_instances: int = _setting(100, "detections of a photo, the best", low=1)
    images_per_gpu: int = _setting(1, "photos at a time when detecting; no result depends on it", low=1)

    # training
    post_nms_rois_training: int = _setting(2000, "proposals that stay when training", low=1)
    rpn_train_anchors_per_image: int = _setting(256, "anchors of a photo in the proposals' losses", low=2)
    train_rois_per_image: int = _setting(200, "proposals of a photo in the heads' losses", low=1)
    roi_positive_ratio: float = _setting(0.33, "share of these on objects", low=1e-6, high=1)
    max_gt_instances: int = _setting(100, "objects of a photo that are used, drawn at random", low=1)
    use_mini_mask: bool = _setting(True, "keep truth masks as small crops of their boxes")
    mini_mask_shape: tuple[int, ...] = _setting((56, 56), "height and width of these", low=1, high=4096, count=2)
    train_bn: bool = _setting(False, "let batch normalisation follow the batches (None in the original)")
    learning_rate: float = _setting(0.001, "of gradient descent", high=1000)
    learning_momentum: float = _setting(0.9, "of the same", high=0.999999)
    weight_decay: float = _setting(0.0001, "factor of each weight's mean square in the loss", high=1000)
    gradient_clip_norm: float = _setting(5.0, "longest gradient, all weights together", low=1e-6)
    loss_weights: Mapping[str, float] = field(
        default_factory=lambda: dict.fromkeys(LOSSES, 1.0), metadata={"meaning": "factor of each of the five losses"}
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            if item.name != "loss_weights":
                object.__setattr__(self, item.name, _checked(item.name, getattr(self, item.name), item))
        unknown = sorted(set(self.loss_weights) - set(LOSSES))
        if unknown or any(not 0 <= weight < math.inf for weight in self.loss_weights.values()):
            raise UsageError(
                "loss_weights gives a number from 0 on to some of the five losses",
                why=f"got {dict(self.loss_weights)!r}",
                fix=f"the losses are {', '.join(LOSSES)}",
            )
        if self.image_resize_mode == "square" and self.image_max_dim % STRIDE:
            raise UsageError(f"image_max_dim must be a multiple of {STRIDE}", why=f"got {self.image_max_dim}")

    def changed(self, **values: Any) -> Config:
        """The same settings but for some; the original's upper-case names are taken too.

        Raises:
            UsageError: an unknown name (close ones are named), or a bad value.
        """
        known = {item.name for item in fields(self)}
        for name in values:
            if name.lower() not in known:
                close = difflib.get_close_matches(name.lower(), known, n=3)
                raise UsageError(
                    f"there is no setting {name!r} here",
                    why=f"close ones are {', '.join(close)}" if close else None,
                    fix="docs/matterport.md lists all settings",
                )
        return replace(self, **{name.lower(): value for name, value in values.items()})

    def as_dict(self) -> dict[str, Any]:
        """Names and values as JSON holds them."""
        return {
            item.name: list(value) if isinstance(value := getattr(self, item.name), tuple) else value
            for item in fields(self)
        }


def _checked(name: str, value: Any, item: Any) -> Any:
    rules = item.metadata
    like = item.default[0] if isinstance(item.default, tuple) else item.default
    if name in ("image_min_dim", "image_min_scale", "detection_min_confidence") and value is None:
        value = 0  # the original takes None for "no matter"
    many = isinstance(item.default, tuple)
    try:
        values = tuple(value) if many else (value,)
    except TypeError:
        values = (None,)
    cleaned = tuple(_like(like, number) for number in values)
    wrong = not cleaned or None in cleaned or (rules["count"] is not None and len(cleaned) != rules["count"])
    if rules["choices"] is not None:
        wrong = wrong or any(number not in rules["choices"] for number in cleaned)
        allowed = ", ".join(map(str, rules["choices"]))
    elif isinstance(like, bool):
        allowed = "True or False"
    else:
        wrong = wrong or not all(rules["low"] <= number <= rules["high"] for number in cleaned if number is not None)
        kind = "whole numbers" if isinstance(like, int) else "numbers"
        how_many = {None: kind, 2: f"two {kind}", 3: f"three {kind}", 4: f"four {kind}", 5: f"five {kind}"}
        allowed = how_many[rules["count"]] if many else kind.removesuffix("s")
        allowed += f" from {rules['low']:g}" + ("" if rules["high"] == _INFINITE else f" to {rules['high']:g}")
    if wrong:
        raise UsageError(f"{name} cannot be {value!r}", place=name, why=f"it takes {allowed}")
    return cleaned if many else cleaned[0]


def _like(example: Any, value: Any) -> Any:
    """The value as the type of the example, or None where it is of another."""
    if isinstance(example, bool) or isinstance(value, bool):
        return value if type(value) is type(example) else None
    if isinstance(example, str):
        return value if isinstance(value, str) else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if not math.isfinite(number):
        return None
    return number if isinstance(example, float) else int(number) if number == int(number) else None
