"""Where a run's numbers and pictures go: five calls, and a run folder that is always written.

To add a tracker: write a class with the five methods of `Tracker` and pass it to `engine.train(trackers=[…])`, which
calls it in a thread of its own. Whatever it raises is noted once, and it is not called again: a tracker never stops a run.
"""

from __future__ import annotations

import io
import json
import logging
import os
import platform
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

import segdata
from segdata.files import disk_errors, write_whole

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)

METRICS = "metrics.jsonl"


class Tracker(Protocol):
    """What a run tells; called in this order: `start`, any of the middle three, `finish`."""

    def start(self, run: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """A run begins, or goes on in the same folder."""

    def log(self, step: int, values: Mapping[str, float | str]) -> None:
        """Numbers after `step` updates: `train/…`, `validation/…`, `system/…`."""

    def log_image(self, step: int, name: str, picture: npt.NDArray[np.uint8]) -> None:
        """A picture, (H, W, 3) uint8 RGB; `name` is the same for the same sample at every step."""

    def log_artifact(self, step: int, path: Path) -> None:
        """A file of the run."""

    def finish(self, state: str) -> None:
        """The run ends: "done", "stopped" or "failed"."""


class RunFolder:
    """The tracker that is always there: `config.json`, `environment.json`, `metrics.jsonl`, `pictures/`, `state.json`."""

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
        """Note how it ended."""
        write_json(self.run / "state.json", {"state": state})


class All:
    """Several trackers as one; those that fail are left out from then on.

    Args:
        first: the one whose errors count: without it there would be no record at all.
    """

    def __init__(self, first: Tracker, others: Sequence[Tracker]) -> None:
        self._first = first
        self._others = list(others)

    def start(self, run: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """See `Tracker`."""
        self._call("start", run, config, environment)

    def log(self, step: int, values: Mapping[str, float | str]) -> None:
        """See `Tracker`."""
        self._call("log", step, values)

    def log_image(self, step: int, name: str, picture: npt.NDArray[np.uint8]) -> None:
        """See `Tracker`."""
        self._call("log_image", step, name, picture)

    def log_artifact(self, step: int, path: Path) -> None:
        """See `Tracker`."""
        self._call("log_artifact", step, path)

    def finish(self, state: str) -> None:
        """See `Tracker`."""
        self._call("finish", state)

    def _call(self, method: str, *arguments: Any) -> None:
        getattr(self._first, method)(*arguments)
        for tracker in list(self._others):
            try:
                getattr(tracker, method)(*arguments)
            except Exception as error:
                self._others.remove(tracker)
                name = getattr(tracker, "name", type(tracker).__name__)
                _log.warning("%s failed and is left out: %r", name, error)


def lines(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics; a last one that is cut short is left out."""
    try:
        text = (run / METRICS).read_text()
    except FileNotFoundError:
        return []
    found = []
    for line in text.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


def cut_back(run: Path, step: int) -> None:
    """Forget the metrics after `step`: a run that goes on from there will write them again."""
    kept = [line for line in lines(run) if line["step"] <= step]
    write_whole(run / METRICS, "".join(json.dumps(line) + "\n" for line in kept).encode())


def environment() -> dict[str, Any]:
    """Versions and machine, without names of people, hosts or places."""
    import torch
    import torchvision

    return {
        "segdata": segdata.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "command": Path(sys.argv[0]).name,
    }


def system(device: torch.device) -> dict[str, float]:
    """What the process uses: largest memory in MiB, processors at work, and the GPU's largest memory."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    found = {"system/memory_mib": peak, "system/processor_seconds": time.process_time()}
    if device.type == "cuda":
        import torch

        found["system/gpu_memory_mib"] = torch.cuda.max_memory_allocated(device) / 2**20
    return found


def file_name(key: str) -> str:
    """A key as one safe file name of at most 210 bytes; different keys have different names."""
    safe = "".join(character if character.isalnum() or character in "-_. " else "_" for character in key)[-50:]
    return safe if safe == key else f"{safe}-{zlib.crc32(key.encode('utf-8', 'surrogatepass')):08x}"


def png(picture: npt.NDArray[np.uint8]) -> bytes:
    """A picture as PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """A JSON file for people and programs."""
    write_whole(path, json.dumps(document, indent=1, ensure_ascii=False).encode())
