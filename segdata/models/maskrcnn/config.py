"""Settings of Mask R-CNN: network, images, proposals, heads, detection and augmentation; how it is trained says
`segdata.training.config`.

Where the original Mask R-CNN (Matterport's `Config`) has the same setting, its name stands beside ours. Settings of the
original that have no counterpart: `NAME` is the run's folder, `GPU_COUNT` the number of processes, `NUM_CLASSES` the
pack's, `IMAGE_CHANNEL_COUNT` is 3, `BACKBONE_STRIDES` are 4 … 64, `RPN_ANCHOR_STRIDE` is 1, `COMPUTE_BACKBONE_SHAPE`
follows from the features, `USE_MINI_MASK` and `MINI_MASK_SHAPE` are not needed since masks stay run lengths,
`USE_RPN_ROIS` is always true.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from segdata.errors import UsageError
from segdata.models.settings import Metric, ModelSettings

Fraction = Annotated[float, Meta(ge=0, le=1)]
Scale = Annotated[float, Meta(ge=0.001, le=10)]
Weight = Annotated[float, Meta(ge=0, le=1000)]
Count = Annotated[int, Meta(ge=1, le=100_000)]


class Config(ModelSettings, frozen=True, kw_only=True):
    """Settings of Mask R-CNN; `segdata config maskrcnn` prints them all with their meanings.

    Raises:
        UsageError: a value is of another type or out of its range.
    """

    METRIC: ClassVar = Metric("AP", "mask AP")
    ON_CPU: ClassVar = "--set backbone=resnet18 --set min_size=256 --set max_size=320"
    TRAINING: ClassVar = frozenset(
        {
            "rpn_positive_iou",
            "rpn_negative_iou",
            "rpn_anchors_per_image",
            "rpn_positive_ratio",
            "pre_nms_limit_training",
            "post_nms_rois_training",
            "roi_positive_iou",
            "rois_per_image",
            "roi_positive_ratio",
            "max_objects",
            "mask_targets",
            "rpn_class_loss",
            "rpn_bbox_loss",
            "class_loss",
            "iou_balanced",
            "bbox_loss",
            "mask_loss",
            "boxes_as_masks",
            "flip",
            "jpeg_reduction",
            "scale_jitter",
            "large_scale_jitter",
        }
    )
    SECTIONS: ClassVar = {
        "backbone": "model",
        "min_size": "images",
        "rpn_positive_iou": "proposals",
        "roi_positive_iou": "heads",
        "detection_min_confidence": "detection",
        "boxes_as_masks": "data",
    }

    # model
    backbone: Annotated[
        Literal["resnet18", "resnet34", "resnet50", "resnet101"],
        Meta(description="ResNet of the feature pyramid network (FPN)", extra={"original": "BACKBONE"}),
    ] = "resnet50"
    backbone_width: Annotated[
        float,
        Meta(ge=0.125, le=1, description="fraction of channels in the ResNet's stages; pretrained weights need 1"),
    ] = 1.0
    heads: Annotated[
        Literal["v1", "v2"],
        Meta(description="torchvision's heads: v1 as in He et al. 2017, v2 deeper and with normalisation"),
    ] = "v1"
    norm: Annotated[
        Literal["frozen", "batch", "group"],
        Meta(
            description="normalisation: frozen batch norm (for fine-tuning), batch norm, or group norm (from scratch)",
            extra={"original": "TRAIN_BN"},
        ),
    ] = "frozen"
    fpn_channels: Annotated[
        int, Meta(ge=8, le=1024, description="channels of the FPN", extra={"original": "TOP_DOWN_PYRAMID_SIZE"})
    ] = 256
    box_head_size: Annotated[
        int,
        Meta(
            ge=8,
            le=8192,
            description="units of the box head's fully connected layers",
            extra={"original": "FPN_CLASSIF_FC_LAYERS_SIZE"},
        ),
    ] = 1024
    mask_head_channels: Annotated[int, Meta(ge=8, le=1024, description="channels of the mask head")] = 256
    box_pool_size: Annotated[
        int,
        Meta(ge=1, le=32, description="RoIAlign output size of the box head (side)", extra={"original": "POOL_SIZE"}),
    ] = 7
    mask_pool_size: Annotated[
        int,
        Meta(
            ge=1,
            le=64,
            description="RoIAlign output size of the mask head (side); masks are predicted at twice this size",
            extra={"original": "MASK_POOL_SIZE; MASK_SHAPE is twice it"},
        ),
    ] = 14
    anchor_sizes: Annotated[
        tuple[Annotated[float, Meta(ge=1, le=4096)], ...],
        Meta(
            min_length=5,
            max_length=5,
            description="anchor size of each of the five FPN levels, in pixels",
            extra={"original": "RPN_ANCHOR_SCALES"},
        ),
    ] = (32.0, 64.0, 128.0, 256.0, 512.0)
    anchor_ratios: Annotated[
        tuple[Annotated[float, Meta(ge=0.01, le=100)], ...],
        Meta(
            min_length=1,
            description="aspect ratios of anchors, height / width",
            extra={"original": "RPN_ANCHOR_RATIOS (width / height)"},
        ),
    ] = (0.5, 1.0, 2.0)

    # images
    min_size: Annotated[
        tuple[Annotated[int, Meta(ge=32, le=8192)], ...],
        Meta(
            min_length=1,
            description="shorter side after resizing; of several, training draws one per image, prediction takes the last",
            extra={"original": "IMAGE_MIN_DIM"},
        ),
    ] = (800,)
    max_size: Annotated[
        int,
        Meta(
            ge=32,
            le=16384,
            description="upper limit of the longer side after resizing",
            extra={"original": "IMAGE_MAX_DIM"},
        ),
    ] = 1333
    min_scale: Annotated[
        float,
        Meta(
            ge=0,
            le=16,
            description="lower limit of the resize factor, 0 = off",
            extra={"original": "IMAGE_MIN_SCALE"},
        ),
    ] = 0.0
    fixed_size: Annotated[
        bool,
        Meta(
            description="pad every image to max_size × max_size, not to the largest of its batch",
            extra={"original": 'IMAGE_RESIZE_MODE ("square")'},
        ),
    ] = False
    mean: Annotated[
        tuple[Fraction, ...],
        Meta(
            min_length=3,
            max_length=3,
            description="per-channel mean of RGB in 0..1, subtracted first",
            extra={"original": "MEAN_PIXEL (0..255)"},
        ),
    ] = (0.485, 0.456, 0.406)
    std: Annotated[
        tuple[Scale, ...],
        Meta(min_length=3, max_length=3, description="per-channel std, divided by after subtracting mean"),
    ] = (0.229, 0.224, 0.225)

    # proposals
    rpn_positive_iou: Annotated[
        Fraction, Meta(description="anchors with at least this IoU with a ground-truth box are positive")
    ] = 0.7
    rpn_negative_iou: Annotated[
        Fraction, Meta(description="anchors below this IoU with all ground-truth boxes are negative")
    ] = 0.3
    rpn_anchors_per_image: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000_000,
            description="anchors sampled per image for the RPN losses",
            extra={"original": "RPN_TRAIN_ANCHORS_PER_IMAGE"},
        ),
    ] = 256
    rpn_positive_ratio: Annotated[Fraction, Meta(description="maximum fraction of positives among these anchors")] = 0.5
    rpn_nms_threshold: Annotated[
        Fraction, Meta(description="NMS IoU threshold of the RPN", extra={"original": "RPN_NMS_THRESHOLD"})
    ] = 0.7
    rpn_bbox_std_dev: Annotated[
        tuple[Scale, ...],
        Meta(
            min_length=4,
            max_length=4,
            description="std that the RPN's box regression targets (x, y, width, height) are divided by",
            extra={"original": "RPN_BBOX_STD_DEV (y x h w)"},
        ),
    ] = (1.0, 1.0, 1.0, 1.0)
    pre_nms_limit_training: Annotated[
        Count,
        Meta(
            description="proposals per FPN level that enter NMS, in training",
            extra={"original": "PRE_NMS_LIMIT"},
        ),
    ] = 2000
    pre_nms_limit: Annotated[
        Count,
        Meta(
            description="proposals per FPN level that enter NMS, in prediction",
            extra={"original": "PRE_NMS_LIMIT"},
        ),
    ] = 1000
    post_nms_rois_training: Annotated[
        Count,
        Meta(
            description="proposals per image after NMS, in training",
            extra={"original": "POST_NMS_ROIS_TRAINING"},
        ),
    ] = 2000
    post_nms_rois: Annotated[
        Count,
        Meta(
            description="proposals per image after NMS, in prediction",
            extra={"original": "POST_NMS_ROIS_INFERENCE"},
        ),
    ] = 1000

    # heads
    roi_positive_iou: Annotated[
        Fraction, Meta(description="proposals with at least this IoU with a ground-truth box are positive")
    ] = 0.5
    rois_per_image: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000_000,
            description="proposals sampled per image for the losses of the heads",
            extra={"original": "TRAIN_ROIS_PER_IMAGE"},
        ),
    ] = 512
    roi_positive_ratio: Annotated[
        Fraction,
        Meta(
            description="maximum fraction of positives among these proposals",
            extra={"original": "ROI_POSITIVE_RATIO"},
        ),
    ] = 0.25
    bbox_std_dev: Annotated[
        tuple[Scale, ...],
        Meta(
            min_length=4,
            max_length=4,
            description="std that the box head's regression targets (x, y, width, height) are divided by",
            extra={"original": "BBOX_STD_DEV (y x h w)"},
        ),
    ] = (0.1, 0.1, 0.2, 0.2)
    max_objects: Annotated[
        int,
        Meta(
            ge=0,
            le=65535,
            description="maximum of ground-truth objects per training image, largest first, 0 = no limit",
            extra={"original": "MAX_GT_INSTANCES"},
        ),
    ] = 0
    mask_targets: Annotated[
        Literal["soft", "binary"],
        Meta(description="mask targets after RoIAlign: as sampled (torchvision), or rounded to 0 and 1 (Matterport)"),
    ] = "soft"
    rpn_class_loss: Annotated[
        Weight,
        Meta(
            description="weight of the RPN's classification loss (object or background)",
            extra={"original": "LOSS_WEIGHTS rpn_class_loss"},
        ),
    ] = 1.0
    rpn_bbox_loss: Annotated[
        Weight,
        Meta(
            description="weight of the RPN's box regression loss",
            extra={"original": "LOSS_WEIGHTS rpn_bbox_loss"},
        ),
    ] = 1.0
    class_loss: Annotated[
        Weight,
        Meta(
            description="weight of the box head's classification loss",
            extra={"original": "LOSS_WEIGHTS mrcnn_class_loss"},
        ),
    ] = 1.0
    iou_balanced: Annotated[
        float,
        Meta(
            ge=0,
            le=10,
            description="power of the predicted box's IoU that a positive proposal weighs by in the box head's "
            "classification loss (Wu et al. 2019; 1.5 there), 0 = all weigh the same",
        ),
    ] = 0.0
    bbox_loss: Annotated[
        Weight,
        Meta(
            description="weight of the box head's regression loss",
            extra={"original": "LOSS_WEIGHTS mrcnn_bbox_loss"},
        ),
    ] = 1.0
    mask_loss: Annotated[
        Weight,
        Meta(description="weight of the mask loss", extra={"original": "LOSS_WEIGHTS mrcnn_mask_loss"}),
    ] = 1.0

    # detection
    detection_min_confidence: Annotated[
        Fraction,
        Meta(description="score threshold of detections", extra={"original": "DETECTION_MIN_CONFIDENCE"}),
    ] = 0.05
    detection_nms_threshold: Annotated[
        Fraction,
        Meta(
            description="NMS IoU threshold of detections of one category",
            extra={"original": "DETECTION_NMS_THRESHOLD"},
        ),
    ] = 0.5
    detection_max_instances: Annotated[
        int,
        Meta(
            ge=1,
            le=65535,
            description="maximum of detections per image, highest scores first",
            extra={"original": "DETECTION_MAX_INSTANCES"},
        ),
    ] = 100
    mask_threshold: Annotated[Fraction, Meta(description="pixels of at least this probability belong to a mask")] = 0.5

    # data
    boxes_as_masks: Annotated[
        bool, Meta(description="train objects that have a box and no mask with their box filled as the mask")
    ] = False
    flip: Annotated[Fraction, Meta(description="probability of a horizontal flip")] = 0.5
    jpeg_reduction: Annotated[
        bool,
        Meta(description="decode a JPEG to 1/2, 1/4 or 1/8 of its size where a training image needs no more pixels"),
    ] = True
    scale_jitter: Annotated[
        tuple[Annotated[float, Meta(ge=0.05, le=20)], ...],
        Meta(
            min_length=2,
            max_length=2,
            description="range of a random scale factor after resizing; what became larger is cropped at random",
        ),
    ] = (1.0, 1.0)
    large_scale_jitter: Annotated[
        bool,
        Meta(
            description="large scale jitter (Ghiasi et al. 2021): scale to 0.1 … 2 of max_size, crop and pad to "
            "max_size × max_size"
        ),
    ] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for low, high in (
            (("scale_jitter[0]", self.scale_jitter[0]), ("scale_jitter[1]", self.scale_jitter[1])),
            (("rpn_negative_iou", self.rpn_negative_iou), ("rpn_positive_iou", self.rpn_positive_iou)),
        ):
            if low[1] > high[1]:
                raise UsageError(f"{low[0]} is above {high[0]}", place=low[0], why=f"got {low[1]} and {high[1]}")

    def require_consistent(self) -> None:
        """See `Settings.require_consistent`."""
        if max(self.min_size) > self.max_size:
            raise UsageError(
                "min_size is above max_size: no image could have its shorter side",
                place="min_size",
                why=f"got {', '.join(map(str, self.min_size))} and {self.max_size}",
                fix=f"--set min_size={self.max_size} or less, or --set max_size={max(self.min_size)} or more",
            )
        self.require_effect("scale_jitter", "large_scale_jitter", has_effect=not self.large_scale_jitter)
