"""scripts/bench/train_gpu.py runs without a GPU where it measures nothing, and only there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_repository import ROOT

torch = pytest.importorskip("torch")

SCRIPT = ROOT / "scripts/bench/train_gpu.py"


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("model", ["maskrcnn", "deeplabv3plus"])
def test_a_smoke_run_takes_steps_of_both_and_no_figure(model: str, tmp_path: Path) -> None:
    page = (ROOT / "docs/benchmarks.md").read_bytes()
    done = run("--model", model, "--smoke", "--work", tmp_path)
    assert done.returncode == 0, done.stderr
    for kind in ("fp32", "bf16"):
        for what in ("segdata", "torchvision", "segdata, prediction"):
            assert f"{what}, {kind}" in done.stdout
    assert not any(letter in done.stdout for letter in "|%")
    assert (ROOT / "docs/benchmarks.md").read_bytes() == page


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_gpu_it_measures_nothing(tmp_path: Path) -> None:
    done = run("--model", "deeplabv3plus", "--work", tmp_path / "work")
    assert done.returncode != 0 and "no GPU is here" in done.stderr
    assert not (tmp_path / "work").exists()
