"""Settings of each network for semantic segmentation, and which network has which; nothing here imports torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from segdata.models.semantic.config import SemanticConfig

_Width = Annotated[
    float,
    Meta(ge=0.125, le=1, description="fraction of channels in the backbone's stages; pretrained weights need 1"),
]
_Channels = Annotated[int, Meta(ge=8, le=4096, description="channels of the head")]
_Auxiliary = Annotated[
    bool, Meta(description="an FCN head on the backbone's last but one stage, whose loss helps in training")
]
_ResNet = Annotated[
    Literal["resnet18", "resnet34", "resnet50", "resnet101"], Meta(description="ResNet that gives the features")
]
_Deep = "--set backbone=resnet18"


class UNet(SemanticConfig, frozen=True, kw_only=True):
    """Settings of the U-Net of Ronneberger et al. 2015.

    Raises:
        UsageError: a value is of another type or out of its range.
    """

    ON_CPU: ClassVar = "--set width=16"
    SECTIONS: ClassVar = {**SemanticConfig.SECTIONS, "width": "network"}
    TRAINING: ClassVar = SemanticConfig.TRAINING | {"dropout"}

    norm: Annotated[
        Literal["batch", "frozen", "group", "none"],
        Meta(
            description="normalisation: batch norm, batch norm with fixed statistics, group norm, or none (the paper)"
        ),
    ] = "batch"  # type: ignore[assignment]
    width: Annotated[
        int, Meta(ge=4, le=512, description="channels of the first level; each next level has twice as many")
    ] = 64
    padded: Annotated[
        bool,
        Meta(
            description="convolutions pad by zeros and keep the size; false: valid ones on a mirrored border, as in the paper"
        ),
    ] = True
    bilinear: Annotated[
        bool, Meta(description="upsample bilinearly, not by transposed convolutions, with half the channels")
    ] = False
    dropout: Annotated[
        float, Meta(ge=0, le=0.95, description="dropout at the end of the contracting path; 0.5 in the paper")
    ] = 0.0


class DeepLabV3Plus(SemanticConfig, frozen=True, kw_only=True):
    """Settings of DeepLabV3+ (Chen et al. 2018).

    Raises:
        UsageError: a value is of another type or out of its range.
    """

    ON_CPU: ClassVar = _Deep
    SECTIONS: ClassVar = {**SemanticConfig.SECTIONS, "backbone": "network"}

    backbone: _ResNet = "resnet50"
    backbone_width: _Width = 1.0
    output_stride: Annotated[
        Literal[16, 8], Meta(description="how much smaller the deepest features are than the image; 8 costs more")
    ] = 16
    decoder: Annotated[
        Literal["plain", "separable"],
        Meta(description="3×3 convolutions of ASPP and decoder: plain, or depthwise separable, which cost less"),
    ] = "plain"
    head_channels: _Channels = 256
    auxiliary: _Auxiliary = False


class DeepLabV3(SemanticConfig, frozen=True, kw_only=True):
    """Settings of torchvision's DeepLabV3 (Chen et al. 2017).

    Raises:
        UsageError: a value is of another type or out of its range.
    """

    ON_CPU: ClassVar = "--set backbone=mobilenet_v3_large"
    SECTIONS: ClassVar = {**SemanticConfig.SECTIONS, "backbone": "network"}

    backbone: Annotated[
        Literal["resnet50", "resnet101", "mobilenet_v3_large"], Meta(description="network that gives the features")
    ] = "resnet50"
    auxiliary: _Auxiliary = True


class FCN(SemanticConfig, frozen=True, kw_only=True):
    """Settings of torchvision's FCN (Long et al. 2015).

    Raises:
        UsageError: a value is of another type or out of its range.
    """

    SECTIONS: ClassVar = {**SemanticConfig.SECTIONS, "backbone": "network"}

    backbone: Annotated[Literal["resnet50", "resnet101"], Meta(description="network that gives the features")] = (
        "resnet50"
    )
    auxiliary: _Auxiliary = True


class LRASPP(SemanticConfig, frozen=True, kw_only=True):
    """Settings of torchvision's LR-ASPP on MobileNetV3 (Howard et al. 2019).

    Raises:
        UsageError: a value is of another type or out of its range.
    """


class FastFCN(SemanticConfig, frozen=True, kw_only=True):
    """Settings of FastFCN (Wu et al. 2019).

    Raises:
        UsageError: a value is of another type or out of its range.
    """

    ON_CPU: ClassVar = "--set backbone=resnet18 --set jpu_channels=128"
    SECTIONS: ClassVar = {**SemanticConfig.SECTIONS, "backbone": "network"}

    backbone: _ResNet = "resnet50"
    backbone_width: _Width = 1.0
    stem: Annotated[
        Literal["deep", "plain"],
        Meta(
            description="the backbone's stem: three 3×3 convolutions, or the 7×7 one, which torchvision's weights need"
        ),
    ] = "deep"
    head: Annotated[
        Literal["encnet", "encnet_lateral", "psp", "deeplab", "fcn"],
        Meta(description="head on the joint pyramid; encnet_lateral also sees the backbone's middle stages"),
    ] = "encnet"
    jpu_channels: Annotated[int, Meta(ge=8, le=4096, description="channels of the joint pyramid upsampling")] = 512
    auxiliary: _Auxiliary = True
    se_loss: Annotated[
        float,
        Meta(
            ge=0, le=1000, description="weight of the loss of which classes are in an image at all, of EncNet's heads"
        ),
    ] = 0.2


class GatedSCNN(SemanticConfig, frozen=True, kw_only=True):
    """Settings of Gated-SCNN (Takikawa et al. 2019).

    Raises:
        UsageError: a value is of another type or out of its range.
    """

    ON_CPU: ClassVar = "--set backbone_width=0.125 --set head_channels=32"
    SECTIONS: ClassVar = {**SemanticConfig.SECTIONS, "backbone": "network"}

    backbone: Annotated[
        Literal["wideresnet38", "resnet50", "resnet101"], Meta(description="network of the regular stream")
    ] = "wideresnet38"
    backbone_width: _Width = 1.0
    head_channels: _Channels = 256
    edge_loss: Annotated[
        float, Meta(ge=0, le=1000, description="weight of the balanced cross-entropy of edges between classes")
    ] = 20.0
    edge_attention_loss: Annotated[
        float, Meta(ge=0, le=1000, description="weight of the cross-entropy of classes at predicted edges")
    ] = 1.0
    dual_task_loss: Annotated[
        float, Meta(ge=0, le=1000, description="weight of the difference between predicted and true edges of classes")
    ] = 1.0


class SMP(SemanticConfig, frozen=True, kw_only=True):
    """Settings of a network of segmentation-models-pytorch.

    Raises:
        UsageError: a value is of another type or out of its range.
    """

    ON_CPU: ClassVar = "--set backbone=resnet18"
    SECTIONS: ClassVar = {**SemanticConfig.SECTIONS, "backbone": "network"}

    backbone: Annotated[
        str, Meta(description="encoder: a name of segmentation-models-pytorch, or of timm, such as convnext_tiny")
    ] = "resnet34"


SMP_NETWORKS = (
    "unet",
    "unetplusplus",
    "fpn",
    "pspnet",
    "deeplabv3",
    "deeplabv3plus",
    "pan",
    "linknet",
    "manet",
    "upernet",
    "segformer",
)
"""Networks of segmentation-models-pytorch; their names here are smp:NAME."""

SETTINGS: dict[str, type[SemanticConfig]] = {
    "unet": UNet,
    "deeplabv3": DeepLabV3,
    "fcn": FCN,
    "lraspp": LRASPP,
    "deeplabv3plus": DeepLabV3Plus,
    "fastfcn": FastFCN,
    "gated_scnn": GatedSCNN,
    **{f"smp:{name}": SMP for name in SMP_NETWORKS},
}
"""Name of a network → the type of its settings."""
