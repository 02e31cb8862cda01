"""`segdata dedupe`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from segdata.cli import duplicates, output, paths
from segdata.cli.output import app


@app.command(epilog="Example: segdata dedupe packs/voc -o packs/voc-once")
def dedupe(
    packs: list[Path] = duplicates.Packs,
    split: list[str] = duplicates.Split,
    level: str = duplicates.Level,
    distance: int = duplicates.Distance,
    flips: bool = duplicates.Flips,
    kept: str = typer.Option(
        "first", "--keep", metavar="WHICH", help="Keep of each group: first, largest or most-annotated."
    ),
    out: Path | None = typer.Option(
        None, "-o", "--out", metavar="DIR", callback=paths.folder, help="A pack without the others, made of links."
    ),
    force: bool = typer.Option(False, "--force", help="Replace what is there."),
    fail: bool = duplicates.Fail,
    json: bool = output.Json,
    quiet: bool = output.Quiet,
    no_progress: bool = output.NoProgress,
) -> None:
    """Find images that are there twice; make a pack without them."""
    from segdata.derivation.duplicates import find

    options: dict[str, Any] = {"level": level, "distance": distance, "flips": flips, "keep": kept}
    with output.only_ours(active=json), output.progress("hashing", quiet=quiet) as progress:
        result = find.dedupe(packs, splits=split, out=out, force=force, progress=progress, **options)
    duplicates.tell(result, json=json, quiet=quiet, fail=fail)
