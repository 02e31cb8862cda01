"""A signal ends a command in order, wherever it falls: in a destructor, a callback of C, a bare `except`, an import."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import segdata
from tests.helpers.command import tree

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

SWALLOWED = {
    "a destructor": """
class Item:
    def __del__(self):
        come()
item = Item()
del item
""",
    "a callback of C": """
import ctypes
compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
def order(one, other):
    come()
    return 0
ctypes.CDLL(None).qsort((ctypes.c_int * 2)(2, 1), 2, 4, compare(order))
""",
    "a bare except": """
try:
    come()
except BaseException:
    pass
""",
    "the end of a generator": """
def items():
    try:
        yield 1
    finally:
        come()
one = items()
next(one)
del one
""",
    "another error": """
import segdata.errors
try:
    come()
except BaseException:
    raise segdata.errors.NotThere("nothing is there")
""",
    "nothing": "come()",
}

PROGRAM = """
import os, signal, sys, time, typer
from segdata import cli
from segdata.cli import help, output

help.COMMANDS = {{**help.COMMANDS, "tests": ["work"]}}

@output.app.command()
def work(number: int) -> None:
    def come() -> None:
        os.kill(os.getpid(), number)
        time.sleep(0.01)
{body}
    for _ in range(500):
        time.sleep(0.01)
    print("not ended")

cli.main(["work", sys.argv[1]])
"""


def program(body: str, number: int) -> subprocess.CompletedProcess[str]:
    text = PROGRAM.format(body="\n".join("    " + line for line in body.splitlines()))
    return subprocess.run(
        [sys.executable, "-c", text, str(number)], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("where", SWALLOWED)
def test_a_signal_is_not_swallowed(where: str) -> None:
    number = SIGNALS[list(SWALLOWED).index(where) % 3]
    done = program(SWALLOWED[where], number)
    assert done.returncode == 128 + number, done
    assert done.stdout == ""
    assert done.stderr.startswith("segdata: stopped;"), done
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_signal_while_modules_are_imported_ends_the_command_without_a_traceback() -> None:
    text = """
import os, signal, sys
import segdata.__main__ as program
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
sys.argv = ["segdata", "list"]
program.main()
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_nothing_that_takes_time_is_imported_before_signals_end_the_command() -> None:
    text = "import sys; before = set(sys.modules); sys.path.insert(0, sys.argv[1]); import segdata.__main__; print(*sorted(set(sys.modules) - before))"
    root = Path(segdata.__file__).parents[1]
    done = subprocess.run([sys.executable, "-I", "-S", "-c", text, root], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["__future__", "segdata", "segdata.__main__", "segdata.version"]


def test_a_signal_that_the_caller_ignores_is_ignored() -> None:
    text = PROGRAM.format(body="    come()\n    print('worked', flush=True)\n    return")
    command = ["nohup", sys.executable, "-c", text, str(int(signal.SIGHUP))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "worked\n"), done


@pytest.mark.full
def test_the_same_command_after_a_signal_at_any_moment_gives_the_same_bytes(
    drawing: Callable[[str], Path], tmp_path: Path
) -> None:
    source = drawing("coco")
    verbs = {
        "convert": ["convert", source, "out", "--workers", "2", "--shard-samples", "2"],
        "folder": ["convert", source, "out", "--to", "voc", "--allow-loss", "--workers", "2"],
        "stats": ["stats", source],
        "show": ["show", source, "-o", "out.png"],
        "verify": ["verify", source, "--deep"],
    }
    random_numbers = random.Random(2026)
    for name, words in verbs.items():
        command = [sys.executable, "-m", "segdata", *map(str, words)]
        (expected := tmp_path / f"{name}-expected").mkdir()
        begin = time.monotonic()
        undisturbed = subprocess.run(command, cwd=expected, capture_output=True, text=True, check=True)
        seconds = time.monotonic() - begin
        for _ in range(40):
            shutil.rmtree(here := tmp_path / name, ignore_errors=True)
            here.mkdir()
            number = random_numbers.choice(SIGNALS)
            delay = random_numbers.uniform(0.05, 0.4 if random_numbers.random() < 0.3 else seconds)
            with subprocess.Popen(
                command, cwd=here, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            ) as process:
                time.sleep(delay)
                process.send_signal(number)
                out, err = process.communicate(timeout=60)
            what = f"{name}, {number!r} after {delay:.3f} s: {process.returncode}, {err}"
            assert process.returncode in (0, -number, 128 + number), what
            assert process.returncode != 0 or out == undisturbed.stdout, what
            if "<frozen" not in err:  # Python itself was being started
                assert "Traceback" not in err, what
                assert "Exception ignored" not in err, what
            again = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
            assert again.returncode == 0, f"{what}; then {again}"
            if name != "folder":
                assert tree(here) == tree(expected), what
