"""The contract of trackers, for every line of the table and for a toy tracker, which also follows a real training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import segdata
from segdata.demo.synthetic import objects
from segdata.models import registry
from segdata.training import trackers
from segdata.training.trackers import run_folder
from tests.contracts import model_contract, toy_model, tracker_contract


class Lines:
    """A tracker to copy from: a JSON file of the run's numbers."""

    def start(self, run: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        self._file = run / "lines.json"
        self._lines = json.loads(self._file.read_text()) if self._file.is_file() else []

    def log(self, step: int, values: Mapping[str, float | str]) -> None:
        self._lines.append({"step": step, **values})

    def log_image(self, step: int, name: str, picture: npt.NDArray[np.uint8]) -> None:
        assert picture.dtype == np.uint8 and picture.shape[2:] == (3,)

    def log_artifact(self, step: int, path: Path) -> None:
        assert path.is_file()

    def finish(self, state: str) -> None:
        self._file.write_text(json.dumps(self._lines))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", trackers.TRACKERS)
def test_every_tracker_follows_a_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec(trackers.TRACKERS[name].package) is None:
        pytest.skip(f"{name} is not installed (pip install 'segdata[trackers]')")
    for variable in ("MLFLOW_TRACKING_URI", "NEPTUNE_MODE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NEPTUNE_DATA_DIRECTORY", str(tmp_path / "run/.neptune"))
    tracker_contract.check_run(lambda: trackers.named(name), tmp_path / "run")


def test_a_new_tracker_is_a_class_and_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "TRACKERS", {**trackers.TRACKERS, "lines": trackers.Service("json", Lines)})
    tracker_contract.check_run(lambda: trackers.named("lines"), tmp_path / "run")
    assert json.loads((tmp_path / "run/lines.json").read_text()) == run_folder.lines(tmp_path / "run")


def test_it_logs_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.MODELS, "toy", toy_model)
    segdata.convert(objects.draw(tmp_path / "raw", train=2, val=1, height=64, width=96), tmp_path / "pack")
    pack, config = segdata.open(tmp_path / "pack"), model_contract.config_of("toy", {})
    segdata.train(
        pack.split("train2017"),
        tmp_path / "run",
        config,
        validate=pack.split("val2017"),
        trackers=[Lines()],
        device="cpu",
    )
    rows = json.loads((tmp_path / "run/lines.json").read_text())
    assert rows == run_folder.lines(tmp_path / "run")
    assert [row["step"] for row in rows] == [1, 1, 2, 2] and "validation/accuracy" in rows[1]
