"""The process of a command: the signals that end it, the streams that it was given, the words that it was called with.

A signal ends the work in order: an exception unwinds it, and is raised again where something swallows it. A destructor, a
callback of a C library or a bare `except` may swallow any exception. Then the instance is dropped, and that is noticed: a
timer raises the next one as soon as those are left. A second signal ends the process at once. A training only notes the
signal (`Stop`), ends its update and writes a checkpoint.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from pathlib import Path
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end a command."""

_AGAIN_SECONDS = 0.02


class Terminated(BaseException):
    """A signal asks for the end.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        if _State.seen is not None and not _State.is_over and _State.process == os.getpid():
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)


class _State:
    process = 0
    seen: int | None = None
    is_over = False


def catch_signals() -> None:
    """From now on signals raise `Terminated` in the main thread; those that are ignored (`nohup`) stay so."""
    _State.process, _State.seen, _State.is_over = os.getpid(), None, False
    signal.signal(signal.SIGALRM, _again)
    sys.unraisablehook = _unraisable
    for number in ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)


def end_of_work() -> None:
    """The work is done or unwound: from now on a signal ends the process at once."""
    _State.is_over = True
    signal.setitimer(signal.ITIMER_REAL, 0)


def signal_seen() -> int | None:
    """The signal that came, even if its exception was swallowed or became another error."""
    return _State.seen


def _end(number: int, _frame: Any) -> None:
    is_fork = _State.process != os.getpid()
    if is_fork or _State.is_over or _State.seen is not None:
        os._exit(128 + number)
    _State.seen = number
    raise Terminated(number)


def _again(_number: int, _frame: Any) -> None:
    if _State.seen is not None and not _State.is_over:
        raise Terminated(_State.seen)


def _unraisable(item: sys.UnraisableHookArgs) -> None:
    if not issubclass(item.exc_type, Terminated):
        sys.__unraisablehook__(item)


class Stop:
    """While entered, the signals that end a command are only noted: `number` is the first that came, 0 for none."""

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in ENDING:
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


def open_streams() -> None:
    """Open closed streams on nothing, so that no file of data gets their numbers, and escape what cannot be printed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
    sys.stdin = sys.stdin or open(0)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def drop_output(number: int = 1) -> None:
    """What is still to be written to a stream goes nowhere: nobody reads it, or it cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def settle_streams() -> None:
    """Write what is still to be written, or drop it: Python would try again at the end, and change the exit code."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            drop_output(number)


def command() -> str:
    """What was typed, with folders left out of paths, which may name people and machines; a script by its name."""
    program = Path(sys.argv[0])
    name = "segdata" if program.name in ("__main__.py", "segdata") else program.name
    return shlex.join([name, *(_short(word) for word in sys.argv[1:])]) if name == "segdata" else name


def _short(word: str) -> str:
    name, equals, value = word.partition("=")
    if equals and name.startswith("-"):
        return f"{name}={_short(value)}"
    return Path(word).name if "/" in word and "://" not in word else word
