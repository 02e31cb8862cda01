"""Labelme's JSON documents (labelme 3 … 5), one beside each image.

    root/[SPLIT/]NAME.jpg
    root/[SPLIT/]NAME.json     {version, flags, shapes, imagePath, imageData, imageHeight, imageWidth}
    root/labels.txt            the labels, a line each; where they are not listed: all that shapes have, sorted

`shapes.py` has the types of shapes. Shapes of one label and one group_id are one object; a shape without group is one.
Lines and points are no objects: they are kept with the image.

Traps: shapes are of the upright picture, so they are turned where EXIF says that the stored one is not; imageData may be
the only place of the image; imagePath may be of another machine; labels contain commas; labelme2voc draws with Pillow,
whose polygons have the pixels under the outline, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core import images
from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.sample import Instances, Sample
from segdata.errors import InvalidAnnotation
from segdata.formats.contract import Entry, Header, ReadOptions, Source
from segdata.formats.labelme import documents, folders, shapes
from segdata.formats.labelme import labels as label_lists
from segdata.formats.labelme.documents import Document
from segdata.formats.labelme.shapes import BACKGROUND, IGNORE
from segdata.formats.shapes import drawing, pictures
from segdata.formats.shapes.drawing import Shape
from segdata.formats.shared import lists, verbatim
from segdata.formats.shared.folder import image_bytes, image_path, is_file, read_bytes, write_file
from segdata.sets.orientation import turned_points, upright_size

LAYOUT = "NAME.json with shapes and imagePath beside each image (labelme)"

# ---------------------------------------------------------------------- entries


def detect(root: Path) -> bool:
    """Whether the folder, or the folders in it, hold Labelme's documents."""
    return folders.detect(root)


def scan(root: Path, findings: Findings, options: ReadOptions, *, labels: LabelSpace | None = None) -> Source:
    """Every document; the folders above them are splits where they are called so."""
    listing = folders.listing(root, findings, options)
    tables = [folders.LABELS] if is_file(root / folders.LABELS) else []
    contents = {name: read_bytes(root, name, "the dataset") for name in tables}
    space = labels
    if space is None:
        listed = [label_lists.from_table(content, root / name) for name, content in contents.items()]
        space = listed[0] if listed else label_lists.from_names(listing.labels)
        space = label_lists.with_names(space, listing.labels) if options.classes_from_data else space
    return Source(
        root=root,
        layout="labelme",
        labels=space,
        entries=listing.entries,
        splits=listing.splits,
        documents=[
            {"format": "labelme", "file": name, **verbatim.from_text(content)} for name, content in contents.items()
        ],
        annotation_files=[*tables, *(entry.data.file for entry in listing.entries)],
    )


# ---------------------------------------------------------------------- load


def load(source: Source, entry: Entry, findings: Findings) -> Sample:
    """One image with its shapes."""
    path = source.root / entry.data.file
    document = documents.read(path)
    encoded = _photo(source, entry, document)
    height, width, orientation = _size(source, entry, document, encoded, findings)
    drawn = _drawn(source, entry, document, (height, width, orientation), findings)
    residue = {"file": entry.data.file, "fields": document.fields, **_image_data(document, entry, encoded)}
    if orientation != 1:
        residue["orientation"] = orientation
    masks = drawing.masks_of([item.shape for item in drawn.with_area], height, width)
    places = (f"{entry.key}: $.shapes[{item.position}]" for item in drawn.with_area)
    drawing.remark_empty(masks, places, findings)
    groups = drawn.groups()
    if drawn.others or len(groups) < len(drawn.with_area):
        in_objects = {number for members in groups for number in members}
        regions = [item for number, item in enumerate(drawn.with_area) if number not in in_objects]
        kept = [(item.position, item.record) for item in regions] + drawn.others
        if kept:
            residue["shapes"] = [list(item) for item in sorted(kept, key=lambda item: item[0])]
    return Sample(
        entry.key,
        height,
        width,
        file=entry.file,
        encoded=_image(source, entry, path),
        instances=_instances(source.labels, drawn, groups, masks, orientation),
        semantic=_label_map(source.labels, drawn, masks, entry, findings),
        extra={"labelme": residue},
    )


