"""Settings of the toy architecture."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from segdata.models.settings import Metric, ModelSettings


class Config(ModelSettings, frozen=True, kw_only=True):
    """Settings of the toy architecture."""

    METRIC: ClassVar = Metric("accuracy", "pixel accuracy")

    size: Annotated[int, Meta(ge=4, le=256, description="side of the images that the network sees, in pixels")] = 16
    pixel_loss: Annotated[float, Meta(ge=0, le=1000, description="weight of the cross-entropy")] = 1.0
    logit_loss: Annotated[float, Meta(ge=0, le=1000, description="weight of the mean square of the logits")] = 0.01
