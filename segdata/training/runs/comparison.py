"""Runs side by side: which settings differ, what came of it, and the same pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdata.errors import UsageError
from segdata.system.files import write_whole
from segdata.training.runs import history, report
from segdata.training.runs.history import History
from segdata.training.trackers.base import CLASSES
from segdata.viz import charts
from segdata.viz import html as page

Row = tuple[str, tuple[Any, ...]]
"""A name, and one value for each run."""


@dataclass(frozen=True)
class Comparison:
    """Some runs.

    Attributes:
        runs: in the order given.
        settings: those that are not the same in all runs; None where a run does not have it.
        metrics: every validation number's best value, and the last loss; None where a run has none.
    """

    runs: tuple[History, ...]
    settings: tuple[Row, ...]
    metrics: tuple[Row, ...]

    def as_dict(self) -> dict[str, Any]:
        """The comparison as JSON holds it."""
        return {
            "runs": [
                {"run": str(run.run), "name": run.name, "state": run.state, "step": run.step} for run in self.runs
            ],
            "settings": {name: list(values) for name, values in self.settings},
            "metrics": {name: list(values) for name, values in self.metrics},
        }


def compare(runs: Sequence[str | Path]) -> Comparison:
    """Read some runs and find what differs.

    Raises:
        NotThere: a folder is no run.
    """
    found = tuple(history.read(run) for run in runs)
    flat = [_flat(run.config) for run in found]
    names = list(dict.fromkeys(name for settings in flat for name in settings))
    settings = [(name, tuple(one.get(name) for one in flat)) for name in names]
    numbers = sorted({name for run in found for name in run.names if name.startswith("validation/")})
    metrics: list[Row] = [(f"{name}, best", tuple(run.best(name) for run in found)) for name in numbers]
    metrics.append(("train/loss, last", tuple(run.last("train/loss") for run in found)))
    return Comparison(
        found,
        tuple(row for row in settings if any(value != row[1][0] for value in row[1])),
        tuple(row for row in metrics if any(value is not None for value in row[1])),
    )


def write(comparison: Comparison, path: Path) -> Path:
    """Write the comparison as one HTML page.

    Raises:
        UsageError: the path does not end in .html, or matplotlib is not installed.
    """
    if path.suffix != ".html":
        raise UsageError("a comparison is an HTML page", file=path, fix=f"write {path}.html")
    charts.require_matplotlib()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, page.page(f"{len(comparison.runs)} runs", _parts(comparison)).encode())
    return path


def _parts(comparison: Comparison) -> Iterable[str]:
    runs = comparison.runs
    header = ["", *(run.name for run in runs)]
    yield page.note("; ".join(f"{run.name}: {run.state}, {run.step:,} updates" for run in runs))
    yield page.heading("Settings that differ")
    yield page.table(header, [(name, *map(_cell, values)) for name, values in comparison.settings])
    whole = [row for row in comparison.metrics if not row[0].startswith(CLASSES)]
    single = [row for row in comparison.metrics if row[0].startswith(CLASSES)]
    yield page.heading("Metrics")
    yield page.table(header, [(name, *values) for name, values in whole])
    if single:
        rows = [(name.removeprefix(CLASSES), *values) for name, values in single]
        yield page.folded("by category", [page.table(header, rows)])
    yield page.heading("Curves")
    yield page.row(report.curves(runs))
    yield from _pictures(runs)


def _pictures(runs: Sequence[History]) -> Iterable[str]:
    """The last pictures of the samples that several runs have."""
    last = [run.pictures[max(run.pictures)] if run.pictures else {} for run in runs]
    names = [
        name for name in dict.fromkeys(name for one in last for name in one) if sum(name in one for one in last) > 1
    ]
    if names:
        yield page.heading("The same pictures")
        yield page.note("Truth on the left, detections on the right, as of each run's last pictures.")
    for name in names:
        yield page.row(
            report.shown(pictures[name], f"{name}, {run.name} after {max(run.pictures):,} updates")
            for run, pictures in zip(runs, last, strict=True)
            if name in pictures
        )


def _flat(document: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level; lists stay values."""
    flat: dict[str, Any] = {}
    for name, value in document.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _cell(value: Any) -> page.Cell:
    return value if value is None or isinstance(value, (int, float, str)) else json.dumps(value, ensure_ascii=False)
