"""A small architecture to copy from: it labels every pixel by its colour; see "Add an architecture" in CONTRIBUTING.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segdata.models.contract import AnyModel
    from tests.contracts.toy_model.config import Config


def settings() -> type[Config]:
    """The type of its settings."""
    from tests.contracts.toy_model.config import Config

    return Config


def architecture() -> AnyModel:
    """The model itself."""
    from tests.contracts.toy_model.model import MODEL

    return MODEL
