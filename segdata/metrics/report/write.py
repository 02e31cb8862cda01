"""An evaluation → one HTML page: numbers, categories, curves, confusion, scores, sizes and the worst images."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.predictions import GroundTruth
from segdata.metrics.evaluate import Evaluation
from segdata.metrics.panoptic.metrics import PanopticDetails
from segdata.metrics.report import charts, tables
from segdata.metrics.report.outcomes import SIZES, Outcomes, match_all
from segdata.metrics.report.worst_images import WorstImage, draw
from segdata.metrics.semantic.metrics import PixelDetails
from segdata.system.files import disk_errors, write_whole
from segdata.system.process import command
from segdata.version import __version__
from segdata.viz import html
from segdata.viz.charts import require_matplotlib

FILE = "index.html"
WORST = 12
"""Images that are drawn."""

_CONFUSED = 12
_CONFUSED_HEAD = ("ground truth", "predicted", "how many", "share of the category")


def write(evaluation: Evaluation, folder: Path) -> Path:
    """Write the report of an evaluation.

    Args:
        folder: made where it is not there; an older report in it is replaced.

    Returns:
        The html. It fetches nothing and runs nothing.

    Raises:
        UsageError: matplotlib is not installed.
    """
    require_matplotlib()
    predictions, truth = evaluation.predictions, evaluation.truth
    parts = [html.facts(_facts(evaluation))]
    for name, values in evaluation.metrics.items():
        parts.append(html.figures(name, tables.headlines(values, truth.labels)))
    remarks = evaluation.problems["remarks"].items()
    if remarks:
        parts += [html.heading("Notes"), *(html.note(f"{item['count']:,} × {kind}") for kind, item in remarks)]
    outcomes = match_all(predictions, truth, evaluation.limit) if "scores" in predictions.holds else None
    parts += _categories(evaluation, outcomes)
    if outcomes is not None:
        parts += _detections(outcomes, truth, evaluation.limit)
    parts += _pixels(evaluation)
    worst = _worst(evaluation, outcomes)
    if worst:
        parts += [html.heading("Worst images"), html.note("Ground truth beside prediction, the worst first.")]
        parts += [_image(item) for item in worst]
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / FILE, html.page("Evaluation", parts).encode("utf-8", "replace"))
    return folder / FILE


def _facts(evaluation: Evaluation) -> list[tuple[str, html.Cell]]:
    """What was compared, when, by which version and command."""
    predictions, truth = evaluation.predictions, evaluation.truth
    whole = sum(len(members) for members in truth.splits.values())
    split = [name for name, members in truth.splits.items() if len(members) == len(truth)]
    return [
        ("predictions", f"{predictions.path} ({predictions.kind})"),
        ("ground truth", f"{truth.path} ({truth.format})"),
        (
            "images",
            f"{len(truth):,} images{f' of {split[0]}' if split and whole else ''}, {len(truth.labels)} categories",
        ),
        ("metrics", ", ".join(evaluation.metrics)),
        ("written", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())),
        ("segdata", __version__),
        ("command", command()),
    ]


def _categories(evaluation: Evaluation, outcomes: Outcomes | None) -> list[str]:
    """A row for every category that a metric or a count speaks of."""
    labels = evaluation.truth.labels
    columns: dict[str, Any] = {}
    for name, values in evaluation.metrics.items():
        for title, column in tables.columns(values, labels).items():
            columns[f"{name} {title}" if len(evaluation.metrics) > 1 else title] = column
    if outcomes is not None:
        columns |= _counts(outcomes, len(labels))
    shown = [
        index
        for index in range(len(labels))
        if any(isinstance(column.get(index), float) or column.get(index) for column in columns.values())
    ]
    if not shown:
        return []
    rows = [[labels[index].name, *(column.get(index) for column in columns.values())] for index in shown]
    rows.sort(key=lambda row: next((value for value in row[1:] if isinstance(value, float)), 2.0))
    return [
        html.heading("Categories"),
        html.note("The worst first; n/a: nothing in the ground truth, or not evaluated."),
        html.table(("category", *columns), rows, bars=True),
    ]


def _counts(outcomes: Outcomes, categories: int) -> dict[str, dict[int, int]]:
    """Columns of what was matched, at the score threshold of the best F1."""
    above = outcomes.score >= outcomes.threshold
    counted = {
        "objects": outcomes.truth_category,
        "right": outcomes.category[above & outcomes.is_right],
        "wrong": outcomes.category[above & ~outcomes.is_right],
        "missed": outcomes.truth_category[outcomes.matched_score < outcomes.threshold],
    }
    return {
        title: dict(enumerate(np.bincount(column, minlength=categories).tolist())) for title, column in counted.items()
    }


def _detections(outcomes: Outcomes, truth: GroundTruth, limit: int | None) -> list[str]:
    """Curves, scores, sizes and confusion of detections."""
    names = [category.name for category in truth.labels.categories]
    counted = "all detections" if limit is None else f"the best {limit:,} detections of an image and category"
    threshold = outcomes.threshold
    limits = (0.0, *SIZES, np.inf)
    by_size = [(outcomes.area >= low) & (outcomes.area < high) for low, high in itertools.pairwise(limits)]
    is_detected = outcomes.matched_score >= threshold
    table = outcomes.confusion(len(names), threshold)
    used = np.flatnonzero(table[:-1].sum(1) + table[:, :-1].sum(0))
    chosen = np.append(used, len(names))
    table = table if len(chosen) == len(table) else table[np.ix_(chosen, chosen)]
    shown = [names[index] for index in used.tolist()]
    return [
        html.heading("Detections"),
        html.note(
            f"Matched at an IoU of 0.5, by score, {counted}; pale lines are single categories. At a score of "
            f"{threshold:.2f} precision and recall over all categories are best together (F1): counts, sizes and "
            "confusion are taken there."
        ),
        html.row(
            [
                charts.curves(
                    [outcomes.curve(index) for index in np.unique(outcomes.truth_category)], outcomes.curve()
                ),
                charts.scores(outcomes.score[outcomes.is_right], outcomes.score[~outcomes.is_right], threshold),
                charts.sizes(
                    ("small\n< 32²", "medium\n< 96²", "large"),
                    [int(which.sum()) for which in by_size],
                    [int((which & is_detected).sum()) for which in by_size],
                ),
            ],
            least=20,
        ),
        charts.confusion(shown, table, ("nothing there", "missed")),
        _mistakes(shown, table, "missed", "nothing there"),
    ]


def _pixels(evaluation: Evaluation) -> list[str]:
    """Confusion of label maps, of the first metric that has it."""
    for result in evaluation.results.values():
        details = result.details
        if isinstance(details, PixelDetails):
            return [
                html.heading("Pixels"),
                html.note("Where the pixels of every category went, over all images."),
                charts.confusion(details.names, details.confusion, ("", "no class")),
                _mistakes(details.names, details.confusion, "no class", ""),
            ]
    return []


def _mistakes(names: Sequence[str], table: npt.NDArray[np.int64], no_prediction: str, no_truth: str) -> str:
    """The largest mistakes as a table."""
    rows = _confused(names, table, no_prediction, no_truth)
    return html.table(_CONFUSED_HEAD, rows) if rows else html.note("No mistake at this score.")


def _confused(
    names: Sequence[str], table: npt.NDArray[np.int64], no_prediction: str, no_truth: str
) -> list[tuple[str, ...]]:
    """The largest mistakes: ground truth, prediction, how many, and which share of the ground truth's row."""
    count = len(names)
    row, column = np.nonzero(table)
    is_wrong = (row != column) | (row == count)
    row, column = row[is_wrong], column[is_wrong]
    largest = np.argsort(-table[row, column], kind="stable")[:_CONFUSED]
    rows: list[tuple[str, ...]] = []
    for r, c in zip(row[largest].tolist(), column[largest].tolist(), strict=True):
        truth = names[r] if r < count else no_truth
        predicted = names[c] if c < count else no_prediction
        share = f"{table[r, c] / table[r].sum():.1%}" if r < count else "–"
        rows.append((truth, predicted, f"{table[r, c]:,}", share))
    return rows


