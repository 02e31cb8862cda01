"""Charts in one style, by matplotlib: curves, bars, histograms and matrices, as PNG or SVG."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from segdata.errors import UsageError, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEXT = 9.0
"""Smallest letters, in points: 12 pixels where a page shows a chart in its own size."""
INK = "#23272e"
FAINT = "#8a919c"
GRID = "#e4e7eb"
BAR = "#3b6ea8"
SERIES = ("#3b6ea8", "#d1662f", "#3f8f5b", "#9a5fb0", "#b3922b", "#4aa3b5", "#b5485d", "#6b7280")
"""Colours of curves, used in turn."""

Curve = tuple[npt.ArrayLike, npt.ArrayLike]
"""(K,) x and (K,) y."""


def require_matplotlib() -> None:
    """Check that matplotlib is installed, before any work is done for it.

    Raises:
        UsageError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise UsageError("pictures need matplotlib, which is not installed", fix="pip install 'segdata[plots]'")


def png(figure: Figure) -> bytes:
    """A figure as PNG, at 144 dpi."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144)
    return buffer.getvalue()


def svg(figure: Figure) -> str:
    """A figure as an `<svg>` element for an HTML page; the same figure gives the same text."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": "segdata", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)


def curves(
    title: str, series: Mapping[str, Curve], x: str = "", y: str = "", *, y_limits: tuple[float, float] | None = None
) -> Figure:
    """Lines in one plot, with a legend if there are several; a series of one point is a dot."""
    figure, axes = canvas(title, x, y)
    for number, (name, (xs, ys)) in enumerate(series.items()):
        colour = SERIES[number % len(SERIES)]
        marker = "o" if np.size(xs) < 2 else None
        axes.plot(np.asarray(xs), np.asarray(ys), color=colour, label=plain(name), linewidth=1.6, marker=marker)
    if y_limits is not None:
        axes.set_ylim(y_limits)
    if len(series) > 1:
        axes.legend(frameon=False, fontsize=TEXT, labelcolor=INK)
    return figure


def bars(title: str, values: Mapping[str, float], *, form: str = "{:.3f}") -> Figure:
    """Horizontal bars in the order of `values`, with the values beside them.

    Args:
        form: format string of the values.
    """
    figure, axes = canvas(title, height=1.3 + 0.24 * max(len(values), 4))
    container = axes.barh(range(len(values)), list(values.values()), color=BAR, height=0.72)
    texts = [form.format(value) for value in values.values()]
    axes.bar_label(container, texts, padding=4, color=FAINT, fontsize=TEXT)
    axes.set_yticks(range(len(values)), [plain(name) for name in values])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(max(len(values), 4) - 0.4, -0.6)
    axes.set_xlim(0, max([*values.values(), 1e-9]) * 1.1)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    return figure


def histogram(title: str, counts: npt.ArrayLike, edges: npt.ArrayLike, x: str = "", y: str = "") -> Figure:
    """A histogram of counts (K,) over bins with edges (K + 1,)."""
    figure, axes = canvas(title, x, y, height=3.2)
    axes.stairs(np.asarray(counts), np.asarray(edges), fill=True, color=BAR)
    axes.set_ylim(0)
    return figure


def matrix(title: str, values: npt.NDArray[Any], rows: Sequence[str], columns: Sequence[str], x: str, y: str) -> Figure:
    """A (len(rows), len(columns)) matrix of shares 0..1 as a heat map, with numbers up to 30 rows."""
    across, down = [plain(name) for name in columns], [plain(name) for name in rows]
    side = 1.0 + 0.34 * max(len(rows), len(columns), 4)
    letter = 0.075  # inches, the width of a letter beside the matrix
    figure, axes = canvas(
        title,
        x,
        y,
        width=side + 1.2 + letter * max(map(len, down), default=0),
        height=side + letter * max(map(len, across), default=0),
    )
    axes.grid(visible=False)
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(columns)), across, rotation=90, fontsize=TEXT)
    axes.set_yticks(range(len(rows)), down, fontsize=TEXT)
    if len(rows) <= 30:
        for row, column in np.argwhere(np.nan_to_num(values) >= 0.005).tolist():
            share = float(values[row, column])
            colour = "white" if share > 0.6 else INK
            text = f"{share:.2f}".removeprefix("0")
            axes.text(column, row, text, ha="center", va="center", fontsize=TEXT, color=colour)
    return figure


def explain(axes: Axes, words: str) -> None:
    """Say in an empty plot why it is empty."""
    axes.text(0.5, 0.5, words, ha="center", va="center", color=FAINT, fontsize=TEXT + 1, transform=axes.transAxes)


def plain(text: str, most: int = 36) -> str:
    """Text as a label: at most `most` letters, without control characters, escaped for matplotlib."""
    shown = printable(text).replace("\n", " ")
    shown = shown if len(shown) <= most else f"{shown[: most - 1]}…"
    return shown.replace("$", r"\$").lstrip("_") or " "


def canvas(title: str, x: str = "", y: str = "", *, width: float = 5.8, height: float = 3.6) -> tuple[Figure, Axes]:
    """An empty plot in the style of all charts; `width` and `height` in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    axes: Any = figure.add_subplot()
    axes.set_title(plain(title, 80), loc="left", color=INK, fontsize=12, fontweight="bold", pad=10)
    axes.set_xlabel(plain(x, 80) if x else "", color=INK)
    axes.set_ylabel(plain(y, 80) if y else "", color=INK)
    axes.set_axisbelow(True)
    if y:
        axes.grid(axis="y", color=GRID)
    axes.tick_params(colors=INK, labelsize=TEXT)
    axes.spines[:].set_visible(False)
    axes.spines["bottom"].set(visible=True, color=FAINT)
    return figure, axes
