"""ADE20K, the full dataset of 2021: every object with its parts, and what of it others hide.

    root/…/training/SCENE/NAME.jpg
    root/…/training/SCENE/NAME.json                    annotation.object: id, name, name_ndx, parts, occluded, polygon …
    root/…/training/SCENE/NAME_seg.png                 red // 10 · 256 + green is the class, blue tells objects apart
    root/…/training/SCENE/NAME_parts_1.png             the same of parts of objects, of parts of parts (2) …
    root/…/training/SCENE/NAME/instance_000_NAME.png   an object: 255 visible, 128 hidden behind others, 0 outside

Folders training, validation and test are splits, else the first folder is.

Traps: names hold commas; a class is `name_ndx`, which the objects name and no table does; numbers of objects in blue are
ranks, not ids; objects of `part_level` > 0 are parts; documents may be in Latin-1.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core import images, png
from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace
from segdata.core.masks import Masks
from segdata.core.sample import Instances, Sample
from segdata.errors import InvalidAnnotation, NotThere, SegdataError, UsageError
from segdata.formats.ade20k import files
from segdata.formats.contract import Entry, Header, ReadOptions, Source
from segdata.formats.shared import json_text, verbatim
from segdata.formats.shared.folder import file_size, folders_in, image_bytes, is_file, names_in, stem, write_file

LAYOUT = "NAME.json and NAME_seg.png beside NAME.jpg, in folders of scenes (ADE20K)"

_SPLITS = ("training", "validation", "test")
_LEVELS, _FOLDERS = 7, 3
"""How far `detect` goes down, and into how many folders of each."""

# ---------------------------------------------------------------------- entries


def detect(root: Path) -> bool:
    """Whether one of the first folders has a document and a map beside an image."""
    folders = [""] if root.is_dir() else []
    for _ in range(_LEVELS):
        for folder in folders:
            for name in names_in(root / folder, "_seg.png")[:3]:
                base = root / folder / name[: -len("_seg.png")]
                if is_file(base.with_name(f"{base.name}.jpg")) and is_file(base.with_name(f"{base.name}.json")):
                    return True
        inner = [
            f"{folder}/{name}" if folder else name
            for folder in folders
            for name in folders_in(root / folder)[:_FOLDERS]
        ]
        folders = inner[:50]
    return False


def scan(root: Path, findings: Findings, options: ReadOptions, *, labels: LabelSpace | None = None) -> Source:
    """Every image with a document or a map; categories are the classes that the documents name."""
    if options.images_dir:
        raise UsageError("--images-dir has no place here", why="ADE20K has each image beside its document")
    entries: list[Entry] = []
    splits: dict[str, list[int]] = {}
    read: list[str] = []
    for file in _images(root):
        parts = file.split("/")
        at = next(
            (position for position, part in enumerate(parts[:-1]) if part in _SPLITS), 0 if len(parts) > 1 else None
        )
        present = [name for name in (f"{stem(file)}.json", files.map_file(file)) if is_file(root / name)]
        splits.setdefault("all" if at is None else parts[at], []).append(len(entries))
        size = sum(file_size(root, name) for name in present)
        entries.append(Entry(stem("/".join(parts if at is None else parts[at + 1 :])), file, size, tuple(present)))
        read += present
    if not entries:
        raise NotThere("there is no image with a document and a map", file=root, why=f"looked for {LAYOUT}")
    space = labels or _labels(root, [name for name in read if name.endswith(".json")], findings)
    return Source(
        root=root,
        layout="ADE20K",
        labels=space,
        entries=entries,
        splits=splits,
        annotation_files=[*read, *sorted(_masks(root))],
    )


def _images(root: Path) -> Iterator[str]:
    """Images with a document or a map beside them, under the root."""
    for folder, inner, names in os.walk(root):
        inner.sort()
        present = set(names)
        prefix = "" if Path(folder) == root else Path(folder).relative_to(root).as_posix() + "/"
        for name in sorted(names):
            if name.endswith(".jpg") and {f"{stem(name)}.json", files.map_file(name)} & present:
                yield prefix + name


def _masks(root: Path) -> Iterator[str]:
    """Label files that documents name: of objects, and of parts."""
    for folder, _, names in os.walk(root):
        prefix = "" if Path(folder) == root else Path(folder).relative_to(root).as_posix() + "/"
        for name in names:
            if name.endswith(".png") and ("_parts_" in name or name.startswith("instance_")):
                yield prefix + name


def _labels(root: Path, documents: Sequence[str], findings: Findings) -> LabelSpace:
    """The classes of all objects that are no parts, by number."""
    name_of: dict[int, str] = {}
    for file in documents:
        try:
            named = files.names_of(root, file)
        except SegdataError as error:
            findings.skip(error.located(file=root / file))
            continue
        for item in named:
            if item.is_whole:
                name_of.setdefault(item.name_ndx, item.name)
    seen: dict[str, int] = {}
    categories = []
    for number, name in sorted(name_of.items()):
        distinct = name if name not in seen else f"{name} ({number})"
        seen[name] = number
        categories.append(Category(distinct, number))
    return LabelSpace("ade20k", tuple(categories))


# ---------------------------------------------------------------------- load


def load(source: Source, entry: Entry, findings: Findings) -> Sample:
    """One image with its objects and label map."""
    root, pixels = source.root, source.options.max_pixels
    try:
        header = images.probe(image_bytes(source, entry), max_pixels=pixels)
    except SegdataError as error:
        raise error.located(file=root / entry.file, key=entry.key) from error
    size = (header.height, header.width)
    residue: dict[str, Any] = {}
    instances = semantic = None
    document, map_file = f"{stem(entry.file)}.json", files.map_file(entry.file)
    try:
        if document in entry.data:
            instances = _instances(source, entry, document, size, findings, residue)
        if map_file in entry.data:
            semantic = _label_map(source, map_file, size, residue)
        levels = _part_maps(source, entry, size)
    except SegdataError as error:
        raise error.located(key=entry.key) from error
    if levels:
        residue["part_maps"] = levels
    return Sample(
        entry.key,
        *size,
        file=entry.file,
        encoded=lambda: image_bytes(source, entry),
        instances=instances,
        semantic=semantic,
        extra={"ade20k": residue} if residue else None,
    )


def _label_map(source: Source, file: str, size: tuple[int, int], residue: dict[str, Any]) -> npt.NDArray[Any]:
    values = files.read_map(source.root, file, size, source.options.max_pixels)
    numbers = files.classes(values)
    table = np.full(int(max(numbers.max(initial=0), 0)) + 1, -1, np.int64)
    table[0] = source.labels.void
    for number, index in source.labels.index_of_id.items():
        if 0 < number < len(table):
            table[number] = index
    semantic = table[numbers]
    if (semantic < 0).any():
        unknown = np.unique(numbers[semantic < 0])[:10].tolist()
        raise InvalidAnnotation(
            "the map holds classes that no document names",
            file=source.root / file,
            why=f"red // 10 · 256 + green is {', '.join(map(str, unknown))}",
            fix="correct the map, or give the documents that belong to it",
        )
    residue["blue"] = verbatim.from_array(values[..., 2])
    if not np.array_equal(files.map_pixels(numbers, values[..., 2]), values):
        residue["red"] = verbatim.from_array(values[..., 0])
    typed: npt.NDArray[Any] = semantic.astype(source.labels.dtype)
    return typed


def _instances(
    source: Source, entry: Entry, file: str, size: tuple[int, int], findings: Findings, residue: dict[str, Any]
) -> Instances:
    """The objects that are no parts; parts, and the document beside its objects, go into the residue."""
    document = files.document_of(source.root, file)
    annotation = document["annotation"]
    folder, limit = files.folder_of(file), source.options.max_pixels
    rows: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    for position, record in enumerate(annotation["object"]):
        try:
            row = _object(source, record, folder, size, limit)
        except SegdataError as error:
            findings.skip(
                error.located(
                    file=error.file or source.root / file, place=f"$.annotation.object[{position}]", key=entry.key
                )
            )
            continue
        row["order"] = position
        if row["is_part"]:
            kept = {"order": position, "record": record, **row["kept"]}
            parts.append(kept if row["visible"] is None else {**kept, "visible": files.counts(row["visible"])})
        else:
            rows.append(row)
    residue |= {
        "document": {
            **{key: value for key, value in document.items() if key != "annotation"},
            "annotation": {key: value for key, value in annotation.items() if key != "object"},
        }
    }
    if parts:
        residue["parts"] = parts
    dense = np.array([np.zeros(size, bool) if row["visible"] is None else row["visible"] for row in rows])
    masks = Masks.from_dense(dense) if rows else Masks.empty(*size)
    return Instances.build(
        [row["category"] for row in rows],
        masks,
        has_mask=[row["visible"] is not None for row in rows],
        truncated=[row["record"].get("crop") == 1 for row in rows],
        occluded=[row["record"].get("occluded") == "yes" for row in rows],
        id=[row["record"]["id"] for row in rows],
        order=[row["order"] for row in rows],
        extra=[{"ade20k": _kept(row, source.labels)} for row in rows],
    )


def _object(
    source: Source, record: dict[str, Any], folder: str, size: tuple[int, int], max_pixels: int
) -> dict[str, Any]:
    """What is read of one record."""
    number, identity, parts = record.get("name_ndx"), record.get("id"), record.get("parts", {})
    level = parts.get("part_level", 0) if isinstance(parts, dict) else 0
    if type(identity) is not int or not 0 <= identity < 1 << 31:
        raise InvalidAnnotation("an object's id is no number from 0", why=f"found {identity!r}"[:200])
    index = source.labels.index_of_id.get(number) if type(number) is int else None
    if index is None and not level:
        raise InvalidAnnotation("an object's class is not known", why=f"name_ndx is {number!r}"[:200])
    name = record.get("instance_mask")
    visible: npt.NDArray[np.bool_] | None = None
    kept: dict[str, Any] = {}
    if isinstance(name, str) and name:
        values = files.read_object(source.root, folder + name, size, max_pixels)
        visible = (values != 0) & (values != files.HIDDEN)
        hidden = values == files.HIDDEN
        kept["value"] = int(values[visible].max(initial=0)) or files.VISIBLE
        if hidden.any():
            kept["hidden"] = files.counts(hidden)
    return {"record": record, "category": index, "visible": visible, "kept": kept, "is_part": bool(level)}


def _kept(row: Mapping[str, Any], labels: LabelSpace) -> dict[str, Any]:
    """What the columns do not say of an object."""
    record = {key: value for key, value in row["record"].items() if key not in ("id", "name_ndx")}
    if record.get("name") == labels[row["category"]].name:
        del record["name"]
    kept = {key: value for key, value in row["kept"].items() if (key, value) != ("value", files.VISIBLE)}
    return {"record": record, **kept}


def _part_maps(source: Source, entry: Entry, size: tuple[int, int]) -> dict[str, Any]:
    """Maps of parts by level, as they are."""
    levels = {}
    for level in range(1, 10):
        file = f"{stem(entry.file)}_parts_{level}.png"
        if not is_file(source.root / file):
            break
        levels[str(level)] = verbatim.from_array(files.read_map(source.root, file, size, source.options.max_pixels))
    return levels


# ---------------------------------------------------------------------- write


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write image, document, maps and objects of every sample."""
    keys = []
    for _, sample in samples:
        keys.append(sample.key)
        encoded = sample.encoded
        if encoded is not None:
            write_file(root, sample.file, encoded)
        residue = sample.extra.get("ade20k", {})
        if sample.semantic is not None:
            write_file(root, files.map_file(sample.file), png.encode_png(_map(sample, header.labels, residue)))
        for level, array in residue.get("part_maps", {}).items():
            write_file(root, f"{stem(sample.file)}_parts_{int(level)}.png", png.encode_png(verbatim.to_array(array)))
        if sample.has_instances:
            _write_objects(sample, root, header.labels, residue)
    return {"keys": keys}


