"""`segdata stats`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from segdata.cli import options, output, paths
from segdata.cli.output import app
from segdata.errors import printable

if TYPE_CHECKING:
    from segdata.statistics.counts import Statistics, Tally

WIDTH = 100
"""Characters of a line."""

CATEGORIES = 30
"""Most categories in a table; JSON has them all."""


@app.command(epilog="Example: segdata stats packs/voc --plots pictures")
def stats(
    source: Path = typer.Argument(..., help="A pack, or a dataset folder in a known layout."),
    split: list[str] = options.Splits,
    source_format: str | None = options.SourceFormat,
    labels: str | None = options.Labels,
    where: str | None = options.Where,
    plots: Path | None = typer.Option(
        None, "--plots", metavar="DIR", callback=paths.folder, help="A folder for pictures (needs matplotlib)."
    ),
    page: Path | None = typer.Option(
        None, "--html", metavar="FILE", help="One page with tables and charts (needs matplotlib)."
    ),
    compare: Path | None = typer.Option(
        None,
        "--compare",
        metavar="PATH",
        help="A pack or folder to put beside it, with the same --split, --labels and --where.",
    ),
    allow_http: bool = options.AllowHttp,
    json: bool = output.Json,
    quiet: bool = output.Quiet,
    no_progress: bool = output.NoProgress,
) -> None:
    """Count objects, pixels, sizes and void, by category and by split."""
    from segdata.statistics import counts as stats

    source = options.at(source, allow_http=allow_http)
    compare = None if compare is None else options.at(compare, allow_http=allow_http)
    other = comparison = None
    pictures: list[Path] = []
    with output.only_ours(active=json), output.progress("counting", quiet=quiet) as progress:
        if plots is not None or page is not None:
            from segdata.viz import charts

            charts.require_matplotlib()
        asked: Any = {"splits": split, "labels": labels, "where": where, "progress": progress}
        counted = stats.statistics(source, source_format=source_format, **asked)
        if compare is not None:
            other = stats.statistics(compare, **asked)
            comparison = stats.compare(counted, other)
        if plots is not None:
            from segdata.statistics import plots as drawing

            pictures = drawing.draw(counted, plots)
        if page is not None:
            from segdata.statistics import page as pages

            pages.write(counted, page)
    if json:
        compared = {} if other is None else {"other": other.as_dict(), "comparison": comparison}
        written = {} if page is None else {"page": str(page)}
        output.result({**counted.as_dict(), **compared, "pictures": [str(path) for path in pictures], **written})
        return
    _head(counted)
    if other is None or comparison is None:
        _by_split(counted)
        _by_category(counted)
    else:
        print()
        _head(other)
        _side_by_side(comparison)
    if page is not None:
        print()
        output.table([("page", page)])
    if pictures:
        print()
        output.table([("pictures", f"{len(pictures)} in {plots}: {', '.join(path.name for path in pictures)}")])
    if not quiet:
        output.remarks(dict(counted.problems))


def _head(counted: Statistics) -> None:
    total = counted.total
    sizes = total.image_sizes
    common = [f"{height}×{width} ({count:,})" for (height, width), count in sizes.most_common(4)]
    heights, widths = ([size[axis] for size in sizes] for axis in (0, 1))
    more = f", … {len(sizes) - 4:,} more" if len(sizes) > 4 else ""
    extent = f"; {min(heights)}–{max(heights)} × {min(widths)}–{max(widths)}" if len(sizes) > 1 else ""
    areas = {"annotation": total.sums["annotated_areas"], "mask": total.sums["mask_areas"]}
    pairs = [f"{one} and {other} {count:,}" for (one, other), count in counted.shared.items()]
    output.table(
        [
            ("source", f"{counted.source} ({counted.format}, labels {counted.labels.name})"),
            ("height × width", f"{', '.join(common)}{more}{extent}" if sizes else None),
            ("per image", _histogram(total)),
            ("areas from", ", ".join(f"{name} {count:,}" for name, count in areas.items() if count)),
            ("splits share", ", ".join(pairs[:4]) + (f", … {len(pairs) - 4} more" if len(pairs) > 4 else "")),
        ]
    )


def _histogram(tally: Tally) -> str | None:
    """Images by their number of instances, in bins of 0, 1, 2–3, 4–7, 8–15 …"""
    bins: dict[int, int] = {}
    for number, count in tally.per_image.items():
        bins[number.bit_length()] = bins.get(number.bit_length(), 0) + count
    names = {bits: str(bits) if bits < 2 else f"{2 ** (bits - 1)}–{2**bits - 1}" for bits in bins}
    return "  ".join(f"{names[bits]}: {count:,}" for bits, count in sorted(bins.items()))


def _by_split(counted: Statistics) -> None:
    """The figures of the whole and of every split that fits into the line."""
    columns = {"all": counted.total.figures()}
    room = WIDTH - 30 - 11
    for name, tally in counted.splits.items():
        room -= max(9, len(name)) + 2
        if room >= 0 and len(counted.splits) > 1:
            columns[name] = tally.figures()
    rows = [
        (_words(figure), *(_value(figure, column[figure]) for column in columns.values()))
        for figure, value in columns["all"].items()
        if value is not None
    ]
    _table(("", *columns), rows)
    if 1 < len(columns) <= len(counted.splits):
        print(f"… {len(counted.splits) + 1 - len(columns)} more splits, with --split or --json")


def _by_category(counted: Statistics) -> None:
    """Categories that occur, the largest first, with a bar of what they were ordered by."""
    categories = [category for category in counted.total.categories(counted.labels) if category["images"]]
    by = "instances" if counted.total.sums["annotated_images"] else "pixels"
    categories.sort(key=lambda category: (-category[by], -category["pixels"]))
    most = max((category[by] for category in categories), default=0)
    rows = [
        (
            category["name"],
            *(_value(key, category[key]) for key in ("instances", "images", "pixel_share")),
            "█" * round(24 * category[by] / max(most, 1)),
        )
        for category in categories[:CATEGORIES]
    ]
    _table(("category", "instances", "images", "pixels", ""), rows, bars=True)
    if len(categories) > CATEGORIES:
        print(f"… {len(categories) - CATEGORIES} more, with --json")


def _side_by_side(comparison: Mapping[str, Any]) -> None:
    """The figures of two datasets, their common categories, the most frequent first, and categories only one has."""
    heads = ("source", "other", "difference")
    figures = comparison["figures"].items()
    _table(("", *heads), [(_words(name), *_cells(name, row)) for name, row in figures])
    rows = [
        (name, *_cells("instances", row["instances"]), *_cells("pixel_share", row["pixel_share"]))
        for name, row in sorted(comparison["categories"].items(), key=lambda item: _weight(item[1]), reverse=True)
        if row["images"]["source"] or row["images"]["other"]
    ]
    _table(("category", *heads, "pixels", "other", "difference"), rows[:CATEGORIES])
    if len(rows) > CATEGORIES:
        print(f"… {len(rows) - CATEGORIES} more, with --json")
    print()
    output.table(
        [(_words(side), _listed(names)) for side in ("only_in_source", "only_in_other") if (names := comparison[side])]
    )


def _listed(names: Sequence[str]) -> str:
    """As many names as fit into the line, and how many there are."""
    text = ", ".join(names)
    if len(text) <= WIDTH - 16:
        return text
    return text[: WIDTH - 36].rpartition(", ")[0] + f", … {len(names)} in all"


def _weight(row: Mapping[str, Any]) -> tuple[float, float]:
    """How frequent a category is, by objects and then by pixels."""
    objects, shares = ([row[key][side] or 0 for side in ("source", "other")] for key in ("instances", "pixel_share"))
    return max(objects), max(shares)


def _cells(name: str, row: Mapping[str, Any]) -> tuple[str, str, str]:
    difference = row["difference"]
    sign = "+" if difference is not None and difference > 0 else ""
    return _value(name, row["source"]), _value(name, row["other"]), sign + _value(name, difference)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _value(name: str, value: float | None) -> str:
    """A number for people; "–" where there is none."""
    if value is None:
        return "–"
    if name.endswith("share"):
        return f"{value:.2%}"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, bars: bool = False) -> None:
    """An empty line, then names to the left and numbers to the right; with bars, the last column is to the left."""
    rows = [(printable(name, lines=False), *cells) for name, *cells in rows]
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    widths[0] = min(max(widths[0], 26), 30)
    print()
    for name, *cells in [header, *rows]:
        name = name if len(name) <= widths[0] else f"{name[: widths[0] - 1]}…"
        fitted = [f"{cell:>{max(width, 9)}}" for cell, width in zip(cells, widths[1:], strict=True)]
        if bars:
            fitted[-1] = cells[-1]
        print("  ".join([f"{name:<{widths[0]}}", *fitted]).rstrip())
