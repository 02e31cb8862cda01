"""Other people's trackers: TensorBoard, MLflow and Neptune, each in its local mode unless its own variables say otherwise.

    tensorboard   RUN/tensorboard
    mlflow        $MLFLOW_TRACKING_URI, else the SQLite store mlflow.db beside the run; $MLFLOW_EXPERIMENT_NAME
    neptune       $NEPTUNE_MODE, else offline into RUN/.neptune (`neptune sync --path RUN` sends it on); $NEPTUNE_PROJECT

Trackers work in threads of their own (`Background`): one that raises, hangs or cannot keep up is left out, and the run
goes on.
"""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.training.trackers.base import CLASSES, Tracker

_NOT_IN_NAMES = re.compile(r"[^\w\-. :/]")
"""What MLflow does not take in the name of a metric; nor does it take more than 250 characters."""

BACKLOG = 1000
"""Calls that may wait for a slow tracker before it is left out."""

FINISH_SECONDS = 60.0
"""How long the end of a run waits for a tracker."""


class Background:
    """A tracker whose calls are made by a thread, in order; `name` is its class.

    Args:
        backlog: calls that may wait before it counts as hung.
        finish_seconds: the longest that `finish` waits.
    """

    def __init__(self, tracker: Tracker, *, backlog: int = BACKLOG, finish_seconds: float = FINISH_SECONDS) -> None:
        self._tracker = tracker
        self.name = type(tracker).__name__
        self._calls: queue.Queue[Callable[[], None]] = queue.Queue(backlog)
        self._finish_seconds = finish_seconds
        self._error: BaseException | None = None
        self._is_over = threading.Event()
        threading.Thread(target=self._work, daemon=True, name=f"segdata-{type(tracker).__name__}").start()

    def start(self, run: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """See `Tracker`."""
        self._add(lambda: self._tracker.start(run, config, environment))

    def log(self, step: int, values: Mapping[str, float | str]) -> None:
        """See `Tracker`."""
        kept = dict(values)
        self._add(lambda: self._tracker.log(step, kept))

    def log_image(self, step: int, name: str, picture: npt.NDArray[np.uint8]) -> None:
        """See `Tracker`."""
        self._add(lambda: self._tracker.log_image(step, name, picture))

    def log_artifact(self, step: int, path: Path) -> None:
        """See `Tracker`."""
        self._add(lambda: self._tracker.log_artifact(step, path))

    def finish(self, state: str) -> None:
        """See `Tracker`; raises TimeoutError when what was logged is not written in time."""

        def last() -> None:
            self._tracker.finish(state)
            self._is_over.set()

        self._add(last)
        if not self._is_over.wait(self._finish_seconds):
            raise TimeoutError(f"not done {self._finish_seconds:g} seconds after the end of the run")
        self._raise()

    def _add(self, call: Callable[[], None]) -> None:
        self._raise()
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            raise TimeoutError(f"{self._calls.maxsize} calls are waiting: it hangs or is too slow") from None

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while not self._is_over.is_set():
            call = self._calls.get()
            try:
                call()
            except BaseException as error:
                self._error = error
                self._is_over.set()


def _numbers(values: Mapping[str, float | str]) -> dict[str, float]:
    """The numbers, with names in which a slash is never a category's own: Neptune would take it for a folder."""
    return {_flat_name(name): float(value) for name, value in values.items() if not isinstance(value, str)}


def _flat_name(name: str) -> str:
    return CLASSES + name.removeprefix(CLASSES).replace("/", "_") if name.startswith(CLASSES) else name


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level, names joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
