"""Semantic segmentation: networks that give each pixel a category, and what trains and runs them.

label map → crop → batch → network → losses
image → windows → network → probabilities → label map → confusion matrix → mIoU
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segdata.models.semantic.networks.settings import SETTINGS

if TYPE_CHECKING:
    from segdata.models.contract import AnyModel
    from segdata.models.semantic.config import SemanticConfig


class SemanticPackage:
    """One network for semantic segmentation in the table of models; see `registry.Package`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def settings(self) -> type[SemanticConfig]:
        """See `registry.Package`."""
        return SETTINGS[self.name]

    def architecture(self) -> AnyModel:
        """See `registry.Package`."""
        from segdata.models.semantic.model import SemanticModel

        return SemanticModel(self.name)


PACKAGES = {name: SemanticPackage(name) for name in SETTINGS}
"""By the networks' names."""