def _map(sample: Sample, labels: LabelSpace, residue: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8 of a sample's map."""
    lookup = np.zeros(labels.void + 1, np.int64)
    lookup[: len(labels)] = [category.id for category in labels.categories]
    blue = (
        verbatim.to_array(residue["blue"]) if "blue" in residue else np.zeros((sample.height, sample.width), np.uint8)
    )
    pixels = files.map_pixels(lookup[sample.semantic], blue)
    if "red" in residue:
        pixels[..., 0] = verbatim.to_array(residue["red"])
    return pixels


def _write_objects(sample: Sample, root: Path, labels: LabelSpace, residue: Mapping[str, Any]) -> None:
    """The document, and the PNG of each object and part that has one."""
    size, folder = (sample.height, sample.width), files.folder_of(sample.file)
    records: list[tuple[int, dict[str, Any]]] = []
    instances = sample.instances
    for index, extra in enumerate(instances.extra):
        kept = extra.get("ade20k", {})
        category = labels[int(instances.category[index])]
        record = {
            "id": int(instances.id[index]),
            "name": category.name,
            "name_ndx": category.id,
            **kept.get("record", {}),
        }
        if instances.has_mask[index] and record.get("instance_mask"):
            write_file(root, folder + record["instance_mask"], files.object_png(instances.masks[index], kept, size))
        records.append((int(instances.order[index]), record))
    for part in _parts_of({record["id"] for _, record in records}, residue.get("parts", ())):
        if "visible" in part:
            visible = files.mask_of(part["visible"], size)
            write_file(root, folder + part["record"]["instance_mask"], files.object_png(visible, part, size))
        records.append((part["order"], part["record"]))
    objects = [record for _, record in sorted(records, key=lambda item: item[0])]
    about = residue.get("document", {})
    annotation = {**about.get("annotation", {}), "object": objects}
    write_file(root, f"{stem(sample.file)}.json", json_text.encode({**about, "annotation": annotation}))


def _parts_of(objects: set[int], parts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts of these objects, and parts of their parts."""
    whole = {part["record"]["id"]: part["record"].get("parts", {}).get("ispartof") for part in parts}

    def is_left(number: object, levels: int = 10) -> bool:
        if number in objects or not isinstance(number, int):
            return True
        return levels > 0 and number in whole and is_left(whole[number], levels - 1)

    return [part for part in parts if is_left(whole[part["record"]["id"]])]


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Nothing is one file for all samples."""
