"""Masks that number the objects of their image: PennFudan, cells and nuclei.

    root/images/NAME.png      masks/NAME.png             value k is object k, 0 is none; 8 or 16 bits, palette or grey
    root/SPLIT/images/…       SPLIT/masks/…              folders of splits
    root/ID/images/ID.png     ID/masks/*.png             a file for each object: whatever is not 0 (Data Science Bowl)
    root/classes.txt                                     one name: the category of all objects

`folders.py` has all layouts. All objects have one category.

Traps: folders of classes look the same, so `evidence.py` reads the values of some masks; numbers have gaps where objects
were taken away; objects lie in several parts; files of single objects may overlap; a number is not the same object in the
next image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segdata.core import images
from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.sample import Instances, Sample
from segdata.errors import InvalidAnnotation, NotThere, SegdataError, UsageError
from segdata.formats.contract import Entry, Header, ReadOptions, Source
from segdata.formats.masks import categories, evidence, folders, mask_files
from segdata.formats.shared import label_tables, lists, pairs, verbatim
from segdata.formats.shared.folder import (
    image_bytes,
    image_path,
    is_file,
    names_in,
    read_bytes,
    stem,
    write_file,
    write_image,
)
from segdata.system.files import inside

LAYOUT = (
    "images/ and masks/ or PNGImages/ and PedMasks/ with a number for each object, or ID/images/ and ID/masks/ (masks)"
)

# ---------------------------------------------------------------------- entries


def detect(root: Path) -> bool:
    """Whether the folder is in one of the layouts, and its masks number objects."""
    return evidence.detect(root)


def scan(root: Path, findings: Findings, options: ReadOptions, *, labels: LabelSpace | None = None) -> Source:
    """Every image with its masks; folders are splits."""
    layout = folders.find(root, elsewhere=bool(options.images_dir))
    if layout is None:
        raise NotThere("this is no folder of images and masks", file=root, why=f"looked for {LAYOUT}")
    if layout.parts and options.images_dir:
        raise UsageError("--images-dir has no place here", why=f"{root} has images and masks together, a folder each")
    entries: list[Entry] = []
    splits: dict[str, list[int]] = {}
    parts = [(pair.split, pairs.entries_of(root, pair, options, findings)) for pair in layout.pairs]
    parts += [(split, folders.object_entries(root, part)) for split, part in layout.parts]
    for split, members in parts:
        splits[split or "all"] = list(range(len(entries), len(entries) + len(members)))
        entries += members
    entries = pairs.distinct(root, entries, splits, findings)
    fix = "name a mask as its image (NAME.png), or as NAME_mask.png"
    error = pairs.no_labels(root, [pair.labels for pair in layout.pairs], entries, fix) if layout.pairs else None
    if error is not None:
        raise error
    for entry in entries:
        if not _files(entry):
            findings.remark("image without mask: not annotated", entry.key)
    places = evidence.beside(layout)
    table = label_tables.in_folder(root, places) if labels is None else label_tables.beside(root, places, findings)
    folder = layout.pairs[0].labels if layout.pairs else layout.parts[0][1]
    space, category = categories.decide(root, labels, table, folder, findings)
    tables = [] if table is None else [table.file, *table.others]
    texts = {name: read_bytes(root, name, "the dataset") for name in tables}
    if list(splits) == ["all"]:
        listed = {name: read_bytes(root, name, "the dataset") for name in _possible_lists(root)}
        by_list = lists.splits(root, listed, {entry.key: index for index, entry in enumerate(entries)}, findings)
        splits = by_list or splits
        texts |= {name: content for name, content in listed.items() if stem(name) in by_list}
    return Source(
        root=root,
        layout=f"masks, {layout.name}",
        labels=space,
        entries=entries,
        splits={name: members for name, members in splits.items() if members},
        documents=[{"format": "masks", "file": name, **verbatim.from_text(content)} for name, content in texts.items()],
        annotation_files=[*texts, *(file for entry in entries for file in _files(entry))],
        data=category,
    )


def _possible_lists(root: Path) -> list[str]:
    return [name for name in names_in(root, ".txt") if stem(name).lower() in lists.SPLITS]


def _files(entry: Entry) -> list[str]:
    """The files of an image's masks."""
    if isinstance(entry.data, folders.ObjectFiles):
        return [f"{entry.data.folder}/{name}" for name in entry.data.names]
    return [entry.data.file] if entry.data.file else []


# ---------------------------------------------------------------------- load


