"""An architecture added by the steps of CONTRIBUTING.md, in a copy of the package: a folder and one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import segdata
from segdata.demo.synthetic import objects
from tests.contracts.test_new_format import ROOT, copy_of_segdata

TOY = Path(__file__).parent / "toy_model"
TABLE = "segdata/models/registry.py"


def with_model(folder: Path) -> Path:
    """A copy of segdata with the toy architecture in it."""
    package = copy_of_segdata(folder)
    target = package / "segdata/models/toy"
    target.mkdir()
    for module in ("__init__", "config", "model"):
        text = (TOY / f"{module}.py").read_text().replace("tests.contracts.toy_model", "segdata.models.toy")
        (target / f"{module}.py").write_text(text)
    table = package / TABLE
    text = table.read_text()
    changed = text.replace(
        "import maskrcnn, matterport, semantic, weights", "import maskrcnn, matterport, semantic, toy, weights"
    )
    changed = changed.replace('    "maskrcnn": maskrcnn,\n', '    "maskrcnn": maskrcnn,\n    "toy": toy,\n')
    assert changed.count("\n") == text.count("\n") + 1
    table.write_text(changed)
    return package


@pytest.mark.parametrize("name", ["Add an architecture", "Add a loss"])
def test_the_steps_name_what_is_followed_here(name: str) -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text().partition(f"## {name}\n")[2].partition("\n## ")[0]
    words = {
        "Add an architecture": (
            "`segdata/models/NAME/`",
            f"`{TABLE}`",
            '`"NAME": NAME`',
            "`tests/contracts/toy_model/`",
            "`tests/contracts/test_model.py`",
        ),
        "Add a loss": ("`losses.py`", "`loss_names`", "`loss_weights`", "`Losses`"),
    }[name]
    assert [word for word in words if word not in section] == []


def test_it_is_configured_trained_and_run_by_the_commands(tmp_path: Path) -> None:
    package = with_model(tmp_path / "copy")
    raw = objects.draw(tmp_path / "raw", train=4, val=2, height=64, width=96)
    segdata.convert(raw, tmp_path / "pack")

    def run(*arguments: str) -> Any:
        command = [sys.executable, "-m", "segdata", *arguments, "--json"]
        variables = {**os.environ, "PYTHONPATH": str(package)}
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    settings = run("config", "toy", "--set", "size=12")
    assert settings["model"] == "toy"
    assert {"name": "size", "value": 12, "default": 16}.items() <= settings["settings"][0].items()
    short = ("--set", "steps_per_epoch=1", "--set", "epochs=1", "--set", "workers=0", "--device", "cpu")
    report = run("train", "pack", "-o", "run", "--set", "model=toy", *short)
    assert report["steps"] == 1 and 0 <= report["metrics"]["accuracy"] == report["best"] <= 1
    assert (tmp_path / "run/config.toml").read_text().startswith('model = "toy"\nsize = 16\n')
    assert run("train", "pack", "-o", "run", "--resume", "--device", "cpu")["was_done"]
    assert run("predict", "run", "pack", "-o", "predicted", "--device", "cpu")["samples"] == 6
    (compared,) = run("runs", "run")["runs"]
    assert compared["state"] == "done"


BROKEN = {
    "missing": ("    def stage_of(", "    def stages_of("),
    "exchanged": ("network: nn.Conv2d, batch: Batch, settings", "batch: Batch, network: nn.Conv2d, settings"),
    "type": ("progress: float) -> tuple[float, ...]:", "progress: float) -> float:"),
    "sample": ("samples: Sequence[TrainSample], settings", "samples: Sequence[Batch], settings"),
}
"""Changes after which the contract is not kept: a method of another name, arguments in another order, other types."""

CONFIG = """
[mypy]
strict = true
ignore_missing_imports = true
[mypy-torch.*,torchvision.*]
follow_imports = skip
"""


def test_the_type_checker_refuses_models_that_break_the_contract(tmp_path: Path) -> None:
    package = with_model(tmp_path / "package")
    for name, (old, new) in BROKEN.items():
        broken = package / f"segdata/models/{name}"
        broken.mkdir()
        for path in (package / "segdata/models/toy").glob("*.py"):
            text = path.read_text().replace("models.toy", f"models.{name}")
            assert path.stem != "model" or old in text
            (broken / path.name).write_text(text.replace(old, new) if path.stem == "model" else text)
    (package / "mypy.ini").write_text(CONFIG)
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), "--no-error-summary"]
    names = [f"segdata/models/{name}" for name in (*BROKEN, "toy")]
    done = subprocess.run([*command, *names], cwd=package, capture_output=True, text=True, check=False)
    refused = {error.split("/")[2] for error in done.stdout.splitlines() if ": error: Incompatible types" in error}
    assert refused == set(BROKEN), done.stdout
    assert "stage_of" in done.stdout and "loss_weights" in done.stdout
