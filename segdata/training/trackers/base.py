"""What a tracker is: five methods. An error of a tracker is logged once, and it is switched off; it never stops a run."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

_log = logging.getLogger(__name__)


class Tracker(Protocol):
    """Whatever logs a run; called in this order: `start`, any of the middle three, `finish`."""

    def start(self, run: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """A run begins, or resumes in the same folder."""

    def log(self, step: int, values: Mapping[str, float | str]) -> None:
        """Values after `step` updates: `train/…`, `validation/…`, `system/…`."""

    def log_image(self, step: int, name: str, picture: npt.NDArray[np.uint8]) -> None:
        """A picture, (H, W, 3) uint8 RGB; `name` is the same for the same sample at every step."""

    def log_artifact(self, step: int, path: Path) -> None:
        """A file of the run."""

    def finish(self, state: str) -> None:
        """The run ends: "done", "stopped" or "failed"."""


class All:
    """Several trackers as one; those that fail are switched off.

    Args:
        first: the one whose errors are raised: without it there would be no record at all.
    """

    def __init__(self, first: Tracker, others: Sequence[Tracker]) -> None:
        self._first = first
        self._others = list(others)

    def start(self, run: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        self._call("start", run, config, environment)

    def log(self, step: int, values: Mapping[str, float | str]) -> None:
        self._call("log", step, values)

    def log_image(self, step: int, name: str, picture: npt.NDArray[np.uint8]) -> None:
        self._call("log_image", step, name, picture)

    def log_artifact(self, step: int, path: Path) -> None:
        self._call("log_artifact", step, path)

    def finish(self, state: str) -> None:
        """The first one last: only then is the run what the state says."""
        self._call_others("finish", state)
        self._first.finish(state)

    def _call(self, method: str, *arguments: Any) -> None:
        getattr(self._first, method)(*arguments)
        self._call_others(method, *arguments)

    def _call_others(self, method: str, *arguments: Any) -> None:
        for tracker in list(self._others):
            try:
                getattr(tracker, method)(*arguments)
            except Exception as error:
                self._others.remove(tracker)
                name = getattr(tracker, "name", type(tracker).__name__)
                _log.warning("%s failed and is left out: %r", name, error)


_CATEGORY = re.compile(r"(validation/category_\w+/)(.+)", re.DOTALL)


def category_of(metric: str) -> str | None:
    """The category that a metric is about, as in `validation/category_AP/dog`; None where it is about all."""
    match = _CATEGORY.fullmatch(metric)
    return None if match is None else match[2]


def numbers(values: Mapping[str, float | str]) -> dict[str, float]:
    """The numbers among logged values, with slashes in names of categories replaced, which services take for folders."""
    return {
        _CATEGORY.sub(lambda match: match[1] + match[2].replace("/", "_"), name): float(value)
        for name, value in values.items()
        if not isinstance(value, str)
    }


def flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level, with names joined by dots; lists stay values."""
    values: dict[str, Any] = {}
    for name, value in document.items():
        values |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return values
