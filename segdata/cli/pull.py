"""`segdata pull`."""

from __future__ import annotations

from pathlib import Path

import typer

from segdata.cli import derived, options, output, paths
from segdata.cli.output import app


@app.command(epilog="Example: segdata pull s3://bucket/packs/voc packs/voc")
def pull(
    place: str = typer.Argument(
        ...,
        help="Where from: s3://BUCKET/PACK, gs://BUCKET/PACK, az://CONTAINER/PACK or https://HOST/PACK.",
        show_default=False,
    ),
    pack: Path = typer.Argument(..., help="The folder to make.", show_default=False, callback=paths.folder),
    force: bool = derived.Force,
    check: bool = typer.Option(False, "--check", help="Compare digests of files that are there, not sizes alone."),
    wait: float = derived.Wait,
    allow_http: bool = options.AllowHttp,
    json: bool = output.Json,
    quiet: bool = output.Quiet,
    no_progress: bool = output.NoProgress,
) -> None:
    """Fetch a pack from an address, or go on where that was stopped."""
    from segdata.transfer.pull import pull as receive

    with output.only_ours(active=json), output.progress("fetching", quiet=quiet) as progress:
        report = receive(place, pack, force=force, check=check, allow_http=allow_http, wait=wait, progress=progress)
    derived.transferred(report, json=json)
