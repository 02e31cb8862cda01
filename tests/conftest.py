"""Shared fixtures: the real command as a subprocess, and small datasets written by hand."""

from __future__ import annotations

import fcntl
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from segdata import cli
from segdata.demo import synthetic
from tests.helpers.command import Here, Outcome, run_segdata

pytest_plugins = ["tests.helpers.dataset"]

settings.register_profile("repeatable", deadline=None, derandomize=True, print_blob=False)
settings.load_profile("repeatable")


@pytest.fixture
def segdata_command() -> Callable[..., Outcome]:
    return run_segdata


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Iterator[Here]:
    """The command in this process: without the seconds that importing torch takes."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = [(number, signal.getsignal(number)) for number in numbers]
    threads = "torch" in sys.modules and sys.modules["torch"].get_num_threads()

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
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
    "coco": lambda root: synthetic.coco.draw(root, images=6),
    "voc": lambda root: synthetic.voc.draw(root, images=5),
    "cityscapes": lambda root: synthetic.cityscapes.draw(root, images=4, size=(128, 256)),
    "camvid": lambda root: synthetic.camvid.draw(root, images=4, size=(128, 256)),
    "camvid_segnet": lambda root: synthetic.camvid.draw_segnet(root, images=3, size=(128, 256)),
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
