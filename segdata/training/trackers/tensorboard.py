"""TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.training.trackers import base, run_folder


class TensorBoard:
    """Scalars, pictures and settings as event files; other files are not logged."""

    def start(self, run: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Begin, or resume after the last step of the run's metrics."""
        from torch.utils.tensorboard import SummaryWriter

        lines = run_folder.lines(run)
        self._writer = SummaryWriter(str(run / "tensorboard"), purge_step=lines[-1]["step"] + 1 if lines else None)
        for name, document in (("config", config), ("environment", environment)):
            self._writer.add_text(name, f"```json\n{json.dumps(document, indent=1)}\n```", 0)

    def log(self, step: int, values: Mapping[str, float | str]) -> None:
        """Add scalars."""
        for name, value in base.numbers(values).items():
            self._writer.add_scalar(name, value, step)

    def log_image(self, step: int, name: str, picture: npt.NDArray[np.uint8]) -> None:
        """Add a picture."""
        self._writer.add_image(name, picture, step, dataformats="HWC")

    def log_artifact(self, step: int, path: Path) -> None:
        """Nothing: TensorBoard keeps no files."""

    def finish(self, state: str) -> None:
        """Write all that waits."""
        self._writer.close()
