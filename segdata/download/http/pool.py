"""Several downloads at once, in threads; when the fetch is stopped, what has arrived is kept and vouched for."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Generator, Sequence

from segdata.download.http.client import Patience
from segdata.download.http.target import Target
from segdata.download.http.transfer import Download
from segdata.download.progress import Pace
from segdata.download.receipts import Receipt
from segdata.errors import SegdataError

_POLL_SECONDS = 0.2


def downloads(
    wanted: Sequence[Target], patience: Patience, pace: Pace, jobs: int
) -> Generator[tuple[str, Receipt | SegdataError]]:
    """(file, its receipt or why there is none), in the order in which they end.

    When the caller stops before the end, or is interrupted, all downloads end; a thread that waits for a silent server
    is left behind, but can write no more.
    """
    waiting, running = deque(wanted), set[Download]()
    done: queue.SimpleQueue[tuple[str, Receipt | BaseException]] = queue.SimpleQueue()
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if not waiting or pace.stopping.is_set():
                    return
                want = waiting.popleft()
            try:
                download = Download(want, patience, pace)
                with lock:
                    running.add(download)
                outcome: Receipt | BaseException = download.run()
            except BaseException as error:
                outcome = error
            with lock:
                running.discard(download)
            done.put((want.file, outcome))

    for number in range(min(jobs, len(waiting))):
        threading.Thread(target=work, name=f"download-{number}", daemon=True).start()
    try:
        for _ in range(len(wanted)):
            file, outcome = _next(done)
            if isinstance(outcome, BaseException) and not isinstance(outcome, SegdataError):
                raise outcome
            yield file, outcome
    finally:
        pace.stopping.set()
        with lock:
            left = list(running)
        for download in left:
            download.stop()


def _next(done: queue.SimpleQueue[tuple[str, Receipt | BaseException]]) -> tuple[str, Receipt | BaseException]:
    """The next outcome; woken up often, so that signals are seen."""
    while True:
        try:
            return done.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            continue
