"""What a checkpoint holds of a training's counts, checked as a whole before a run goes on from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct, structs

from segdata.errors import DamagedData
from segdata.system import json_documents

_Count = Annotated[int, Meta(ge=0, le=2**53)]
_WHAT = "the checkpoint's description"


class Window(Struct):
    """Sums of the losses since the last line of metrics, and how many updates they are of."""

    sums: list[float]
    updates: _Count

    def as_dict(self) -> dict[str, Any]:
        """As `LossMeter` takes it."""
        return structs.asdict(self)


class Feed(Struct):
    """Where the next batch comes from; the loader checks its own part."""

    loader: dict[str, Any]
    processes: _Count


class State(Struct):
    """The counts of a training; tensors and the scaler are `TrainStep`'s to check."""

    step: _Count
    best: float | None
    metrics: dict[str, float | None]
    validated: _Count
    window: Window
    feed: Feed


def state_of(document: Mapping[str, Any], losses: int, file: Path) -> State:
    """The counts in a checkpoint's document.

    Args:
        losses: how many the model has.

    Raises:
        DamagedData: one is missing, or is of another kind.
    """
    state = json_documents.shape_of(document, State, _WHAT, file)
    if len(state.window.sums) != losses:
        why = f"sums of {len(state.window.sums)} losses; the model has {losses}"
        raise DamagedData(f"{_WHAT} is damaged", file=file, place="window.sums", why=why)
    return state
