"""A machine without memory, threads or processes is told as such: it is no mistake of segdata."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segdata.errors import NoMemory, WorkerLost
from segdata.system import limits, workers


def error_of(call: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as error:
        call()
    return error.value


@pytest.mark.parametrize("call", [lambda: bytearray(1 << 62), lambda: np.empty(1 << 50, np.uint8)])
def test_memory_that_does_not_suffice_is_no_mistake_of_ours(call: Callable[[], object]) -> None:
    assert isinstance(limits.declared(error_of(call)), NoMemory)
    assert limits.declared(ValueError("another")) is None

    def task(number: int, beat: Callable[[int], None]) -> object:
        beat(number)
        return call()

    with pytest.raises(NoMemory) as error:
        workers.run([7], task, workers=1, name_of="sample {}".format, done=print, progress=print, hang_seconds=9)
    assert error.value.place == "sample 7"


def test_a_thread_that_cannot_be_started_is_no_mistake_of_ours() -> None:
    before = threading.stack_size(1 << 46)
    try:
        error = error_of(threading.Thread(target=print).start)
    finally:
        threading.stack_size(before)
    assert isinstance(limits.declared(error), WorkerLost)


def test_a_command_without_memory_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # which takes no space on the disk
    done = subprocess.run(
        [sys.executable, "-m", "segdata", "info", path],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 34, 1 << 34)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 14, done
    assert done.stderr.startswith(f"segdata: error[NoMemory]: there is not enough memory\n  file:   {path}\n"), done
