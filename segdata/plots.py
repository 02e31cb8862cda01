"""Statistics → pictures: categories, object sizes, objects per image, image sizes, object positions; by matplotlib."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segdata.errors import UsageError
from segdata.files import write_whole
from segdata.stats import SIZE_LIMITS, Statistics, Tally

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#23272e"
FAINT = "#8a919c"
GRID = "#e4e7eb"
BAR = "#3b6ea8"

CATEGORIES = 40
"""Most bars in the picture of categories."""


def require_matplotlib() -> None:
    """Say what is missing before anything is counted.

    Raises:
        UsageError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise UsageError("pictures need matplotlib, which is not installed", fix="pip install 'segdata[plots]'")


def draw(statistics: Statistics, folder: Path) -> list[Path]:
    """Draw what was counted over all splits.

    Args:
        folder: made where it is not there; files of the same names are replaced.

    Returns:
        The PNG files: `categories.png`, and where the dataset has objects or images to show `object-sizes.png`,
        `objects-per-image.png`, `positions.png` and `image-sizes.png`.

    Raises:
        UsageError: matplotlib is not installed.
    """
    require_matplotlib()
    total = statistics.total
    figures = {"categories": _categories(statistics)}
    if total.areas.any():
        figures["object-sizes"] = _object_sizes(total)
    if total.per_image:
        figures["objects-per-image"] = _objects_per_image(total)
    if total.sums["boxes"]:
        figures["positions"] = _positions(total)
    if total.image_sizes:
        figures["image-sizes"] = _image_sizes(total)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, figure in figures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=144)
        files.append(folder / f"{name}.png")
        write_whole(files[-1], buffer.getvalue())
    return files


def _categories(statistics: Statistics) -> Figure:
    """Bars of the most frequent categories: objects, or pixels where no objects were annotated."""
    found = [category for category in statistics.total.categories(statistics.labels) if category["images"]]
    by, what = ("instances", "objects") if statistics.total.per_image else ("pixel_share", "share of pixels")
    shown = sorted(found, key=lambda category: -category[by])[:CATEGORIES]
    more = f", the {len(shown)} most frequent of {len(found)}" if len(shown) < len(found) else ""
    figure, axes = _canvas(f"Categories by {what}{more}", height=1.3 + 0.24 * max(len(shown), 4))
    values = [category[by] for category in shown]
    bars = axes.barh(range(len(shown)), values, color=BAR, height=0.72)
    texts = [f"{value:,}" if by == "instances" else f"{value:.1%}" for value in values]
    axes.bar_label(bars, texts, padding=4, color=FAINT, fontsize=8)
    axes.set_yticks(range(len(shown)), [category["name"] for category in shown], parse_math=False)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(max(len(shown), 4) - 0.4, -0.6)
    axes.set_xlim(0, max([*values, 1e-9]) * 1.1)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    return figure


def _object_sizes(tally: Tally) -> Figure:
    """Objects by area on a logarithmic axis, with COCO's limits."""
    figure, axes = _canvas("Object sizes", "area in pixels", "objects")
    begin = 2.0 ** (np.arange(len(tally.areas)) / 2)
    axes.bar(begin, tally.areas, width=begin * (2**0.5 - 1), align="edge", color=BAR, edgecolor="white", linewidth=0.6)
    axes.set_xscale("log", base=10)
    filled = np.flatnonzero(tally.areas)
    left, right = min(begin[filled[0]], SIZE_LIMITS[0] / 4), max(begin[filled[-1]] * 2**0.5, SIZE_LIMITS[1] * 4)
    axes.set_xlim(left, right)
    axes.set_ylim(0, tally.areas.max() * 1.15)
    edges = np.log([left, *SIZE_LIMITS, right])
    for name, middle in zip(("small", "medium", "large"), (edges[:-1] + edges[1:]) / 2, strict=True):
        axes.text(np.exp(middle), tally.areas.max() * 1.08, name, color=FAINT, ha="center", va="center")
    for limit in SIZE_LIMITS:
        axes.axvline(limit, color=FAINT, linewidth=0.9, linestyle=(0, (3, 3)))
    return figure


def _objects_per_image(tally: Tally) -> Figure:
    """Images by their number of objects, at most forty bars."""
    figure, axes = _canvas("Objects per image", "objects", "images")
    numbers = np.array(sorted(tally.per_image))
    step = -(-(int(numbers[-1]) + 1) // 40)
    heights = np.bincount(numbers // step, [tally.per_image[int(number)] for number in numbers])
    axes.bar(np.arange(len(heights)) * step - 0.5, heights, width=step * 0.9, align="edge", color=BAR)
    axes.locator_params(axis="both", integer=True)
    mean = tally.figures()["instances_per_image_mean"]
    axes.set_title(f"mean {mean:.1f}", loc="right", color=FAINT, fontsize=9)
    return figure


def _positions(tally: Tally) -> Figure:
    """Where objects are: the share of boxes over each place, all images brought to one size."""
    figure, axes = _canvas("Where objects are", height=5.6, width=6.4)
    image = axes.imshow(tally.positions, extent=(0, 1, 1, 0), cmap="viridis", vmin=0, interpolation="bilinear")
    axes.set_xticks([0, 0.5, 1], ["left", "", "right"])
    axes.set_yticks([0, 0.5, 1], ["top", "", "bottom"])
    bar = figure.colorbar(image, ax=axes, shrink=0.85, format=lambda share, _: f"{share:.0%}")
    bar.set_label("boxes that cover the place", color=INK)
    bar.outline.set_visible(False)
    return figure


def _image_sizes(tally: Tally) -> Figure:
    """Every image size as a disc whose area tells how many images have it."""
    figure, axes = _canvas("Image sizes", "width in pixels", "height in pixels", height=5.6, width=6.4)
    sizes = np.array(list(tally.image_sizes))
    counts = np.array(list(tally.image_sizes.values()))
    axes.scatter(sizes[:, 1], sizes[:, 0], 18 + 400 * counts / counts.max(), color=BAR, alpha=0.55, linewidths=0)
    limit = sizes.max() * 1.12
    axes.plot([0, limit], [0, limit], color=GRID, linewidth=1, zorder=0)
    axes.set(xlim=(0, limit), ylim=(0, limit), aspect="equal")
    axes.grid(axis="x", color=GRID)
    plural = "s" if len(sizes) > 1 else ""
    axes.set_title(f"{len(sizes):,} size{plural}, {counts.sum():,} images", loc="right", color=FAINT, fontsize=9)
    return figure


def _canvas(title: str, x: str = "", y: str = "", *, width: float = 7.2, height: float = 4.2) -> tuple[Figure, Axes]:
    """An empty plot in the one style of all pictures; sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    axes: Any = figure.add_subplot()
    axes.set_title(title, loc="left", color=INK, fontsize=12, fontweight="bold", pad=10)
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.set_axisbelow(True)
    if y:
        axes.grid(axis="y", color=GRID)
    axes.tick_params(colors=INK, labelsize=9)
    axes.spines[:].set_visible(False)
    axes.spines["bottom"].set(visible=True, color=FAINT)
    return figure, axes
