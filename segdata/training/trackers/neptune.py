"""Neptune."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.system.files import real_path
from segdata.system.reading import read_text
from segdata.training.trackers import base, run_folder
from segdata.training.trackers.background import FINISH_SECONDS
from segdata.viz.overlay import png


class Neptune:
    """One Neptune run."""

    def start(self, run: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Begin; offline unless NEPTUNE_MODE says otherwise. A resumed online run continues under its id."""
        import neptune
        from neptune.utils import stringify_unsupported

        os.environ.setdefault("NEPTUNE_DATA_DIRECTORY", str(real_path(run) / ".neptune"))
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
            options["with_id"] = json.loads(read_text(note))["id"]
        self._run = neptune.init_run(capture_hardware_metrics=False, **options)
        if mode != "offline" and not note.is_file():
            run_folder.write_json(note, {"id": self._run["sys/id"].fetch()})
        self._run["name"] = run.name
        self._run["config"] = stringify_unsupported(dict(config))
        self._run["environment"] = stringify_unsupported(dict(environment))

    def log(self, step: int, values: Mapping[str, float | str]) -> None:
        """Append to the series of the same names."""
        for name, value in base.numbers(values).items():
            self._run[name].append(value, step=step)

    def log_image(self, step: int, name: str, picture: npt.NDArray[np.uint8]) -> None:
        """Append a picture to its series."""
        from neptune.types import File

        content = File.from_content(png(picture), extension="png")
        self._run[f"pictures/{run_folder.file_name(name)}"].append(content, step=step)

    def log_artifact(self, step: int, path: Path) -> None:
        """Upload a file."""
        self._run[f"files/{path.name}"].upload(str(path))

    def finish(self, state: str) -> None:
        """Note the state and close."""
        self._run["state"] = state
        self._run.stop(seconds=FINISH_SECONDS / 2)
