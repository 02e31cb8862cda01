"""Trackers that raise or hang stop no run."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import segdata
from segdata.training import trainer as engine
from segdata.training.config import TrainConfig
from segdata.training.trackers import background as services
from tests.helpers.tiny_training import TINY

pytestmark = pytest.mark.usefixtures("without_pages")


class _Broken:
    """A tracker that fails in one call."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name not in ("start", "log", "log_image", "log_artifact", "finish"):
            raise AttributeError(name)

        def call(*_: Any) -> None:
            self.calls.append(name)
            if name == self.where:
                raise RuntimeError("no connection")

        return call


def test_a_broken_tracker_never_stops_a_run(pack: Path, tmp_path: Path) -> None:
    broken, good = _Broken("log"), _Broken("nowhere")
    whole = segdata.open(pack)
    report = engine.train(
        whole.split("train2017"),
        tmp_path / "run",
        TrainConfig.from_dict(TINY),
        validate=whole.split("val2017"),
        trackers=[broken, good],
        device="cpu",
    )
    assert report.steps == 2
    assert broken.calls == ["start", "log"]
    assert good.calls == ["start", "log", "log", "log", "log_image", "log_artifact", "finish"]


def test_a_tracker_that_hangs_never_stops_a_run(pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hung(_Broken):
        def __getattr__(self, name: str) -> Any:
            return lambda *_: threading.Event().wait()

    defaults = services.Background.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "finish_seconds", 0.1)
    report = engine.train(
        segdata.open(pack, split="train2017"),
        tmp_path / "run",
        TrainConfig.from_dict({**TINY, "validate_epochs": 0}),
        trackers=[Hung("")],
        device="cpu",
    )
    assert report.steps == 2
