"""Weights & Biases."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.training.trackers import base, run_folder


class WandB:
    """One run of Weights & Biases; its id stays in the run folder, so that a resumed run continues under it."""

    def start(self, run: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Begin; offline unless WANDB_MODE says otherwise."""
        import wandb  # type: ignore[import-not-found, unused-ignore]

        note = run / "wandb.json"
        known = json.loads(note.read_text())["id"] if note.is_file() else None
        self._images = wandb.Image
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "segdata",
            name=run.name,
            id=known,
            resume="allow" if known else None,
            dir=str(run.resolve()),
            mode=os.environ.get("WANDB_MODE") or "offline",
            config={"settings": dict(config), "environment": dict(environment)},
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True, x_disable_meta=True),
        )
        run_folder.write_json(note, {"id": self._run.id})

    def log(self, step: int, values: Mapping[str, float | str]) -> None:
        """Add numbers at a step."""
        self._run.log(base.numbers(values), step=step)

    def log_image(self, step: int, name: str, picture: npt.NDArray[np.uint8]) -> None:
        """Add a picture to its series."""
        self._run.log({f"pictures/{run_folder.file_name(name)}": self._images(picture)}, step=step)

    def log_artifact(self, step: int, path: Path) -> None:
        """Keep a file with the run."""
        self._run.save(str(path), base_path=str(path.parent), policy="end")

    def finish(self, state: str) -> None:
        """Note the state and close."""
        self._run.summary["state"] = state
        self._run.finish(exit_code=1 if state == "failed" else 0)
