"""An evaluation → one HTML page to look at: numbers, categories, curves, confusion, scores, sizes and the worst images."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.predictions import GroundTruth
from segdata.metrics.evaluate import Evaluation
from segdata.metrics.panoptic import metrics as segments
from segdata.metrics.report import charts as drawings
from segdata.metrics.report import tables as numbers
from segdata.metrics.report.outcomes import SIZES, Outcome, outcome
from segdata.metrics.report.worst_images import Drawn, drawn
from segdata.metrics.semantic import metrics as pixels
from segdata.system.files import disk_errors, write_whole
from segdata.viz import html as page
from segdata.viz.charts import require_matplotlib

FILE = "index.html"
WORST = 12
"""Images that are drawn."""

_CONFUSED = 12
_CONFUSED_HEAD = ("truth", "predicted", "how many", "share of the category")


def write(evaluation: Evaluation, folder: Path) -> Path:
    """Write the report of an evaluation.

    Args:
        folder: made where it is not there; an older report in it is replaced.

    Returns:
        The page. It fetches nothing and runs nothing.

    Raises:
        UsageError: matplotlib is not installed.
    """
    require_matplotlib()
    predictions, truth = evaluation.predictions, evaluation.truth
    parts = [
        page.note(f"Predictions: {predictions.path} ({predictions.kind})"),
        page.note(f"Truth: {truth.path} ({truth.format}, {len(truth):,} images, {len(truth.labels)} categories)"),
    ]
    for name, values in evaluation.metrics.items():
        parts.append(page.figures(name, numbers.headlines(values, truth.labels)))
    remarks = evaluation.problems["remarks"].items()
    if remarks:
        parts += [page.heading("Notes"), *(page.note(f"{item['count']:,} × {kind}") for kind, item in remarks)]
    found = outcome(predictions, truth) if "scores" in predictions.holds else None
    parts += _categories(evaluation, found)
    if found is not None:
        parts += _detections(found, truth)
    parts += _pixels(evaluation)
    worst = _worst(evaluation, found)
    if worst:
        parts += [page.heading("Worst images"), page.note("Truth beside prediction, the worst first.")]
        parts += [_image(item) for item in worst]
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / FILE, page.page("Evaluation", parts).encode("utf-8", "replace"))
    return folder / FILE


def _categories(evaluation: Evaluation, found: Outcome | None) -> list[str]:
    """A row for every category that a metric or a count speaks of."""
    labels = evaluation.truth.labels
    columns: dict[str, Any] = {}
    for name, values in evaluation.metrics.items():
        for title, column in numbers.columns(values, labels).items():
            columns[f"{name} {title}" if len(evaluation.metrics) > 1 else title] = column
    if found is not None:
        columns |= _counts(found, len(labels))
    shown = [
        index
        for index in range(len(labels))
        if any(isinstance(column.get(index), float) or column.get(index) for column in columns.values())
    ]
    if not shown:
        return []
    rows = [[labels[index].name, *(column.get(index) for column in columns.values())] for index in shown]
    return [
        page.heading("Categories"),
        page.note("n/a: nothing in the truth, or not evaluated."),
        page.table(("category", *columns), rows, bars=True),
    ]


def _counts(found: Outcome, categories: int) -> dict[str, dict[int, int]]:
    """Columns of what was matched, at the score where all categories together do best."""
    kept = found.score >= found.threshold
    counted = {
        "objects": found.truth_category,
        "right": found.category[kept & found.is_right],
        "wrong": found.category[kept & ~found.is_right],
        "missed": found.truth_category[found.found < found.threshold],
    }
    return {
        title: dict(enumerate(np.bincount(column, minlength=categories).tolist())) for title, column in counted.items()
    }


def _detections(found: Outcome, truth: GroundTruth) -> list[str]:
    """Curves, scores, sizes and confusion of detections."""
    names = [category.name for category in truth.labels.categories]
    threshold = found.threshold
    limits = (0.0, *SIZES, np.inf)
    by_size = [(found.area >= low) & (found.area < high) for low, high in itertools.pairwise(limits)]
    is_found = found.found >= threshold
    table = found.confusion(len(names), threshold)
    used = np.flatnonzero(table[:-1].sum(1) + table[:, :-1].sum(0))
    chosen = np.append(used, len(names))
    table = table[np.ix_(chosen, chosen)]
    shown = [names[index] for index in used.tolist()]
    return [
        page.heading("Detections"),
        page.note(
            "Matched at an overlap of 0.5, by score, the best hundred detections of an image; pale lines are single "
            f"categories. At a score of {threshold:.2f} precision and recall over all categories are best together "
            "(F1): counts, sizes and confusion are taken there."
        ),
        page.row(
            [
                drawings.curves([found.curve(index) for index in np.unique(found.truth_category)], found.curve()),
                drawings.scores(found.score[found.is_right], found.score[~found.is_right], threshold),
                drawings.sizes(
                    ("small\n< 32²", "medium\n< 96²", "large"),
                    [int(which.sum()) for which in by_size],
                    [int((which & is_found).sum()) for which in by_size],
                ),
            ]
        ),
        page.row(
            [
                drawings.confusion(shown, table, ("nothing there", "missed")),
                page.table(_CONFUSED_HEAD, _confused(shown, table, "missed", "nothing there")),
            ]
        ),
    ]


def _pixels(evaluation: Evaluation) -> list[str]:
    """Confusion of label maps, of the first metric that has it."""
    for result in evaluation.results.values():
        details = result.details
        if isinstance(details, pixels.Details):
            return [
                page.heading("Pixels"),
                page.note("Where the pixels of every category went, over all images."),
                page.row(
                    [
                        drawings.confusion(details.names, details.confusion, ("", "no class")),
                        page.table(_CONFUSED_HEAD, _confused(details.names, details.confusion, "no class", "")),
                    ]
                ),
            ]
    return []


def _confused(
    names: Sequence[str], table: npt.NDArray[np.int64], no_prediction: str, no_truth: str
) -> list[tuple[str, ...]]:
    """The largest mistakes: truth, prediction, how many, and which share of the truth's row."""
    wrong = table.copy()
    count = len(names)
    wrong[np.arange(count), np.arange(count)] = 0
    places = np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSED]
    rows: list[tuple[str, ...]] = []
    for row, column in zip(*np.unravel_index(places, wrong.shape), strict=True):
        if wrong[row, column]:
            there = names[row] if row < count else no_truth
            share = f"{wrong[row, column] / table[row].sum():.1%}" if row < count else "–"
            rows.append((there, names[column] if column < count else no_prediction, f"{wrong[row, column]:,}", share))
    return rows


