"""MLflow."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.system.files import real_path
from segdata.system.reading import read_text
from segdata.training.trackers import base, run_folder

_NOT_IN_NAMES = re.compile(r"[^\w\-. :/]")
"""Characters that MLflow refuses in the name of a metric; it also refuses more than 250."""


class MLflow:
    """One MLflow run; its id stays in the run folder, so that a resumed run continues in it."""

    def start(self, run: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Begin a run of the experiment, or resume the one begun before."""
        from mlflow import MlflowClient

        beside = real_path(run).parent
        store = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{beside / 'mlflow.db'}"
        self._client = MlflowClient(tracking_uri=store)
        note = run / "mlflow.json"
        if note.is_file():
            self._id = str(json.loads(read_text(note))["run_id"])
            self._client.update_run(self._id, status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "segdata"
        experiment = self._client.get_experiment_by_name(name)
        files = None if os.environ.get("MLFLOW_TRACKING_URI") else (beside / "mlflow-files").as_uri()
        number = (
            experiment.experiment_id if experiment else self._client.create_experiment(name, artifact_location=files)
        )
        self._id = self._client.create_run(number, run_name=run.name).info.run_id
        run_folder.write_json(note, {"run_id": self._id})
        for key, value in base.flat({"config": config, "environment": environment}).items():
            self._client.log_param(self._id, key, str(value)[:6000])

    def log(self, step: int, values: Mapping[str, float | str]) -> None:
        """Add metrics."""
        for name, value in base.numbers(values).items():
            self._client.log_metric(self._id, _NOT_IN_NAMES.sub("_", name)[:250], value, step=step)

    def log_image(self, step: int, name: str, picture: npt.NDArray[np.uint8]) -> None:
        """Add a picture under pictures/STEP/."""
        from PIL import Image

        path = f"pictures/{step:08d}/{run_folder.file_name(name)}.png"
        self._client.log_image(self._id, Image.fromarray(picture), artifact_file=path)

    def log_artifact(self, step: int, path: Path) -> None:
        """Copy a file into the run."""
        self._client.log_artifact(self._id, str(path))

    def finish(self, state: str) -> None:
        """Close the run with its state."""
        states = {"done": "FINISHED", "stopped": "KILLED"}
        self._client.set_terminated(self._id, states.get(state, "FAILED"))
