"""Mask R-CNN of torchvision's detection parts (He et al. 2017; Lin et al. 2017 for the pyramid), sized by a `Config`.

The module is torchvision's own `MaskRCNN`, so names and shapes of weights are torchvision's. Its forward is not used:
`losses.losses` trains it on RLE masks, which are never decoded to full images, and `detect.detect` predicts RLE masks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torchvision.models import resnet
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from segdata.models.maskrcnn.config import Config
from segdata.models.norms import group_norm

_LEVELS = ("0", "1", "2", "3")
EPS = 1e-5
"""The epsilon of frozen batch norms, unless the weights bring another."""

_STRIDE = 32
"""Sides of padded images are multiples of this."""


def build(config: Config, classes: int, *, seed: int = 0) -> MaskRCNN:
    """A network with fresh weights drawn from `seed`; the caller's random state is left alone.

    Args:
        classes: of objects, without the background.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _built(config, classes + 1)
    model.transform.size_divisible = _STRIDE
    for coder, units in (
        (model.rpn.box_coder, config.rpn_bbox_std_dev),
        (model.roi_heads.box_coder, config.bbox_std_dev),
    ):
        coder.weights = tuple(1.0 / unit for unit in units)
    return model


def _built(config: Config, labels: int) -> MaskRCNN:
    norm = _norm(config.norm)
    channels = config.fpn_channels
    is_second = config.heads == "v2"
    body = _body(config, norm)
    widths = [body.inplanes // 8 * 2**level for level in range(len(_LEVELS))]
    backbone = BackboneWithFPN(
        body,
        {f"layer{level + 1}": name for level, name in enumerate(_LEVELS)},
        widths,
        channels,
        extra_blocks=LastLevelMaxPool(),
        norm_layer=_head_norm(config) if is_second else None,
    )
    anchors = AnchorGenerator(
        tuple((size,) for size in config.anchor_sizes), (config.anchor_ratios,) * len(config.anchor_sizes)
    )
    cells, mask_channels = config.box_pool_size, (config.mask_head_channels,) * 4
    if is_second:
        box_head: nn.Module = FastRCNNConvFCHead(
            (channels, cells, cells), [channels] * 4, [config.box_head_size], norm_layer=_head_norm(config)
        )
    else:
        box_head = TwoMLPHead(channels * cells**2, config.box_head_size)
    return MaskRCNN(
        backbone,
        min_size=config.min_size,
        max_size=config.max_size,
        image_mean=list(config.mean),
        image_std=list(config.std),
        rpn_anchor_generator=anchors,
        rpn_head=RPNHead(channels, anchors.num_anchors_per_location()[0], conv_depth=2 if is_second else 1),
        rpn_pre_nms_top_n_train=config.pre_nms_limit_training,
        rpn_pre_nms_top_n_test=config.pre_nms_limit,
        rpn_post_nms_top_n_train=config.post_nms_rois_training,
        rpn_post_nms_top_n_test=config.post_nms_rois,
        rpn_nms_thresh=config.rpn_nms_threshold,
        rpn_fg_iou_thresh=config.rpn_positive_iou,
        rpn_bg_iou_thresh=config.rpn_negative_iou,
        rpn_batch_size_per_image=config.rpn_anchors_per_image,
        rpn_positive_fraction=config.rpn_positive_ratio,
        box_roi_pool=MultiScaleRoIAlign(_LEVELS, cells, 2),
        box_head=box_head,
        box_predictor=FastRCNNPredictor(config.box_head_size, labels),
        box_score_thresh=config.detection_min_confidence,
        box_nms_thresh=config.detection_nms_threshold,
        box_detections_per_img=config.detection_max_instances,
        box_fg_iou_thresh=config.roi_positive_iou,
        box_bg_iou_thresh=config.roi_positive_iou,
        box_batch_size_per_image=config.rois_per_image,
        box_positive_fraction=config.roi_positive_ratio,
        mask_roi_pool=MultiScaleRoIAlign(_LEVELS, config.mask_pool_size, 2),
        mask_head=MaskRCNNHeads(channels, mask_channels, 1, norm_layer=_head_norm(config) if is_second else None),
        mask_predictor=MaskRCNNPredictor(config.mask_head_channels, config.mask_head_channels, labels),
    )


def _body(config: Config, norm: Any) -> resnet.ResNet:
    """The ResNet; a narrow one has torchvision's stem and fewer channels in each block."""
    whole = getattr(resnet, config.backbone)(weights=None, norm_layer=norm)
    if config.backbone_width == 1:
        return whole
    stages = (whole.layer1, whole.layer2, whole.layer3, whole.layer4)
    return _Narrow(config.backbone_width, type(whole.layer1[0]), [len(stage) for stage in stages], norm_layer=norm)


class _Narrow(resnet.ResNet):  # type: ignore[misc]
    """A ResNet whose blocks have a fraction of the channels."""

    def __init__(self, width: float, block: Any, layers: list[int], *, norm_layer: Any) -> None:
        self._width = width
        super().__init__(block, layers, norm_layer=norm_layer)

    def _make_layer(self, block: Any, planes: int, *arguments: Any, **named: Any) -> Any:
        return super()._make_layer(block, round(planes * self._width), *arguments, **named)


def _norm(name: str) -> Any:
    return {"frozen": FrozenBatchNorm2d, "batch": nn.BatchNorm2d, "group": group_norm}[name]


def _head_norm(config: Config) -> Any:
    """Norms of the second heads: trained by torchvision, so never frozen from the start."""
    return group_norm if config.norm == "group" else nn.BatchNorm2d


def stage_of(name: str) -> int | None:
    """The ResNet stage of a parameter, 1 … 5, or None when it is none of the ResNet's."""
    if not name.startswith("backbone.body."):
        return None
    part = name.split(".")[2]
    return int(part.removeprefix("layer")) + 1 if part.startswith("layer") else 1


def frozen_eps(network: nn.Module) -> float:
    """The epsilon of a network's frozen batch norms, which belongs to its weights."""
    return next((module.eps for module in network.modules() if isinstance(module, FrozenBatchNorm2d)), EPS)
