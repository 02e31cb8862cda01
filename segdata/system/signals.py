"""End in order when a signal asks for it: an exception unwinds the work, and is raised again where something swallows it.

A destructor, a callback of a C library or a bare `except` may swallow any exception. Then the instance is dropped, and
that is noticed: a timer raises the next one as soon as those are left. A second signal ends the process at once.
"""

from __future__ import annotations

import os
import signal
import sys
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


def install() -> None:
    """From now on signals raise `Terminated` in the main thread; those that are ignored (`nohup`) stay so."""
    _State.process, _State.seen, _State.is_over = os.getpid(), None, False
    signal.signal(signal.SIGALRM, _again)
    sys.unraisablehook = _unraisable
    for number in ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)


def over() -> None:
    """The work is done or unwound: from now on a signal ends the process at once."""
    _State.is_over = True
    signal.setitimer(signal.ITIMER_REAL, 0)


def seen() -> int | None:
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
