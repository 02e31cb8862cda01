"""`segdata sample`."""

from __future__ import annotations

from pathlib import Path

import typer

from segdata.cli import derived, output
from segdata.cli.output import app


@app.command(epilog="Example: segdata sample packs/coco -o packs/small --number 500")
def sample(
    pack: Path = typer.Argument(..., help="A pack."),
    target: Path = derived.Target,
    number: int = typer.Option(..., "--number", "-n", metavar="N", help="How many samples."),
    balance: bool = typer.Option(
        False, "--balance", help="All categories in about as many images, instead of in the pack's shares."
    ),
    seed: int = derived.Seed,
    workers: int | None = derived.Workers,
    force: bool = derived.Force,
    wait: float = derived.Wait,
    json: bool = output.Json,
    quiet: bool = output.Quiet,
    no_progress: bool = output.NoProgress,
) -> None:
    """Make a pack of a few samples that stand for all, copying no image."""
    from segdata.derivation.sample import sample as sample_pack

    with output.only_ours(active=json), output.progress("writing tables", quiet=quiet) as progress:
        report = sample_pack(
            pack,
            target,
            number,
            balance=balance,
            seed=seed,
            workers=workers,
            force=force,
            wait=wait,
            progress=progress,
        )
    derived.show(report, json=json, quiet=quiet)
