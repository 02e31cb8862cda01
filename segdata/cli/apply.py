"""`segdata apply`."""

from __future__ import annotations

from pathlib import Path

import typer

from segdata.cli import derived, output, paths
from segdata.cli.output import app


@app.command(epilog="Example: segdata apply packs/coco.edits.jsonl packs/coco packs/corrected")
def apply(
    edits: Path = typer.Argument(..., help="A file of edits, as the viewer writes them.", show_default=False),
    pack: Path = typer.Argument(..., help="The pack that they are of.", show_default=False),
    target: Path = typer.Argument(
        ..., metavar="OUT", help="The pack to make.", show_default=False, callback=paths.folder
    ),
    only: str = typer.Option(
        "",
        "--only",
        metavar="OP,…",
        help="Apply these alone: mask, add, accept, delete, category, flags, map.",
        show_default=False,
    ),
    workers: int | None = derived.Workers,
    force: bool = derived.Force,
    wait: float = derived.Wait,
    json: bool = output.Json,
    quiet: bool = output.Quiet,
    no_progress: bool = output.NoProgress,
) -> None:
    """Make a pack of another and its edits, without copying an image.

    The exit code is 3 where the last line of the edits is torn and was left out.
    """
    from segdata.correction.apply import apply as apply_edits

    with output.only_ours(active=json), output.progress("writing tables", quiet=quiet) as progress:
        report = apply_edits(
            edits,
            pack,
            target,
            only=[op.strip() for op in only.split(",") if op.strip()],
            workers=workers,
            force=force,
            wait=wait,
            progress=progress,
        )
    counts = ", ".join(f"{count:,} {op}" for op, count in report.details["edits"].items())
    derived.show(report, json=json, quiet=quiet, more=(("edits", counts or "none"),))
    if report.problems["skipped"]:
        raise typer.Exit(3)
