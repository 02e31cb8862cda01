"""Statistics → one HTML page: figures by split, categories, charts, and which categories occur together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segdata.core.findings import folded
from segdata.errors import UsageError
from segdata.statistics import plots
from segdata.statistics.counts import Statistics, Tally
from segdata.system.files import write_whole
from segdata.version import __version__
from segdata.viz import charts, html

TOGETHER = 24
"""Most categories in the chart of co-occurrence."""
_SPLITS = 6
"""Most splits with a column in the table of categories."""


def write(statistics: Statistics, path: Path) -> Path:
    """Write the page.

    Raises:
        UsageError: the name does not end in .html, or matplotlib is not installed.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError("a page of statistics is an HTML file", file=path, fix=f"--html {path}.html")
    charts.require_matplotlib()
    path.parent.mkdir(parents=True, exist_ok=True)
    title = f"What {statistics.source.resolve().name} holds"
    write_whole(path, html.page(title, _parts(statistics)).encode("utf-8", "replace"))
    return path


def _parts(statistics: Statistics) -> Iterable[str]:
    total = statistics.total
    figures = total.figures()
    yield html.note(
        f"{statistics.source} ({statistics.format}, labels {statistics.labels.name}), counted by segdata {__version__}"
    )
    splits = [(name, tally.sums["images"]) for name, tally in statistics.splits.items()]
    yield html.figures(
        "In all",
        [
            ("images", figures["images"]),
            ("categories that occur", figures["categories_that_occur"]),
            ("objects", figures["instances"]),
            *((f"images of {name}", count) for name, count in splits[:_SPLITS]),
        ],
    )
    yield from _remarks(statistics.problems)
    yield html.heading("By split")
    yield _by_split(statistics)
    shared = [f"{one} and {other}: {count:,}" for (one, other), count in statistics.shared.items()]
    yield html.note(f"Samples in two splits: {'; '.join(shared)}." if shared else "No sample is in two splits.")
    yield html.heading("Categories")
    yield _by_category(statistics)
    yield html.heading("Charts")
    yield html.row(charts.svg(figure) for figure in plots.figures(statistics).values())
    yield from _together(statistics)


def _remarks(problems: Mapping[str, Any]) -> Iterable[str]:
    remarks = folded(problems.get("remarks", {}))
    if remarks:
        yield html.folded(
            f"{len(remarks)} remarks on the source",
            [html.table(("what", "how often"), [(kind, item["count"]) for kind, item in remarks.items()])],
        )


def _by_split(statistics: Statistics) -> str:
    columns: dict[str, Tally] = {"all": statistics.total, **statistics.splits}
    figures = {name: tally.figures() for name, tally in columns.items()}
    rows = [
        (name.replace("_", " "), *(_cell(name, figures[column][name]) for column in columns))
        for name, value in figures["all"].items()
        if value is not None
    ]
    return html.table(("", *columns), rows)


def _cell(name: str, value: float | None) -> html.Cell:
    return f"{value:.1%}" if value is not None and name.endswith("share") else value


def _by_category(statistics: Statistics) -> str:
    """Categories that occur, the most frequent first; objects in each split."""
    counted = statistics.total.categories(statistics.labels)
    splits = list(statistics.splits.items())[:_SPLITS] if len(statistics.splits) > 1 else []
    by_split = [tally.instances if tally.per_image else tally.images_with for _, tally in splits]
    order = sorted(range(len(counted)), key=lambda index: (-counted[index]["instances"], -counted[index]["pixels"]))
    rows = [
        (
            counted[index]["name"],
            counted[index]["instances"],
            counted[index]["images"],
            _cell("pixel_share", counted[index]["pixel_share"]),
            *(int(column[index]) for column in by_split),
        )
        for index in order
        if counted[index]["images"]
    ]
    absent = [item["name"] for item in counted if not item["images"]]
    table = html.table(("category", "objects", "images", "pixels", *(f"in {name}" for name, _ in splits)), rows)
    return table + (html.note(f"Never: {', '.join(absent)}") if absent else "")


def _together(statistics: Statistics) -> Iterable[str]:
    """Of the images with the row's category, the share that has the column's, too."""
    total = statistics.total
    order = np.argsort(-total.images_with, kind="stable")
    chosen = order[total.images_with[order] > 0][:TOGETHER]
    yield html.heading("Together")
    if len(chosen) < 2:
        yield html.note("Fewer than two categories occur.")
        return
    names = [statistics.labels[index].name for index in chosen.tolist()]
    counts = total.together[np.ix_(chosen, chosen)]
    shares = counts / np.maximum(np.diag(counts)[:, None], 1)
    present = int(np.count_nonzero(total.images_with))
    most = f" The {len(chosen)} most frequent of {present} categories." if len(chosen) < present else ""
    yield html.note(f"Of the images with the category on the left, the share that has the one below, too.{most}")
    yield charts.svg(
        charts.matrix("Categories in the same image", shares, names, names, "has this, too", "images with")
    )
