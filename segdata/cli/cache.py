"""`segdata cache info` and `segdata cache gc`."""

from __future__ import annotations

from pathlib import Path

import typer

from segdata.cli import options, output, paths
from segdata.cli.help import App
from segdata.cli.output import app
from segdata.errors import number_of

cache = App(rich_markup_mode=None, no_args_is_help=True)
app.add_typer(
    cache,
    name="cache",
    help="Show and clear what was kept of packs at addresses.\n\nBoth commands take --json.",
    epilog="Example: segdata cache info",
)

Folder = typer.Option(
    None,
    "--cache",
    metavar="DIR",
    callback=paths.folder,
    help="The folder given as cache (default: the user's cache folder, where tables are kept).",
)


@cache.command("info", epilog="Example: segdata cache info --cache /nvme/cache")
def info(folder: Path | None = Folder, json: bool = output.Json) -> None:
    """Show where it is and what it holds."""
    from segdata.places import clearing

    contents = clearing.contents(folder)
    if json:
        output.result(contents.as_dict())
        return
    kinds = (("tables", contents.tables), ("photos", contents.photos), ("temporary", contents.parts))
    rows = [(name, _counted(len(files), sum(file.bytes for file in files))) for name, files in kinds]
    output.table([("folder", contents.folder), *rows])


@cache.command("gc", epilog="Example: segdata cache gc --cache /nvme/cache --limit 200G")
def gc(
    place: str | None = typer.Argument(
        None,
        metavar="[ADDRESS]",
        help="A pack in a bucket, s3://BUCKET/PACK: give up unfinished uploads of its files, too.",
        show_default=False,
    ),
    folder: Path | None = Folder,
    limit: str | None = typer.Option(
        None, "--limit", metavar="SIZE", help="Bytes that are kept, such as 200G; what was used the longest ago goes."
    ),
    hours: float = typer.Option(
        24.0, "--older-than", min=0, metavar="HOURS", help="Age of temporary files and uploads that are given up."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show what would be removed, and remove nothing."),
    allow_http: bool = options.AllowHttp,
    json: bool = output.Json,
) -> None:
    """Remove what killed processes left, and what is above a limit.

    In the folder only files with the cache's own names are removed.
    """
    from segdata.places import clearing

    most = options.size(limit)
    with output.only_ours(active=json):
        cleared = clearing.clear(
            folder, limit=most, address=place, older_than=hours * 3600, allow_http=allow_http, dry_run=dry_run
        )
    if json:
        output.result(cleared.as_dict())
        return
    done = "would be removed" if dry_run else "removed"
    rows = [
        (name, f"{_counted(len(files), sum(file.bytes for file in files))} {done}")
        for name, files in (("kept files", cleared.files), ("temporary", cleared.parts))
    ]
    if cleared.address is not None:
        in_work = f", {cleared.in_work} younger ones left" if cleared.in_work else ""
        rows.append(("uploads", f"{len(cleared.uploads)} of {cleared.address} {done}{in_work}"))
        rows.append(("probes", f"{len(cleared.probes)} {done}"))
    output.table([("folder", f"{cleared.folder} ({output.size(cleared.bytes_left)} left)"), *rows])


def _counted(files: int, size: int) -> str:
    return f"{number_of(files, 'file')} ({output.size(size)})"
