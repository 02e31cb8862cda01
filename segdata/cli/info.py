"""`segdata info`."""

from __future__ import annotations

from pathlib import Path

import typer

from segdata.cli import choices, output
from segdata.cli.output import app


@app.command(epilog="Example: segdata info packs/voc")
def info(
    path: Path = typer.Argument(..., help="A pack, or a dataset folder in a known layout."),
    source_format: str | None = typer.Option(
        None,
        "--from",
        metavar="FORMAT",
        help="A folder's format (default: by its layout): {formats}.",
        autocompletion=choices.sources,
    ),
    json: bool = output.Json,
) -> None:
    """Show what a pack or a dataset folder holds."""
    from segdata.sources import describe

    with output.only_ours(active=json):
        document = describe.describe(path, source_format=source_format)
    if json:
        output.result(document)
        return
    labels = document["labels"]
    names = ", ".join(category["name"] for category in labels["categories"][:12])
    more = len(labels["categories"]) - 12
    output.table(
        [
            ("path", document["path"]),
            ("kind", document["kind"]),
            ("made from", document.get("made_from") or document.get("converted_from")),
            ("samples", f"{document['samples']:,}"),
            ("instances", None if document["instances"] is None else f"{document['instances']:,}"),
            ("splits", ", ".join(f"{name} {count:,}" for name, count in document["splits"].items())),
            ("labels", f"{labels['name']}: {names}" + (f" … {more} more" if more > 0 else "")),
            ("images", document.get("images")),
            ("size", output.size(document["bytes"])),
        ]
    )
    is_pack = "made_from" in document
    findings = {**document["report"], "losses": document.get("losses", {})}
    output.remarks(findings, lost="lost when it was converted", when="found when it was converted" if is_pack else "")
