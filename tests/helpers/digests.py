"""Digests of what commands make, for outputs to be compared with those of another version."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from tests.helpers.command import run_segdata

FORMATS = ("coco", "coco-panoptic", "voc", "cityscapes", "camvid")

RESULTS = ("coco-results", "voc-results", "cityscapes-results", "coco-panoptic")

MOST_FILES = 8
"""A folder with more has one digest for all files of each folder and ending."""

INDEXES = ("pack.json", "pack-copy.json", ".segdata.json")
"""Files that say what a folder was made of and by which version."""

FINGERPRINT = "fingerprint"
"""How the names of outputs end that are another with every version."""

Values = dict[str, str | float]


def digest(data: bytes | str) -> str:
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()[:16]


def of_json(document: Any) -> str:
    return digest(json.dumps(document, sort_keys=True))


def of_picture(path: Path) -> str:
    """The digest of size and pixels."""
    with Image.open(path) as image:
        return digest(repr((image.mode, image.size)).encode() + image.tobytes())


def content(path: Path, *, is_prediction: bool) -> bytes:
    """A file's bytes, without what depends on the version of segdata or on where the images are.

    Of predictions, also without the settings of the model that made them.
    """
    data = path.read_bytes()
    if path.name in INDEXES:
        data = re.sub(rb'^\{"crc32": ?"\w+", ?|"(?:segdata|images_root|fingerprint)": ?"[^"]*"', b"", data)
        if is_prediction:
            data = re.sub(rb'"provenance": \{.*\}(?=, "report": )', b"", data)
    return data


def of_folder(name: str, root: Path, *, is_prediction: bool = False) -> Values:
    """A digest of each file below a folder, or of each kind of files where there are many. Names count, too."""
    files = sorted((path.relative_to(root).as_posix(), path) for path in root.rglob("*") if path.is_file())
    groups: dict[str, list[str]] = defaultdict(list)
    for file, path in files:
        group = re.sub(r"-[0-9a-f]{12}(?=\.)", "", file)  # the digest in the name of a pack's file
        if len(files) > MOST_FILES and "/" in file:
            group = f"{file.split('/')[0]}/*{path.suffix}"
        groups[group].append(f"{file} {digest(content(path, is_prediction=is_prediction))}")
    return {f"{name}/{group}": digest("\n".join(lines)) for group, lines in groups.items()}


def of_tensors(path: Path) -> str:
    """Name, kind, shape and bytes of every tensor of a safetensors file, in the order of their names."""
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:begin])
    header.pop("__metadata__", None)
    lines = []
    for name, entry in sorted(header.items()):
        first, last = entry["data_offsets"]
        lines.append(f"{name} {entry['dtype']} {entry['shape']} {digest(data[begin + first : begin + last])}")
    return digest("\n".join(lines))


# ---------------------------------------------------------------------- commands


def command(*arguments: object, **environment: Any) -> Any:
    """The document that a command prints; of one that refuses, its exit code."""
    variables: dict[str, Any] = {**environment}
    outcome = run_segdata(*arguments, "--json", **variables)
    if outcome.code != 0:
        return {"refused": f"exit code {outcome.code}"}
    return outcome.document


def converted(name: str, source: Path, target: Path, *options: object) -> Values:
    """A conversion's files, and what its report counts."""
    report = command("convert", source, target, "--workers", 1, *options)
    if "refused" in report:
        return {name: report["refused"]}
    counts = {key: report[key] for key in ("samples", "instances", "splits", "problems")}
    index = next(path for path in map(target.joinpath, INDEXES) if path.exists())
    (fingerprint,) = re.findall(r'"fingerprint": ?"(\w{16})', index.read_text())
    return {f"{name} report": of_json(counts), f"{name} {FINGERPRINT}": fingerprint, **of_folder(name, target)}


def of_dataset(source: Path, folder: Path, *options: object) -> Values:
    """A dataset as a pack and then in every format, its statistics and its pictures."""
    pack = folder / "pack"
    values = converted("pack", source, pack, *options)
    for name in FORMATS:
        values |= converted(name, pack, folder / name, "--to", name, "--allow-loss")
    counted = command("stats", pack)
    values["stats"] = of_json({key: counted[key] for key in ("format", "labels", "total", "splits", "shared")})
    command("show", pack, "-o", folder / "show.png", "--count", 4)
    return {**values, "show": of_picture(folder / "show.png")}


def metrics(name: str, predictions: Path, truth: Path, which: Iterable[str], *options: object) -> Values:
    """A digest of the numbers of each metric."""
    asked = [word for metric in which for word in ("--metric", metric)]
    document = command("evaluate", predictions, truth, *asked, *options)
    if "refused" in document:
        return {f"{name} metrics": document["refused"]}
    return {f"{name} {metric}": of_json(numbers) for metric, numbers in document["metrics"].items()}


def of_results(
    kind: str, results: Path, truth: Path, folder: Path, which: Sequence[str], to: Sequence[str] = RESULTS
) -> Values:
    """Predictions' metrics, the same as a pack, and the pack as every kind of results."""
    options = ("--from", kind)
    values = metrics("files", results, truth, which, *options)
    values |= converted("predictions", results, folder / "predictions", *options, "--truth", truth)
    values |= metrics("pack", folder / "predictions", truth, which)
    for name in to:
        values |= converted(name, folder / "predictions", folder / name, "--to", name, "--allow-loss")
    return values
