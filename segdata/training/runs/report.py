"""A run's `report.html`: curves, example pictures, categories, weights, settings; one file that needs no network."""

from __future__ import annotations

import fnmatch
import io
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from segdata.core import images
from segdata.errors import InvalidImage, NotThere, SegdataError, Unsafe
from segdata.metrics.report.charts import confusion
from segdata.system import documents
from segdata.system.files import disk_errors, write_whole
from segdata.system.reading import read_file
from segdata.training.runs import history
from segdata.training.runs.history import History
from segdata.training.trackers import run_folder
from segdata.training.trackers.base import category_of
from segdata.viz import charts, html

BINS = 50
FIRST = 5
"""Convolutions whose weights are shown where no pattern chooses."""


@dataclass(frozen=True)
class Histogram:
    """One tensor of a model.

    Attributes:
        name: as in the model's state dictionary.
        shape: of the tensor.
        counts: (BINS,) int64.
        edges: (BINS + 1,) float64; the outer ones are the least and the largest value.
        mean, deviation: of all values; the deviation is that of the population.
    """

    name: str
    shape: tuple[int, ...]
    counts: npt.NDArray[np.int64]
    edges: npt.NDArray[np.float64]
    mean: float
    deviation: float


def histograms(
    tensors: Mapping[str, npt.NDArray[Any]], pattern: str | None = None, *, first: int = FIRST
) -> list[Histogram]:
    """Histograms of the first convolutions, with their biases, or of the tensors whose names match a pattern.

    Args:
        tensors: name → values; names are taken in natural order (`layer2.10` after `layer2.9`), which in a ResNet is
            the order in which data passes.
        pattern: as in a shell: `*` is any text, `?` any character; all that match are taken.
        first: how many convolutions without a pattern.

    Raises:
        NotThere: no tensor's name matches.
    """
    names = sorted(tensors, key=_natural)
    if pattern is not None:
        chosen = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
        if not chosen:
            raise NotThere(f"no tensor matches {pattern!r}", why=f"there are {', '.join(names[:6])} …")
    else:
        weights = [name for name in names if np.ndim(tensors[name]) == 4][:first]
        biases = {name: re.sub("weight$", "bias", name) for name in weights}
        chosen = [one for name in weights for one in dict.fromkeys((name, biases[name])) if one in tensors]
    return [_histogram(name, tensors[name]) for name in chosen if np.size(tensors[name])]


def _histogram(name: str, tensor: npt.NDArray[Any]) -> Histogram:
    values = np.asarray(tensor, np.float64).reshape(-1)
    values = values[np.isfinite(values)]
    counts, edges = np.histogram(values, BINS)
    return Histogram(name, np.shape(tensor), counts.astype(np.int64), edges, float(values.mean()), float(values.std()))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


FILE = "report.html"
EXAMPLE_STEPS = 6
"""Most steps whose example pictures are shown: the first, the last, and some between."""

SIDES = "Ground truth on the left, predictions right of it; of label maps, a third picture shows wrong pixels in red"
"""What is where in an example picture."""

_PICTURE_WIDTH = 900
_EVERY_SECONDS = 30.0


