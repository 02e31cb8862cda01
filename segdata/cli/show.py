"""`segdata show`."""

from __future__ import annotations

from pathlib import Path

import typer

from segdata.cli import choices, output
from segdata.cli.output import app


@app.command(epilog="Example: segdata show packs/voc 2007_000032 -o plane.png")
def show(
    path: Path = typer.Argument(..., help="A pack, or a dataset folder in a known layout."),
    keys: list[str] = typer.Argument(
        None, help="Keys of samples (default: the first ones).", autocompletion=choices.keys
    ),
    target: Path = typer.Option(Path("overlay.png"), "--output", "-o", metavar="PATH", help="The PNG to write."),
    split: str | None = typer.Option(None, metavar="NAME", help="Only this split.", autocompletion=choices.splits),
    labels: str | None = typer.Option(
        None, "--labels", metavar="VIEW|FILE", help="A view of the label space.", autocompletion=choices.views
    ),
    count: int = typer.Option(1, min=1, max=400, metavar="N", help="How many samples when no key is given."),
    columns: int = typer.Option(
        3, min=1, max=20, metavar="N", help="Columns of the sheet when there are several samples."
    ),
    json: bool = output.Json,
) -> None:
    """Draw samples with their masks, boxes and a legend."""

    import segdata
    from segdata.core.findings import Findings
    from segdata.pack.layout import is_pack
    from segdata.sources.dataset import relabelling
    from segdata.system.files import write_whole
    from segdata.viz import overlay as draw

    with output.only_ours(active=json):
        samples = segdata.open(path, split=split, labels=labels) if is_pack(path) else segdata.read(path, split=split)
        chosen = [samples.find(key) for key in keys or ()]
        if not keys:
            chosen = [samples[index] for index in range(min(count, len(samples)))]
        space = samples.labels
        if labels is not None and not is_pack(path):
            view = relabelling(labels, space)
            chosen = [view.sample(sample, space, Findings()) for sample in chosen]
            space = view.mapping.target
        pictures = [draw.overlay(sample, space) for sample in chosen]
        picture = pictures[0] if len(pictures) == 1 else draw.contact_sheet(pictures, columns=columns, width=640)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, draw.png(picture))
    document = {
        "file": str(target),
        "samples": [sample.key for sample in chosen],
        "size": list(picture.shape[:2]),
    }
    if json:
        output.result(document)
    else:
        output.table([("written", target), ("samples", ", ".join(document["samples"]))])
