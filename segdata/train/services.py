"""Other people's trackers: TensorBoard, MLflow and Neptune, each in its local mode unless its own variables say otherwise.

    tensorboard   RUN/tensorboard
    mlflow        $MLFLOW_TRACKING_URI, else the SQLite store mlflow.db beside the run; $MLFLOW_EXPERIMENT_NAME
    neptune       $NEPTUNE_MODE, else offline into RUN/.neptune (`neptune sync --path RUN` sends it on); $NEPTUNE_PROJECT

Trackers work in threads of their own (`Background`): one that raises, hangs or cannot keep up is left out, and the run
goes on.
"""

from __future__ import annotations

import json
import os
import queue
import re
import threading
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.errors import UsageError
from segdata.train import trackers
from segdata.train.history import CLASSES
from segdata.train.trackers import Tracker

_NOT_IN_NAMES = re.compile(r"[^\w\-. :/]")
"""What MLflow does not take in the name of a metric; nor does it take more than 250 characters."""

BACKLOG = 1000
"""Calls that may wait for a slow tracker before it is left out."""

FINISH_SECONDS = 60.0
"""How long the end of a run waits for a tracker."""


def named(name: str) -> Tracker:
    """The tracker with this name.

    Raises:
        UsageError: there is none, or its package is not installed.
    """
    if name not in _SERVICES:
        raise UsageError(f"there is no tracker {name!r}", why=f"there are {', '.join(_SERVICES)}")
    package, make = _SERVICES[name]
    if find_spec(package) is None:
        raise UsageError(f"the tracker {name} needs {package}, which is not installed", fix=f"pip install {package}")
    return make()


