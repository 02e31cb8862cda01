"""`segdata list`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from segdata.cli import choices, options, output
from segdata.cli.output import app
from segdata.errors import number_of


@app.command("list", epilog="Example: segdata list cityscapes")
def list_datasets(
    name: str | None = typer.Argument(
        None, help="One dataset, in full; a known name, or the path of a manifest.", autocompletion=choices.datasets
    ),
    root: Path | None = options.Root,
    json: bool = output.Json,
) -> None:
    """List known datasets: size, licence, what is fetched and prepared."""
    from segdata.catalog import manifest
    from segdata.download.paths import root_of
    from segdata.sources import listing

    where = root_of(root)
    known = [listing.known(manifest.find(name), where)] if name else listing.list_datasets(root=where)
    datasets = [dataset.as_dict() for dataset in known]
    if json:
        output.result({"root": str(where), "datasets": datasets})
    elif name:
        _in_full(datasets[0])
    else:
        print(f"{'name':<17} {'download':>10} {'on disk':>10}  {'state':<24} licence")
        for dataset in datasets:
            sizes = f"{_about(dataset):>10} {output.size(dataset['on_disk']) if dataset['on_disk'] else '-':>10}"
            note = " (some files without a published digest)" if dataset["unverified"] else ""
            print(f"{dataset['name']:<17} {sizes}  {_state(dataset):<24} {dataset['licence']}{note}")
        print(f"\nfolder  {where}\nmore    segdata list NAME; segdata prepare NAME --dry-run")


def _in_full(dataset: dict[str, Any]) -> None:
    named = ("name", "title", "format", "homepage", "licence", "terms", "account", "citation")
    rows = [(key, dataset[key]) for key in named]
    rows += [
        ("download", None if dataset["folder"] else f"{_about(dataset)} by default"),
        ("state", _state(dataset)),
        ("prepared", dataset["prepared"]),
    ]
    rows += [("samples", dataset["samples"]), ("fetched", ", ".join(dataset["fetched"]))]
    rows += [("on disk", output.size(dataset["on_disk"]) if dataset["on_disk"] else None)]
    rows += [
        (
            "unverified",
            f"{', '.join(dataset['unverified'])} (nobody publishes a digest)" if dataset["unverified"] else None,
        )
    ]
    output.table(rows)
    output.table([(f"part {part['part']}", _part(part)) for part in dataset["files"]])
    output.table([(f"split {split}", f"{count:,}" if count else "") for split, count in dataset["splits"].items()])
    output.table([(f"view {view}", about) for view, about in dataset["views"].items()])
    output.table([("labels", ", ".join(dataset["labels"]))])


def _part(file: dict[str, Any]) -> str:
    size = output.size(file["bytes"]) if file["bytes"] else f"~{output.size(file['about'])}" if file["about"] else "?"
    size = file["path"] or size
    notes = [file["file"], size, file["digest"] or ("no digest" if file["path"] else "no published digest")]
    notes += [] if file["default"] else ["only on request"]
    return ", ".join([*notes, *(["fetched"] if file["fetched"] else [])])


def _about(dataset: dict[str, Any]) -> str:
    is_exact = all(file["bytes"] or file["path"] for file in dataset["files"] if file["default"])
    return ("" if is_exact else "~") + output.size(dataset["download"])


def _state(dataset: dict[str, Any]) -> str:
    if dataset["prepared"]:
        return f"prepared, {number_of(dataset['samples'], 'sample')}"
    if dataset["folder"]:
        return f"in {dataset['folder']}"
    have, wanted = len(dataset["fetched"]), sum(file["default"] for file in dataset["files"])
    if not have:
        return "not fetched"
    return "fetched" if have >= wanted else f"fetched {have} of {wanted} files"
