"""`segdata leakage`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segdata.cli import duplicates, output
from segdata.cli.output import app


@app.command(epilog="Example: segdata leakage packs/voc --split train --split val --fail")
def leakage(
    packs: list[Path] = duplicates.Packs,
    split: list[str] = duplicates.Split,
    level: str = duplicates.Level,
    distance: int = duplicates.Distance,
    flips: bool = duplicates.Flips,
    fail: bool = duplicates.Fail,
    json: bool = output.Json,
    quiet: bool = output.Quiet,
    no_progress: bool = output.NoProgress,
) -> None:
    """Find images that several splits or packs share."""
    from segdata.derivation.duplicates import find

    options: dict[str, Any] = {"level": level, "distance": distance, "flips": flips}
    with output.only_ours(active=json), output.progress("hashing", quiet=quiet) as progress:
        result = find.leakage(packs, splits=split, progress=progress, **options)
    duplicates.tell(result, json=json, quiet=quiet, fail=fail)
