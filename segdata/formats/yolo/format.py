"""YOLO: a text file of classes and shares beside each image, as Ultralytics and Roboflow lay them out.

    root/data.yaml                  names of the classes, and where each split's images are
    root/images/SPLIT/NAME.jpg      Ultralytics; Roboflow has SPLIT/images/NAME.jpg
    root/labels/SPLIT/NAME.txt      a line an object: CLASS cx cy w h, or CLASS x1 y1 x2 y2 x3 y3 …
    root/masks/SPLIT/NAME.png       with `masks_dir: masks` in data.yaml: classes of pixels, 255 for none

`folders.py` has all layouts, `lines.py` the lines, `data_yaml.py` the keys. Outlines are drawn by pycocotools' rule.

Traps: coordinates are shares of the picture turned upright by EXIF, segdata keeps pixels as stored; one longer line makes
outlines of all lines of a file; parts and holes are joined by seams; a missing label file says that there is no object;
`path` is that of another machine; names that YAML takes for yes and no.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segdata.core import images
from segdata.core.codecs import jpeg
from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.polygons import Polygons
from segdata.core.rle import pointer_of
from segdata.core.sample import Instances, Sample
from segdata.errors import InvalidAnnotation, NotThere, SegdataError, UsageError
from segdata.formats.contract import Entry, Header, ReadOptions, Source
from segdata.formats.shared import label_tables, lists, verbatim
from segdata.formats.shared.folder import (
    IMAGE_ENDINGS,
    file_size,
    image_bytes,
    is_file,
    read_bytes,
    stem,
    write_file,
)
from segdata.formats.yolo import data_yaml, folders, label_maps, lines, numbers, outlines

LAYOUT = "data.yaml with names and train, val or test, or images/ and labels/ with a text file for each image (yolo)"

NO_FILE = "image without label file: no objects"
NOBODY = "split without label files: not annotated"


@dataclass(frozen=True)
class Files:
    """What belongs to an image.

    Attributes:
        labels: its label file under the root.
        is_there: whether there is one.
        is_annotated: whether there is any in its split: an image without one then has no objects.
        mask: its label map, "" where it has none.
    """

    labels: str
    is_there: bool
    is_annotated: bool
    mask: str = ""


@dataclass(frozen=True)
class Reading:
    """What `load` needs beside an entry.

    Attributes:
        index_of: number of a class → category.
        keypoints, mapping: see `DataYaml`.
    """

    index_of: Mapping[int, int]
    keypoints: int
    mapping: Mapping[int, int]


# ---------------------------------------------------------------------- entries


def detect(root: Path) -> bool:
    """Whether there is a `data.yaml`, or images with label files of numbers."""
    if root.is_file():
        return data_yaml.looks_like_one(root)
    return root.is_dir() and (bool(data_yaml.candidates(root)) or folders.is_label_folder(root))


def scan(root: Path, findings: Findings, options: ReadOptions, *, labels: LabelSpace | None = None) -> Source:
    """Every image with its label file; splits are those of `data.yaml`."""
    if options.images_dir:
        why = "the label file of an image is found from the image's path"
        raise UsageError("--images-dir has no place here", why=why, fix="put the images where data.yaml says, as links")
    name = root.name if root.is_file() else data_yaml.only_one(root)
    root = root.parent if root.is_file() else root
    data = data_yaml.read(root, name, findings) if name is not None else None
    parts = folders.of_yaml(root, data, options, findings) if data is not None else folders.of_folders(root, options)
    if not parts:
        raise NotThere("this is no YOLO folder", file=root, why=f"looked for {LAYOUT}")
    masks_dir = data.masks_dir if data is not None else ""
    there = folders.labels_of(root, parts)
    entries, splits = _entries(root, parts, there, masks_dir, findings)
    image_of = {entry.data.labels: entry.file for entry in entries}
    folders.skip_without_image(root, there, image_of, findings)
    documents = [] if data is None else [(data.file, data.content)]
    documents += [(text, read_bytes(root, text, "the dataset")) for part in parts for text in part.lists]
    if labels is None and data is not None:
        labels = data.label_space()
    if data is None:
        table = label_tables.in_folder(root, _beside(parts)) if labels is None else None
        labels = labels or (table.label_space() if table is not None else _from_data(root, entries, options, findings))
        documents += (
            []
            if table is None
            else [(file, read_bytes(root, file, "the dataset")) for file in (table.file, *table.others)]
        )
    assert labels is not None
    return Source(
        root=root,
        layout=f"YOLO, {'data.yaml' if data is not None else 'folders alone'}",
        labels=labels,
        entries=entries,
        splits=splits,
        documents=[{"format": "yolo", "file": file, **verbatim.from_text(content)} for file, content in documents],
        annotation_files=[
            *(file for file, _ in documents),
            *(entry.data.labels for entry in entries if entry.data.is_there),
            *(entry.data.mask for entry in entries if entry.data.mask),
        ],
        data=Reading(
            labels.index_of_id,
            data.keypoints if data is not None else 0,
            data.mapping if data is not None else {},
        ),
        passed_over=sorted(there.difference(image_of)),
    )


def _entries(
    root: Path, parts: Sequence[folders.Images], there: set[str], masks_dir: str, findings: Findings
) -> tuple[list[Entry], dict[str, list[int]]]:
    """The images of all splits, each once, and the splits over them."""
    entries: list[Entry] = []
    index_of: dict[str, int] = {}
    splits: dict[str, list[int]] = {}
    for part in parts:
        new = [file for file in part.files if file not in index_of]
        labels = {file: folders.beside(file, folders.LABELS, ".txt") for file in new}
        is_annotated = any(label in there for label in labels.values())
        if new and not is_annotated and not masks_dir:
            findings.remark(NOBODY, part.name, len(new))
        keys = _keys(new, part)
        for file in new:
            mask = _mask(root, file, masks_dir) if masks_dir else ""
            if is_annotated and labels[file] not in there:
                findings.remark(NO_FILE, file)
            if masks_dir and not mask:
                findings.remark("image without label map: not annotated", file)
            data = Files(labels[file], labels[file] in there, is_annotated, mask)
            size = file_size(root, data.labels if data.is_there else "") + file_size(root, mask)
            index_of[file] = len(entries)
            entries.append(Entry(keys[file], file, size, data))
        splits[part.name] = [index_of[file] for file in part.files]
    return entries, {name: members for name, members in splits.items() if members}


def _keys(files: Sequence[str], part: folders.Images) -> dict[str, str]:
    """Image → its key in its split: as short as is distinct."""
    folder_of = {
        file: next((folder for folder in part.folders if not folder or file.startswith(f"{folder}/")), "")
        for file in files
    }
    short = {file: folders.key_of(file, folder_of[file]) for file in files}
    if len(set(short.values())) == len(short):
        return short
    long = {file: stem(file) for file in files}
    return long if len(set(long.values())) == len(long) else {file: file for file in files}


def _mask(root: Path, file: str, masks_dir: str) -> str:
    """An image's label map, "" where there is none."""
    names = [folders.beside(file, masks_dir, ending) for ending in (".png", *IMAGE_ENDINGS)]
    return next((name for name in names if is_file(root / name)), "")


