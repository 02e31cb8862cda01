"""What a training says of itself to its caller: how far it is, and what it came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdata.core.reprs import counted, line


@dataclass(frozen=True)
class Status:
    """How far a training is.

    Attributes:
        step, steps: updates done and in all.
        epoch: epochs done.
        values: the last numbers that were logged.
        doing: "training" or "validating".
    """

    step: int
    steps: int
    epoch: int
    values: Mapping[str, float | str]
    doing: str = "training"


@dataclass(frozen=True)
class TrainReport:
    """What a training came to.

    Attributes:
        run: the run folder.
        steps, epochs: updates and epochs done.
        images: trained on.
        metrics: of the last validation, by name; None where one is not defined.
        best: the best validation's value of the model's metric, such as AP; None where no validation gave one.
        resumed_at: updates that were done before this call.
        remarks: what a user may want to know, such as images that were left out.
        was_done: whether there was nothing left to do.
    """

    run: Path
    steps: int
    epochs: int
    images: int
    metrics: Mapping[str, float | None]
    best: float | None
    resumed_at: int
    remarks: tuple[str, ...]
    was_done: bool = False

    def __repr__(self) -> str:
        best = "" if self.best is None else f"best {self.best:.3f}"
        return line(self, repr(str(self.run)), counted(self.steps, "update"), counted(self.epochs, "epoch"), best)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return {**vars(self), "run": str(self.run), "metrics": dict(self.metrics), "remarks": list(self.remarks)}
