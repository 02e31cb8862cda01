"""Signals that end a training in order: the update is finished and a checkpoint written."""

from __future__ import annotations

import signal
import threading
from typing import Any


class Stop:
    """While entered, SIGINT, SIGTERM and SIGHUP are only noted: `number` is the first that came, 0 for none."""

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: Any) -> None:
        if self.number:
            self.__exit__()
            signal.raise_signal(number)
        self.number = number
