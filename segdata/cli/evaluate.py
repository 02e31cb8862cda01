"""`segdata evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from segdata.cli import choices, options, output, paths
from segdata.cli.output import app
from segdata.errors import UsageError, printable

_UNDEFINED = 6
"""Most undefined numbers that have a line each; of more, so many are named in one line."""


@app.command(epilog="Example: segdata evaluate results.json instances.json --metric coco-segm")
def evaluate(
    predictions: Path = typer.Argument(..., help="A pack with scores, or results files."),
    truth: Path = typer.Argument(
        ..., help="Ground truth: a pack, a dataset folder, or a COCO JSON file; images are not needed."
    ),
    metric: list[str] = typer.Option(
        [],
        "--metric",
        metavar="NAME",
        help="Can be repeated (default: by what the predictions hold): {metrics}.",
        autocompletion=choices.metrics,
    ),
    kind: str | None = typer.Option(
        None,
        "--from",
        metavar="KIND",
        help="Kind of the predictions (default: detected): pack, {results}.",
        autocompletion=choices.results,
    ),
    split: str | None = typer.Option(
        None, "--split", metavar="NAME", help="Only this split of the ground truth.", autocompletion=choices.splits
    ),
    labels: str | None = typer.Option(
        None,
        "--labels",
        metavar="VIEW|FILE",
        help="Evaluate under a view of the labels (cityscapes-19).",
        autocompletion=choices.views,
    ),
    max_detections: str | None = typer.Option(
        None,
        "--max-detections",
        metavar="NUMBERS",
        help="Detections of an image and category that count in COCO's metrics (1,10,100).",
    ),
    images_of: str | None = typer.Option(
        None,
        "--images-of",
        metavar="truth|predictions",
        help="Evaluate all images of the truth (the default), or those of the predictions alone.",
        autocompletion=choices.images_of,
    ),
    details: bool = typer.Option(False, "--details", help="Print every number: by category, by IoU, counts."),
    report: Path | None = typer.Option(
        None, "--report", metavar="DIR", callback=paths.folder, help="Write an HTML report into this folder."
    ),
    allow_http: bool = options.AllowHttp,
    json: bool = output.Json,
    quiet: bool = output.Quiet,
    no_progress: bool = output.NoProgress,
) -> None:
    """Compute metrics, equal to those of the official evaluators."""
    from segdata.metrics import evaluate as metrics
    from segdata.metrics.report import tables
    from segdata.metrics.report.write import write

    predictions = options.at(predictions, allow_http=allow_http)
    truth = options.at(truth, allow_http=allow_http)
    with output.only_ours(active=json), output.progress("evaluating", quiet=quiet) as progress:
        evaluation = metrics.evaluate(
            predictions,
            truth,
            metrics=metric,
            kind=kind,
            split=split,
            labels=labels,
            max_detections=_limits(max_detections),
            images_of=images_of,
            progress=progress,
        )
        page = None if report is None else write(evaluation, report)
    if json:
        output.result(evaluation.as_dict() | ({} if page is None else {"report": str(page)}))
        return
    if not quiet:
        output.remarks(evaluation.problems)
    space = evaluation.truth.labels
    names = {str(category.id): category.name for category in space.categories}
    for name, numbers in evaluation.metrics.items():
        print(name)
        for line in _lines(numbers if details else dict(tables.headlines(numbers, space)), names):
            print("  " + printable(line))
    if page is not None:
        output.table([("report", page)])
    elif not details and not quiet:
        output.remark("by category and in full: --details, or --report FOLDER for a page with charts and pictures")


def _limits(text: str | None) -> list[int]:
    """The numbers of --max-detections."""
    parts = [] if text is None else text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise UsageError(
            f"--max-detections {text!r} is no list of numbers",
            fix="give one or more numbers: --max-detections 1,10,100",
        )
    return [int(part) for part in parts]


def _lines(numbers: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """A line for every number, with categories by name; many undefined ones share a line. Lists are left out."""
    names_here = names if numbers.keys() <= names.keys() else {}
    shown = {names_here.get(key, key): value for key, value in numbers.items() if not isinstance(value, list)}
    undefined = [name for name, value in shown.items() if value is None]
    if len(undefined) > _UNDEFINED:
        shown = {name: value for name, value in shown.items() if value is not None}
    width = max(map(len, shown), default=0)
    lines = []
    for name, value in shown.items():
        if not isinstance(value, Mapping):
            lines.append(f"{name:<{width}}  {_text(value)}")
        elif names_here:
            lines.append(f"{name:<{width}}  " + "  ".join(f"{part} {_text(item)}" for part, item in value.items()))
        else:
            lines += [name, *("  " + line for line in _lines(value, names))]
    if len(undefined) > _UNDEFINED:
        lines.append(f"n/a: {', '.join(undefined[:_UNDEFINED])} … ({len(undefined)} in all)")
    return lines


def _text(value: Any) -> str:
    if value is None:
        return "n/a"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
