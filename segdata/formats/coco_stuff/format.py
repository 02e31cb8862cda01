"""COCO-Stuff's pixel maps ("stuffthingmaps"): the category of each pixel, things and stuff, beside COCO's images.

    root/stuffthingmaps/SPLIT/NAME.png    grey, 8 bits: the category's id less 1; 255 is unlabelled
    root/SPLIT/NAME.jpg                   or root/images/SPLIT/NAME.jpg

Categories are COCO's 80 things (ids 1 … 90) and the 91 kinds of stuff (92 … 182).

Traps: "person" is 0, so 0 is no background. Where COCO's documents lie in the same folder, the folder is read as those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from segdata.catalog import manifest
from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.sample import Sample
from segdata.errors import InvalidAnnotation
from segdata.formats.camvid import label_files
from segdata.formats.contract import Entry, Header, ReadOptions, Source
from segdata.formats.shared import pairs, verbatim
from segdata.formats.shared.folder import (
    folders_in,
    has_files,
    image_bytes,
    image_path,
    image_size,
    is_file,
    write_file,
    write_image,
)

LAYOUT = "stuffthingmaps/SPLIT/NAME.png beside SPLIT/NAME.jpg (COCO-Stuff)"
OFFICIAL = "coco-stuff"
MAPS = "stuffthingmaps"
_NAME = "coco-stuff"

# ---------------------------------------------------------------------- entries


def detect(root: Path) -> bool:
    """Whether the folder has pixel maps of a split."""
    return bool(_splits(root))


def _splits(root: Path) -> list[str]:
    return [name for name in folders_in(root / MAPS) if has_files(root / MAPS / name, ".png")]


def scan(root: Path, findings: Findings, options: ReadOptions, *, labels: LabelSpace | None = None) -> Source:
    """Every image of every split with its map; folders are splits."""
    entries: list[Entry] = []
    splits: dict[str, list[int]] = {}
    for split in sorted(_splits(root), key=pairs.rank):
        folder = f"images/{split}" if (root / "images" / split).is_dir() else split
        members = pairs.entries_of(root, pairs.Pair(split, folder, f"{MAPS}/{split}", ("",)), options, findings)
        splits[split] = list(range(len(entries), len(entries) + len(members)))
        entries += members
    pairs.remark_missing(pairs.NO_LABELS, entries, splits, lambda entry: bool(entry.data.file), findings)
    return Source(
        root=root,
        layout=_NAME,
        labels=manifest.label_space(OFFICIAL) if labels is None else labels,
        entries=pairs.distinct(root, entries, splits, findings),
        splits=splits,
        annotation_files=[entry.data.file for entry in entries if entry.data.file],
    )


@cache
def values_of(labels: LabelSpace) -> LabelSpace:
    """The same categories with the values of pixels as ids: ids less 1, or the ids themselves where one is 0."""
    if 0 in labels.index_of_id:
        return labels
    return LabelSpace(labels.name, tuple(replace(item, id=item.id - 1) for item in labels.categories))


# ---------------------------------------------------------------------- load


def load(source: Source, entry: Entry, findings: Findings) -> Sample:
    """One image with its label map."""
    root, file = source.root, entry.data.file
    semantic, residue = None, {}
    if file:
        raw, data = label_files.read(root, file)
        labels = values_of(source.labels)
        semantic, stored = label_files.decode(raw, labels, root / file, entry.key, findings, is_binary=False)
        residue = {"file": file, **stored, **({} if raw.codec == "png" else {"bytes": verbatim.from_bytes(data)})}
    has_image = bool(entry.file) and is_file(image_path(root, entry))
    size = image_size(source, entry) if semantic is None or has_image else semantic.shape
    if semantic is not None and semantic.shape != size:
        raise InvalidAnnotation(
            "map is of another size than the image",
            file=root / file,
            key=entry.key,
            why=f"map {semantic.shape[1]} × {semantic.shape[0]}, image {size[1]} × {size[0]} (width × height)",
            fix="give the map of this image",
        )
    return Sample(
        entry.key,
        *size,
        file=entry.file,
        encoded=(lambda: image_bytes(source, entry)) if entry.file else None,
        semantic=semantic,
        extra={_NAME: residue} if residue else None,
    )


# ---------------------------------------------------------------------- write


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write image and map of every sample."""
    for _, sample in samples:
        write_image(root, sample)
        residue = sample.extra.get(_NAME, {})
        if sample.semantic is not None and "file" in residue:
            data = label_files.encode(sample.semantic, residue, values_of(header.labels))
            write_file(root, residue["file"], data)
    return {}


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Nothing is one file for all images."""
