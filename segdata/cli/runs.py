"""`segdata runs`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from segdata.cli import output, paths
from segdata.cli.output import app
from segdata.errors import DiskError, UsageError, printable

if TYPE_CHECKING:
    from segdata.training.runs.comparison import Comparison


@app.command(epilog="Example: segdata runs runs/first runs/second -o comparison.html")
def runs(
    folders: list[Path] = typer.Argument(
        ..., metavar="RUN...", help="Folders given to segdata train -o, or folders with such runs in them."
    ),
    page: Path | None = typer.Option(
        None,
        "--output",
        "-o",
        metavar="FILE",
        callback=paths.file(".html", ".htm"),
        help="An HTML page with the runs side by side.",
    ),
    layers: str | None = typer.Option(
        None, "--layers", metavar="PATTERN", help="Show weights whose names match, as in backbone.*conv1*."
    ),
    first: int | None = typer.Option(
        None, "--first", min=1, metavar="N", help="Show the weights of so many convolutions (5)."
    ),
    details: bool = typer.Option(False, "--details", help="Show the metrics of single categories, too."),
    json: bool = output.Json,
    quiet: bool = output.Quiet,
) -> None:
    """Compare runs: settings, state and metrics.

    Every run's report.html is brought up to date; where that cannot be written, the comparison is shown all the same and
    the command ends with exit code 3.
    """
    from segdata.models import registry
    from segdata.training.runs import comparison

    if layers is not None and first is not None:
        raise UsageError("--first has no effect with --layers, which shows all that match", fix="leave out one of them")
    with output.only_ours(active=json):
        registry.require_torch()
        from segdata.training.runs import report

        chosen, others = comparison.runs_in(folders)
        compared = comparison.compare(chosen)
        reports: list[Path] = []
        refused: list[DiskError] = []
        for folder in chosen:
            try:
                reports.append(report.write(folder, pattern=layers, first=first or report.FIRST))
            except DiskError as error:
                refused.append(error)
        written = None if page is None else comparison.write(compared, page)
    if json:
        unwritten = [error.as_dict() for error in refused]
        output.result(
            {**compared.as_dict(), "reports": reports, "page": written, "skipped": others, "unwritten": unwritten}
        )
    else:
        _show(compared, details=details, quiet=quiet)
        if not quiet:
            for path in others:
                output.remark(f"skipped, no run: {path}")
            for path in [*reports, *([] if written is None else [written])]:
                output.remark(f"written: {path}")
        for refusal in refused:
            output.letter(refusal)
    if refused:
        raise typer.Exit(3)


def _show(compared: Comparison, *, details: bool, quiet: bool) -> None:
    from segdata.training.trackers.base import category_of

    names = [run.name for run in compared.runs]
    rows: list[tuple[str, tuple[Any, ...]]] = [
        ("state", tuple(run.state for run in compared.runs)),
        ("updates", tuple(run.step for run in compared.runs)),
        *(row for row in compared.metrics if category_of(row[0]) is None),
        *(compared.settings if len(names) > 1 else ()),
        *(row for row in compared.metrics if details and category_of(row[0]) is not None),
    ]
    cells = [["", *names], *([name, *map(_text, values)] for name, values in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(names) + 1)]
    for row in cells:
        print(printable("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()))
    if not details and not quiet and any(category_of(name) is not None for name, _ in compared.metrics):
        output.remark("by category: --details, or the page")


def _text(value: Any) -> str:
    from segdata.viz.html import number

    return printable(number(value if value is None or isinstance(value, (int, float)) else str(value)))
