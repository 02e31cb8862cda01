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
    ] = "batch"
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


SETTINGS: dict[str, type[SemanticConfig]] = {
    "unet": UNet,
    "deeplabv3plus": DeepLabV3Plus,
}
"""Name of a network → the type of its settings."""
