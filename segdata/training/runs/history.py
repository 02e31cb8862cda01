"""A run folder read back, finished or not: settings, metrics by step, pictures, weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.errors import InvalidInput, NotThere
from segdata.models import checkpoint, registry
from segdata.models.settings import Metric
from segdata.system.files import disk_errors, real_path
from segdata.system.reading import read_text, require_file
from segdata.training.trackers import run_folder


@dataclass(frozen=True)
class History:
    """A run so far.

    Attributes:
        run: its folder.
        config, environment: as they were written when it began.
        state: "running", "done", "stopped" or "failed".
        lines: numbers by step, in order.
        pictures: step → name → PNG file.
    """

    run: Path
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    state: str
    lines: tuple[Mapping[str, Any], ...]
    pictures: Mapping[int, Mapping[str, Path]]

    @property
    def name(self) -> str:
        """The folder's name."""
        return real_path(self.run).name

    @property
    def metric(self) -> Metric:
        """The validation metric of its model."""
        return registry.settings_type(str(self.config.get("model", registry.DEFAULT))).METRIC

    @property
    def step(self) -> int:
        """The last step with a number."""
        return max((int(line["step"]) for line in self.lines), default=0)

    @property
    def names(self) -> list[str]:
        """Every number's name, sorted."""
        return sorted({name for line in self.lines for name in line} - {"step"})

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of one number."""
        pairs = [(int(line["step"]), line[name]) for line in self.lines if isinstance(line.get(name), (int, float))]
        return [step for step, _ in pairs], [float(value) for _, value in pairs]

    def last(self, name: str) -> float | None:
        """The latest value of a number."""
        values = self.series(name)[1]
        return values[-1] if values else None

    def best(self, name: str) -> float | None:
        """The highest value of a number."""
        return max(self.series(name)[1], default=None)


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's."""
    return (folder / "config.json").is_file()


def read(run: str | Path) -> History:
    """Read a run folder.

    Raises:
        NotThere: it is no run folder.
        InvalidInput: its files are not what a run writes.
    """
    run = Path(run)
    if not is_run(run):
        raise NotThere(
            "this is no run", file=run, why="config.json is not there", fix="name the folder given to segdata train -o"
        )
    environment = run / "environment.json"
    state = run / "state.json"
    return History(
        run,
        _document(run / "config.json"),
        _document(environment) if environment.is_file() else {},
        str(_document(state).get("state", "running")) if state.is_file() else "running",
        tuple(line for line in run_folder.lines(run) if isinstance(line, dict) and isinstance(line.get("step"), int)),
        _pictures(run / "pictures"),
    )


def weights(run: Path) -> dict[str, npt.NDArray[Any]]:
    """The model's tensors in the run's newest checkpoint; none before the first."""
    from safetensors import safe_open

    folder = run / "checkpoints"
    newest = checkpoint.newest(folder) if folder.is_dir() else None
    if newest is None:
        return {}
    tensors = checkpoint.tensors_file(newest, checkpoint.read_document(newest))
    require_file(tensors)
    with safe_open(str(tensors), framework="numpy") as file:
        names = [name for name in file.keys() if name.startswith("model.")]  # noqa: SIM118 (not a dictionary)
        return {name.removeprefix("model."): np.asarray(file.get_tensor(name)) for name in names}


def _document(path: Path) -> dict[str, Any]:
    with disk_errors(path):
        text = read_text(path, "replace")
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InvalidInput("a run's file is not JSON", file=path, why=str(error)) from error
    if not isinstance(document, dict):
        raise InvalidInput("a run's file is not a JSON object", file=path)
    return document


def _pictures(folder: Path) -> dict[int, dict[str, Path]]:
    if not folder.is_dir():
        return {}
    steps = sorted(item for item in folder.iterdir() if item.is_dir() and item.name.isdigit())
    return {int(item.name): {path.stem: path for path in sorted(item.glob("*.png"))} for item in steps}
