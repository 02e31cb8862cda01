"""Fetch, extraction and prepare killed at every file-system step: whole or absent, and the next run finishes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import segdata
from segdata.demo.synthetic import archives
from segdata.download.archives.receipt import differences, read_receipt
from tests.conversion.test_killed_conversion import steps, strace
from tests.helpers import made
from tests.helpers.command import tree
from tests.helpers.server import Server, file, serving

pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed (apt-get install strace)"),
]

CALLS = ("rename", "fsync", "syncfs", "write", "unlink", "unlinkat", "mkdir", "ftruncate", "fchmod", "link")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def offer(server: Server, folder: Path) -> list[str]:
    """A small dataset in two archives and a plain file, and the command that prepares it."""
    source = made.camvid(folder / "source")
    archives.publish("camvid", source, folder / "archives")
    server.routes = {f"/{path.name}": file(path.read_bytes()) for path in (folder / "archives").iterdir()}
    (folder / "mine.toml").write_text(archives.manifest("camvid", folder / "archives", server.url, licence="mine"))
    return [
        *(sys.executable, "-m", "segdata", "prepare", str(folder / "mine.toml"), "--root", str(folder / "root")),
        *("-q", "--jobs", "1", "--workers", "1", "--retry-wait", "0.01", "--timeout", "10"),
    ]


def state(home: Path) -> dict[str, bytes]:
    """Everything that does not tell the time of the download."""
    return {
        name: data
        for name, data in tree(home).items()
        if not name.startswith("receipts/") or name.endswith(".members.json")
    }


def promises(home: Path, expected: dict[str, bytes]) -> None:
    """What a final name holds is whole; what a receipt lists is there."""
    for folder in ("raw", "archives"):
        for name, data in tree(home / folder).items() if (home / folder).is_dir() else ():
            if name.startswith("."):
                continue
            assert folder == "archives" or expected[f"raw/{name}"] == data, name
    for path in (home / "receipts").glob("*.members.json") if (home / "receipts").is_dir() else ():
        receipt = read_receipt(path)
        assert receipt is not None
        changes = differences(home / "raw", [receipt])
        assert not changes.modified and not changes.missing
    if (home / "pack/pack.json").exists():
        assert segdata.verify(home / "pack", deep=True).is_good


@pytest.mark.parametrize("call", CALLS)
def test_killed_at_every_step(call: str, server: Server, tmp_path: Path) -> None:
    command = offer(server, tmp_path)
    home = tmp_path / "root/mine"
    subprocess.run(command, check=True, capture_output=True)
    expected = state(home)
    shutil.rmtree(tmp_path / "root")
    steps(command, call, tmp_path / "log")
    shutil.rmtree(tmp_path / "root")
    # strace counts the calls of each thread and process by itself; the k-th call of whoever makes it first is the end.
    lines = (tmp_path / "log").read_text(errors="replace").splitlines()
    threads = Counter(line.split()[0] for line in lines if f" {call}(" in line)
    for step in range(1, max(threads.values(), default=0) + 5):
        if strace(command, "-e", f"inject={call}:signal=KILL:when={step}") == 0:
            assert step >= max(threads.values(), default=0) - 2, "a run ended unharmed before the last step"
            break
        promises(home, expected)
        again = subprocess.run(command, capture_output=True, text=True, check=False)
        assert again.returncode == 0, again.stderr
        assert state(home) == expected
        assert not list(home.glob(".staging-*"))
        shutil.rmtree(tmp_path / "root")


@pytest.mark.parametrize(
    ("call", "error"),
    [("write", "ENOSPC"), ("mkdir", "ENOSPC"), ("fsync", "EIO"), ("syncfs", "EIO"), ("rename", "EXDEV")],
)
def test_a_disk_that_fails_at_every_step(call: str, error: str, server: Server, tmp_path: Path) -> None:
    command = offer(server, tmp_path)
    home = tmp_path / "root/mine"
    subprocess.run(command, check=True, capture_output=True)
    expected = state(home)
    shutil.rmtree(tmp_path / "root")
    count = steps(command, call, tmp_path / "log")
    shutil.rmtree(tmp_path / "root")
    for step in range(1, count + 1):
        done = subprocess.run(
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={call}:error={error}:when={step}+", *command],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        if done.returncode:
            assert done.returncode in (5, 7, 120), (step, done.stderr)  # 120: the message could not be written
            promises(home, expected)
            again = subprocess.run(command, capture_output=True, text=True, check=False)
            assert again.returncode == 0, again.stderr
        assert state(home) == expected
        if (tmp_path / "root").exists():
            shutil.rmtree(tmp_path / "root")