def _beside(parts: Sequence[folders.Images]) -> list[str]:
    """Folders in which a table of classes may lie."""
    of_images = [folder for part in parts for folder in part.folders]
    of_labels = [folders.beside(f"{folder}/x", folders.LABELS, "").rpartition("/")[0] for folder in of_images]
    above = [folder.rpartition("/")[0] for folder in (*of_images, *of_labels)]
    return list(dict.fromkeys(["", *above, *of_images, *of_labels]))


def _from_data(root: Path, entries: Sequence[Entry], options: ReadOptions, findings: Findings) -> LabelSpace:
    """Classes called by the numbers that the label files use."""
    if not options.classes_from_data:
        fix = (
            "write a name a line into classes.txt, give --classes NAME,NAME,… in the order of the numbers, or take "
            "the numbers for names with --classes from-data"
        )
        above = root.absolute().parent
        if data_yaml.candidates(above):
            fix = f"it lies in a dataset: segdata convert {above} PACK --split {root.name}"
        why = "looked for data.yaml, classes.txt and tables of other tools"
        raise InvalidAnnotation("nothing names the classes", file=root, why=why, fix=fix)
    highest = -1
    for entry in entries:
        if entry.data.is_there:
            words = [line.split()[:1] for line in read_bytes(root, entry.data.labels, "the dataset").splitlines()]
            highest = max(
                [highest, *(int(word[0]) for word in words if word and word[0].isdigit() and len(word[0]) < 6)]
            )
    findings.remark("classes called by their numbers: nothing names them", str(root), highest + 1)
    return label_tables.from_names([str(number) for number in range(highest + 1)] or ["0"])


