"""`segdata merge`."""

from __future__ import annotations

from pathlib import Path

import typer

from segdata.cli import choices, derived, output
from segdata.cli.output import app


@app.command(epilog="Example: segdata merge packs/voc packs/mine -o packs/both --labels packs/voc")
def merge(
    packs: list[Path] = typer.Argument(..., help="Packs, two or more.", show_default=False),
    target: Path = derived.Target,
    prefix: bool = typer.Option(False, "--prefix", help="Put the folder's name before every split: voc/train."),
    prefix_keys: bool = typer.Option(False, "--prefix-keys", help="Put the folder's name before every key."),
    labels: str | None = typer.Option(
        None,
        "--labels",
        metavar="PACK|VIEW|FILE",
        help="Map the categories of all: to those of a pack, a label space or view, or by a TOML table.",
        autocompletion=choices.views,
    ),
    workers: int | None = derived.Workers,
    force: bool = derived.Force,
    wait: float = derived.Wait,
    json: bool = output.Json,
    quiet: bool = output.Quiet,
    no_progress: bool = output.NoProgress,
) -> None:
    """Make one pack of several, without copying an image."""
    from segdata.derivation.merge import merge as merge_packs

    with output.only_ours(active=json), output.progress("writing tables", quiet=quiet) as progress:
        report = merge_packs(
            packs,
            target,
            prefix=prefix,
            prefix_keys=prefix_keys,
            labels=labels,
            workers=workers,
            force=force,
            wait=wait,
            progress=progress,
        )
    derived.show(report, json=json, quiet=quiet)
