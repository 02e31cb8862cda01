"""Rate limit, cancellation and progress, shared by all downloads of a fetch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

Progress = Callable[[str, int, int | None], None]
"""Called with (what, bytes done, bytes in all or None); `what` is "FILE" or "extracting FILE"."""

Tell = Callable[[str], None]
"""Called with one line for people."""


def nobody(*_: object) -> None:
    """A progress callback that does nothing."""


class Closed(Exception):
    """The download was stopped from outside."""


@dataclass
class Pace:
    """Shared by the downloads of one fetch."""

    progress: Progress = nobody
    tell: Tell = nobody
    bytes_per_second: float | None = None
    stopping: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _free_at: float = 0.0

    def wait(self, seconds: float) -> None:
        """Sleep, or raise `Closed` when the fetch is stopped meanwhile."""
        if self.stopping.wait(seconds) or self.stopping.is_set():
            raise Closed

    def piece(self, most: int) -> int:
        """Bytes to ask for at once, so that a slow limit is kept evenly."""
        if self.bytes_per_second is None:
            return most
        return max(1, min(most, int(self.bytes_per_second / 8)))

    def spend(self, count: int) -> None:
        """Wait until so many more bytes keep within the limit."""
        if self.bytes_per_second is None:
            if self.stopping.is_set():
                raise Closed
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + count / self.bytes_per_second
            pause = self._free_at - now
        self.wait(pause)