def _worst(evaluation: Evaluation, found: Outcome | None) -> list[Drawn]:
    """The images in which most is wrong, drawn."""
    predictions, truth = evaluation.predictions, evaluation.truth
    ranked: list[tuple[int, str]] = []
    threshold = 0.0
    if found is not None:
        threshold = found.threshold
        errors, f1 = found.errors(len(truth), threshold)
        order = [place for place in np.lexsort((-errors, np.nan_to_num(f1, nan=2.0))).tolist() if errors[place]]
        ranked = [(place, f"{errors[place]} wrong or missed, F1 {f1[place]:.2f}") for place in order]
    else:
        ranked = _by_details(evaluation, truth)
    return [drawn(place, why, predictions, truth, threshold) for place, why in ranked[:WORST]]


def _by_details(evaluation: Evaluation, truth: GroundTruth) -> list[tuple[int, str]]:
    """Images by what the first metric that tells says of each, the worst first."""
    for result in evaluation.results.values():
        details = result.details
        if isinstance(details, pixels.Details):
            values, what = details.accuracy, "right pixels"
        elif isinstance(details, segments.Details):
            values, what = details.quality, "PQ"
        else:
            continue
        order = [at for at in np.argsort(values, kind="stable").tolist() if values[at] < 1]
        return [(truth.index_of_key[details.keys[at]], f"{values[at]:.1%} {what}") for at in order]
    return []


def _image(item: Drawn) -> str:
    captions = [page.picture(data, name, kind="jpeg") for name, data in item.drawings]
    return page.folded(f"{item.key}: {item.why}", [page.row(captions)], is_open=True)
