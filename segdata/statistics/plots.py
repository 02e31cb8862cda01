"""Plot statistics with matplotlib: categories, object sizes, objects per image, image sizes, object positions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segdata.errors import number_of
from segdata.statistics.counts import SIZE_LIMITS, Statistics, Tally
from segdata.system.files import write_whole
from segdata.viz.charts import BAR, FAINT, GRID, INK, bars, canvas, png, require_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CATEGORIES = 40
"""Most bars in the plot of categories."""


def draw(statistics: Statistics, folder: Path) -> list[Path]:
    """Plot the counts of all splits together as PNG files.

    Args:
        folder: created if missing; files of the same names are replaced.

    Returns:
        The PNG files: `categories.png`, and where the dataset has such objects or images `object-sizes.png`,
        `objects-per-image.png`, `positions.png` and `image-sizes.png`.

    Raises:
        UsageError: matplotlib is not installed.
    """
    require_matplotlib()
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, figure in figures(statistics).items():
        files.append(folder / f"{name}.png")
        write_whole(files[-1], png(figure))
    return files


def figures(statistics: Statistics) -> dict[str, Figure]:
    """The plots by name, those of them that the dataset has something for."""
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
    return figures


def _categories(statistics: Statistics) -> Figure:
    """Bars of the most frequent categories: objects, or pixels where no objects were annotated."""
    present = [category for category in statistics.total.categories(statistics.labels) if category["images"]]
    by, what = ("instances", "objects") if statistics.total.per_image else ("pixel_share", "share of pixels")
    shown = sorted(present, key=lambda category: -category[by])[:CATEGORIES]
    more = f", the {len(shown)} most frequent of {len(present)}" if len(shown) < len(present) else ""
    values = {category["name"]: category[by] for category in shown}
    return bars(f"Categories by {what}{more}", values, form="{:,}" if by == "instances" else "{:.1%}")


def _object_sizes(tally: Tally) -> Figure:
    """Histogram of object areas on a logarithmic axis, with COCO's limits of small, medium and large."""
    figure, axes = canvas("Object sizes", "area in pixels", "objects")
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
    """Histogram of the number of objects per image, at most forty bars."""
    figure, axes = canvas("Objects per image", "objects", "images")
    numbers = np.array(sorted(tally.per_image))
    step = -(-(int(numbers[-1]) + 1) // 40)
    heights = np.bincount(numbers // step, [tally.per_image[int(number)] for number in numbers])
    axes.bar(np.arange(len(heights)) * step - 0.5, heights, width=step * 0.9, align="edge", color=BAR)
    axes.locator_params(axis="both", integer=True)
    mean = tally.figures()["instances_per_image_mean"]
    axes.set_title(f"mean {mean:.1f}", loc="right", color=FAINT, fontsize=9)
    return figure


def _positions(tally: Tally) -> Figure:
    """Heat map of object positions: the share of boxes over each cell, all images scaled to one size."""
    figure, axes = canvas("Where objects are", height=5.0, width=5.8)
    image = axes.imshow(tally.positions, extent=(0, 1, 1, 0), cmap="viridis", vmin=0, interpolation="bilinear")
    axes.set_xticks([0, 0.5, 1], ["left", "", "right"])
    axes.set_yticks([0, 0.5, 1], ["top", "", "bottom"])
    bar = figure.colorbar(image, ax=axes, shrink=0.85, format=lambda share, _: f"{share:.0%}")
    bar.set_label("boxes that cover the place", color=INK)
    bar.outline.set_visible(False)
    return figure


def _image_sizes(tally: Tally) -> Figure:
    """Scatter plot of image sizes; the area of a disc shows how many images have the size."""
    figure, axes = canvas("Image sizes", "width in pixels", "height in pixels", height=5.0, width=5.8)
    sizes = np.array(list(tally.image_sizes))
    counts = np.array(list(tally.image_sizes.values()))
    axes.scatter(sizes[:, 1], sizes[:, 0], 18 + 400 * counts / counts.max(), color=BAR, alpha=0.55, linewidths=0)
    limit = sizes.max() * 1.12
    axes.plot([0, limit], [0, limit], color=GRID, linewidth=1, zorder=0)
    axes.set(xlim=(0, limit), ylim=(0, limit), aspect="equal")
    axes.grid(axis="x", color=GRID)
    plural = "s" if len(sizes) > 1 else ""
    axes.set_title(
        f"{len(sizes):,} size{plural}, {number_of(int(counts.sum()), 'image')}", loc="right", color=FAINT, fontsize=9
    )
    return figure