# ---------------------------------------------------------------------- load


def load(source: Source, entry: Entry, findings: Findings) -> Sample:
    """One image with its objects, in the pixels of the image as it is stored."""
    root, files = source.root, entry.data
    try:
        header = images.probe(image_bytes(source, entry), max_pixels=source.options.max_pixels)
    except SegdataError as error:
        raise error.located(file=root / entry.file, key=entry.key) from error
    size = (header.height, header.width)
    residue: dict[str, Any] = {} if files.is_there or not files.is_annotated else {"missing": True}
    instances = Instances.none(*size) if files.is_annotated else None
    if header.orientation != 1 and (files.is_there or files.mask):
        residue["orientation"] = header.orientation
        kind = f"EXIF orientation {header.orientation}: annotations of the upright picture turned to the stored pixels"
        findings.remark(kind, entry.key)
    if files.is_there:
        where = lines.Where(root / files.labels, entry.key, source.data.index_of, source.data.keypoints)
        text = lines.read(read_bytes(root, files.labels, "the dataset"), where, findings)
        instances = _instances(text, source.labels, where, findings, header)
        residue |= text.residue
    semantic = None
    if files.mask:
        semantic, residue["mask"] = label_maps.read(
            root,
            files.mask,
            source.labels,
            source.data.mapping,
            orientation=header.orientation,
            max_pixels=source.options.max_pixels,
        )
        if semantic.shape != size:
            raise InvalidAnnotation(
                "label map is of another size than the image",
                file=root / files.mask,
                key=entry.key,
                why=f"label map {semantic.shape[::-1]}, image {size[::-1]} (width, height)",
                fix="give the label map of this image, in its size",
            )
    return Sample(
        entry.key,
        *size,
        file=entry.file,
        encoded=lambda: image_bytes(source, entry),
        instances=instances,
        semantic=semantic,
        extra={"yolo": residue} if residue else None,
    )


def _instances(
    text: lines.LabelText, labels: LabelSpace, where: lines.Where, findings: Findings, header: images.Header
) -> Instances:
    """The objects of a label file as columns."""
    height, width, orientation = header.height, header.width, header.orientation
    rows = text.rows
    bbox, polygons, masks = None, None, Masks.empty(height, width, len(rows))
    if text.are_outlines and rows:
        flat = np.array([value for row in rows for value in row.values], np.float64)
        bounds = pointer_of(np.array([len(row.values) for row in rows], np.int64))
        pixels = outlines.to_pixels(flat, orientation, height, width)
        polygons = Polygons(pixels, bounds, np.arange(len(rows) + 1))
        if (index := outlines.too_long(polygons)) is not None:
            count = f"{len(rows[index].values) // 2:,} points"
            raise where.error(rows[index].line, "an outline is too long to be drawn", count, "simplify it")
        masks = Masks.from_polygons(polygons, height, width)
        shares = outlines.to_shares(pixels, orientation, height, width)
    else:
        boxes = np.array([row.values for row in rows], np.float64).reshape(-1, 4)
        bbox = outlines.boxes_to_pixels(boxes, orientation, height, width)
        shares = outlines.boxes_to_shares(bbox, orientation, height, width).reshape(-1)
        bounds = np.arange(0, 4 * len(rows) + 1, 4)
    texts = numbers.texts(shares, bounds, text.residue.get("style", "r"))
    extra = [lines.residue_of(row, labels[row.category].id, again) for row, again in zip(rows, texts, strict=True)]
    return Instances.build(
        [row.category for row in rows],
        masks,
        has_mask=[text.are_outlines] * len(rows),
        bbox=bbox,
        order=[row.line for row in rows],
        polygons=polygons,
        extra=[{"yolo": item} if item else {} for item in extra],
    )