class Page:
    """The tracker that writes `report.html`: every half minute at most, and at the end."""

    def __init__(self) -> None:
        self._written = time.monotonic()

    def start(self, run: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Raise at once where charts cannot be drawn."""
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
        """Write the html."""
        write(self._run, state=state)


def write(run: Path, *, pattern: str | None = None, first: int = FIRST, state: str | None = None) -> Path:
    """Write the report of a run into its folder.

    Args:
        pattern, first: whose weights are shown: see `histograms`.
        state: how the run ended, where its folder does not say so yet.

    Raises:
        NotThere: it is no run, or no layer matches.
    """
    read = history.read(run)
    if state is not None:
        read = replace(read, state=state)
    path = run / FILE
    write_whole(path, html.page(f"Run {read.name}", _parts(read, pattern, first)).encode("utf-8", "replace"))
    return path


def _parts(run: History, pattern: str | None, first: int) -> Iterable[str]:
    best = run.best(f"validation/{run.metric.name}")
    yield html.note(
        f"{run.state}, {run.step:,} updates"
        + ("" if best is None else f", best {run.metric.title} {best:.3f} in validation")
    )
    yield html.facts(_facts(run))
    for remark in run.data.remarks:
        yield html.note(remark)
    yield html.heading("Curves")
    plots = curves([run])
    yield html.row(plots) if plots else html.note("No number was logged yet: the first comes after log_steps updates.")
    if best is None:
        yield html.note(_without_validation(run))
    yield from _examples(run)
    yield from _categories(run)
    yield from _confusion(run)
    tensors = history.weights(run.run)
    yield html.heading("Weights")
    if not tensors:
        yield html.note("There is no checkpoint yet.")
    else:
        yield html.note("Of the newest checkpoint; segdata runs RUN --layers PATTERN shows others.")
        yield html.row(weights(histograms(tensors, pattern, first=first)))
    yield html.heading("System")
    hardware = [
        charts.svg(charts.curves(title, {run.name: run.series(name)}, "updates", unit))
        for title, name, unit in _system(run)
    ]
    yield html.row(hardware) if hardware else html.note("No number was logged yet.")
    yield html.heading("Settings")
    yield html.folded("all settings", [html.table(("setting", "value"), _rows(run.config))])
    yield html.folded("environment", [html.table(("what", "value"), _rows(run.environment))])


def _facts(run: History) -> list[tuple[str, html.Cell]]:
    """What was trained on what, when, where and by which command; what older runs do not say is left out."""
    data, machine = run.data, run.machine
    validated = data.validation_images or 0
    return [
        ("pack", data.pack),
        ("images", None if data.images is None else f"{data.images:,}, and {validated:,} for validation"),
        ("classes", None if data.labels is None else len(data.labels)),
        ("device", machine.device or ", ".join(machine.gpus) or None),
        ("began", machine.began),
        ("last number", history.last_written(run.run)),
        ("segdata", machine.segdata),
        ("command", machine.command),
    ]


def _without_validation(run: History) -> str:
    """Why there is no curve of a validation."""
    if not run.data.validation_images:
        return "No validation: the run has no validation split (segdata train --validation SPLIT)."
    if not run.config.get("validate_epochs", 1):
        return "No validation: validate_epochs is 0."
    if any(name.startswith("validation/") for name in run.names):
        return (
            f"{run.metric.title[:1].upper()}{run.metric.title[1:]} is not defined: the validation has no such object."
        )
    return "No validation yet: the first comes at the end of an epoch."


def curves(runs: Sequence[History]) -> list[str]:
    """Losses, validation metrics and learning rate as SVG; of several runs, only the total loss and the main metric."""
    names = sorted({name for run in runs for name in run.names})
    parts = [name for name in names if name.startswith("train/") and name not in _SINGLE]
    validation = [name for name in names if name.startswith("validation/") and category_of(name) is None]
    if len(runs) > 1:
        headlines = {f"validation/{run.metric.name}" for run in runs}
        parts, validation = [], [name for name in validation if name in headlines]
    titles = {run.metric.title[:1].upper() + run.metric.title[1:] for run in runs}
    plots = []
    for title, chosen, limits in (
        ("Loss", ["train/loss"], None),
        ("Parts of the loss", parts, None),
        ("Validation" if len(runs) == 1 else f"{' and '.join(sorted(titles))} in validation", validation, (0.0, 1.0)),
        ("Learning rate", ["train/learning_rate"], None),
    ):
        series = {
            _label(run, name, chosen, runs): run.series(name) for run in runs for name in chosen if run.series(name)[0]
        }
        if series:
            plots.append(charts.svg(charts.curves(title, series, "updates", y_limits=limits)))
    return plots


_SINGLE = ("train/loss", "train/learning_rate", "train/epoch")


def _label(run: History, name: str, chosen: Sequence[str], runs: Sequence[History]) -> str:
    short = name.split("/", 1)[1]
    return short if len(runs) == 1 else run.name if len(chosen) == 1 else f"{run.name}: {short}"


def weights(tensors: Iterable[Histogram]) -> list[str]:
    """Histograms of tensors as SVG."""
    parts = []
    for one in tensors:
        about = f"{'×'.join(map(str, one.shape))}, mean {one.mean:.2g}, deviation {one.deviation:.2g}"
        parts.append(charts.svg(charts.histogram(one.name, one.counts, one.edges, about)))
    return parts


def spread(steps: Sequence[int], most: int = EXAMPLE_STEPS) -> list[int]:
    """At most so many of the steps: the first, the last, and some evenly between."""
    indices = np.linspace(0, len(steps) - 1, min(most, len(steps))).round().astype(int).tolist()
    return [steps[index] for index in indices]


def shown(path: Path, caption: str) -> str:
    """A picture of a run, made smaller where it is large; of a damaged one, a note."""
    from PIL import Image

    with disk_errors(path):
        data = read_file(path)
    try:
        image = Image.fromarray(images.decode(data))
    except (InvalidImage, Unsafe) as error:
        return html.note(f"{caption}: the picture cannot be shown: {error.message}")
    image.thumbnail((_PICTURE_WIDTH, _PICTURE_WIDTH))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return html.picture(buffer.getvalue(), caption, kind="jpeg")


def _examples(run: History) -> Iterable[str]:
    steps = spread(list(run.pictures))
    yield html.heading("Examples")
    if not steps:
        yield html.note("No picture yet: they are made at each validation (example_pictures, validate_epochs).")
        return
    left_out = len(run.pictures) - len(steps)
    yield html.note(f"{SIDES}." + (f" {left_out} more steps are in {run.name}/pictures." if left_out else ""))
    for step in reversed(steps):
        pictures = [shown(path, f"{name}, after {step:,} updates") for name, path in run.pictures[step].items()]
        is_last = step == steps[-1]
        yield html.row(pictures) if is_last else html.folded(f"after {step:,} updates", [html.row(pictures)])


def _categories(run: History) -> Iterable[str]:
    names = [name for name in run.names if category_of(name) is not None]
    if names:
        yield html.heading("Categories")
        yield html.note("The worst first; n/a and left out are categories without an object in the validation.")
        names.sort(key=lambda name: run.last(name) or 0.0)
        rows = [(category_of(name), run.last(name), run.best(name)) for name in names]
        yield html.table(("category", f"{run.metric.title}, last", "best"), rows)


class _Tables(Struct):
    """The confusion matrix that the last validation left; see `contract.Judge.tables`."""

    step: Annotated[int, Meta(ge=0, le=2**53)]
    names: Annotated[list[str], Meta(min_length=1, max_length=65_535)]
    confusion: list[list[Annotated[int, Meta(ge=0, le=2**53)]]]
    unpredicted: list[Annotated[int, Meta(ge=0, le=2**53)]]

    def table(self) -> npt.NDArray[np.int64] | None:
        """(K, K + 1) int64 pixels; None where the sizes do not fit."""
        count = len(self.names)
        if len(self.unpredicted) != count or [len(row) for row in self.confusion] != [count] * count:
            return None
        return np.column_stack((np.array(self.confusion, np.int64), np.array(self.unpredicted, np.int64)))


def _confusion(run: History) -> Iterable[str]:
    file = run.run / run_folder.TABLES
    if not file.is_file():
        return
    yield html.heading("Confusion")
    try:
        tables = documents.read_json(file, _Tables, "the confusion matrix")
    except SegdataError as error:
        yield html.note(f"It cannot be shown: {error.message}")
        return
    table = tables.table()
    if table is None:
        yield html.note("It cannot be shown: its sizes do not fit its names.")
        return
    yield html.note(f"Where the pixels of every category went in the last validation, after {tables.step:,} updates.")
    yield html.row([confusion(tables.names, table, ("", "no class"))])


def _system(run: History) -> Iterable[tuple[str, str, str]]:
    for name in run.names:
        if name.startswith("system/"):
            yield name.removeprefix("system/").replace("_", " ").replace("mib", "in MiB"), name, ""


def _rows(document: Mapping[str, Any]) -> list[tuple[str, html.Cell]]:
    return [(name, value if isinstance(value, (int, float)) else str(value)) for name, value in document.items()]
