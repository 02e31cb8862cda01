"""What `segdata dedupe` and `segdata leakage` share: the options of comparing images, and how the result is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from segdata.cli import choices, output
from segdata.errors import number_of, printable

if TYPE_CHECKING:
    from segdata.derivation.duplicates.report import Duplicates, Group, Member, Pair

GROUPS = 20
"""Most groups that are shown; JSON has them all."""

PAIRS = 5
"""Most pairs of a group that are shown."""

Packs = typer.Argument(..., help="A pack, or several.")
Split = typer.Option(
    [], "--split", metavar="NAME", help="Only this split; can be repeated.", autocompletion=choices.splits
)
Level = typer.Option(
    "near",
    "--level",
    metavar="LEVEL",
    help="Compare up to: bytes (equal files), pixels (equal pixels), near (look alike).",
)
Distance = typer.Option(
    31,
    "--distance",
    min=0,
    max=63,
    metavar="BITS",
    help="Bits of 256 in which the hashes of pictures that look alike may differ.",
)
Flips = typer.Option(False, "--flips", help="Mirrored and turned pictures look alike, too.")
Fail = typer.Option(False, "--fail", help="Exit code 4 where there are any.")

_WAYS = {
    2: "mirrored",
    3: "turned by 180°",
    4: "upside down, mirrored",
    5: "transposed",
    6: "turned by 90°",
    7: "transposed, turned by 180°",
    8: "turned by 270°",
}
"""Orientation of EXIF → how the first picture has to be turned, clockwise."""


def tell(result: Duplicates, *, json: bool, quiet: bool, fail: bool) -> None:
    """Print a result, and end the command where it says so.

    Raises:
        typer.Exit: 4 with `fail` and duplicates, 3 where images could not be read.
    """
    error = result.error() if fail else None
    if json:
        output.result(result.as_dict(), error=error)
    else:
        _table(result)
        for group in result.groups[:GROUPS]:
            _group(group, several=len(result.packs) > 1)
        if len(result.groups) > GROUPS:
            print(f"… {number_of(len(result.groups) - GROUPS, 'more group')}, with --json")
        if not quiet:
            output.remarks(dict(result.problems))
    if error is not None:
        output.letter(error)
        raise typer.Exit(error.exit_code)
    if result.skipped:
        raise typer.Exit(3)


def _table(result: Duplicates) -> None:
    groups = result.groups
    images = sum(len(group.members) for group in groups)
    disagreeing = sum(group.disagrees for group in groups)
    derived = result.derived
    output.table(
        [
            ("compared", number_of(result.images, "image")),
            ("duplicates", f"{number_of(images, 'image')} in {number_of(len(groups), 'group')}" if groups else "none"),
            ("superfluous", result.dropped if any(group.kept for group in groups) else None),
            ("across splits or packs", sum(group.is_across for group in groups) or None),
            ("annotations disagree", f"in {number_of(disagreeing, 'group')} (IoU below 0.9)" if disagreeing else None),
            *(
                (
                    _part(row.pack, row.split, result),
                    f"{row.images:,} also in {_part(row.other_pack, row.other_split, result)}",
                )
                for row in result.across
            ),
            *((f"{one} and {other}", f"{count:,} samples in both") for _, one, other, count in result.shared),
            ("pack", None if derived is None else f"{derived.target}, {number_of(derived.samples, 'sample')}"),
        ]
    )


def _part(pack: str, split: str | None, result: Duplicates) -> str:
    name = "no split" if split is None else split
    return f"{pack}: {name}" if len(result.packs) > 1 else name


def _group(group: Group, *, several: bool) -> None:
    print()
    for pair in group.pairs[:PAIRS]:
        one, other = (_member(group.members[number], several=several) for number in (pair.one, pair.other))
        print(printable(f"{one}  {'≈' if pair.level == 'near' else '='}  {other}   {_how(pair)}", lines=False))
    if len(group.pairs) > PAIRS:
        print(f"… {number_of(len(group.pairs) - PAIRS, 'more pair')}")


def _member(member: Member, *, several: bool) -> str:
    splits = "+".join(member.splits)
    return " ".join(part for part in (f"{member.pack}:" if several else "", splits, member.key) if part)


def _how(pair: Pair) -> str:
    facts = {"bytes": "equal files", "pixels": "equal pixels"}.get(pair.level, f"{pair.bits} bits")
    turned = f", {_WAYS[pair.orientation]}" if pair.orientation > 1 else ""
    agreement = "" if pair.iou is None else f", IoU {pair.iou:.2f}"
    return f"{facts}{turned}{agreement}"
