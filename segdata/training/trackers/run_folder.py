"""The run folder: the tracker that every run has."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from segdata.errors import DamagedData
from segdata.system import documents
from segdata.system.files import disk_errors, write_whole
from segdata.system.process import command
from segdata.system.reading import open_file, read_file
from segdata.version import __version__
from segdata.viz.overlay import png

if TYPE_CHECKING:
    import torch


METRICS = "metrics.jsonl"
TABLES = "confusion.json"
"""What else the last validation came to; see `contract.Judge.tables`."""
TIME = "%Y-%m-%d %H:%M UTC"


class RunFolder:
    """Writes `config.json`, `environment.json`, `metrics.jsonl`, `pictures/`, `state.json`."""

    def __init__(self, run: Path) -> None:
        self.run = run

    def start(self, run: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Write settings and environment."""
        write_json(run / "config.json", config)
        write_json(run / "environment.json", environment)
        write_json(run / "state.json", {"state": "running"})

    def log(self, step: int, values: Mapping[str, float | str]) -> None:
        """Append a line."""
        line = json.dumps({"step": step, **values}, ensure_ascii=True) + "\n"
        with disk_errors(self.run / METRICS), (self.run / METRICS).open("a") as file:
            file.write(line)

    def log_image(self, step: int, name: str, picture: npt.NDArray[np.uint8]) -> None:
        """Write `pictures/STEP/NAME.png`."""
        folder = self.run / "pictures" / f"{step:08d}"
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{file_name(name)}.png", png(picture))

    def log_artifact(self, step: int, path: Path) -> None:
        """Files of the run are in its folder already."""

    def finish(self, state: str) -> None:
        """Write how the run ended."""
        write_json(self.run / "state.json", {"state": state})


_Row = dict[str, Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | float | str | None]
_WHAT, _FIX = "a line of the run's metrics", "remove the line"
_MOST_BYTES = 1 << 20
"""Of a line; it has a number for each category."""


class _Line(Struct):
    step: Annotated[int, Meta(ge=0, le=2**53)]


def lines(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics: the step, and numbers and texts by name; a last one that is cut short is left out.

    Raises:
        DamagedData: a line that a run does not write.
    """
    path = run / METRICS
    rows: list[dict[str, Any]] = []
    with disk_errors(path):
        if not path.exists():
            return rows
    with disk_errors(path), open_file(path) as file:
        while line := file.readline(_MOST_BYTES):
            try:
                row = documents.parse_json(line, _Row, _WHAT, path, fix=_FIX)
                documents.typed(row, _Line, _WHAT, path, fix=_FIX)
            except DamagedData as error:
                if not line.endswith(b"\n") and len(line) < _MOST_BYTES:
                    break  # the process was killed while it wrote
                error.place = f"line {len(rows) + 1}" + (f", {error.place}" if error.place else "")
                raise
            rows.append(row)
    return rows


def is_done(run: Path) -> bool:
    """Whether a training ended there, with all that is written at its end."""
    path = run / "state.json"
    with disk_errors(path):
        return path.is_file() and b'"done"' in read_file(path)


def cut_back(run: Path, step: int) -> None:
    """Remove the metrics after `step`, which a run that resumes from there will log again."""
    rows = [row for row in lines(run) if row["step"] <= step]
    write_whole(run / METRICS, "".join(json.dumps(row) + "\n" for row in rows).encode())


def environment(device: torch.device) -> dict[str, Any]:
    """Versions and machine, time and command, without names of people, hosts or places."""
    import torch
    import torchvision

    return {
        "segdata": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "device": str(device) if device.type == "cpu" else torch.cuda.get_device_name(device),
        "began": time.strftime(TIME, time.gmtime()),
        "command": command(),
    }


def system(device: torch.device) -> dict[str, float]:
    """Peak memory in MiB, CPU seconds, and the GPU's peak memory in MiB."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    values = {"system/memory_mib": peak, "system/processor_seconds": time.process_time()}
    if device.type == "cuda":
        import torch

        values["system/gpu_memory_mib"] = torch.cuda.max_memory_allocated(device) / 2**20
    return values


def file_name(key: str) -> str:
    """A safe file name, of at most 210 bytes, for a sample's key; different keys have different names."""
    safe = "".join(character if character.isalnum() or character in "-_. " else "_" for character in key)[-50:]
    return safe if safe == key else f"{safe}-{zlib.crc32(key.encode('utf-8', 'surrogatepass')):08x}"


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """A JSON file for people and programs."""
    write_whole(path, json.dumps(document, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace"))
