"""Runs side by side: settings that differ, metrics, curves, and the same example pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdata.errors import NotThere, UsageError, number_of
from segdata.system.files import write_whole
from segdata.training.runs import history, report
from segdata.training.runs.history import History
from segdata.training.trackers.base import category_of, flat
from segdata.viz import charts, html

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


def runs_in(folders: Sequence[str | Path]) -> tuple[list[Path], list[Path]]:
    """Runs, and what is none: of each folder itself, or, where it is no run, of what lies in it.

    Returns:
        The runs, each once, and the folders beside them that are no runs.

    Raises:
        NotThere: a folder is no run and has none in it.
    """
    runs: list[Path] = []
    others: list[Path] = []
    for folder in map(Path, folders):
        if history.is_run(folder) or not folder.is_dir():
            runs.append(folder)
            continue
        inner = sorted(item for item in folder.iterdir() if item.is_dir() and not item.name.startswith("."))
        within = [item for item in inner if history.is_run(item)]
        if not within:
            raise NotThere(
                "this is no run, and no folder in it is one",
                file=folder,
                why="neither has a config.json that segdata train wrote",
                fix="name the folder given to segdata train -o, or the one that such folders are in",
            )
        runs += within
        others += [item for item in inner if item not in within]
    return list(dict.fromkeys(runs)), others


def compare(runs: Sequence[str | Path]) -> Comparison:
    """Read some runs and compare them.

    Raises:
        NotThere: a folder is no run.
    """
    histories = tuple(history.read(run) for run in runs)
    configs = [flat(run.config) for run in histories]
    names = list(dict.fromkeys(name for config in configs for name in config))
    settings = [(name, tuple(config.get(name) for config in configs)) for name in names]
    numbers = sorted({name for run in histories for name in run.names if name.startswith("validation/")})
    metrics: list[Row] = [(f"{name}, best", tuple(run.best(name) for run in histories)) for name in numbers]
    metrics.append(("train/loss, last", tuple(run.last("train/loss") for run in histories)))
    return Comparison(
        histories,
        tuple(row for row in settings if any(value != row[1][0] for value in row[1])),
        tuple(row for row in metrics if any(value is not None for value in row[1])),
    )


def write(comparison: Comparison, path: Path) -> Path:
    """Write the comparison as one HTML html.

    Raises:
        UsageError: the path does not end in .html, or matplotlib is not installed.
    """
    if path.suffix != ".html":
        raise UsageError("a comparison is an HTML page", file=path, fix=f"write {path}.html")
    charts.require_matplotlib()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(
        path, html.page(f"{number_of(len(comparison.runs), 'run')}", _parts(comparison)).encode("utf-8", "replace")
    )
    return path


def _parts(comparison: Comparison) -> Iterable[str]:
    runs = comparison.runs
    header = ["", *(run.name for run in runs)]
    yield html.note("; ".join(f"{run.name}: {run.state}, {run.step:,} updates" for run in runs))
    yield html.heading("Settings that differ")
    differing = [(name, *map(_cell, values)) for name, values in comparison.settings]
    yield html.table(header, differing) if differing else html.note("None: all settings are the same.")
    whole = [row for row in comparison.metrics if category_of(row[0]) is None]
    single = [row for row in comparison.metrics if category_of(row[0]) is not None]
    yield html.heading("Metrics")
    yield html.table(header, [(name, *values) for name, values in whole])
    if single:
        rows = [(category_of(name), *values) for name, values in single]
        yield html.folded("by category", [html.table(header, rows)])
    yield html.heading("Curves")
    yield html.row(report.curves(runs))
    yield from _pictures(runs)


def _pictures(runs: Sequence[History]) -> Iterable[str]:
    """The last pictures of the samples that several runs have."""
    last = [run.pictures[max(run.pictures)] if run.pictures else {} for run in runs]
    names = [
        name for name in dict.fromkeys(name for one in last for name in one) if sum(name in one for one in last) > 1
    ]
    if names:
        yield html.heading("The same pictures")
        yield html.note(f"{report.SIDES}; as of each run's last pictures.")
    for name in names:
        yield html.row(
            report.shown(pictures[name], f"{name}, {run.name} after {max(run.pictures):,} updates")
            for run, pictures in zip(runs, last, strict=True)
            if name in pictures
        )


def _cell(value: Any) -> html.Cell:
    return value if value is None or isinstance(value, (int, float, str)) else json.dumps(value, ensure_ascii=False)
