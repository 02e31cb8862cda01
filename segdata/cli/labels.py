"""`segdata labels`."""

from __future__ import annotations

from pathlib import Path

import typer

from segdata.cli import output, paths
from segdata.cli.output import app


@app.command(epilog="Example: segdata labels packs/coco packs/voc -o table.toml")
def labels(
    pack: Path = typer.Argument(..., help="A pack, whose categories stay."),
    other: Path = typer.Argument(..., help="Another pack, whose categories are matched with them."),
    out: Path | None = typer.Option(
        None, "-o", "--out", metavar="FILE", callback=paths.file(".toml"), help="A file for the table (.toml)."
    ),
    json: bool = output.Json,
    quiet: bool = output.Quiet,
    no_progress: bool = output.NoProgress,
) -> None:
    """Suggest which categories of two packs mean the same."""
    from segdata.derivation.suggest import suggest_labels

    with output.only_ours(active=json), output.progress("comparing", quiet=quiet) as progress:
        suggested = suggest_labels(pack, other, out, progress=progress)
    if json:
        output.result({**suggested.as_dict(), "table": suggested.table(), "written": None if out is None else str(out)})
    elif out is None:
        print(suggested.table(), end="")
    else:
        output.table(
            [
                ("table", out),
                ("matched", len(suggested.suggestions)),
                (f"only in {pack}", ", ".join(suggested.only_in_one)),
                (f"only in {other}", ", ".join(suggested.only_in_other)),
                ("images of both", suggested.images),
            ]
        )
