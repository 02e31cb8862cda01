"""The Semantic Boundaries Dataset: photos of VOC with classes and objects in MATLAB files.

    root/img/NAME.jpg
    root/cls/NAME.mat      GTcls: Segmentation (H, W) class of each pixel, 0 is background; CategoriesPresent, Boundaries
    root/inst/NAME.mat     GTinst: Segmentation (H, W) object of each pixel, 0 is none; Categories (N, 1) of the objects
    root/train.txt         names, one a line; val.txt, train_noval.txt
    root/labelmap.txt      what the classes are; VOC's own where no table is there

Boundaries are sparse matrices, one for each class or object, which other formats drop.

Traps: there is no void; SBD's train holds photos of VOC 2012's val. MATLAB files may hold anything: `matlab.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.catalog import manifest
from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.sample import Instances, Sample
from segdata.errors import InvalidAnnotation, NotThere, SegdataError
from segdata.formats.contract import Entry, Header, ReadOptions, Source
from segdata.formats.sbd import matlab, structures
from segdata.formats.sbd.structures import CLASSES, OBJECTS, Kind, Structure
from segdata.formats.shared import label_tables, lists, verbatim
from segdata.formats.shared.folder import (
    file_size,
    image_bytes,
    image_path,
    image_size,
    is_file,
    names_in,
    read_bytes,
    stem,
    write_file,
    write_image,
)
from segdata.formats.voc import classes

LAYOUT = "cls/NAME.mat or inst/NAME.mat beside img/NAME.jpg (SBD)"
IMAGES = "img"
VOID = 255
_FOLDERS = (CLASSES.folder, OBJECTS.folder)

# ---------------------------------------------------------------------- entries


@dataclass(frozen=True)
class Files:
    """The MATLAB files of an image, paths under the root; "" where there is none."""

    classes: str
    objects: str


def detect(root: Path) -> bool:
    """Whether the folder has MATLAB files in cls/ or inst/."""
    return root.is_dir() and any(names_in(root / name, ".mat") for name in _FOLDERS)


def scan(root: Path, findings: Findings, options: ReadOptions, *, labels: LabelSpace | None = None) -> Source:
    """Every image with its files; lists are splits."""
    matlab.scipy_io()
    chosen = options.images_dir.get("")
    photos = {
        stem(name): name for name in names_in(root / IMAGES if chosen is None else chosen, ".jpg", ".jpeg", ".png")
    }
    files = {folder: {stem(name) for name in names_in(root / folder, ".mat")} for folder in _FOLDERS}
    entries = []
    for key in sorted({*photos, *files[CLASSES.folder], *files[OBJECTS.folder]}):
        data = Files(*(f"{folder}/{key}.mat" if key in files[folder] else "" for folder in _FOLDERS))
        size = sum(file_size(root, name) for name in (data.classes, data.objects))
        name = photos.get(key, "")
        disk = "" if chosen is None or not name else str(chosen.absolute() / name)
        entries.append(Entry(key, name and (name if disk else f"{IMAGES}/{name}"), size, data, disk))
    table = label_tables.in_folder(root) if labels is None else label_tables.beside(root, ("",), findings)
    tables = [] if table is None else [table.file, *table.others]
    names = [name for name in names_in(root, ".txt") if name not in tables]
    listed = {name: read_bytes(root, name, "the dataset") for name in names}
    index_of = {entry.key: index for index, entry in enumerate(entries)}
    splits = lists.splits(root, listed, index_of, findings)
    texts = {name: content for name, content in listed.items() if stem(name) in splits}
    texts |= {name: read_bytes(root, name, "the dataset") for name in tables}
    space = labels or (manifest.label_space(classes.OFFICIAL) if table is None else classes.of_table(table, findings))
    return Source(
        root=root,
        layout="sbd",
        labels=space,
        entries=entries,
        splits=splits or {"all": list(range(len(entries)))},
        documents=[{"format": "sbd", "file": name, **verbatim.from_text(text)} for name, text in sorted(texts.items())],
        annotation_files=[
            *sorted(texts),
            *(file for entry in entries for file in (entry.data.classes, entry.data.objects) if file),
        ],
    )


# ---------------------------------------------------------------------- load


def load(source: Source, entry: Entry, findings: Findings) -> Sample:
    """One image with its label map and objects."""
    limit, residue = source.options.max_pixels, {}
    sizes: dict[str, tuple[int, int]] = {}
    if entry.file and is_file(image_path(source.root, entry)):
        sizes[entry.file] = image_size(source, entry)
    semantic = instances = None
    for kind, file in zip((CLASSES, OBJECTS), (entry.data.classes, entry.data.objects), strict=True):
        if not file:
            continue
        try:
            structure = structures.read(read_bytes(source.root, file, "the dataset"), kind, limit)
            _check_size(structure, file, sizes)
            if kind is CLASSES:
                semantic = _label_map(structure.pixels, source.labels)
            else:
                instances = _instances(structure, source, entry, findings)
        except SegdataError as error:
            raise error.located(file=source.root / file, key=entry.key) from error
        given = _numbers(kind, source.labels, semantic, instances)
        residue[kind.folder] = structures.kept(structure, kind, *given)
    if not sizes:
        raise NotThere("the size of the image is not known", file=source.root / entry.file, key=entry.key)
    return Sample(
        entry.key,
        *next(iter(sizes.values())),
        file=entry.file,
        encoded=(lambda: image_bytes(source, entry)) if entry.file else None,
        instances=instances,
        semantic=semantic,
        extra={"sbd": residue} if residue else None,
    )


def _check_size(structure: Structure, file: str, sizes: dict[str, tuple[int, int]]) -> None:
    height, width = structure.pixels.shape
    first, size = next(iter(sizes.items()), (file, (height, width)))
    if size != (height, width):
        raise InvalidAnnotation(
            "a file is of another size than the others of its image",
            why=f"{width} × {height}; {first} is {size[1]} × {size[0]} (width × height)",
            fix="give the file of this image",
        )
    sizes[file] = height, width


def _label_map(pixels: npt.NDArray[Any], labels: LabelSpace) -> npt.NDArray[Any]:
    """Category indices of numbers; 255 is void where no category has it."""
    lookup = np.full(int(pixels.max()) + 1, -1, np.int64)
    for index, category in enumerate(labels.categories):
        if 0 <= category.id < len(lookup):
            lookup[category.id] = index
    if len(lookup) > VOID and VOID not in labels.index_of_id:
        lookup[VOID] = labels.void
    values: npt.NDArray[np.int64] = lookup[pixels]
    if values.min() < 0:
        number = int(pixels[values < 0][0])
        raise InvalidAnnotation(
            "pixels have a number that is no class",
            why=f"{number}, in {int((pixels == number).sum())} pixels; there are {_range(labels)}",
            fix="name the classes with --classes FILE|NAMES, background first",
        )
    semantic: npt.NDArray[Any] = values.astype(labels.dtype)
    return semantic


def _range(labels: LabelSpace) -> str:
    first, last = labels[0], labels[len(labels) - 1]
    return f"{first.id} ({first.name}) … {last.id} ({last.name})"


def _instances(structure: Structure, source: Source, entry: Entry, findings: Findings) -> Instances:
    """The objects 1 … N in their order; one whose number is no class is left out."""
    labels, chosen = source.labels, []
    highest = int(structure.pixels.max())
    if highest > len(structure.numbers):
        raise InvalidAnnotation(
            "pixels have a number that is no object",
            why=f"{highest}; Categories has {len(structure.numbers)} objects",
            fix="restore the original file",
        )
    for number, id in enumerate(structure.numbers, 1):
        if id in labels.index_of_id and labels.index_of_id[id] != labels.background:
            chosen.append((number, labels.index_of_id[id]))
            continue
        error = InvalidAnnotation(
            "an object is of no class",
            file=source.root / entry.data.objects,
            key=entry.key,
            place=f"Categories({number})",
            why=f"found {id}; there are {_range(labels)}",
            fix="name the classes with --classes FILE|NAMES, background first",
        )
        findings.skip(error)
    numbers = [number for number, _ in chosen]
    return Instances.build(
        [category for _, category in chosen], Masks.from_id_map(structure.pixels, numbers), id=numbers
    )


def _numbers(
    kind: Kind, labels: LabelSpace, semantic: npt.NDArray[Any] | None, instances: Instances | None
) -> tuple[npt.NDArray[Any], list[int]]:
    """Pixels and numbers of categories that a label map or objects give."""
    if kind is OBJECTS:
        assert instances is not None
        numbers = np.zeros((instances.masks.height, instances.masks.width), np.uint16)
        instances.masks.paint(instances.id, numbers)
        ids = [0] * int(instances.id.max(initial=0))
        for number, category in zip(instances.id.tolist(), instances.category.tolist(), strict=True):
            ids[number - 1] = labels[category].id
        return numbers, ids
    assert semantic is not None
    lookup = np.full(labels.void + 1, VOID, np.uint16)
    lookup[: len(labels)] = [category.id for category in labels.categories]
    pixels = lookup[semantic]
    return pixels, [value for value in np.unique(pixels).tolist() if value not in (0, VOID)]


# ---------------------------------------------------------------------- write


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write image and MATLAB files of every sample."""
    keys = []
    for _, sample in samples:
        keys.append(sample.key)
        write_image(root, sample)
        for kind, kept in ((kind, sample.extra.get("sbd", {}).get(kind.folder)) for kind in (CLASSES, OBJECTS)):
            if kept is not None and (sample.has_semantic if kind is CLASSES else sample.has_instances):
                pixels, numbers = _numbers(kind, header.labels, sample.semantic, sample.instances)
                data = structures.written(kind, pixels, numbers, kept)
                write_file(root, f"{kind.folder}/{sample.key}.mat", data)
    return {"keys": keys}


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Write the table as it was, and the lists without the names of samples that were not written."""
    written = {key for receipt in receipts for key in receipt["keys"]}
    for document in header.documents:
        if document.get("format") == "sbd":
            is_list = stem(document["file"]) in header.splits
            content = lists.without_absent(document, written) if is_list else lists.text(document)
            write_file(root, document["file"], content)
