"""Runs are told everywhere, a broken tracker stops nothing, and pages show what the run folder holds."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from segdata.errors import NotThere, UsageError
from segdata.training import trackers
from segdata.training.runs import comparison, history, report
from segdata.training.trackers import background as services
from segdata.training.trackers import base, run_folder
from tests.helpers.command import run_segdata

PHOTO = np.full((8, 12, 3), 128, np.uint8)
CONFIG = {"backbone": "resnet18", "learning_rate": 0.02, "data": {"labels": ["<b>cat</b>", "dog"]}}


def tell(run: Path, *others: base.Tracker, rate: float = 0.02, steps: tuple[int, ...] = (10, 20)) -> base.All:
    """A short run as `engine.train` tells it."""
    run.mkdir(parents=True, exist_ok=True)
    trackers = base.All(run_folder.RunFolder(run), others)
    trackers.start(run, {**CONFIG, "learning_rate": rate}, {"python": "3.11"})
    for step in steps:
        trackers.log(step, {"train/loss": 10.0 / step, "train/learning_rate": rate, "system/memory_mib": 100.0})
        trackers.log(step, {"validation/AP": step / 100, "validation/category_AP/<b>cat</b>": step / 50})
        trackers.log_image(step, "street/a", PHOTO)
    trackers.log_artifact(steps[-1], run / "config.json")
    trackers.finish("done")
    return trackers


class Broken:
    """A tracker that raises at the call with this name, or hangs there."""

    def __init__(self, where: str, *, hangs: bool = False) -> None:
        self.where, self.hangs, self.calls = where, hangs, 0

    def _call(self, name: str) -> None:
        if name == self.where:
            self.calls += 1
            if self.hangs:
                threading.Event().wait()
            raise RuntimeError("the server is gone")

    def start(self, run: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        self._call("start")

    def log(self, step: int, values: Mapping[str, float | str]) -> None:
        self._call("log")

    def log_image(self, step: int, name: str, picture: npt.NDArray[np.uint8]) -> None:
        self._call("log_image")

    def log_artifact(self, step: int, path: Path) -> None:
        self._call("log_artifact")

    def finish(self, state: str) -> None:
        self._call("finish")


@pytest.mark.parametrize("where", ["start", "log", "log_image", "log_artifact", "finish"])
def test_a_tracker_that_raises_stops_nothing_and_is_called_no_more(
    where: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Broken(where)
    behind = Broken(where)
    tell(tmp_path / "run", broken, services.Background(behind))
    assert (broken.calls, behind.calls) == (1, 1)
    assert caplog.text.count("the server is gone") == caplog.text.count("Broken failed") == 2
    assert history.read(tmp_path / "run").state == "done"


def test_a_run_is_done_when_everything_else_is_written(tmp_path: Path) -> None:
    """The page too: killed before, the same command ends the run."""

    class Watching(Broken):
        def finish(self, state: str) -> None:
            states.append((state, history.read(tmp_path / "run").state))

    states: list[tuple[str, str]] = []
    tell(tmp_path / "run", Watching("nowhere"))
    assert states == [("done", "running")]
    assert history.read(tmp_path / "run").state == "done"


@pytest.mark.parametrize("where", ["start", "log", "finish"])
def test_a_tracker_that_hangs_is_left_behind(where: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    began = time.monotonic()
    tell(tmp_path / "run", services.Background(Broken(where, hangs=True), backlog=3, finish_seconds=0.2))
    assert time.monotonic() - began < 20
    assert "left out" in caplog.text
    assert history.read(tmp_path / "run").state == "done"


def test_tensorboard_has_the_numbers_and_pictures_of_a_resumed_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed (pip install 'segdata[trackers]')")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tell(tmp_path / "run", trackers.named("tensorboard"))
    tell(tmp_path / "run", trackers.named("tensorboard"), steps=(30,))
    events = EventAccumulator(str(tmp_path / "run/tensorboard"))
    events.Reload()
    assert [(event.step, round(event.value, 3)) for event in events.Scalars("train/loss")] == [
        (10, 1.0),
        (20, 0.5),
        (30, 0.333),
    ]
    assert [event.step for event in events.Images("street/a")] == [10, 20, 30]


@pytest.mark.filterwarnings("ignore")
def test_mlflow_goes_on_in_the_same_run_of_its_sqlite_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed (pip install 'segdata[trackers]')")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tell(tmp_path / "run", trackers.named("mlflow"))
    tell(tmp_path / "run", trackers.named("mlflow"), steps=(30,))
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    (stored,) = client.search_runs([client.get_experiment_by_name("segdata").experiment_id])
    assert stored.info.status == "FINISHED"
    assert stored.data.params["config.backbone"] == "resnet18"
    assert [metric.step for metric in client.get_metric_history(stored.info.run_id, "train/loss")] == [10, 20, 30]
    assert stored.data.metrics["validation/category_AP/_b_cat__b_"] == pytest.approx(0.6)
    names = {item.path for item in client.list_artifacts(stored.info.run_id)}
    assert names == {"config.json", "pictures"}


@pytest.mark.filterwarnings("ignore")
def test_neptune_writes_offline_into_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("neptune", reason="neptune is not installed (pip install 'segdata[trackers]')")
    monkeypatch.delenv("NEPTUNE_MODE", raising=False)
    monkeypatch.setenv("NEPTUNE_DATA_DIRECTORY", str(tmp_path / "run/.neptune"))
    tell(tmp_path / "run", trackers.named("neptune"))
    (log,) = (tmp_path / "run/.neptune/offline").glob("*/data-1.log")
    text = log.read_text()
    for name in ("config", "train", "loss", "street_a", "config.json"):
        assert f'"{name}' in text or name in text


@pytest.mark.filterwarnings("ignore")
def test_wandb_writes_offline_into_the_run_and_goes_on_under_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed (pip install wandb)")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    tell(tmp_path / "run", trackers.named("wandb"))
    known = json.loads((tmp_path / "run/wandb.json").read_text())["id"]
    tell(tmp_path / "run", trackers.named("wandb"), steps=(30,))
    assert json.loads((tmp_path / "run/wandb.json").read_text())["id"] == known
    logs = sorted((tmp_path / "run/wandb").glob(f"offline-run-*/run-{known}.wandb"))
    assert len(logs) == 2
    for name in (b"train/loss", b"validation/AP", b"street_a", b"backbone"):
        assert name in logs[0].read_bytes(), name


def test_only_metrics_of_one_category_name_it() -> None:
    assert base.category_of("validation/category_AP/ship/boat") == "ship/boat"
    assert base.category_of("validation/category_IoU/road") == "road"
    assert base.category_of("validation/AP") is base.category_of("train/category_AP/road") is None
    assert base.numbers({"validation/category_AP/ship/boat": 1, "validation/AP": 0.5, "note": "text"}) == {
        "validation/category_AP/ship_boat": 1.0,
        "validation/AP": 0.5,
    }


def test_names_of_pictures_are_safe_short_and_their_own() -> None:
    keys = [
        "street a",
        "street_a",
        "street/a",
        "a/b",
        "a_b",
        "..",
        "../..",
        "é" * 300,
        "é" * 301,
        "猫" * 99,
        "a\0b",
        "A:b",
    ]
    names = [run_folder.file_name(key) for key in keys]
    assert len(set(names)) == len(keys) and names[0] == "street a"
    assert all(len(name.encode()) <= 210 and not set(name) & set("/\0:\\") for name in names)


def test_an_unknown_tracker_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no tracker 'clearml'"):
        trackers.named("clearml")


def test_the_report_shows_what_the_folder_holds(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    tell(tmp_path / "run", report.Page())
    text = (tmp_path / "run" / report.FILE).read_text()
    assert "done, 20 updates, best mask AP 0.200" in text
    assert "&lt;b&gt;cat&lt;/b&gt;" in text and "<b>cat" not in text
    assert text.count("data:image/jpeg") == 2
    for title in ("Loss", "Validation", "Learning rate", "Examples", "Categories", "System", "Settings"):
        assert title in text
    assert "http://" not in text.replace("http://www.w3.org/", "").replace("http://purl.org/", "")


def test_the_report_says_what_when_and_why_something_is_empty(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run = tmp_path / "run"
    run.mkdir()
    config = {"data": {"pack": "coco", "images": 1200, "validation_images": 0, "labels": ["cat", "dog"]}}
    environment = {
        "segdata": "0.1.0",
        "device": "cpu",
        "began": "2026-11-29 10:00 UTC",
        "command": "segdata train coco",
    }
    run_folder.write_json(run / "config.json", config)
    run_folder.write_json(run / "environment.json", environment)
    text = report.write(run).read_text()
    for name, value in (
        ("pack", "coco"), ("images", "1,200, and 0 for validation"), ("classes", "2"), ("device", "cpu"),
        ("began", "2026-11-29 10:00 UTC"), ("segdata", "0.1.0"), ("command", "segdata train coco"),
    ):  # fmt: skip
        assert f"<dt>{name}</dt><dd>{value}</dd>" in text, name
    for words in ("no validation split", "No number was logged yet", "No picture yet", "no checkpoint yet"):
        assert words in text, words


def test_the_worst_category_comes_first(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    trackers = tell(tmp_path / "run")
    trackers.log(30, {"validation/category_AP/good": 0.9, "validation/category_AP/bad": 0.01})
    text = report.write(tmp_path / "run").read_text().partition("Categories</h2>")[2]
    assert text.index(">bad<") < text.index(">&lt;b&gt;cat") < text.index(">good<")


def test_folders_of_runs_are_taken_and_what_is_no_run_is_skipped(tmp_path: Path) -> None:
    for name in ("one", "two"):
        tell(tmp_path / "runs" / name)
    (tmp_path / "runs/notes").mkdir()
    chosen, others = comparison.runs_in([tmp_path / "runs", tmp_path / "runs/two"])
    assert [path.name for path in chosen] == ["one", "two"] and [path.name for path in others] == ["notes"]
    with pytest.raises(NotThere, match="no folder in it is one"):
        comparison.runs_in([tmp_path / "runs/notes"])


def test_runs_are_compared(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    tell(tmp_path / "slow", rate=0.01)
    tell(tmp_path / "quick", rate=0.06, steps=(10, 20, 30))
    outcome = run_segdata("runs", tmp_path / "slow", tmp_path / "quick", "-o", tmp_path / "both.html", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.document["settings"] == {"learning_rate": [0.01, 0.06]}
    assert outcome.document["metrics"]["validation/AP, best"] == [0.2, 0.3]
    text = (tmp_path / "both.html").read_text()
    for run in ("slow after 20", "quick after 30"):
        assert re.search(rf"street_a-[0-9a-f]{{8}}, {run} updates", text)
    config = json.loads((tmp_path / "slow/config.json").read_text())
    config["data"]["labels"] = ["кот"]
    run_folder.write_json(tmp_path / "slow/config.json", config)
    compared = comparison.compare([tmp_path / "slow", tmp_path / "quick"])
    assert "кот" in comparison.write(compared, tmp_path / "labels.html").read_text()
    short = run_segdata("runs", tmp_path / "slow", tmp_path / "quick")
    assert "category_AP" not in short.out and "--details" in short.err
    printed = run_segdata("runs", tmp_path / "slow", tmp_path / "quick", "--details").out
    assert any(line.split() == ["learning_rate", "0.01", "0.06"] for line in printed.splitlines())
    places = [printed.index(name) for name in ("validation/AP", "learning_rate", "validation/category_AP")]
    assert places == sorted(places), "categories, of which there may be many, come last"


def test_a_page_that_cannot_be_written_hides_no_comparison(tmp_path: Path) -> None:
    for name in ("slow", "quick"):
        tell(tmp_path / name)
    (tmp_path / "slow/report.html").mkdir()
    outcome = run_segdata("runs", tmp_path / "slow", tmp_path / "quick")
    assert outcome.code == 3 and "state" in outcome.out and str(tmp_path / "slow/report.html") in outcome.err
    document = run_segdata("runs", tmp_path / "slow", tmp_path / "quick", "--json").document
    assert document["reports"] == [str(tmp_path / "quick/report.html")]
    assert document["unwritten"][0]["id"] == "DiskError"


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    outcome = run_segdata("runs", tmp_path, "--json")
    assert outcome.code == 10
    assert "this is no run" in outcome.err
    with pytest.raises(NotThere):
        comparison.compare([tmp_path])


def test_a_line_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    tell(tmp_path / "run")
    with (tmp_path / "run/metrics.jsonl").open("a") as file:
        file.write('{"step": 30, "train/lo')
    assert history.read(tmp_path / "run").step == 20


def test_histograms_of_the_first_convolutions_or_of_a_pattern() -> None:
    rng = np.random.default_rng(0)
    tensors = {
        "body.layer10.weight": rng.normal(size=(2, 2, 3, 3)),
        "body.layer2.weight": np.array([[[[1.0]]], [[[3.0]]]]),
        "body.layer2.bias": np.array([5.0, 7.0]),
        "norm.weight": np.ones(4),
    }
    first = report.histograms(tensors, first=1)
    assert [one.name for one in first] == ["body.layer2.weight", "body.layer2.bias"]
    assert (first[0].mean, first[0].deviation, first[0].counts.sum()) == (2.0, 1.0, 2)
    assert (first[0].edges[0], first[0].edges[-1]) == (1.0, 3.0)
    assert [one.name for one in report.histograms(tensors, first=9)][-1] == "body.layer10.weight"
    assert [one.name for one in report.histograms(tensors, "norm*")] == ["norm.weight"]
    with pytest.raises(NotThere, match="no tensor matches"):
        report.histograms(tensors, "head*")


def test_the_run_folder_is_json(tmp_path: Path) -> None:
    tell(tmp_path / "run")
    assert json.loads((tmp_path / "run/state.json").read_text()) == {"state": "done"}


def test_the_tracker_of_the_guide_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs/tracking.md").read_text()
    room: dict[str, Any] = {}
    exec(guide.split("```python\n")[1].split("```")[0], room)
    tell(tmp_path / "run", room["Printer"]())
    printed = capsys.readouterr().out.splitlines()
    assert (printed[0], printed[-1], len(printed)) == ("begin run 0.02", "done", 6)
