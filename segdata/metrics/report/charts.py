"""The report's charts: precision over recall, scores of right and wrong detections, recall by size, confusion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import FloatArray
from segdata.viz import charts

Curve = tuple[FloatArray, FloatArray]

_PALE = "#c9d8ea"
_WRONG = "#d1662f"
_MOST_ROWS = 20
_MOST_POINTS = 400
_SIZE = (3.75, 3.3)
"""Width and height in inches of the charts that stand side by side."""


def curves(categories: Sequence[Curve], overall: Curve) -> str:
    """Every category a pale line, all detections together a strong one; (recall, precision) by falling score."""
    figure, axes = charts.canvas("Precision and recall", "recall", "precision", width=_SIZE[0], height=_SIZE[1])
    for curve in categories:
        axes.plot(*_line(curve), color=_PALE, linewidth=0.9)
    axes.plot(*_line(overall), color=charts.BAR, linewidth=2.2)
    if not len(overall[0]):
        charts.explain(axes, "no detections")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.grid(axis="x", color=charts.GRID)
    return charts.svg(figure)


def _line(curve: Curve) -> Curve:
    """A curve from recall 0 on, thinned so that a drawing does not grow with the number of detections."""
    recall, precision = curve
    if not len(recall):
        return np.zeros(1), np.zeros(1)
    turns = np.flatnonzero((np.diff(precision, append=-1) != 0) | (np.diff(recall, prepend=-1) != 0))
    turns = turns[np.unique(np.linspace(0, len(turns) - 1, _MOST_POINTS).astype(int))]
    return np.concatenate(([0.0], recall[turns])), np.concatenate((precision[:1], precision[turns]))


def scores(right: FloatArray, wrong: FloatArray, threshold: float) -> str:
    """Detections by score: right ones, and wrong ones on top of them; a line where F1 is best."""
    figure, axes = charts.canvas("Scores", "score", "detections", width=_SIZE[0], height=_SIZE[1])
    both = np.concatenate((right, wrong, [0.0, 1.0]))
    edges = np.linspace(both.min(), both.max(), 41)
    hits, misses = np.histogram(right, edges)[0], np.histogram(wrong, edges)[0]
    axes.stairs(hits + misses, edges, fill=True, color=_WRONG, alpha=0.75, label="wrong")
    axes.stairs(hits, edges, fill=True, color=charts.BAR, label="right")
    if not len(right) and not len(wrong):
        charts.explain(axes, "no detections")
    axes.axvline(threshold, color=charts.INK, linewidth=1, linestyle=(0, (3, 3)), label="best F1")
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, 1.15 * max(1, int((hits + misses).max())))
    axes.legend(frameon=False, labelcolor=charts.INK, fontsize=charts.TEXT, loc="upper center", ncols=3)
    return charts.svg(figure)


def sizes(names: Sequence[str], objects: Sequence[int], detected: Sequence[int]) -> str:
    """The share of objects of each size that were detected."""
    figure, axes = charts.canvas("Objects found, by size", "", "share", width=_SIZE[0], height=_SIZE[1])
    shares = [part / max(count, 1) for part, count in zip(detected, objects, strict=True)]
    axes.bar(names, [1.0 if count else 0.0 for count in objects], color=charts.GRID, width=0.66)
    bars = axes.bar(names, shares, color=charts.BAR, width=0.66)
    if not sum(objects):
        charts.explain(axes, "no objects")
    texts = [
        f"{share:.0%}\n{part:,} of {count:,}" if count else "none"
        for share, part, count in zip(shares, detected, objects, strict=True)
    ]
    axes.bar_label(bars, texts, padding=3, color=charts.INK, fontsize=charts.TEXT)
    axes.set_ylim(0, 1.2)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.tick_params(axis="x", length=0)
    return charts.svg(figure)


def confusion(names: Sequence[str], table: npt.NDArray[np.int64], nothing: tuple[str, str]) -> str:
    """A confusion matrix as shares of each row; of many categories the largest.

    Args:
        names: of K categories.
        table: (K + 1, K + 1) or (K, K + 1), rows ground truth, the last column nothing predicted, the last row nothing there.
        nothing: names of the last row and the last column.
    """
    count = len(names)
    chosen = np.sort(np.argsort(-table[:count].sum(1), kind="stable")[:_MOST_ROWS])
    rows = np.append(chosen, count) if len(table) > count else chosen
    columns = np.append(chosen, count)
    part = table[np.ix_(rows, columns)].astype(np.float64)
    whole = table[rows].sum(1, keepdims=True)
    shares = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    shown = [names[index] for index in chosen.tolist()]
    title = "Confusion" if len(chosen) == count else f"Confusion, the {len(chosen)} largest of {count} categories"
    return charts.svg(
        charts.matrix(
            title, shares, [*shown, nothing[0]][: len(rows)], [*shown, nothing[1]], "predicted", "ground truth"
        )
    )
