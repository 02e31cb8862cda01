"""A run folder read back, finished or not: settings, metrics by step, pictures, weights."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy.typing as npt
from msgspec import Struct, field

from segdata.errors import NotThere
from segdata.models import checkpoint, registry, safetensors_files
from segdata.models.settings import Metric
from segdata.system import documents
from segdata.system.files import real_path
from segdata.training.trackers import run_folder

T = TypeVar("T")


class Data(Struct):
    """What a run was trained on; older runs do not say all of it."""

    pack: str | None = None
    images: int | None = None
    validation_images: int | None = None
    labels: list[str] | None = None
    remarks: list[str] = []


class Machine(Struct):
    """Where, when and by which command a run began; older runs do not say all of it."""

    device: str | None = None
    gpus: list[str] = []
    began: str | None = None
    segdata: str | None = None
    command: str | None = None


@dataclass(frozen=True)
class History:
    """A run so far.

    Attributes:
        run: its folder.
        config, environment: as they were written when it began.
        data, machine: the parts of them that a page is about.
        state: "running", "done", "stopped" or "failed".
        lines: numbers by step, in order.
        pictures: step → name → PNG file.
    """

    run: Path
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    data: Data
    machine: Machine
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
        return max((line["step"] for line in self.lines), default=0)

    @property
    def names(self) -> list[str]:
        """Every number's name, sorted."""
        return sorted({name for line in self.lines for name in line} - {"step"})

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of one number."""
        pairs = [(line["step"], line[name]) for line in self.lines if isinstance(line.get(name), (int, float))]
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
        DamagedData: its files are not what a run writes.
    """
    run = Path(run)
    if not is_run(run):
        raise NotThere(
            "this is no run", file=run, why="config.json is not there", fix="name the folder given to segdata train -o"
        )
    config = _document(run / "config.json", dict[str, Any])
    file = run / "environment.json"
    environment = _document(file, dict[str, Any]) if file.is_file() else {}
    state = run / "state.json"
    return History(
        run=run,
        config=config,
        environment=environment,
        data=_typed(config, _Config, run / "config.json").data,
        machine=_typed(environment, Machine, file),
        state=_document(state, _State).state if state.is_file() else "running",
        lines=tuple(run_folder.lines(run)),
        pictures=_pictures(run / "pictures"),
    )


def last_written(run: Path) -> str | None:
    """When the last number was logged, as a date and time in UTC; None before the first."""
    path = run / run_folder.METRICS
    return time.strftime(run_folder.TIME, time.gmtime(path.stat().st_mtime)) if path.is_file() else None


class _Config(Struct):
    data: Data = field(default_factory=Data)


class _State(Struct):
    state: str = "running"


def weights(run: Path) -> dict[str, npt.NDArray[Any]]:
    """The model's tensors in the run's newest checkpoint; none before the first.

    Raises:
        DamagedData: the checkpoint's description is damaged, or no tensors can be read.
    """
    folder = run / "checkpoints"
    newest = checkpoint.newest(folder) if folder.is_dir() else None
    if newest is None:
        return {}
    file = checkpoint.tensors_file(newest, checkpoint.read_document(newest))
    tensors = checkpoint.network_tensors(safetensors_files.some(file, checkpoint.is_of_network))
    return {name: safetensors_files.as_numpy(tensor) for name, tensor in tensors.items()}


_DAMAGED = ("the run's file", "restore it, or train the run anew")


def _document(path: Path, kind: type[T]) -> T:
    return documents.read_json(path, kind, _DAMAGED[0], fix=_DAMAGED[1])


def _typed(part: Any, kind: type[T], path: Path) -> T:
    return documents.typed(part, kind, _DAMAGED[0], path, fix=_DAMAGED[1])


def _pictures(folder: Path) -> dict[int, dict[str, Path]]:
    if not folder.is_dir():
        return {}
    steps = sorted(item for item in folder.iterdir() if item.is_dir() and re.fullmatch("[0-9]{1,18}", item.name))
    return {int(item.name): {path.stem: path for path in sorted(item.glob("*.png"))} for item in steps}
