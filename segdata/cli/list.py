"""`segdata list`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from segdata.cli import app, output
from segdata.cli import options as fetching

if TYPE_CHECKING:
    from segdata.catalog.manifest import Manifest


@app.command("list", epilog="Example: segdata list cityscapes")
def list_datasets(
    name: str | None = typer.Argument(None, help="One dataset, in full; a known name, or the path of a manifest."),
    root: Path | None = fetching.Root,
    json: bool = output.Json,
) -> None:
    """List the datasets that segdata knows: what is fetched and prepared, how large it is, under which licence."""
    from segdata.catalog import manifest
    from segdata.download.paths import default_root

    where = root or default_root()
    found = [manifest.find(name)] if name else [manifest.shipped(item) for item in manifest.names()]
    datasets = [_describe(item, where) for item in found]
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
        ("download", f"{_about(dataset)} by default"),
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
    print("labels  " + ", ".join(dataset["labels"]))


def _part(file: dict[str, Any]) -> str:
    size = output.size(file["bytes"]) if file["bytes"] else f"~{output.size(file['about'])}" if file["about"] else "?"
    notes = [file["file"], size, file["digest"] or "no published digest"]
    notes += [] if file["default"] else ["only on request"]
    return ", ".join([*notes, *(["fetched"] if file["fetched"] else [])])


def _about(dataset: dict[str, Any]) -> str:
    is_exact = all(file["bytes"] for file in dataset["files"] if file["default"])
    return ("" if is_exact else "~") + output.size(dataset["download"])


def _state(dataset: dict[str, Any]) -> str:
    if dataset["prepared"]:
        return f"prepared, {dataset['samples']:,} samples"
    have, wanted = len(dataset["fetched"]), sum(file["default"] for file in dataset["files"])
    if not have:
        return "not fetched"
    return "fetched" if have >= wanted else f"fetched {have} of {wanted} files"


def _describe(found: Manifest, root: Path) -> dict[str, Any]:
    from segdata.download.archives import receipt as extracted
    from segdata.download.paths import Folders
    from segdata.pack import layout
    from segdata.pack.read import is_pack

    own = Folders(root / found.name)
    index = layout.read_index(own.pack) if is_pack(own.pack) else None
    receipts = {remote.file: extracted.read_receipt(own.members(remote.file)) for remote in found.remotes}
    fetched = {file: receipt for file, receipt in receipts.items() if receipt is not None and own.raw.is_dir()}
    kept = sum(
        own.archive(remote.file).stat().st_size for remote in found.remotes if own.archive(remote.file).is_file()
    )
    packed = sum(entry["bytes"] for entry in layout.shard_files(index)) if index else 0
    return {
        "name": found.name,
        "title": found.title,
        "format": found.format,
        "homepage": found.homepage,
        "licence": found.licence,
        "terms": found.terms.url if found.terms else None,
        "account": found.signin.host if found.signin else None,
        "citation": found.citation,
        "download": sum(remote.bytes or remote.about or 0 for remote in found.remotes if not remote.is_optional),
        "fetched": list(fetched),
        "on_disk": sum(receipt.bytes for receipt in fetched.values()) + kept + packed,
        "unverified": [remote.file for remote in found.remotes if not remote.is_verifiable and not remote.is_optional],
        "prepared": str(own.pack) if index else None,
        "samples": index["samples"] if index else None,
        "files": [
            {
                "part": remote.part,
                "file": remote.file,
                "bytes": remote.bytes,
                "about": remote.about,
                "digest": str(remote.digest) if remote.digest else "by the site" if remote.package else None,
                "default": not remote.is_optional,
                "fetched": remote.file in fetched,
            }
            for remote in found.remotes
        ],
        "splits": {split.name: split.count for split in found.splits.values()},
        "views": {view.name: view.about for view in found.views.values()},
        "labels": [category.name for category in found.labels.categories],
    }