def load(source: Source, entry: Entry, findings: Findings) -> Sample:
    """One image with its objects."""
    header = _header(source, entry)
    is_object_folder = isinstance(entry.data, folders.ObjectFiles)
    files = _files(entry)
    stored = [mask_files.read(source.root, file, source.options.max_pixels) for file in files]
    size = stored[0].values.shape if stored else (0, 0)
    if header is not None and (not stored or header.orientation < 5 or size != (header.width, header.height)):
        size = (header.height, header.width)
    for file, mask in zip(files, stored, strict=True):
        if mask.values.shape != size:
            raise _other_size(source, entry, file, mask, size)
    residue: dict[str, Any] = {}
    instances = None
    if is_object_folder and entry.data.folder:
        residue = {"folder": entry.data.folder}
        instances = _of_files(source, entry, stored, size, findings)
    elif stored:
        residue = {"file": files[0], **stored[0].residue}
        if stored[0].residue["mode"] in ("RGB", "RGBA"):
            findings.remark("mask of three equal channels: taken as numbers", entry.key)
        numbers = stored[0].numbers
        masks = Masks.from_id_map(stored[0].values, numbers)
        instances = Instances.build([source.data] * len(numbers), masks, id=numbers)
    return Sample(
        entry.key,
        *size,
        file=entry.file,
        encoded=(lambda: image_bytes(source, entry)) if entry.file else None,
        instances=instances,
        extra={"masks": residue} if residue else None,
    )


def _header(source: Source, entry: Entry) -> images.Header | None:
    """What the image's header says; None where the image is not there and its mask is."""
    if _files(entry) and not (entry.file and is_file(image_path(source.root, entry))):
        return None
    try:
        return images.probe(image_bytes(source, entry), max_pixels=source.options.max_pixels)
    except SegdataError as error:
        raise error.located(file=source.root / entry.file, key=entry.key) from error


def _other_size(
    source: Source, entry: Entry, file: str, mask: mask_files.MaskFile, size: tuple[int, ...]
) -> InvalidAnnotation:
    height, width = mask.values.shape
    return InvalidAnnotation(
        "mask is of another size than the image",
        file=source.root / file,
        key=entry.key,
        why=f"mask {width} × {height}, image {entry.file} {size[1]} × {size[0]} (width × height)",
        fix="give the mask of this image, in its size",
    )


def _of_files(
    source: Source, entry: Entry, stored: Sequence[mask_files.MaskFile], size: tuple[int, ...], findings: Findings
) -> Instances:
    """An object for each file; a file with several values is left out."""
    objects: list[tuple[int, mask_files.MaskFile]] = []
    for position, mask in enumerate(stored):
        if len(mask.numbers) > 1:
            findings.skip(
                InvalidAnnotation(
                    "a file of one object holds several values",
                    file=source.root / _files(entry)[position],
                    key=entry.key,
                    why=f"values {', '.join(map(str, mask.numbers[:5]))}{' …' if len(mask.numbers) > 5 else ''}",
                    fix="save 0 and one more value",
                )
            )
            continue
        if not mask.numbers:
            findings.remark("mask of an object without a pixel", f"{entry.key}: {entry.data.names[position]}")
        objects.append((position, mask))
    height, width = size
    masks = [Masks.from_id_map(mask.values, mask.numbers or [1]) for _, mask in objects]
    extra = [
        {"masks": {"file": entry.data.names[position], "value": (mask.numbers or [255])[0], **mask.residue}}
        for position, mask in objects
    ]
    count = len(objects)
    return Instances.build(
        [source.data] * count,
        Masks.concatenate(masks, height, width),
        id=np.arange(1, count + 1),
        extra=extra,
    )


# ---------------------------------------------------------------------- write


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write image and masks of every sample."""
    keys = []
    for _, sample in samples:
        keys.append(sample.key)
        write_image(root, sample)
        residue = sample.extra.get("masks", {})
        if not sample.has_instances:
            continue
        if "folder" in residue:
            _write_files(sample, root, residue["folder"])
        elif "file" in residue:
            numbers = sample.instances.id
            values = np.zeros((sample.height, sample.width), np.uint16 if numbers.max(initial=0) > 255 else np.uint8)
            sample.instances.masks.paint(numbers, values)
            write_file(root, residue["file"], mask_files.encode(values, residue))
    return {"keys": keys}


def _write_files(sample: Sample, root: Path, folder: str) -> None:
    """A file for each object."""
    inside(root, folder, "the sample").mkdir(parents=True, exist_ok=True)
    for index, extra in enumerate(sample.instances.extra):
        residue = extra["masks"]
        values = sample.instances.masks[index].astype(np.uint16) * residue["value"]
        write_file(root, f"{folder}/{residue['file']}", mask_files.encode(values, residue))


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Write the table as it was, and the lists without the names of samples that were not written."""
    written = {key for receipt in receipts for key in receipt["keys"]}
    for document in header.documents:
        if document.get("format") == "masks":
            is_list = stem(document["file"]).lower() in lists.SPLITS
            write_file(
                root, document["file"], lists.without_absent(document, written) if is_list else lists.text(document)
            )
