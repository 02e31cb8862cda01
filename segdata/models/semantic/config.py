"""Settings that all models for semantic segmentation share; those of a network stand beside it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from segdata.models.settings import Metric, ModelSettings


class SemanticConfig(ModelSettings, frozen=True, kw_only=True):
    """Settings of a model for semantic segmentation.

    Raises:
        UsageError: a value is of another type or out of its range.
    """

    METRIC: ClassVar = Metric("mIoU", "mIoU")

    # model
    norm: Annotated[
        Literal["batch", "frozen", "group"],
        Meta(description="normalisation: batch norm, batch norm with fixed statistics, or group norm"),
    ] = "batch"
