"""A training that is stopped, killed or spread over processes comes to the same weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from test_train import TINY

import segdata
from segdata.drawn import objects
from segdata.train import checkpoint, trackers

LIMIT = 200
"""Seconds that one command may take."""

STEPS = {**TINY, "steps_per_epoch": 4, "checkpoint_steps": 1, "log_steps": 3, "validate_epochs": 0, "workers": 1}


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    segdata.convert(objects.draw(folder / "raw", train=6, val=1, height=96, width=128), folder / "pack")
    return folder / "pack"


def command(pack: Path, run: Path, **changes: Any) -> list[str]:
    options = [f"--set={name}={json.dumps(value)}" for name, value in {**STEPS, **changes}.items()]
    return [
        sys.executable, "-m", "segdata", "train", str(pack), "-o", str(run), "--threads", "1", "--json",
        "--device", "cpu", *options,
    ]  # fmt: skip


def to_the_end(arguments: list[str]) -> Any:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def losses(run: Path) -> list[tuple[int, float]]:
    return [(row["step"], row["train/loss"]) for row in trackers.lines(run)]


def tensors(run: Path) -> dict[str, torch.Tensor]:
    newest = checkpoint.newest(run / "checkpoints")
    assert newest is not None
    return checkpoint.load(newest)[0]


def assert_same(run: Path, other: Path) -> None:
    mine, theirs = tensors(run), tensors(other)
    assert mine.keys() == theirs.keys()
    assert any(name.startswith("optimizer.") for name in mine)
    for name, value in mine.items():
        assert torch.equal(value, theirs[name]), name
    assert losses(run) == losses(other)


@pytest.fixture(scope="module")
def whole(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert to_the_end(command(pack, run))["steps"] == 4
    assert [step for step, _ in losses(run)] == [3, 4]
    return run


def stopped(arguments: list[str], run: Path, step: int, number: int) -> subprocess.CompletedProcess[str]:
    """Start, and send a signal when the checkpoint of `step` is there."""
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        limit = time.monotonic() + LIMIT
        while not checkpoint.step_path(run / "checkpoints", step).with_suffix(".json").exists():
            assert process.poll() is None and time.monotonic() < limit
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=LIMIT)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.full),
        pytest.param(signal.SIGKILL, -9, marks=pytest.mark.full),
    ],
)
def test_a_stopped_run_goes_on_to_the_same_weights(
    number: int, code: int, pack: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = stopped(command(pack, run, epochs=1), run, 1, number)
    if done.returncode == 0:
        pytest.skip("the training was over before the signal came")
    assert done.returncode == code, done.stderr
    if code > 0:
        assert json.loads(done.stdout)["error"]["exit"] == code
        assert json.loads((run / "state.json").read_text()) == {"state": "stopped"}
    report = to_the_end(command(pack, run))
    assert report["resumed_at"] >= 1 and report["steps"] == 4
    assert_same(run, whole)
    assert json.loads((run / "state.json").read_text()) == {"state": "done"}


_KILLED_AT = """
import os, sys
from segdata.train import checkpoint, engine
count, limit = 0, int(sys.argv.pop(1))
inner = {"write": checkpoint.write_whole, "update": engine._Training._update}

def tick(name):
    def call(*arguments, **options):
        global count
        count += 1
        if count == limit:
            os.kill(os.getpid(), 9)
        return inner[name](*arguments, **options)
    return call

checkpoint.write_whole, engine._Training._update = tick("write"), tick("update")
from segdata.cli import main
main(sys.argv[1:])
"""


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_killed_at_every_step_it_goes_on_to_the_same_weights(pack: Path, whole: Path, tmp_path: Path) -> None:
    """Killed before every update and every file of a checkpoint, one after another in the same run."""
    run = tmp_path / "run"
    arguments = command(pack, run)[3:]
    for _ in range(20):
        done = subprocess.run(
            [sys.executable, "-c", _KILLED_AT, "4", *arguments],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stderr
    else:
        pytest.fail("the run never ended")
    assert_same(run, whole)


@pytest.mark.full
@pytest.mark.timeout(900)
def test_two_processes_follow_one(pack: Path, tmp_path: Path) -> None:
    """Ten updates with the same four images each: by one process, by two of two, and by one in two parts."""
    same = {
        "norm": "frozen", "fixed_size": True, "steps_per_epoch": 10, "log_steps": 1, "aspect_batches": False,
        "checkpoint_steps": 0, "learning_rate": 0.001,
    }  # fmt: skip
    one, two = tmp_path / "one", tmp_path / "two"
    to_the_end(command(pack, one, batch_size=4, **same))
    arguments = command(pack, two, batch_size=2, **same)[1:]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launcher, *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = losses(one), losses(two)
    assert len(first) == 10
    for (step, mine), (other, theirs) in zip(first, second, strict=True):
        assert step == other and mine == pytest.approx(theirs, rel=1e-4), (step, mine, theirs)
    mine, theirs = tensors(one), tensors(two)
    for name in (name for name in mine if name.startswith("model.")):
        assert torch.allclose(mine[name], theirs[name], atol=1e-5, rtol=1e-4), name
