"""Mask R-CNN (He et al. 2017) of torchvision's parts.

config → network ← weights (a run's, torchvision's)
sample → augment → inputs → network → losses (targets by matching and sampling)
network → detect → instances → average_precision
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segdata.models.contract import AnyModel
    from segdata.models.maskrcnn.config import Config


def settings() -> type[Config]:
    """See `registry.Package`."""
    from segdata.models.maskrcnn.config import Config

    return Config


def architecture() -> AnyModel:
    """See `registry.Package`."""
    from segdata.models.maskrcnn.model import MODEL

    return MODEL
