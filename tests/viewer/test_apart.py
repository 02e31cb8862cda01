"""Two packs are compared in a process of their own, which ends with what began it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import segdata
from segdata.errors import DamagedData, WorkerLost
from segdata.pack import layout
from segdata.viewer.matching.apart import Apart
from segdata.viewer.matching.parts import Kept


def version(*packs: Path) -> str:
    return "-".join(str(layout.read_index(pack)["crc32"]) for pack in packs)


def test_the_process_writes_every_image_once(pack: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    Apart(pack, pack, version(pack, pack), tmp_path / "file").run(lambda *progress: told.append(progress))
    record = Kept(tmp_path / "file").records[0]
    count = len(segdata.open(pack))
    assert record.name == f"images 0 {count}"
    assert told and all(done <= steps == count for done, steps in told)
    same = record.floats("iou") == 1
    assert set(record.whole("truth")[same].tolist()) >= set(range(segdata.open(pack).info["instances"]))


def test_an_error_of_the_process_is_raised_and_nothing_is_left(pack: Path, tmp_path: Path) -> None:
    with pytest.raises(DamagedData, match="replaced while it was compared"):
        Apart(pack, pack, "another-version", tmp_path / "file").run(lambda done, steps: None)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_is_killed_is_told(pack: Path, tmp_path: Path) -> None:
    apart = Apart(pack, pack, version(pack, pack), tmp_path / "file")

    def kill() -> None:
        while apart.process is None:
            time.sleep(0.005)
        os.kill(apart.process, signal.SIGKILL)

    threading.Thread(target=kill).start()
    with pytest.raises(WorkerLost, match="ended"):
        apart.run(lambda done, steps: None)
    assert list(tmp_path.iterdir()) == []


def test_the_process_ends_when_its_input_ends(pack: Path, tmp_path: Path) -> None:
    """As it does when the server is killed: nobody is left to tell it."""
    command = [sys.executable, "-c", "from segdata.viewer.matching.apart import main; main()"]
    names = {
        "pack": str(pack),
        "predictions": str(pack),
        "version": version(pack, pack),
        "path": str(tmp_path / "file"),
    }
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    process.communicate(json.dumps(names).encode() + b"\n", timeout=10)  # closes the input
    assert process.returncode == 1
    assert not (tmp_path / "file").exists()