# ---------------------------------------------------------------------- write


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write image, label file and label map of every sample."""
    files, has_masks = [], False
    for index, sample in samples:
        files.append([index, sample.file])
        residue = sample.extra.get("yolo", {})
        encoded = sample.encoded
        orientation = residue.get("orientation", 1)
        if encoded is not None:
            write_file(root, sample.file, encoded)
            orientation = _orientation(encoded, sample.max_pixels)
        if sample.has_instances and not residue.get("missing"):
            text = lines.text_of(_written(sample, header.labels, orientation, residue.get("style", "f6")), residue)
            write_file(root, folders.beside(sample.file, folders.LABELS, ".txt"), text)
        if sample.semantic is not None and "mask" in residue:
            has_masks = True
            mask = label_maps.encode(sample.semantic, residue["mask"], header.labels, orientation)
            write_file(root, residue["mask"]["file"], mask)
    return {"files": files, "has_masks": has_masks}


def _orientation(encoded: bytes, max_pixels: int) -> int:
    """EXIF's orientation of an image file that was checked; most JPEG files have no EXIF, which is quick to tell."""
    if encoded.startswith(b"\xff\xd8") and not jpeg.has_exif(encoded):
        return 1
    return images.probe(encoded, max_pixels=max_pixels).orientation


def _written(sample: Sample, labels: LabelSpace, orientation: int, style: str) -> Iterable[lines.Written]:
    """The lines of a sample's objects."""
    instances, polygons, size = sample.instances, sample.instances.polygons, (sample.height, sample.width)
    first, has_outline = polygons.pointer[:-1].tolist(), (np.diff(polygons.pointer) > 0).tolist()
    shares = outlines.to_shares(polygons.values, orientation, *size)
    bounds = polygons.rings
    if not all(has_outline):  # boxes behind the outlines
        first = [
            ring if is_outline else len(bounds) - 1 + index
            for index, (ring, is_outline) in enumerate(zip(first, has_outline, strict=True))
        ]
        boxes = outlines.boxes_to_shares(instances.bbox, orientation, *size)
        bounds = np.concatenate([bounds, bounds[-1] + np.arange(4, boxes.size + 1, 4)])
        shares = np.concatenate([shares, boxes.reshape(-1)])
    texts, begins = numbers.texts(shares, bounds, style), bounds.tolist()
    columns = zip(instances.order.tolist(), instances.category.tolist(), first, instances.extra, strict=True)
    for line, category, ring, extra in columns:
        values = shares[begins[ring] : begins[ring + 1]]
        yield lines.Written(line, labels[category].id, values, texts[ring], extra.get("yolo", {}))


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Write `data.yaml` and tables as they were, and the lists without images that were not written."""
    written = {index: file for receipt in receipts for index, file in receipt["files"]}
    has_masks = any(receipt["has_masks"] for receipt in receipts)
    names = {file.rpartition("/")[2] for file in written.values()}
    for document in header.documents:
        if document.get("format") != "yolo":
            continue
        file = document["file"]
        if "split" in document:
            members = [written[int(index)] for index in header.splits[document["split"]] if int(index) in written]
            text = "".join(f"./{member}\n" for member in members).encode("utf-8", "surrogateescape")
        elif file.endswith(".txt") and file.rpartition("/")[2].lower() not in label_tables.FILES:
            text = _without_absent(document, names)
        else:
            text = lists.text(document) + (b"masks_dir: masks\n" if document.get("is_new") and has_masks else b"")
        write_file(root, file, text)


def _without_absent(document: Mapping[str, Any], names: set[str]) -> bytes:
    """A list without the lines of images that were not written, by the names of the files."""
    lines_of = lists.text(document).decode("utf-8", "surrogateescape").splitlines(keepends=True)
    kept = [line for line in lines_of if not line.strip() or re.split(r"[/\\]", line.strip())[-1] in names]
    return "".join(kept).encode("utf-8", "surrogateescape")
