"""A tracker in a thread of its own: whatever it does, the training neither waits nor fails."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.training.trackers.base import Tracker

BACKLOG = 1000
"""Calls that may wait for a slow tracker before it counts as hung."""

FINISH_SECONDS = 60.0
"""How long the end of a run waits for a tracker."""


class Background:
    """A tracker whose calls are made by a thread, in order; `name` is that of its class.

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
        self._add(lambda: self._tracker.start(run, config, environment))

    def log(self, step: int, values: Mapping[str, float | str]) -> None:
        copied = dict(values)
        self._add(lambda: self._tracker.log(step, copied))

    def log_image(self, step: int, name: str, picture: npt.NDArray[np.uint8]) -> None:
        self._add(lambda: self._tracker.log_image(step, name, picture))

    def log_artifact(self, step: int, path: Path) -> None:
        self._add(lambda: self._tracker.log_artifact(step, path))

    def finish(self, state: str) -> None:
        """Wait until everything is logged.

        Raises:
            TimeoutError: it took too long.
        """

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
