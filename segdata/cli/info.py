"""`segdata info`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from segdata.cli import derived, options, output
from segdata.cli.output import app


@app.command(epilog="Example: segdata info packs/voc")
def info(
    path: Path = typer.Argument(..., help="A pack, or a dataset folder in a known layout."),
    source_format: str | None = options.SourceFormat,
    allow_http: bool = options.AllowHttp,
    json: bool = output.Json,
) -> None:
    """Show what a pack or a dataset folder holds."""
    from segdata.sources import describe

    path = options.at(path, allow_http=allow_http)
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
            ("derived", _derived(document)),
            ("samples", f"{document['samples']:,}"),
            ("instances", None if document["instances"] is None else f"{document['instances']:,}"),
            ("splits", ", ".join(f"{name} {count:,}" for name, count in document["splits"].items())),
            ("labels", f"{labels['name']}: {names}" + (f" … {more} more" if more > 0 else "")),
            ("images", document.get("images")),
            ("size", output.size(document["bytes"])),
            ("unused", derived.unused(document.get("unused_bytes", 0))),
        ]
    )
    is_pack = "made_from" in document
    findings = {**document["report"], "losses": document.get("losses", {})}
    output.remarks(findings, lost="lost when it was converted", when="found when it was converted" if is_pack else "")


def _derived(document: dict[str, Any]) -> str | None:
    """How a pack was made of packs, and the beginning of their digests."""
    parents = [f"{parent['name']} ({parent['sha256'][:12]})" for parent in document.get("parents", ())]
    return f"{document['verb']} of {', '.join(parents)}" if parents else None
