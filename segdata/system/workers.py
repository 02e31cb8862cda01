"""Tasks over forked processes: none is lost when a worker dies or hangs, and none can hold up the others.

Each worker writes the item that it is at into shared memory, so that a death can be blamed on one sample. A task whose
worker died is tried twice more, alone; the other tasks finish first.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import mmap
import multiprocessing
import os
import signal
import struct
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from segdata.errors import SegdataError, WorkerLost

Beat = Callable[[int], None]
"""Called by a task with the item that it begins."""

Task = Callable[[int, Beat], Any]

ATTEMPTS = 3
_CELL = struct.Struct("<qq")  # item being worked on, items begun
_POLL_SECONDS = 0.2
_STACK_SECONDS = 0.5
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>


def available() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(
    numbers: Sequence[int],
    task: Task,
    *,
    workers: int,
    name_of: Callable[[int], str],
    done: Callable[[int, Any], None],
    tell: Callable[[int], None],
    hang_seconds: float,
    fail_fast: bool = False,
) -> None:
    """Do the tasks of these numbers, in any order.

    Args:
        numbers: what each task is called, in messages as "shard 3".
        task: called in a worker as `task(number, beat)`; its result is handed to `done(number, result)` here.
        name_of: what an item is called in messages.
        tell: called with the number of items begun.
        hang_seconds: a worker that stays at one item for longer is stopped.
        fail_fast: raise what a task raised at once; the others are stopped.

    Raises:
        SegdataError: what the first task that failed raised, when all others are done; one of the disk at once.
        WorkerLost: workers died or hung on a task, each time; all other tasks are done by then.
        RuntimeError: something unexpected in a task, with the item that it was at.
    """
    if workers <= 1 or len(numbers) <= 1 or "fork" not in multiprocessing.get_all_start_methods():
        begun = at = 0
        failed: list[Exception] = []

        def beat(item: int) -> None:
            nonlocal begun, at
            begun, at = begun + 1, item
            tell(begun)

        for number in numbers:
            try:
                value = task(number, beat)
            except Exception as error:
                failed.append(_failure(error, name_of(at)))
                if fail_fast or isinstance(error, OSError):
                    break
            else:
                done(number, value)
        if failed:
            raise failed[0]
        return
    _Pool(numbers, task, min(workers, len(numbers)), name_of, done, tell, hang_seconds, fail_fast=fail_fast).run()


def _failure(error: BaseException, item: str) -> Exception:
    """What a task raised, as it leaves this module: anything unexpected tells the item, and has its traceback as a note."""
    if isinstance(error, (SegdataError, OSError)):
        return error
    failure = RuntimeError(f"{type(error).__name__} at {item}: {error}")
    failure.add_note("".join(traceback.format_exception(error)))
    return failure


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    cell: int
    task: int = -1
    seen: tuple[int, int] = (0, 0)
    since: float = field(default_factory=time.monotonic)


class _Pool:
    def __init__(
        self,
        numbers: Sequence[int],
        task: Task,
        workers: int,
        name_of: Callable[[int], str],
        done: Callable[[int, Any], None],
        tell: Callable[[int], None],
        hang_seconds: float,
        *,
        fail_fast: bool,
    ) -> None:
        self.task, self.name_of, self.done, self.tell = task, name_of, done, tell
        self.fail_fast = fail_fast
        self.hang_seconds, self.log, self.parent = hang_seconds, _log(), os.getpid()
        self.waiting = list(numbers)
        self.alone: list[int] = []
        self.failures: dict[int, list[str]] = {}
        self.given_up: dict[int, Exception] = {}
        self.context = multiprocessing.get_context("fork")
        self.cells = mmap.mmap(-1, _CELL.size * workers)
        self.workers = [self._start(cell) for cell in range(workers)]
        self.begun = [0] * workers

    def run(self) -> None:
        """Hand out tasks until all are done or given up."""
        try:
            while True:
                self._hand_out()
                busy = [worker for worker in self.workers if worker.task >= 0]
                if not busy:
                    break
                for ready in wait([worker.pipe for worker in busy], timeout=_POLL_SECONDS):
                    self._receive(next(worker for worker in busy if worker.pipe is ready))
                self._look()
        finally:
            for worker in self.workers:
                worker.process.kill()
            for worker in self.workers:
                worker.process.join()
        if self.given_up:
            raise self.given_up[min(self.given_up)]

    def _hand_out(self) -> None:
        for worker in list(self.workers):
            if worker.task >= 0:
                continue
            is_quiet = all(other.task < 0 for other in self.workers)
            queue = self.waiting or (self.alone if is_quiet else [])
            if queue:
                worker.task, worker.since = queue.pop(0), time.monotonic()
                try:
                    worker.pipe.send(worker.task)
                except OSError:
                    worker.process.join()
                    self._failed(worker, _death(worker.process.exitcode))

    def _receive(self, worker: _Worker) -> None:
        try:
            kind, value = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            worker.process.join()
            self._failed(worker, _death(worker.process.exitcode))
            return
        number, worker.task = worker.task, -1
        if kind == "ok":
            self.done(number, value)
            return
        self.given_up[number] = value
        if self.fail_fast or isinstance(value, OSError):
            raise value

    def _look(self) -> None:
        """Tell how far the workers are, and stop those that hang."""
        for worker in list(self.workers):
            seen = _CELL.unpack_from(self.cells, worker.cell * _CELL.size)
            if seen != worker.seen:
                worker.seen, worker.since = seen, time.monotonic()
            elif worker.task >= 0 and time.monotonic() - worker.since > self.hang_seconds:
                os.kill(worker.process.pid, signal.SIGUSR1)
                time.sleep(_STACK_SECONDS)
                worker.process.kill()
                worker.process.join()
                self._failed(worker, f"hung for {self.hang_seconds:g} s (stack in {self.log})")
        self.tell(sum(worker.seen[1] for worker in self.workers))

    def _failed(self, worker: _Worker, how: str) -> None:
        """Put the task back, or give it up; start another worker in its place."""
        number = worker.task
        item = _CELL.unpack_from(self.cells, worker.cell * _CELL.size)[0]
        failures = self.failures.setdefault(number, [])
        failures.append(f"{how} at {self.name_of(item)}")
        if len(failures) < ATTEMPTS:
            self.alone.append(number)
        else:
            self.given_up[number] = WorkerLost(
                "a worker process was lost again and again",
                key=self.name_of(item),
                place=f"shard {number}",
                why="; ".join(failures),
                state="all other shards are finished and kept",
                fix="check that file; if memory ran out, use --workers 1",
            )
        worker.pipe.close()
        self.workers[self.workers.index(worker)] = self._start(worker.cell)

    def _start(self, cell: int) -> _Worker:
        here, there = self.context.Pipe()
        process = self.context.Process(target=self._work, args=(there, here, cell), daemon=True)
        process.start()
        there.close()
        return _Worker(process, here, cell)

    def _work(self, pipe: Connection, parents: Connection, cell: int) -> None:
        """In the worker: do what comes in, until the parent is gone."""
        parents.close()
        _end_with(self.parent)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        faulthandler.register(signal.SIGUSR1, file=self.log.open("a"), all_threads=True)
        begun = _CELL.unpack_from(self.cells, cell * _CELL.size)[1]

        def beat(item: int) -> None:
            nonlocal begun
            begun += 1
            _CELL.pack_into(self.cells, cell * _CELL.size, item, begun)

        while True:
            try:
                number = pipe.recv()
            except (EOFError, ConnectionError):
                return
            try:
                answer = ("ok", self.task(number, beat))
            except BaseException as error:
                item = _CELL.unpack_from(self.cells, cell * _CELL.size)[0]
                answer = ("error", _failure(error, self.name_of(item)))
            with contextlib.suppress(ConnectionError):
                pipe.send(answer)


def _end_with(parent: int) -> None:
    """End this process when its parent has ended: at once where the kernel can tell (Linux), else within a second."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


def _log() -> Path:
    """Where the stacks of hung workers are written."""
    from platformdirs import user_log_dir

    path = Path(user_log_dir("segdata")) / "hung-workers.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError:
        return Path(os.devnull)
    return path


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}" + (", as when memory runs out" if name == "SIGKILL" else "")
    return f"ended with code {code}"


__all__ = ["Beat", "available", "run"]
