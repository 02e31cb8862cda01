"""Shared fixtures: the real command as a subprocess, and small datasets written by hand."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from warm import Server

from segdata import cli
from segdata.demo import synthetic as drawn

pytest_plugins = ["places"]

settings.register_profile("repeatable", deadline=None, derandomize=True, print_blob=False)
settings.load_profile("repeatable")


@dataclass(frozen=True)
class Outcome:
    """What a command did: exit code, stdout, stderr, and the JSON document when it printed one."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


_AT_START = ("PYTHON", "LC_", "LANG")
"""Environment variables that the interpreter reads when it starts."""


@functools.cache
def _warm() -> Server:
    return Server()


def run_segdata(
    *arguments: object, timeout: float = 120, kill_after: float | None = None, **environment: str
) -> Outcome:
    """Run the real command in a process of its own; `kill_after` seconds kill it."""
    words = [os.fsdecode(item) if isinstance(item, os.PathLike) else str(item) for item in arguments]
    variables = {**os.environ, **environment}
    if any(name.startswith(_AT_START) for name in environment):
        done = subprocess.run(
            [sys.executable, "-m", "segdata", *words],
            capture_output=True,
            text=True,
            timeout=timeout,
            env=variables,
            check=False,
        )
        outcome = Outcome(done.returncode, done.stdout, done.stderr)
    else:
        outcome = Outcome(*_warm().run(words, variables, timeout, kill_after))
    assert "Traceback" not in outcome.err, outcome.err
    return outcome


@pytest.fixture
def segdata_command() -> Callable[..., Outcome]:
    return run_segdata


Here = Callable[..., Outcome]


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Iterator[Here]:
    """The command in this process: without the seconds that importing torch takes."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = [(number, signal.getsignal(number)) for number in numbers]
    threads = "torch" in sys.modules and sys.modules["torch"].get_num_threads()

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        cli._is_stopping = False  # as in a process of its own
        with pytest.raises(SystemExit) as stop:
            cli.main(list(map(str, arguments)))
        out, err = capsys.readouterr()
        return Outcome(int(stop.value.code or 0), out, err)

    yield run
    for number, handler in handlers:
        signal.signal(number, handler)
    if threads:
        sys.modules["torch"].set_num_threads(threads)


DRAWN: dict[str, Callable[[Path], Path]] = {
    "coco": lambda root: drawn.coco.draw(root, images=6),
    "voc": lambda root: drawn.voc.draw(root, images=5),
    "cityscapes": lambda root: drawn.cityscapes.draw(root, images=4, size=(128, 256)),
    "camvid": lambda root: drawn.camvid.draw(root, images=4, size=(128, 256)),
    "camvid_segnet": lambda root: drawn.camvid.draw_segnet(root, images=3, size=(128, 256)),
}


@pytest.fixture(scope="session")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Drawn datasets by name: drawn once for all test processes, so nobody may write into them."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "drawn"
    root.mkdir(exist_ok=True)

    @functools.cache
    def one(name: str) -> Path:
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            note = root / f"{name}.path"
            if not note.exists():
                note.write_text(str(DRAWN[name](root / name)))
            return Path(note.read_text())

    return one


def tree(root: Path) -> dict[str, bytes]:
    """Every file under a folder with its content."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
