"""What a checkpoint holds of a training's counts, checked as a whole before a run goes on from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct, structs

from segdata.errors import DamagedData, UsageError
from segdata.models import checkpoint
from segdata.system import documents
from segdata.training.config import BEFORE, TrainConfig

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
    state = documents.typed(document, State, _WHAT, file)
    if len(state.window.sums) != losses:
        why = f"sums of {len(state.window.sums)} losses; the model has {losses}"
        raise DamagedData(f"{_WHAT} is damaged", file=file, place="window.sums", why=why)
    return state


def made_with(run: Path) -> Mapping[str, Any] | None:
    """The settings of a run that can go on; None where there is no checkpoint."""
    last = checkpoint.newest(run / "checkpoints")
    return None if last is None else checkpoint.read_document(last)["config"]


_FREE = {"epochs", "stages", "workers", "log_steps", "checkpoint_steps", "validate_epochs", "example_pictures"}
"""Settings that may be others when a run goes on."""


def require_same(document: Mapping[str, Any], config: TrainConfig, data: str, run: Path) -> None:
    """Raise unless a checkpoint was made with the same settings and the same data.

    Args:
        document: the checkpoint's.
        data: fingerprint of the data.

    Raises:
        UsageError: settings or data differ.
    """
    mine = config.as_dict()
    newer = {**TrainConfig.of(config.name).as_dict(), **BEFORE}  # settings that are newer than the run
    theirs = {**newer, **document["config"]}
    wrong = [name for name in mine if mine[name] != theirs[name] and name not in _FREE]
    if wrong:
        raise UsageError(
            "the run was made with other settings",
            file=run,
            why="; ".join(f"{name}: {theirs[name]!r} there, {mine[name]!r} here" for name in wrong[:5]),
            fix="choose another folder, or go on with the run's own settings: --resume",
        )
    if document["data"] != data and document["data"].partition("-")[0] == data.partition("-")[0]:
        raise UsageError(
            "the run was made with other images of this pack",
            file=run,
            fix="give the run's own --split, or choose another folder",
        )
    if document["data"] != data:
        raise UsageError(
            "the run was made with other data",
            file=run,
            why=f"fingerprint {document['data'][:12]} there, {data[:12]} here",
            fix="choose another folder; --weights RUN begins with this run's weights",
        )