def _image(source: Source, entry: Entry, path: Path) -> Any:
    if entry.embedded:
        return lambda: documents.photo(path, documents.read(path))
    return (lambda: image_bytes(source, entry)) if entry.file else None


def _photo(source: Source, entry: Entry, document: Document) -> bytes | None:
    """The image file; None where it is nowhere."""
    if entry.embedded:
        return documents.photo(source.root / entry.data.file, document)
    if entry.file and is_file(image_path(source.root, entry)):
        return image_bytes(source, entry)
    return None


def _size(
    source: Source, entry: Entry, document: Document, encoded: bytes | None, findings: Findings
) -> tuple[int, int, int]:
    """Height and width of the image as stored, and the orientation by which the shapes have to be turned back.

    Raises:
        InvalidAnnotation: the document is of a picture of another size, or there is neither image nor size.
        InvalidImage: the image cannot be read.
    """
    path, stated = source.root / entry.data.file, document.size
    if encoded is None:
        if stated is None:
            fix = "write imageHeight and imageWidth, or put the image beside the document"
            raise InvalidAnnotation("the size of the image is not known", file=path, key=entry.key, fix=fix)
        images.require_size(*stated, source.options.max_pixels)
        return (*stated, 1)
    if stated is None:
        findings.remark("size of the image is not stated: taken from the image", entry.key)
    image = path if entry.embedded else image_path(source.root, entry)
    try:
        return pictures.orientation_of(
            encoded, stated, image, entry.key, findings, max_pixels=source.options.max_pixels
        )
    except InvalidAnnotation as error:
        raise error.located(file=path, place="$.imageHeight") from error


def _image_data(document: Document, entry: Entry, encoded: bytes | None) -> dict[str, Any]:
    """How `imageData` is written again: as the image itself, or as it was."""
    if entry.embedded:
        return {"photo": "inside"}
    if encoded is not None and document.image_data and document.image_data == documents.as_written(encoded):
        return {"photo": "both"}
    return {"imageData": document.image_data} if document.has_image_data else {}


@dataclass(frozen=True)
class _Item:
    """A shape with area: its position in the document, its record, what it covers in the image as stored."""

    position: int
    record: dict[str, Any]
    shape: Shape


@dataclass
class _Drawn:
    """The shapes of a document: those with area, and positions and records of the others."""

    with_area: list[_Item] = field(default_factory=list)
    others: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    def groups(self) -> list[list[int]]:
        """For each object the indices of its shapes; ignored regions and background are none."""
        by_group: dict[Any, list[int]] = {}
        for number, item in enumerate(self.with_area):
            label, group = item.record["label"], item.record.get("group_id")
            if label not in (IGNORE, BACKGROUND):
                by_group.setdefault(number if group is None else (label, group), []).append(number)
        return list(by_group.values())


def _drawn(source: Source, entry: Entry, document: Document, size: tuple[int, int, int], findings: Findings) -> _Drawn:
    """The shapes in pixels of the image as stored; those that are not valid go to the findings."""
    height, width, orientation = size
    upright = upright_size(orientation, height, width)
    drawn = _Drawn()
    for position, record in enumerate(document.shapes):
        try:
            shapes.check(record)
            _check_label(record["label"], source.labels)
            shape = shapes.draw(record, *upright)
        except InvalidAnnotation as error:
            place = f"$.shapes[{position}]"
            findings.skip(error.located(file=source.root / entry.data.file, key=entry.key, place=place))
            continue
        if shape is None:
            drawn.others.append((position, record))
        else:
            stored = drawing.to_stored(shape, orientation, height, width).compact(height, width)
            drawn.with_area.append(_Item(position, record, stored))
    return drawn


def _check_label(label: str, labels: LabelSpace) -> None:
    if label not in (IGNORE, BACKGROUND) and label not in labels.index_of_name:
        raise InvalidAnnotation(
            "shape of a label that is not listed",
            why=f"{label!r}; {labels.name!r} has {', '.join(item.name for item in labels.categories[:6])} …",
            fix=f"add it to {folders.LABELS}, or take all labels of the documents with --classes from-data",
        )


