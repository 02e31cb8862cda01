"""Runs of a semantic model: two processes follow one; killed at every update and file, it comes to the same weights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from segdata.models import checkpoint
from tests.helpers.tiny_training import SEMANTIC, semantic_options
from tests.training.test_resume import _KILLED_AT, LIMIT, assert_same, newest, numbers, to_the_end

PROGRAM = "import sys\nfrom segdata.cli import main\nmain(sys.argv[1:])\n"


def words(pack: Path, run: Path, **changes: Any) -> list[str]:
    options = [
        f"--set={name}={value}" for name, value in {"from_objects": "true", "precision": "fp32", **changes}.items()
    ]
    given = [option for option in semantic_options() if option.split("=")[1] not in changes]
    return [
        "train",
        str(pack),
        "-o",
        str(run),
        "--model",
        "unet",
        "--threads",
        "1",
        "--device",
        "cpu",
        "--json",
        *given,
        *options,
    ]


def test_two_processes_follow_one(pack: Path, tmp_path: Path) -> None:
    """Ten updates with the same four crops each: by one process, and by two of two."""
    same = {
        "steps_per_epoch": 10,
        "learning_rate": 0.001,
        "validate_epochs": 0,
        "class_weights": "median",
        "optimizer": "sgd",
    }
    one, two = tmp_path / "one", tmp_path / "two"
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    to_the_end([sys.executable, str(program), *words(pack, one, batch_size=4, **same)])
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(program)]
    done = subprocess.run(
        [*launcher, *words(pack, two, batch_size=2, **same)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = numbers(one), numbers(two)
    assert len(first) == 10
    for mine, theirs in zip(first, second, strict=True):
        assert mine["train/loss"] == pytest.approx(theirs["train/loss"], rel=1e-4)
    tensors, others = checkpoint.load(newest(one))[0], checkpoint.load(newest(two))[0]
    assert any(name.startswith(checkpoint.AVERAGE) for name in tensors)
    for name, value in tensors.items():
        if name.startswith(("model.", checkpoint.AVERAGE)):
            assert torch.allclose(value, others[name], atol=1e-5, rtol=1e-4), name


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_killed_at_every_step_it_goes_on_to_the_same_weights(pack: Path, tmp_path: Path) -> None:
    settings = {"steps_per_epoch": 3, "epochs": 2, "checkpoint_steps": 1, "validate_epochs": 1, "workers": 1}
    whole, run = tmp_path / "whole", tmp_path / "run"
    to_the_end([sys.executable, "-c", PROGRAM, *words(pack, whole, **settings)])
    for attempt in range(30):
        done = subprocess.run(
            [sys.executable, "-c", _KILLED_AT, str(6 + attempt % 3), *words(pack, run, **settings)],
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
    assert attempt > 2
    assert_same(run, whole)


assert SEMANTIC["norm"] == "group", "batch norm is over the images of one process on a CPU"
