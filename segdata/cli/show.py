"""`segdata show`."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from segdata.cli import choices, options, output, paths
from segdata.cli.output import app
from segdata.errors import UsageError

if TYPE_CHECKING:
    from segdata.core.labels import LabelSpace
    from segdata.core.sample import Sample

_COUNT = 12
"""Samples of a page where no number is given."""


class ColorBy(StrEnum):
    """What gives objects their colours."""

    category = "category"
    instance = "instance"


@app.command(epilog="Example: segdata show packs/voc --random 6 --category dog -o dogs.png")
def show(
    path: Path = typer.Argument(..., help="A pack, or a dataset folder in a known layout."),
    keys: list[str] = typer.Argument(
        None, help="Keys of samples (default: the first ones).", autocompletion=choices.keys
    ),
    target: Path | None = typer.Option(
        None,
        "--output",
        "-o",
        metavar="FILE",
        callback=paths.file(*paths.PICTURES),
        help="The picture: .png, .jpg, .webp or .pdf (overlay.png).",
    ),
    page: Path | None = typer.Option(
        None, "--html", metavar="FILE", help="Write a page of pictures instead, which needs no other file."
    ),
    count: int | None = typer.Option(
        None, "--count", min=1, max=400, metavar="N", help="The first N samples (1; 12 with --html)."
    ),
    random: int | None = typer.Option(None, "--random", min=1, max=400, metavar="N", help="N samples at random."),
    seed: int | None = typer.Option(None, "--seed", min=0, metavar="N", help="Another choice for --random (0)."),
    category: list[str] = typer.Option(
        [], "--category", metavar="NAME", help="Only samples that have it; can be repeated."
    ),
    split: str | None = typer.Option(
        None, "--split", metavar="NAME", help="Only this split.", autocompletion=choices.splits
    ),
    labels: str | None = typer.Option(
        None, "--labels", metavar="VIEW|FILE", help="A view of the label space.", autocompletion=choices.views
    ),
    boxes: bool = typer.Option(False, "--boxes", help="Draw the box of every object."),
    color_by: ColorBy = typer.Option(
        ColorBy.category, "--color-by", help="Colours of categories, or of single objects."
    ),
    opacity: float | None = typer.Option(
        None, "--opacity", min=0.0, max=1.0, metavar="0..1", help="Of masks and label maps (0.45, 0.55)."
    ),
    columns: int | None = typer.Option(
        None, "--columns", min=1, max=20, metavar="N", help="Columns of the sheet when there are several samples (3)."
    ),
    allow_http: bool = options.AllowHttp,
    json: bool = output.Json,
) -> None:
    """Draw samples with masks and a legend: picture, sheet or page."""
    path = options.at(path, allow_http=allow_http)
    _require_effect(keys=keys, count=count, random=random, seed=seed, category=category)
    if page is not None and (target is not None or columns is not None):
        raise UsageError("--html writes a page, not a picture", fix="leave out --output and --columns")

    from segdata.viz import gallery, picture_file, sheet
    from segdata.viz import overlay as draw
    from segdata.viz.selection import select

    with output.only_ours(active=json):
        samples, space = _opened(path, split, labels)
        if keys:
            chosen = [samples.find(key) for key in keys]
        else:
            most = random or count or (1 if page is None else _COUNT)
            number = None if random is None else seed or 0
            chosen = select(samples, space, most, seed=number, categories=category)
        look = draw.Look(boxes=boxes, color_by=color_by.value, opacity=opacity)
        if page is None:
            file = target or Path("overlay.png")
            if len(chosen) == 1:
                picture = draw.overlay(chosen[0], space, boxes=boxes, color_by=color_by.value, opacity=opacity)
            else:
                picture = sheet.sheet(chosen, space, columns=columns or 3, look=look)
            picture_file.save(picture, file)
        else:
            file = page
            note = f"{len(chosen):,} of {len(samples):,} samples{'' if split is None else f' of {split}'}"
            gallery.save(chosen, space, file, title=path.resolve().name, note=note, look=look)
    document: dict[str, Any] = {"file": str(file), "samples": [sample.key for sample in chosen]}
    if json:
        output.result(document | ({} if page is not None else {"size": list(picture.shape[:2])}))
    else:
        output.table([("written", file), ("samples", ", ".join(document["samples"]))])


def _require_effect(
    *, keys: Sequence[str] | None, count: int | None, random: int | None, seed: int | None, category: Sequence[str]
) -> None:
    """Refuse options that have no effect beside others."""
    if keys and (count or random or category):
        raise UsageError("keys name the samples already", fix="leave out --count, --random and --category, or the keys")
    if count and random:
        raise UsageError("--count takes the first samples, --random some at random", fix="leave out one of them")
    if seed is not None and random is None:
        raise UsageError("--seed has no effect without --random", fix="add --random N, or leave out --seed")


def _opened(path: Path, split: str | None, labels: str | None) -> tuple[Any, LabelSpace]:
    """The samples of a pack or a folder, under a view of their labels, and these labels."""
    import segdata
    from segdata.pack.layout import is_pack

    if is_pack(path):
        pack = segdata.open(path, split=split, labels=labels)
        return pack, pack.labels
    folder = segdata.read(path, split=split)
    if labels is None:
        return folder, folder.labels
    viewed = _Viewed(folder, labels)
    return viewed, viewed.labels


class _Viewed:
    """A folder's samples under a view of its labels."""

    def __init__(self, folder: Any, labels: str) -> None:
        from segdata.sources.dataset import relabelling

        self._folder, self._view = folder, relabelling(labels, folder.labels)
        self.labels: LabelSpace = self._view.mapping.target

    def __len__(self) -> int:
        return len(self._folder)

    def __getitem__(self, index: int) -> Sample:
        return self._mapped(self._folder[index])

    def find(self, key: str) -> Sample:
        """The first sample with this key."""
        return self._mapped(self._folder.find(key))

    def _mapped(self, sample: Sample) -> Sample:
        from segdata.core.findings import Findings

        return self._view.sample(sample, self._folder.labels, Findings())