def _worst(evaluation: Evaluation, outcomes: Outcomes | None) -> list[WorstImage]:
    """The images in which most is wrong, drawn."""
    predictions, truth = evaluation.predictions, evaluation.truth
    ranked: list[tuple[int, str]] = []
    threshold = 0.0
    if outcomes is not None:
        threshold = outcomes.threshold
        errors, f1 = outcomes.errors(len(truth), threshold)
        order = [index for index in np.lexsort((-errors, np.nan_to_num(f1, nan=2.0))).tolist() if errors[index]]
        ranked = [(index, f"{errors[index]} wrong or missed, F1 {f1[index]:.2f}") for index in order]
    else:
        ranked = _by_details(evaluation, truth)
    return [draw(index, why, predictions, truth, threshold) for index, why in ranked[:WORST]]


def _by_details(evaluation: Evaluation, truth: GroundTruth) -> list[tuple[int, str]]:
    """Images by their value under the first metric that has one for each image, the worst first."""
    for result in evaluation.results.values():
        details = result.details
        if isinstance(details, PixelDetails):
            values, measure = details.accuracy, "right pixels"
        elif isinstance(details, PanopticDetails):
            values, measure = details.quality, "PQ"
        else:
            continue
        order = [row for row in np.argsort(values, kind="stable").tolist() if values[row] < 1]
        return [(truth.index_of_key[details.keys[row]], f"{values[row]:.1%} {measure}") for row in order]
    return []


def _image(item: WorstImage) -> str:
    captions = [html.picture(data, name, kind="jpeg") for name, data in item.drawings]
    return html.folded(f"{item.key}: {item.why}", [html.row(captions)], is_open=True)
