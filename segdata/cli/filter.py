"""`segdata filter`."""

from __future__ import annotations

from pathlib import Path

import typer

from segdata.cli import derived, output
from segdata.cli.output import app


@app.command("filter", epilog="Example: segdata filter packs/coco -o dogs --where \"any(category == 'dog')\"")
def filter_pack(
    pack: Path = typer.Argument(..., help="A pack."),
    target: Path = derived.Target,
    where: str | None = typer.Option(
        None, "--where", metavar="QUERY", help="Which images stay, with all their objects: \"any(category == 'dog')\"."
    ),
    objects: str | None = typer.Option(
        None,
        "--objects",
        metavar="QUERY",
        help='Which objects stay; the images of the others stay, too: "area >= 32**2 and not iscrowd".',
    ),
    workers: int | None = derived.Workers,
    force: bool = derived.Force,
    wait: float = derived.Wait,
    json: bool = output.Json,
    quiet: bool = output.Quiet,
    no_progress: bool = output.NoProgress,
) -> None:
    """Make a pack of the images, or objects, that a query means.

    With --where images are left out, with --objects objects; with both, images are chosen first. No image is copied.
    """
    from segdata.derivation import filter as filtering

    with output.only_ours(active=json), output.progress("writing tables", quiet=quiet) as progress:
        report = filtering.filter_pack(
            pack,
            target,
            where=where,
            objects=objects,
            workers=workers,
            force=force,
            wait=wait,
            progress=progress,
        )
    derived.show(report, json=json, quiet=quiet)
