"""The one thing that prediction asks of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from segdata.core.labels import LabelSpace
from segdata.core.sample import Instances
from segdata.models.maskrcnn.detect import Photo


class Detector(Protocol):
    """Whatever finds objects in photos."""

    @property
    def labels(self) -> LabelSpace:
        """What the categories of its instances are."""

    @property
    def source(self) -> str:
        """Where it comes from."""

    def __call__(self, photos: Sequence[Photo]) -> list[Instances]:
        """Instances of each photo, with scores."""
