"""`segdata split`."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from segdata.cli import derived, options, output
from segdata.cli.output import app

if TYPE_CHECKING:
    from segdata.derivation.derive import Derived


class By(StrEnum):
    """What splits have their share of."""

    category = "category"
    image = "image"


@app.command(epilog="Example: segdata split packs/mine -o packs/split --into train=0.8,val=0.2")
def split(
    pack: Path = typer.Argument(..., help="A pack."),
    target: Path = derived.Target,
    into: str = typer.Option(
        ..., "--into", metavar="SHARES", help="Splits and their shares, which sum up to 1: train=0.8,val=0.2."
    ),
    by: By = typer.Option(
        By.category, "--by", help="Share out the objects of every category, or the number of images alone."
    ),
    group: str | None = typer.Option(
        None,
        "--group",
        metavar="REGEX|FIELD",
        help="Keep together what has the same match in the key, or the same field of the image: extra.video.",
    ),
    seed: int = derived.Seed,
    force: bool = derived.Force,
    wait: float = derived.Wait,
    json: bool = output.Json,
    quiet: bool = output.Quiet,
    no_progress: bool = output.NoProgress,
) -> None:
    """Make splits that share every category fairly, copying no image."""
    from segdata.derivation.split import split as split_pack

    shares = options.numbers_of_splits(into, "--into")
    if math.isclose(sum(shares.values()), 100):
        shares = {name: share / 100 for name, share in shares.items()}
    with output.only_ours(active=json), output.progress("splitting", quiet=quiet) as progress:
        report = split_pack(
            pack, target, shares, by=by.value, group=group, seed=seed, force=force, wait=wait, progress=progress
        )
    derived.show(report, json=json, quiet=quiet, more=tuple(_rows(report, is_grouped=group is not None)))


def _rows(report: Derived, *, is_grouped: bool) -> list[tuple[str, Any]]:
    details = report.details
    rows: list[tuple[str, Any]] = [("groups", f"{details['groups']:,}" if is_grouped else None)]
    if "category" in details:
        largest, mean = details["largest_deviation"], details["mean_deviation"]
        rows.append(("off by", f"{largest:.2%} of a category at most ({details['category']}), {mean:.2%} on average"))
    return rows
