"""`segdata diff`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from segdata.cli import options, output
from segdata.cli.output import app
from segdata.errors import number_of, printable

if TYPE_CHECKING:
    from segdata.comparison.diff import Difference

WIDTH = 200
"""Most characters of a line about an image, or of a list of names."""

SHOWN = 20
"""Images that are listed; JSON has them all."""


@app.command(epilog="Example: segdata diff packs/before packs/after")
def diff(
    one: Path = typer.Argument(..., help="A pack."),
    other: Path = typer.Argument(..., help="The pack to compare it with."),
    allow_http: bool = options.AllowHttp,
    json: bool = output.Json,
    quiet: bool = output.Quiet,
    no_progress: bool = output.NoProgress,
) -> None:
    """Show what differs between two packs.

    The exit code is 0 where nothing differs, and 1 where something does.
    """
    from segdata.comparison.diff import diff as compare

    one, other = (options.at(path, allow_http=allow_http) for path in (one, other))
    with output.only_ours(active=json), output.progress("comparing", quiet=quiet) as progress:
        difference = compare(one, other, progress=progress)
    if json:
        output.result(difference.as_dict())
    else:
        _show(difference, quiet=quiet)
    raise typer.Exit(1 if difference else 0)


def _show(difference: Difference, *, quiet: bool) -> None:
    labels = difference.labels
    objects = {kind: difference.objects.get(kind, 0) for kind in ("removed", "added", "changed")}
    in_what = {kind: count for kind, count in difference.objects.items() if kind not in objects}
    output.table(
        [
            ("packs", f"{difference.one} and {difference.other}{'' if difference else ' do not differ'}"),
            *((f"categories {kind}", _cut(_listed(labels[kind]))) for kind in labels),
            *((f"splits {kind}", ", ".join(names)) for kind, names in difference.splits.items()),
            ("documents", "differ" if difference.documents else None),
            ("images", _counts(difference.images)),
            ("objects", _counts(objects)),
            ("changed in", _counts(in_what)),
        ]
    )
    if quiet:
        return
    lines = [
        *(f"- {_name(image)}" for image in difference.removed),
        *(f"+ {_name(image)}" for image in difference.added),
        *(f"~ {_name(image)}: {_changes(image)}" for image in difference.changes),
    ]
    for line in lines[:SHOWN]:
        print(printable(_cut(line), lines=False))
    if len(lines) > SHOWN:
        print(f"… {number_of(len(lines) - SHOWN, 'more image')}, with --json")


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 2]} …"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)


def _listed(values: Any) -> str:
    """Names, pairs of names as from → to, or names with the fields that differ."""
    if values is True:
        return "yes"
    if isinstance(values, Mapping):
        return ", ".join(f"{name} ({', '.join(fields)})" for name, fields in values.items())
    return ", ".join(value if isinstance(value, str) else " → ".join(value) for value in values)


def _name(image: Mapping[str, Any]) -> str:
    return f"{', '.join(image['splits'])} {image['key']}".strip()


def _changes(image: Mapping[str, Any]) -> str:
    """What differs of an image, in a line."""
    parts = []
    for kind, value in image.items():
        if kind == "moved":
            parts.append(f"moved from {', '.join(value[0]) or 'no split'} to {', '.join(value[1]) or 'no split'}")
        elif kind == "objects":
            parts += _of_objects(value)
        elif kind == "label_map":
            parts.append(f"label map in {number_of(value['pixels'], 'pixel')}")
        elif kind not in ("key", "splits"):
            parts.append(kind if value is True else f"{kind} {value[0]} → {value[1]}")
    return "; ".join(parts)


def _of_objects(objects: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """The objects that one side alone has, by category, and what differs in the others."""
    parts = []
    for sign, kind in (("-", "removed"), ("+", "added")):
        names = [item["category"] for item in objects.get(kind, ())]
        parts += [f"{sign}{names.count(name)} {name}" for name in dict.fromkeys(names)]
    for item in objects.get("changed", ()):
        parts.append(
            f"{item['category']} {item['id']}: {', '.join(_change(*each) for each in item['changes'].items())}"
        )
    return parts


def _change(kind: str, value: Any) -> str:
    if kind == "mask":
        return "mask" if value["iou"] is None else f"mask (IoU {value['iou']:.3f})"
    if kind == "flags":
        return ", ".join(f"{'' if sides[1] else 'not '}{name}" for name, sides in value.items())
    if kind in ("category", "score", "area", "id"):
        return f"{kind} {value[0]} → {value[1]}"
    return kind