def _instances(
    labels: LabelSpace, drawn: _Drawn, groups: Sequence[Sequence[int]], masks: Masks, orientation: int
) -> Instances:
    members = [[drawn.with_area[number] for number in group] for group in groups]
    polygons = drawing.polygons_of([item.shape for item in drawn.with_area], groups)
    extra = []
    for index, parts in enumerate(members):
        rings = polygons[index] or [None] * len(parts)
        size = masks.height, masks.width
        kept = [
            [part.position, _fields(part, ring, orientation, size)] for part, ring in zip(parts, rings, strict=True)
        ]
        extra.append({"labelme": {"parts": kept}})
    return Instances.build(
        [labels.index_of_name[parts[0].record["label"]] for parts in members],
        drawing.united(masks, groups),
        order=[parts[0].position for parts in members],
        polygons=polygons,
        extra=extra,
    )


def _fields(
    part: _Item, ring: npt.NDArray[np.float64] | None, orientation: int, size: tuple[int, int]
) -> dict[str, Any]:
    """A shape's record without its label, and without points that follow from the polygon."""
    fields = {name: value for name, value in part.record.items() if name != "label"}
    if ring is not None and _points(ring, orientation, *size) == fields["points"]:
        del fields["points"]
    return fields


def _points(ring: npt.NDArray[np.float64], orientation: int, height: int, width: int) -> list[list[float]]:
    """A ring (K, 2) of the image as stored as points of the upright picture."""
    x, y = turned_points(ring[:, 0], ring[:, 1], orientation, height, width)
    points: list[list[float]] = np.stack([x, y], axis=1).tolist()
    return points


def _label_map(
    labels: LabelSpace, drawn: _Drawn, masks: Masks, entry: Entry, findings: Findings
) -> npt.NDArray[Any] | None:
    """Shapes in their order over the background; None where no category is the background."""
    background = labels.background
    if background is None:
        ignored = sum(item.record["label"] == IGNORE for item in drawn.with_area)
        if ignored:
            findings.remark(f"{IGNORE} without a background: kept, no label map", entry.key, ignored)
        return None
    values = {IGNORE: labels.void, BACKGROUND: background}
    canvas = np.full((masks.height, masks.width), background, labels.dtype)
    numbers = [
        labels.index_of_name.get(item.record["label"], values.get(item.record["label"], background))
        for item in drawn.with_area
    ]
    return masks.paint(numbers, canvas, range(len(numbers)))


# ---------------------------------------------------------------------- write


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write image and document of every sample."""
    keys = []
    for _, sample in samples:
        keys.append(sample.key)
        residue = sample.extra.get("labelme", {})
        encoded = sample.encoded
        if encoded is not None and residue.get("photo") != "inside":
            write_file(root, sample.file, encoded)
        if "file" in residue:
            text = json.dumps(_document(sample, header.labels, encoded), ensure_ascii=False, indent=2)
            write_file(root, residue["file"], text.encode("utf-8", "surrogatepass"))
    return {"keys": keys}


def _document(sample: Sample, labels: LabelSpace, encoded: bytes | None) -> dict[str, Any]:
    """A document in Labelme's order of keys."""
    residue = sample.extra["labelme"]
    document = {name: residue["fields"][name] for name in ("version", "flags") if name in residue["fields"]}
    document["shapes"] = _records(sample, labels)
    document |= {name: residue["fields"][name] for name in ("imagePath",) if name in residue["fields"]}
    if "photo" in residue:
        document["imageData"] = None if encoded is None else documents.as_written(encoded)
    elif "imageData" in residue:
        document["imageData"] = residue["imageData"]
    return {**document, **residue["fields"]}


def _records(sample: Sample, labels: LabelSpace) -> list[dict[str, Any]]:
    """The shapes of all objects and those that are no objects, in their order."""
    residue, instances = sample.extra["labelme"], sample.instances
    orientation = residue.get("orientation", 1)
    placed = [(position, record) for position, record in residue.get("shapes", ())]
    for index, extra in enumerate(instances.extra):
        rings = iter(instances.polygons[index])
        name = labels[int(instances.category[index])].name
        for position, fields in extra["labelme"]["parts"]:
            ring = next(rings, None)
            points = {} if ring is None else {"points": _points(ring, orientation, sample.height, sample.width)}
            placed.append((position, {"label": name, **points, **fields}))
    return [record for _, record in sorted(placed, key=lambda item: item[0])]


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Write the list of labels."""
    for document in header.documents:
        if document.get("format") == "labelme":
            write_file(root, document["file"], lists.text(document))
