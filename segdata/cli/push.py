"""`segdata push`."""

from __future__ import annotations

from pathlib import Path

import typer

from segdata.cli import derived, options, output
from segdata.cli.output import app


@app.command(epilog="Example: segdata push packs/voc s3://bucket/packs/voc")
def push(
    pack: Path = typer.Argument(..., help="A pack in a folder.", show_default=False),
    place: str = typer.Argument(
        ..., help="Where to: s3://BUCKET/PACK, gs://BUCKET/PACK or az://CONTAINER/PACK.", show_default=False
    ),
    force: bool = typer.Option(False, "--force", help="Replace another pack that is there."),
    check: bool = typer.Option(False, "--check", help="Read what is there and compare digests, not sizes alone."),
    clean: bool = typer.Option(False, "--clean", help="Remove the files of the pack that was replaced."),
    no_conditional: bool = typer.Option(
        False, "--no-conditional", help="For a store without conditional writes: nobody else may push there meanwhile."
    ),
    allow_http: bool = options.AllowHttp,
    json: bool = output.Json,
    quiet: bool = output.Quiet,
    no_progress: bool = output.NoProgress,
) -> None:
    """Send a pack to a bucket, or go on where that was stopped."""
    from segdata.transfer.push import push as send

    with output.only_ours(active=json), output.progress("sending", quiet=quiet) as progress:
        report = send(
            pack,
            place,
            force=force,
            check=check,
            clean=clean,
            conditional=not no_conditional,
            allow_http=allow_http,
            progress=progress,
        )
    derived.transferred(report, json=json)
