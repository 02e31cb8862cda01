"""`segdata list`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from segdata.cli import app, output


@app.command("list", epilog="Example: segdata list cityscapes")
def list_datasets(
    name: str | None = typer.Argument(None, help="One dataset, in full."),
    root: Path | None = typer.Option(None, envvar="SEGDATA_ROOT", help="Where prepared datasets lie."),
    json: bool = output.Json,
) -> None:
    """List the datasets that segdata knows, and which of them are prepared."""
    from segdata import manifest
    from segdata.fetch.folders import default_root

    where = root or default_root()
    datasets = [_describe(manifest.shipped(item), where) for item in ([name] if name else manifest.names())]
    if json:
        output.result({"root": str(where), "datasets": datasets})
    elif name:
        dataset = datasets[0]
        output.table([(key, value) for key, value in dataset.items() if key not in ("labels", "splits", "views")])
        output.table([(f"split {split}", f"{count:,}" if count else "") for split, count in dataset["splits"].items()])
        output.table([(f"view {view}", about) for view, about in dataset["views"].items()])
        print("labels  " + ", ".join(dataset["labels"]))
    else:
        for dataset in datasets:
            state = f"prepared, {dataset['samples']:,} samples" if dataset["prepared"] else "not prepared"
            print(
                f"{dataset['name']:<17} {dataset['format']:<11} {len(dataset['labels']):>3} classes  {state:<14}  {dataset['title']}"
            )


def _describe(found: Any, root: Path) -> dict[str, Any]:
    from segdata.pack import layout
    from segdata.pack.read import is_pack

    pack = root / found.name / "pack"
    is_prepared = is_pack(pack)
    index = layout.read_index(pack) if is_prepared else None
    return {
        "name": found.name,
        "title": found.title,
        "format": found.format,
        "homepage": found.homepage,
        "licence": found.licence,
        "citation": found.citation,
        "prepared": str(pack) if is_prepared else None,
        "samples": index["samples"] if index else None,
        "splits": {split.name: split.count for split in found.splits.values()},
        "views": {view.name: view.about for view in found.views.values()},
        "labels": [category.name for category in found.labels.categories],
    }
