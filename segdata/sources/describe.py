"""What a pack or a dataset folder holds, in a dictionary, without reading images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segdata import formats
from segdata.core import conversion_losses
from segdata.core.findings import Findings
from segdata.formats.shared.folder import conversion_report, file_size
from segdata.pack import layout
from segdata.pack.layout import is_pack
from segdata.pack.read import Pack, open_pack
from segdata.places.address import located
from segdata.system.files import disk_errors


@disk_errors()
def describe(path: Path, *, source_format: str | None = None) -> dict[str, Any]:
    """What a pack or a dataset folder holds, without reading images."""
    path = located(path)
    if is_pack(path) and source_format is None:
        pack = open_pack(path)
        index = pack.info
        made = index["provenance"]
        return {
            "path": str(path),
            "kind": f"pack, version {index['version']}",
            "made_from": f"{made['root']} ({made['layout']}) by segdata {made['segdata']}",
            "samples": index["samples"],
            "instances": index["instances"],
            "splits": {split["name"]: split["samples"] for split in index["splits"]},
            "labels": index["labels"],
            "images": {"embed": "embedded", "reference": f"in {index['images_root']}", "none": "none"}[index["images"]],
            "bytes": sum(entry["bytes"] for entry in layout.shard_files(index)),
            **_derived(pack),
            "report": index["report"],
        }
    findings = Findings()
    name, source = formats.scan(path, source_format, findings)
    sizes = [(file_size(source.root, entry.file), entry.annotation_bytes) for entry in source.entries]
    return {
        "path": str(path),
        "kind": source.layout,
        "format": name,
        "samples": len(source.entries),
        "instances": None,
        "splits": {split: len(members) for split, members in source.splits.items()},
        "labels": source.labels.as_dict(),
        "images": "files",
        "bytes": sum(image + annotation for image, annotation in sizes),
        "report": findings.as_dict(),
        **_converted(source.root),
    }


def _derived(pack: Pack) -> dict[str, Any]:
    """Of a pack that was made of packs: how, of which, and how many bytes of their images no sample has any more."""
    made = pack.info["provenance"]
    if "parents" not in made:
        return {}
    return {
        "verb": made["options"].get("verb"),
        "parents": made["parents"],
        "unused_bytes": pack.unused_image_bytes(),
    }


def _converted(root: Path) -> dict[str, Any]:
    """Of a folder that a conversion made: from what, and what it could not hold."""
    report = conversion_report(root)
    dropped = report.get("problems", {}).get("losses", {})
    if not report:
        return {}
    return {
        "converted_from": report.get("source_format"),
        "losses": dropped,
        "loss_kinds": conversion_losses.grouped(dropped),
    }
