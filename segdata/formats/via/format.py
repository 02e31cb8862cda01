"""VIA's annotations, version 1 and 2, and its projects: one JSON document for the images beside it.

    root/[SPLIT/]via_region_data.json     {KEY: {filename, size, regions, file_attributes}}, or any other name
    root/[SPLIT/]via_project.json         {_via_settings, _via_img_metadata: {KEY: …}, _via_attributes, …}
    root/[SPLIT/]NAME.jpg

KEY is the file's name followed by its bytes. `regions.py` has the shapes; every region is an object. Lines and points are
none: they are kept with the image.

Traps: version 1 writes regions as an object {"0": …}; which attribute of regions is the class is nowhere said; documents do
not say how large images are, and browsers of before 2020 showed them as stored whatever EXIF says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace
from segdata.core.masks import Masks
from segdata.core.sample import Instances, Sample
from segdata.errors import InvalidAnnotation, SegdataError
from segdata.formats.contract import Entry, Header, ReadOptions, Source
from segdata.formats.shapes import documents as split_documents
from segdata.formats.shapes import drawing, pictures
from segdata.formats.shapes.drawing import Shape
from segdata.formats.shared import pairs
from segdata.formats.shared.folder import image_bytes, image_path, is_file, stem, write_file, write_image
from segdata.formats.via import documents, regions
from segdata.sets.orientation import turned_points, upright_size
from segdata.system.files import checked_name

LAYOUT = "a JSON document with filename and regions, or _via_img_metadata, beside the images (VIA)"
OBJECT = "object"

# ---------------------------------------------------------------------- entries


@dataclass(frozen=True)
class Data:
    """What loading needs of an entry: its document, and key and text of its record."""

    file: str
    place: int
    key: str
    record: bytes


def detect(root: Path) -> bool:
    """Whether a JSON file of the folder, or of the folders of its splits, is a document of VIA."""
    return split_documents.detect(root, documents.is_document)


def scan(root: Path, findings: Findings, options: ReadOptions, *, labels: LabelSpace | None = None) -> Source:
    """Every image of every document; folders are splits."""
    read: dict[str, documents.Document] = {}
    entries: list[Entry] = []
    splits: dict[str, list[int]] = {}
    attributes: list[Mapping[str, Any]] = []
    for split, file in split_documents.places(root, documents.is_document, "via"):
        try:
            read[file] = document = documents.read(root / file)
        except SegdataError as error:
            findings.skip(error.located(file=root / file))
            continue
        for place, (key, data) in enumerate(document.images.items()):
            try:
                record = documents.record(data, key, root / file)
                entry = _entry(file, split, record["filename"], Data(file, place, key, data), options)
            except SegdataError as error:
                findings.skip(error.located(file=root / file, place=f"$[{key!r}]"))
                continue
            splits.setdefault(split, []).append(len(entries))
            entries.append(entry)
            attributes += [item for _, region in documents.regions(record) if (item := _attributes(region)) is not None]
    name = _class_attribute(root, list(read), attributes, labels)
    others = sorted({key for item in attributes for key in item} - {name})
    if name and others:
        findings.remark(f"attribute of regions taken as their class: {name!r}", f"beside {', '.join(others)}"[:200])
    space = labels or _labels(list(read.values()), name, attributes)
    if read and len(space) == 1 and any(regions.value_of(item, name) is None for item in attributes):
        findings.remark(f"regions without class: {space[0].name!r}, the only category", next(iter(read)))
    return Source(
        root=root,
        layout="via",
        labels=space,
        entries=pairs.distinct(root, entries, splits, findings),
        splits=splits,
        documents=[
            {"format": "via", "file": file, "is_project": document.is_project, "fields": document.fields}
            for file, document in read.items()
        ],
        annotation_files=list(read),
        data=name,
    )


def _entry(file: str, split: str, name: str, data: Data, options: ReadOptions) -> Entry:
    checked_name(name, "the filename of an image")
    folder = file.rpartition("/")[0]
    chosen = options.images_dir.get(split) or options.images_dir.get("")
    disk = "" if chosen is None else str(chosen.absolute() / name)
    return Entry(stem(name), name if disk or not folder else f"{folder}/{name}", len(data.record), data, disk)


def _attributes(region: Any) -> Mapping[str, Any] | None:
    """The attributes of a region that is valid as far as they go."""
    attributes = region.get("region_attributes") if isinstance(region, dict) else None
    return attributes if isinstance(attributes, dict) else None


def _class_attribute(
    root: Path, files: Sequence[str], attributes: Sequence[Mapping[str, Any]], labels: LabelSpace | None
) -> str:
    try:
        return regions.class_attribute(attributes, None if labels is None else labels.index_of_name)
    except InvalidAnnotation as error:
        raise error.located(file=root / files[0]) from error


def _labels(read: Sequence[documents.Document], name: str, attributes: Sequence[Mapping[str, Any]]) -> LabelSpace:
    """The values that projects declare, in their order, and then those that regions have, sorted; from 1."""
    declared = [option for document in read for option in document.options(name)] if name else []
    values = {value for item in attributes if (value := regions.value_of(item, name)) is not None}
    names = list(dict.fromkeys([*declared, *sorted(values)])) or [OBJECT]
    return LabelSpace("custom", tuple(Category(text, number) for number, text in enumerate(names, 1)))


# ---------------------------------------------------------------------- load


def load(source: Source, entry: Entry, findings: Findings) -> Sample:
    """One image with its regions."""
    path = source.root / entry.data.file
    record = documents.record(entry.data.record, entry.data.key, path)
    if not is_file(image_path(source.root, entry)):
        raise InvalidAnnotation(
            "the size of the image is not known",
            file=path,
            key=entry.key,
            place=f"$[{entry.data.key!r}]",
            why="VIA's documents do not say it, and the image is not there",
            fix="put the image beside the document, or name its folder with --images-dir",
        )
    encoded, image = image_bytes(source, entry), image_path(source.root, entry)
    size = pictures.orientation_of(encoded, None, image, entry.key, findings, max_pixels=source.options.max_pixels)
    height, width, orientation = size
    drawn = _drawn(source, entry, record, size, findings)
    masks = drawing.masks_of([item.shape for item in drawn.with_area], height, width)
    places = (f"{entry.key}: $[{entry.data.key!r}].regions{item.place}" for item in drawn.with_area)
    drawing.remark_empty(masks, places, findings)
    residue: dict[str, Any] = {
        "file": entry.data.file,
        "place": entry.data.place,
        "key": entry.data.key,
        "record": {name: value for name, value in record.items() if name != "regions"},
    }
    if isinstance(record["regions"], dict):
        residue["keys"] = list(record["regions"])
    if orientation != 1:
        residue["orientation"] = orientation
    if drawn.others:
        residue["regions"] = drawn.others
    return Sample(
        entry.key,
        height,
        width,
        file=entry.file,
        encoded=lambda: image_bytes(source, entry),
        instances=_instances(source, drawn, masks, orientation),
        extra={"via": residue},
    )


@dataclass(frozen=True)
class _Item:
    """A region with area: its place, its record and category, what it covers in the image as stored."""

    position: int
    place: str
    region: Mapping[str, Any]
    category: int
    shape: Shape


@dataclass
class _Drawn:
    """The regions of an image: those with area, and positions and records of the others."""

    with_area: list[_Item] = field(default_factory=list)
    others: list[list[Any]] = field(default_factory=list)


def _drawn(
    source: Source, entry: Entry, record: Mapping[str, Any], size: tuple[int, int, int], findings: Findings
) -> _Drawn:
    """The regions in pixels of the image as stored; those that are not valid go to the findings."""
    height, width, orientation = size
    upright = upright_size(orientation, height, width)
    drawn = _Drawn()
    for position, (place, region) in enumerate(documents.regions(record)):
        try:
            regions.check(region)
            shape = regions.draw(region, *upright)
            category = -1 if shape is None else _category(region, source)
        except InvalidAnnotation as error:
            where = f"$[{entry.data.key!r}].regions{place}"
            findings.skip(error.located(file=source.root / entry.data.file, key=entry.key, place=where))
            continue
        if shape is None:
            drawn.others.append([position, region])
        else:
            stored = drawing.to_stored(shape, orientation, height, width).compact(height, width)
            drawn.with_area.append(_Item(position, place, region, category, stored))
    return drawn


def _category(region: Mapping[str, Any], source: Source) -> int:
    name = regions.value_of(region["region_attributes"], source.data)
    if name is None and len(source.labels) == 1:
        return 0
    if name not in source.labels.index_of_name:
        known = ", ".join(item.name for item in source.labels.categories[:6])
        raise InvalidAnnotation(
            "a region has no class" if name is None else "a region is of a class that is not declared",
            why=f"attribute {source.data!r} is {region['region_attributes'].get(source.data)!r}; there are {known} …"[
                :300
            ],
            fix="give it a class, or name all of them with --classes a,b,c",
        )
    return source.labels.index_of_name[name]


def _instances(source: Source, drawn: _Drawn, masks: Masks, orientation: int) -> Instances:
    polygons = drawing.polygons_of([item.shape for item in drawn.with_area], [[n] for n in range(len(masks))])
    extra = []
    for number, item in enumerate(drawn.with_area):
        shape = item.region["shape_attributes"]
        region = {**item.region, "shape_attributes": dict(shape)}
        if shape["name"] == "polygon":
            points = _points(polygons[number][0], orientation, masks.height, masks.width)
            if all(shape[name] == values for name, values in points.items()):
                region["shape_attributes"] = {n: value for n, value in shape.items() if n not in points}
        extra.append({"via": {"position": item.position, "region": region, "class": source.data}})
    return Instances.build(
        [item.category for item in drawn.with_area],
        masks,
        bbox=[_box(item) for item in drawn.with_area] or None,
        order=[item.position for item in drawn.with_area],
        polygons=polygons,
        extra=extra,
    )


def _box(item: _Item) -> list[float]:
    """x y width height of a rect; else unknown."""
    if item.region["shape_attributes"]["name"] != "rect":
        return [float("nan")] * 4
    x, y = item.shape.ring[0::2], item.shape.ring[1::2]
    return [x.min().item(), y.min().item(), (x.max() - x.min()).item(), (y.max() - y.min()).item()]


def _points(ring: Any, orientation: int, height: int, width: int) -> dict[str, list[float]]:
    """A ring (K, 2) of the image as stored as points of the upright picture."""
    x, y = turned_points(ring[:, 0], ring[:, 1], orientation, height, width)
    return regions.points_of(np.stack([x, y], axis=1))


# ---------------------------------------------------------------------- write


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write images, and the record of each into a part file that `finish` puts in order."""
    records = []
    for _, sample in samples:
        write_image(root, sample)
        residue = sample.extra.get("via", {})
        if "file" in residue:
            records.append((residue["file"], residue["place"], [residue["key"], _record(sample)]))
    return split_documents.write_records(records, root, number)


def _record(sample: Sample) -> dict[str, Any]:
    """The record of a sample, with its regions in their order."""
    residue, instances = sample.extra["via"], sample.instances
    placed = [(position, region) for position, region in residue.get("regions", ())]
    for number, extra in enumerate(instances.extra):
        region, rings = extra["via"]["region"], instances.polygons[number]
        shape = region["shape_attributes"]
        if shape["name"] == "polygon" and "all_points_x" not in shape:
            points = _points(rings[0], residue.get("orientation", 1), sample.height, sample.width)
            region = {**region, "shape_attributes": {**shape, **points}}
        placed.append((extra["via"]["position"], region))
    placed.sort(key=lambda item: item[0])
    if "keys" in residue:
        return {**residue["record"], "regions": {residue["keys"][position]: region for position, region in placed}}
    return {**residue["record"], "regions": [region for _, region in placed]}


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Put the records of all parts into their documents, in the source's order."""
    records = split_documents.written_records(receipts, root)
    for document in header.documents:
        if document.get("format") == "via":
            images = dict(record for _, record in records.get(document["file"], []))
            text = json.dumps(documents.assembled(document, images), ensure_ascii=False)
            write_file(root, document["file"], text.encode("utf-8", "surrogatepass"))
