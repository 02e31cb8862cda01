"""Work that takes longer than an answer may: done once in a thread, with its progress for whoever asks meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Pending(Exception):
    """The work is not done yet.

    Args:
        done, whole: how far it is.
    """

    def __init__(self, done: int, whole: int) -> None:
        super().__init__(f"{done} of {whole}")
        self.progress = [done, whole]


class _Stopped(Exception):
    pass


class Work:
    """One function, run in a thread of its own the first time that its result is asked for.

    Args:
        function: called with `progress(done, whole)`.
    """

    def __init__(self, function: Callable[[Callable[[int, int], None]], Any]) -> None:
        self._function = function
        self._progress = (0, 0)
        self._result: Any = None
        self._error: Exception | None = None
        self._is_done = threading.Event()
        self._is_stopped = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, where it has not begun."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()

    def result(self, seconds: float = 0.05) -> Any:
        """What came out of it.

        Args:
            seconds: how long to wait for it.

        Raises:
            Pending: it is not done yet.
            Exception: what ended it.
        """
        self.start()
        if not self._is_done.wait(seconds):
            raise Pending(*self._progress)
        if self._error is not None:
            raise self._error
        return self._result

    @property
    def is_done(self) -> bool:
        """Whether it has a result, or ended with an error."""
        return self._is_done.is_set()

    def stop(self) -> None:
        """End it where it is."""
        self._is_stopped = True

    def _run(self) -> None:
        try:
            self._result = self._function(self._note)
        except _Stopped:
            return
        except Exception as error:
            self._error = error
        self._is_done.set()

    def _note(self, done: int, whole: int) -> None:
        self._progress = (done, whole)
        if self._is_stopped:
            raise _Stopped
