"""A run's `report.html`: curves, examples beside the truth, categories, weights, settings; one file without network."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.system.files import write_whole
from segdata.training.runs import history
from segdata.training.runs import weight_histograms as layers
from segdata.training.runs.history import History
from segdata.training.trackers.base import CLASSES
from segdata.viz import charts
from segdata.viz import html as page

FILE = "report.html"
EXAMPLE_STEPS = 6
"""Most steps whose example pictures are shown: the first, the last, and some between."""

_PICTURE_WIDTH = 900
_EVERY_SECONDS = 30.0


class Page:
    """The tracker that keeps `report.html` up to date: every half minute at most, and at the end."""

    def __init__(self) -> None:
        self._written = time.monotonic()

    def start(self, run: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Find out at once whether charts can be drawn."""
        charts.require_matplotlib()
        self._run = run

    def log(self, step: int, values: Mapping[str, float | str]) -> None:
        """Write the page when it is old."""
        if time.monotonic() - self._written > _EVERY_SECONDS:
            write(self._run)
            self._written = time.monotonic()

    def log_image(self, step: int, name: str, picture: npt.NDArray[np.uint8]) -> None:
        """Nothing: the run folder has them."""

    def log_artifact(self, step: int, path: Path) -> None:
        """Nothing: the run folder has it."""

    def finish(self, state: str) -> None:
        """Write the page."""
        write(self._run)


def write(run: Path, *, pattern: str | None = None, first: int = 5) -> Path:
    """Write the report of a run into its folder.

    Args:
        pattern, first: whose weights are shown: see `layers.histograms`.

    Raises:
        NotThere: it is no run, or no layer matches.
    """
    found = history.read(run)
    path = run / FILE
    write_whole(path, page.page(f"Run {found.name}", _parts(found, pattern, first)).encode())
    return path


def _parts(run: History, pattern: str | None, first: int) -> Iterable[str]:
    best = run.best("validation/AP")
    yield page.note(
        f"{run.state}, {run.step:,} updates" + ("" if best is None else f", best mask AP {best:.3f} in validation")
    )
    yield page.heading("Curves")
    yield page.row(curves([run]))
    yield from _examples(run)
    yield from _categories(run)
    tensors = history.weights(run.run)
    if tensors:
        yield page.heading("Weights")
        yield page.note("Of the newest checkpoint; segdata runs RUN --layers PATTERN shows others.")
        yield page.row(weights(layers.histograms(tensors, pattern, first=first)))
    yield page.heading("System")
    yield page.row(
        charts.svg(charts.curves(title, {run.name: run.series(name)}, "updates", unit))
        for title, name, unit in _system(run)
    )
    yield page.heading("Settings")
    yield page.folded("all settings", [page.table(("setting", "value"), _rows(run.config))])
    yield page.folded("environment", [page.table(("what", "value"), _rows(run.environment))])


def curves(runs: Sequence[History]) -> list[str]:
    """Loss, its parts, validation and learning rate as SVG; several runs share each plot, and then without the parts."""
    names = sorted({name for run in runs for name in run.names})
    parts = [name for name in names if name.startswith("train/") and name not in _SINGLE]
    validation = [name for name in names if name.startswith("validation/") and not name.startswith(CLASSES)]
    if len(runs) > 1:
        parts, validation = [], [name for name in validation if name == "validation/AP"]
    found = []
    for title, chosen, limits in (
        ("Loss", ["train/loss"], None),
        ("Parts of the loss", parts, None),
        ("Validation" if len(runs) == 1 else "Mask AP in validation", validation, (0.0, 1.0)),
        ("Learning rate", ["train/learning_rate"], None),
    ):
        series = {
            _label(run, name, chosen, runs): run.series(name) for run in runs for name in chosen if run.series(name)[0]
        }
        if series:
            found.append(charts.svg(charts.curves(title, series, "updates", y_limits=limits)))
    return found


_SINGLE = ("train/loss", "train/learning_rate", "train/epoch")


def _label(run: History, name: str, chosen: Sequence[str], runs: Sequence[History]) -> str:
    short = name.split("/", 1)[1]
    return short if len(runs) == 1 else run.name if len(chosen) == 1 else f"{run.name}: {short}"


def weights(found: Iterable[layers.Histogram]) -> list[str]:
    """Histograms of tensors as SVG."""
    parts = []
    for one in found:
        about = f"{'×'.join(map(str, one.shape))}, mean {one.mean:.2g}, deviation {one.deviation:.2g}"
        parts.append(charts.svg(charts.histogram(one.name, one.counts, one.edges, about)))
    return parts


def spread(steps: Sequence[int], most: int = EXAMPLE_STEPS) -> list[int]:
    """At most so many of the steps: the first, the last, and some evenly between."""
    places = np.linspace(0, len(steps) - 1, min(most, len(steps))).round().astype(int).tolist()
    return [steps[place] for place in places]


def shown(path: Path, caption: str) -> str:
    """A picture of a run, made smaller where it is large."""
    from PIL import Image

    with Image.open(path) as opened:
        opened.draft("RGB", (_PICTURE_WIDTH, _PICTURE_WIDTH))
        image = opened.convert("RGB")
    image.thumbnail((_PICTURE_WIDTH, _PICTURE_WIDTH))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return page.picture(buffer.getvalue(), caption, kind="jpeg")


def _examples(run: History) -> Iterable[str]:
    steps = spread(list(run.pictures))
    if not steps:
        return
    yield page.heading("Examples")
    left_out = len(run.pictures) - len(steps)
    yield page.note(
        "Truth on the left, detections on the right."
        + (f" {left_out} more steps are in {run.name}/pictures." if left_out else "")
    )
    for step in reversed(steps):
        pictures = [shown(path, f"{name}, after {step:,} updates") for name, path in run.pictures[step].items()]
        is_last = step == steps[-1]
        yield page.row(pictures) if is_last else page.folded(f"after {step:,} updates", [page.row(pictures)])


def _categories(run: History) -> Iterable[str]:
    names = [name for name in run.names if name.startswith(CLASSES)]
    if names:
        yield page.heading("Categories")
        names.sort(key=lambda name: -(run.last(name) or 0.0))
        rows = [(name.removeprefix(CLASSES), run.last(name), run.best(name)) for name in names]
        yield page.table(("category", "mask AP, last", "best"), rows)


def _system(run: History) -> Iterable[tuple[str, str, str]]:
    for name in run.names:
        if name.startswith("system/"):
            yield name.removeprefix("system/").replace("_", " ").replace("mib", "in MiB"), name, ""


def _rows(document: Mapping[str, Any]) -> list[tuple[str, page.Cell]]:
    return [(name, value if isinstance(value, (int, float)) else str(value)) for name, value in document.items()]
