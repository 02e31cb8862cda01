"""Run tasks in forked processes; a worker that dies or hangs costs its task an attempt, and no other task.

Each worker writes the item that it works on into shared memory, so that the error names the sample. A task whose worker
died is tried twice more, alone, after all other tasks are done.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
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
from segdata.system import limits

Beat = Callable[[int], None]
"""A task calls it with each item (sample) that it begins."""

Task = Callable[[int, Beat], Any]
"""`task(number, beat)`; its result must be picklable."""

ATTEMPTS = 3
"""How often a task is tried whose worker dies or hangs."""

_CELL = struct.Struct("<qq")  # current item, items begun
_POLL_SECONDS = 0.2
_STACK_SECONDS = 0.5
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>


def available() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(
    numbers: Sequence[int],
    task: Task,
    *,
    workers: int,
    name_of: Callable[[int], str],
    done: Callable[[int, Any], None],
    progress: Callable[[int], None],
    hang_seconds: float,
    fail_fast: bool = False,
) -> None:
    """Run the tasks with these numbers, in any order; in this process where `workers` is 1.

    Args:
        numbers: of the tasks; messages call them "shard 3".
        task: called in a worker as `task(number, beat)`.
        workers: most processes.
        name_of: the name of an item in messages.
        done: called here with each task's number and result.
        progress: called with the number of items begun in all.
        hang_seconds: a worker that takes longer for one item is stopped.
        fail_fast: raise a task's error at once and stop the others.

    Raises:
        SegdataError: raised by a task; the first one, when all others are done.
        OSError: raised by a task (a full disk, for example), at once.
        WorkerLost: workers died or hung at every attempt on a task, and all other tasks are done; or none can be started.
        NoMemory: a task had not enough memory, with the item that it was at.
        RuntimeError: another exception of a task, with the item that it was at.
    """
    tasks = _Tasks(numbers, task, name_of, done, progress, fail_fast=fail_fast)
    if workers <= 1 or len(numbers) <= 1 or "fork" not in multiprocessing.get_all_start_methods():
        _run_here(tasks)
    else:
        _Pool(tasks, min(workers, len(numbers)), hang_seconds).run()


@dataclass(frozen=True)
class _Tasks:
    numbers: Sequence[int]
    task: Task
    name_of: Callable[[int], str]
    done: Callable[[int, Any], None]
    progress: Callable[[int], None]
    fail_fast: bool = field(kw_only=True)


def _run_here(tasks: _Tasks) -> None:
    """Run the tasks one after another in this process."""
    begun = current = 0
    failed: list[Exception] = []

    def beat(item: int) -> None:
        nonlocal begun, current
        begun, current = begun + 1, item
        tasks.progress(begun)

    for number in tasks.numbers:
        try:
            value = tasks.task(number, beat)
        except Exception as error:
            failed.append(_failure(error, tasks.name_of(current)))
            if tasks.fail_fast or isinstance(error, OSError):
                break
        else:
            tasks.done(number, value)
    if failed:
        raise failed[0]


def _failure(error: BaseException, item: str) -> Exception:
    """A task's exception, as `run` raises it: an unexpected one names the item and has its traceback as a note."""
    if isinstance(error, (SegdataError, OSError)):
        return error
    if limit := limits.declared(error):
        return limit.located(place=item)
    failure = RuntimeError(f"{type(error).__name__} at {item}: {error}")
    failure.add_note("".join(traceback.format_exception(error)))
    return failure


@dataclass
class _Worker:
    """A worker process.

    Attributes:
        cell: index of its cell in the shared memory.
        task: the number of its task, −1 when idle.
        state: current item and items begun, as last read from its cell.
        since: when that changed, on the monotonic clock.
    """

    process: Any
    pipe: Connection
    cell: int
    task: int = -1
    state: tuple[int, int] = (0, 0)
    since: float = field(default_factory=time.monotonic)


class _Pool:
    """The workers, the tasks that wait or are to be tried alone, and the errors of those that failed for good."""

    def __init__(self, tasks: _Tasks, workers: int, hang_seconds: float) -> None:
        self.tasks = tasks
        self.hang_seconds, self.log, self.parent = hang_seconds, _log(), os.getpid()
        self.waiting = list(tasks.numbers)
        self.alone: list[int] = []
        self.failures: dict[int, list[str]] = {}
        self.errors: dict[int, Exception] = {}
        self.context = multiprocessing.get_context("fork")
        self.cells = mmap.mmap(-1, _CELL.size * workers)
        self.workers = [self._start(cell) for cell in range(workers)]

    def run(self) -> None:
        """Hand out tasks until each is done or has failed for good."""
        try:
            while True:
                self._hand_out()
                busy = [worker for worker in self.workers if worker.task >= 0]
                if not busy:
                    break
                for ready in wait([worker.pipe for worker in busy], timeout=_POLL_SECONDS):
                    self._receive(next(worker for worker in busy if worker.pipe is ready))
                self._watch()
        finally:
            for worker in self.workers:
                worker.process.kill()
            for worker in self.workers:
                worker.process.join()
        if self.errors:
            raise self.errors[min(self.errors)]

    def _hand_out(self) -> None:
        for worker in list(self.workers):
            if worker.task >= 0:
                continue
            is_idle = all(other.task < 0 for other in self.workers)
            queue = self.waiting or (self.alone if is_idle else [])
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
            self.tasks.done(number, value)
            return
        self.errors[number] = value
        if self.tasks.fail_fast or isinstance(value, OSError):
            raise value

    def _watch(self) -> None:
        """Report progress, and stop workers that hang."""
        for worker in list(self.workers):
            state = _CELL.unpack_from(self.cells, worker.cell * _CELL.size)
            if state != worker.state:
                worker.state, worker.since = state, time.monotonic()
            elif worker.task >= 0 and time.monotonic() - worker.since > self.hang_seconds:
                os.kill(worker.process.pid, signal.SIGUSR1)
                time.sleep(_STACK_SECONDS)
                worker.process.kill()
                worker.process.join()
                self._failed(worker, f"hung for {self.hang_seconds:g} s (stack in {self.log})")
        self.tasks.progress(sum(worker.state[1] for worker in self.workers))

    def _failed(self, worker: _Worker, how: str) -> None:
        """Queue the task to be tried alone, or record its error; start another worker in place of this one."""
        number = worker.task
        item = _CELL.unpack_from(self.cells, worker.cell * _CELL.size)[0]
        failures = self.failures.setdefault(number, [])
        failures.append(f"{how} at {self.tasks.name_of(item)}")
        if len(failures) < ATTEMPTS:
            self.alone.append(number)
        else:
            self.errors[number] = WorkerLost(
                "a worker process was lost again and again",
                key=self.tasks.name_of(item),
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
        try:
            process.start()
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ENOMEM):
                raise limits.cannot_start("processes", error.strerror) from error
            raise
        there.close()
        return _Worker(process, here, cell)

    def _work(self, pipe: Connection, parents: Connection, cell: int) -> None:
        """In the worker: run the tasks that arrive, until the parent is gone."""
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
                answer = ("ok", self.tasks.task(number, beat))
            except BaseException as error:
                item = _CELL.unpack_from(self.cells, cell * _CELL.size)[0]
                answer = ("error", _failure(error, self.tasks.name_of(item)))
            with contextlib.suppress(ConnectionError):
                pipe.send(answer)


def _end_with(parent: int) -> None:
    """End this process when its parent ends: at once where the kernel does that (Linux), else within a second."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)

    def poll() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=poll, daemon=True).start()


def _log() -> Path:
    """The file for the stacks of hung workers."""
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
