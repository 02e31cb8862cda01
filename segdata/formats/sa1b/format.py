"""SA-1B, and what Segment Anything's automatic masks are saved as: a JSON document beside each image.

    root/sa_223750.jpg
    root/sa_223750.json          {"image": {image_id, width, height, file_name}, "annotations": [{id, segmentation, …}]}
    root/sa_000020/sa_….jpg      or in folders of the archives' names; folders of other names are splits

`segmentation` is COCO's compressed run lengths of the whole image; `bbox` is x, y, width, height.

Traps: there are no categories, so all objects are of one, `object`; masks of one image overlap, as parts lie in wholes;
`crop_box`, `point_coords`, `predicted_iou` and `stability_score` say how a mask was made and how sure the model was: they
are further fields, not scores of predictions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from segdata.core import images
from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.sample import Instances, Sample
from segdata.errors import InvalidAnnotation, SegdataError, UsageError
from segdata.formats.contract import Entry, Header, ReadOptions, Source
from segdata.formats.sa1b import records
from segdata.formats.shared import json_text
from segdata.formats.shared.folder import (
    IMAGE_ENDINGS,
    file_size,
    folders_in,
    image_bytes,
    names_in,
    stem,
    write_file,
    write_image,
)

LAYOUT = "NAME.json with image and annotations beside NAME.jpg (SA-1B)"

_ARCHIVE = re.compile(r"sa_\d+")

_LOOKED_AT = 3
"""Documents that `detect` reads."""

_MOST = 1 << 24
"""Bytes of a document that `detect` reads; real ones have up to about 2 MB."""


# ---------------------------------------------------------------------- entries


def detect(root: Path) -> bool:
    """Whether the first JSON files beside images, in the folder or one below it, are such documents."""
    for folder in ("", *folders_in(root)[:_LOOKED_AT]) if root.is_dir() else ():
        pairs = [name for name in names_in(root / folder, ".json") if _image_of(root / folder, name)]
        if pairs:
            return all(_is_document(root / folder / name) for name in pairs[:_LOOKED_AT])
    return False


def _image_of(folder: Path, name: str) -> str:
    """The image file beside a document, "" where there is none."""
    return next((stem(name) + ending for ending in IMAGE_ENDINGS if (folder / (stem(name) + ending)).is_file()), "")


def _is_document(path: Path) -> bool:
    if path.stat().st_size > _MOST:
        return False
    try:
        document = json_text.decode(json_text.map_file(path), dict[str, Any], path)
    except SegdataError:
        return False
    image, objects = document.get("image"), document.get("annotations")
    return isinstance(image, dict) and {"height", "width", "file_name"} <= image.keys() and isinstance(objects, list)


def scan(root: Path, findings: Findings, options: ReadOptions, *, labels: LabelSpace | None = None) -> Source:
    """Every image of the folder and of those below it, with the document beside it."""
    if options.images_dir:
        raise UsageError("--images-dir has no place here", why="SA-1B has each image beside its document")
    if labels is not None and len(labels) != 1:
        raise UsageError(
            "SA-1B has one category",
            why=f"{len(labels)} are given, and nothing says which object has which",
            fix="give one name, such as --classes object",
        )
    entries: list[Entry] = []
    splits: dict[str, list[int]] = {}
    for folder in ("", *folders_in(root)):
        is_split = bool(folder) and not _ARCHIVE.fullmatch(folder)
        prefix = f"{folder}/" if folder else ""
        documents = set(names_in(root / folder, ".json"))
        files = {stem(name): name for name in names_in(root / folder, *IMAGE_ENDINGS)}
        for name in sorted({*files, *map(stem, documents)}):
            document = f"{prefix}{name}.json" if f"{name}.json" in documents else ""
            if not document:
                findings.remark("image without document: not annotated", f"{prefix}{name}")
            splits.setdefault(folder if is_split else "all", []).append(len(entries))
            file = prefix + files.get(name, f"{name}.jpg")
            size = file_size(root, document) if document else 0
            entries.append(Entry(name if is_split else prefix + name, file, size, document))
    return Source(
        root=root,
        layout="SA-1B, a document beside each image",
        labels=records.LABELS if labels is None else labels,
        entries=entries,
        splits=splits,
        annotation_files=[entry.data for entry in entries if entry.data],
    )


# ---------------------------------------------------------------------- load


def load(source: Source, entry: Entry, findings: Findings) -> Sample:
    """One image with its objects."""
    try:
        header = images.probe(image_bytes(source, entry), max_pixels=source.options.max_pixels)
    except SegdataError as error:
        raise error.located(file=source.root / entry.file, key=entry.key) from error
    document = _document(source, entry) if entry.data else {}
    image = document.get("image", {})
    is_other_size = bool(entry.data) and (image.get("height"), image.get("width")) != (header.height, header.width)
    if is_other_size:
        raise InvalidAnnotation(
            "the document is about an image of another size",
            file=source.root / entry.data,
            key=entry.key,
            why=f"it says {image.get('width')} × {image.get('height')}, {entry.file} has {header.width} × {header.height}",
            fix="give the image that was annotated",
        )
    number = image.get("image_id", -1)
    is_number = type(number) is int and 0 <= number < 1 << 63
    return Sample(
        entry.key,
        header.height,
        header.width,
        file=entry.file,
        id=number if is_number else -1,
        encoded=lambda: image_bytes(source, entry),
        instances=_instances(source, entry, document["annotations"], header, findings) if entry.data else None,
        extra=_extra(entry, document, is_number=is_number) if entry.data else None,
    )


def _document(source: Source, entry: Entry) -> dict[str, Any]:
    path = source.root / entry.data
    document: dict[str, Any] = json_text.decode(json_text.map_file(path), dict[str, Any], path)
    for name, kind in (("image", dict), ("annotations", list)):
        if not isinstance(document.get(name), kind):
            raise InvalidAnnotation(
                f"the document has no {name!r}",
                file=path,
                key=entry.key,
                why=f"expected {'an object' if kind is dict else 'a list'}, found {document.get(name)!r}"[:200],
            )
    return document


def _instances(
    source: Source, entry: Entry, items: Sequence[Any], header: images.Header, findings: Findings
) -> Instances:
    valid, order = [], []
    for position, item in enumerate(items):
        try:
            valid.append(records.checked(item, header.height, header.width))
            order.append(position)
        except InvalidAnnotation as error:
            findings.skip(
                error.located(file=source.root / entry.data, place=f"$.annotations[{position}]", key=entry.key)
            )
    return records.instances_of(valid, order, header.height, header.width)


def _extra(entry: Entry, document: Mapping[str, Any], *, is_number: bool) -> dict[str, Any] | None:
    """Further fields of the image, and below "sa1b" what the sample does not say."""
    image = document["image"]
    usual = {"height", "width"} | ({"image_id"} if is_number else set())
    if image.get("file_name") == entry.file.rpartition("/")[2]:
        usual.add("file_name")
    kept = {
        name: value for name, value in image.items() if name in ("image_id", "file_name", "sa1b") and name not in usual
    }
    extra = {name: value for name, value in image.items() if name not in usual and name not in kept}
    residue = {
        "image": kept,
        "absent": [name for name in ("image_id", "file_name") if name not in image],
        "document": {name: value for name, value in document.items() if name not in ("image", "annotations")},
    }
    extra |= {"sa1b": {name: value for name, value in residue.items() if value}}
    return extra


# ---------------------------------------------------------------------- write


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write image and document of every sample."""
    keys = []
    for index, sample in samples:
        keys.append(sample.key)
        write_image(root, sample)
        if sample.has_instances:
            write_file(root, f"{stem(sample.file)}.json", json_text.encode(_document_of(sample, index)))
    return {"keys": keys}


def _document_of(sample: Sample, index: int) -> dict[str, Any]:
    residue = sample.extra.get("sa1b", {})
    image = {
        "image_id": sample.id if sample.id >= 0 else index + 1,
        "width": sample.width,
        "height": sample.height,
        "file_name": sample.file.rpartition("/")[2],
        **{name: value for name, value in sample.extra.items() if name != "sa1b"},
        **residue.get("image", {}),
    }
    image = {name: value for name, value in image.items() if name not in residue.get("absent", ())}
    instances = sample.instances.take(sample.instances.order.argsort(kind="stable"))
    return {"image": image, "annotations": records.records_of(instances), **residue.get("document", {})}


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Nothing is one file for all samples."""
