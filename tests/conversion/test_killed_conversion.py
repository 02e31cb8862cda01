"""A conversion killed at every file-system step: whole or absent, and the next run finishes with the same bytes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import segdata
from tests.helpers import made
from tests.helpers.command import tree

pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed (apt-get install strace)"),
]

CALLS = ("rename", "fsync", "syncfs", "pwrite64", "write", "unlink", "mkdir", "ftruncate")


def strace(command: list[str], *options: str) -> int:
    return subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", *options, *command], capture_output=True, check=False, timeout=120
    ).returncode


def steps(command: list[str], call: str, log: Path) -> int:
    """How often the command makes this call."""
    subprocess.run(
        ["strace", "-f", "-qq", "-e", f"trace={call}", "-o", str(log), *command],
        capture_output=True,
        check=True,
        timeout=120,
    )
    return sum(f" {call}(" in line for line in log.read_text(errors="replace").splitlines())


@pytest.mark.parametrize("to", ["pack", "voc"])
@pytest.mark.parametrize("call", CALLS)
def test_killed_at_every_step(call: str, to: str, tmp_path: Path) -> None:
    source = made.voc(tmp_path / "source")
    segdata.convert(source, tmp_path / "expected", to=to)
    expected = tree(tmp_path / "expected")
    expected.pop(".segdata.json", None)
    target = tmp_path / "target"
    command = [sys.executable, "-m", "segdata", "convert", str(source), str(target), "--to", to, "-q"]
    count = steps(command, call, tmp_path / "log")
    shutil.rmtree(target)
    for step in range(1, count + 5):
        if strace(command, "-e", f"inject={call}:signal=KILL:when={step}") == 0:
            assert step >= count - 1, "a run ended unharmed before the last step"
            break
        if to == "pack":
            if (target / "pack.json").exists():
                assert segdata.verify(target, deep=True).is_good
        elif target.exists():
            assert {k: v for k, v in tree(target).items() if k != ".segdata.json"} == expected
        subprocess.run(command, check=True, capture_output=True)
        assert {k: v for k, v in tree(target).items() if k != ".segdata.json"} == expected
        leftovers = [
            path.name for path in tmp_path.iterdir() if path.name.startswith(".target") and path.suffix != ".lock"
        ]
        assert leftovers == []
        shutil.rmtree(target)


@pytest.mark.parametrize("call", ["pwrite64", "write", "fsync", "rename", "ftruncate"])
def test_a_full_disk_at_every_step(call: str, tmp_path: Path) -> None:
    source = made.voc(tmp_path / "source")
    target = tmp_path / "target"
    command = [sys.executable, "-m", "segdata", "convert", str(source), str(target), "-q"]
    count = steps(command, call, tmp_path / "log")
    segdata.convert(source, tmp_path / "expected")
    shutil.rmtree(target)
    for step in range(1, count + 1):
        error = "EIO" if call == "fsync" else "EXDEV" if call == "rename" else "ENOSPC"
        done = subprocess.run(
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={call}:error={error}:when={step}+", *command],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            continue  # the step was the message on stdout, or one whose failure does not matter
        assert done.returncode in (7, 120), done.stderr  # 120: the message itself could not be written
        if (target / "pack.json").exists():  # the last step, that makes the rename durable, or the message
            whole = {name: data for name, data in tree(target).items() if not name.startswith(".work-")}
            assert whole == tree(tmp_path / "expected")
        subprocess.run(command, check=True, capture_output=True)
        assert tree(target) == tree(tmp_path / "expected")
        shutil.rmtree(target)


def traced(command: list[str], log: Path) -> list[list[str]]:
    """What a command renamed and waited for, in order: [call, path …], paths of descriptors without their numbers."""
    calls = "trace=rename,fsync,syncfs"
    subprocess.run(
        ["strace", "-f", "-qq", "-y", "-e", calls, "-o", str(log), *command],
        capture_output=True,
        check=True,
        timeout=120,
    )
    matches = re.findall(r"^\d+ +(\w+)\((.*)\) += 0$", log.read_text(), re.MULTILINE)
    return [[call, *re.findall(r"[\"<]([^\">]+)[\">]", words)] for call, words in matches]


def test_power_lost_at_any_moment_leaves_no_index_of_what_is_not_on_the_disk(tmp_path: Path) -> None:
    source, target = made.voc(tmp_path / "source"), tmp_path / "target"
    steps = traced([sys.executable, "-m", "segdata", "convert", str(source), str(target)], tmp_path / "log")
    index = steps.index(["rename", steps[-2][1], str(target / "pack.json")])
    files = [path for path in target.iterdir() if path.suffix == ".h5"]
    assert len(files) == 3
    for path in files:
        (moment,) = [number for number, step in enumerate(steps) if step[-1] == str(path)]
        assert ["fsync", steps[moment][1]] in steps[:moment]  # its bytes before its name
        assert ["fsync", str(target)] in steps[moment:index]  # its name before the index
    assert steps[index - 1] == ["fsync", steps[index][1]]
    assert steps[index + 1 :] == [["fsync", str(target)]]


def test_power_lost_at_any_moment_leaves_no_folder_of_what_is_not_on_the_disk(tmp_path: Path) -> None:
    source, target = made.voc(tmp_path / "source"), tmp_path / "target"
    command = [sys.executable, "-m", "segdata", "convert", str(source), str(target), "--to", "coco", "--allow-loss"]
    steps = traced(command, tmp_path / "log")
    (moment,) = [number for number, step in enumerate(steps) if step[-1] == str(target)]
    staging = steps[moment][1]
    assert ["syncfs", staging] in steps[:moment]
    after = steps[steps.index(["syncfs", staging]) : moment]  # only the receipt is written after all is on the disk
    assert {step[-1] for step in after[1:]} <= {staging, f"{staging}/.segdata.json", after[1][1]}
    assert steps[moment + 1 :] == [["fsync", str(tmp_path)]]


@pytest.mark.parametrize("call", ["rename", "fsync", "write", "unlink"])
def test_a_repair_killed_at_every_step(call: str, tmp_path: Path) -> None:
    source, target = made.voc(tmp_path / "source"), tmp_path / "target"
    segdata.convert(source, target)
    expected = tree(target)

    def damage() -> None:
        (target / "pack.json").write_bytes(b"")
        for path in target.glob("*-00000-*"):
            path.write_bytes(path.read_bytes()[:-1])

    command = [sys.executable, "-m", "segdata", "verify", str(target), "--rebuild", "--repair", "--source", str(source)]
    damage()
    count = steps(command, call, tmp_path / "log")
    assert tree(target) == expected
    for step in range(1, count + 1):
        damage()
        strace(command, "-e", f"inject={call}:signal=KILL:when={step}")
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        assert tree(target) == expected