class Background:
    """A tracker whose calls are made by a thread, in order; `name` is its class.

    Args:
        backlog: calls that may wait before it counts as hung.
        finish_seconds: the longest that `finish` waits.
    """

    def __init__(self, tracker: Tracker, *, backlog: int = BACKLOG, finish_seconds: float = FINISH_SECONDS) -> None:
        self._tracker = tracker
        self.name = type(tracker).__name__
        self._calls: queue.Queue[Callable[[], None]] = queue.Queue(backlog)
        self._finish_seconds = finish_seconds
        self._error: BaseException | None = None
        self._is_over = threading.Event()
        threading.Thread(target=self._work, daemon=True, name=f"segdata-{type(tracker).__name__}").start()

    def start(self, run: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """See `Tracker`."""
        self._add(lambda: self._tracker.start(run, config, environment))

    def log(self, step: int, values: Mapping[str, float | str]) -> None:
        """See `Tracker`."""
        kept = dict(values)
        self._add(lambda: self._tracker.log(step, kept))

    def log_image(self, step: int, name: str, picture: npt.NDArray[np.uint8]) -> None:
        """See `Tracker`."""
        self._add(lambda: self._tracker.log_image(step, name, picture))

    def log_artifact(self, step: int, path: Path) -> None:
        """See `Tracker`."""
        self._add(lambda: self._tracker.log_artifact(step, path))

    def finish(self, state: str) -> None:
        """See `Tracker`; raises TimeoutError when what was logged is not written in time."""

        def last() -> None:
            self._tracker.finish(state)
            self._is_over.set()

        self._add(last)
        if not self._is_over.wait(self._finish_seconds):
            raise TimeoutError(f"not done {self._finish_seconds:g} seconds after the end of the run")
        self._raise()

    def _add(self, call: Callable[[], None]) -> None:
        self._raise()
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            raise TimeoutError(f"{self._calls.maxsize} calls are waiting: it hangs or is too slow") from None

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while not self._is_over.is_set():
            call = self._calls.get()
            try:
                call()
            except BaseException as error:
                self._error = error
                self._is_over.set()


class TensorBoard:
    """Scalars, pictures and settings as event files; it has no place for other files."""

    def start(self, run: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Begin, or go on after the last step that the run kept."""
        from torch.utils.tensorboard import SummaryWriter

        kept = trackers.lines(run)
        self._writer = SummaryWriter(str(run / "tensorboard"), purge_step=kept[-1]["step"] + 1 if kept else None)
        for name, document in (("config", config), ("environment", environment)):
            self._writer.add_text(name, f"```json\n{json.dumps(document, indent=1)}\n```", 0)

    def log(self, step: int, values: Mapping[str, float | str]) -> None:
        """Add scalars."""
        for name, value in _numbers(values).items():
            self._writer.add_scalar(name, value, step)

    def log_image(self, step: int, name: str, picture: npt.NDArray[np.uint8]) -> None:
        """Add a picture."""
        self._writer.add_image(name, picture, step, dataformats="HWC")

    def log_artifact(self, step: int, path: Path) -> None:
        """Nothing: TensorBoard keeps no files."""

    def finish(self, state: str) -> None:
        """Write all that waits."""
        self._writer.close()


class MLflow:
    """One MLflow run; its number stays in the run folder, so that a resumed run goes on in it."""

    def start(self, run: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Begin a run of the experiment, or go on with the one begun before."""
        from mlflow import MlflowClient

        beside = run.resolve().parent
        store = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{beside / 'mlflow.db'}"
        self._client = MlflowClient(tracking_uri=store)
        note = run / "mlflow.json"
        if note.is_file():
            self._id = str(json.loads(note.read_text())["run_id"])
            self._client.update_run(self._id, status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "segdata"
        found = self._client.get_experiment_by_name(name)
        files = None if os.environ.get("MLFLOW_TRACKING_URI") else (beside / "mlflow-files").as_uri()
        experiment = found.experiment_id if found else self._client.create_experiment(name, artifact_location=files)
        self._id = self._client.create_run(experiment, run_name=run.name).info.run_id
        trackers.write_json(note, {"run_id": self._id})
        for key, value in _flat({"config": config, "environment": environment}).items():
            self._client.log_param(self._id, key, str(value)[:6000])

    def log(self, step: int, values: Mapping[str, float | str]) -> None:
        """Add metrics."""
        for name, value in _numbers(values).items():
            self._client.log_metric(self._id, _NOT_IN_NAMES.sub("_", name)[:250], value, step=step)

    def log_image(self, step: int, name: str, picture: npt.NDArray[np.uint8]) -> None:
        """Add a picture under pictures/STEP/."""
        from PIL import Image

        place = f"pictures/{step:08d}/{trackers.file_name(name)}.png"
        self._client.log_image(self._id, Image.fromarray(picture), artifact_file=place)

    def log_artifact(self, step: int, path: Path) -> None:
        """Copy a file into the run."""
        self._client.log_artifact(self._id, str(path))

    def finish(self, state: str) -> None:
        """Close the run with its state."""
        states = {"done": "FINISHED", "stopped": "KILLED"}
        self._client.set_terminated(self._id, states.get(state, "FAILED"))


class Neptune:
    """One Neptune run."""

    def start(self, run: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Begin; offline unless NEPTUNE_MODE says otherwise. A resumed online run goes on under its own number."""
        import neptune
        from neptune.utils import stringify_unsupported

        os.environ.setdefault("NEPTUNE_DATA_DIRECTORY", str(run.resolve() / ".neptune"))
        note = run / "neptune.json"
        mode = os.environ.get("NEPTUNE_MODE") or "offline"
        options: dict[str, Any] = {
            "mode": mode,
            "source_files": [],
            "capture_stdout": False,
            "capture_stderr": False,
            "git_ref": False,
        }
        if mode == "offline":
            options |= {"project": os.environ.get("NEPTUNE_PROJECT") or "local/segdata"}
        if mode != "offline" and note.is_file():
            options["with_id"] = json.loads(note.read_text())["id"]
        self._run = neptune.init_run(capture_hardware_metrics=False, **options)
        if mode != "offline" and not note.is_file():
            trackers.write_json(note, {"id": self._run["sys/id"].fetch()})
        self._run["name"] = run.name
        self._run["config"] = stringify_unsupported(dict(config))
        self._run["environment"] = stringify_unsupported(dict(environment))

    def log(self, step: int, values: Mapping[str, float | str]) -> None:
        """Append to the series of the same names."""
        for name, value in _numbers(values).items():
            self._run[name].append(value, step=step)

    def log_image(self, step: int, name: str, picture: npt.NDArray[np.uint8]) -> None:
        """Append a picture to its series."""
        from neptune.types import File

        content = File.from_content(trackers.png(picture), extension="png")
        self._run[f"pictures/{trackers.file_name(name)}"].append(content, step=step)

    def log_artifact(self, step: int, path: Path) -> None:
        """Upload a file."""
        self._run[f"files/{path.name}"].upload(str(path))

    def finish(self, state: str) -> None:
        """Note the state and close."""
        self._run["state"] = state
        self._run.stop(seconds=FINISH_SECONDS / 2)


_SERVICES: dict[str, tuple[str, Callable[[], Tracker]]] = {
    "tensorboard": ("tensorboard", TensorBoard),
    "mlflow": ("mlflow", MLflow),
    "neptune": ("neptune", Neptune),
}

NAMES = tuple(_SERVICES)
"""Names of the trackers, as the command line takes them."""


def _numbers(values: Mapping[str, float | str]) -> dict[str, float]:
    """The numbers, with names in which a slash is never a category's own: Neptune would take it for a folder."""
    return {_flat_name(name): float(value) for name, value in values.items() if not isinstance(value, str)}


def _flat_name(name: str) -> str:
    return CLASSES + name.removeprefix(CLASSES).replace("/", "_") if name.startswith(CLASSES) else name


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level, names joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
