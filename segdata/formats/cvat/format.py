"""CVAT's XML for images 1.1 ("CVAT for images"): one document, images beside it.

    root/annotations.xml           <image id name width height [subset]> with the shapes in it; labels in <meta>
    root/images/[SUBSET/]NAME      or the images beside the document
    root/train.xml, val.xml …      datumaro writes a document for each subset

`shapes.py` has the kinds of shapes. Shapes of one label and one group_id are one object; a shape without group is one.
Lines, points, cuboids, skeletons and tags are no objects: they are kept with the image.

Traps: runs of masks go row by row of a box and begin with zeros, where COCO's go by columns of the image; shapes are of the
upright picture, so they are turned where EXIF says that the stored one is not; group 0 is none; a mask may end early.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from segdata.core import images
from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace
from segdata.core.masks import Masks
from segdata.core.sample import Instances, Sample
from segdata.errors import InvalidAnnotation, SegdataError
from segdata.formats.contract import Entry, Header, ReadOptions, Source
from segdata.formats.cvat import index, shapes, tracks
from segdata.formats.shapes import documents as split_documents
from segdata.formats.shapes import drawing, pictures
from segdata.formats.shapes.drawing import Shape
from segdata.formats.shared import pairs
from segdata.formats.shared.folder import image_bytes, image_path, is_file, stem, write_file, write_image
from segdata.formats.shared.palettes import from_hex
from segdata.formats.xml import Node, element, serialise
from segdata.sets.orientation import turned_points, upright_size
from segdata.system.files import checked_name

LAYOUT = "annotations.xml with <annotations>, and images/ (CVAT for images 1.1)"

# ---------------------------------------------------------------------- entries


@dataclass(frozen=True)
class Data:
    """What loading needs of an entry.

    Attributes:
        file: its document, a path under the root.
        place: where the image stands in it; nowhere in that of a video.
        frame: the shapes of a frame of a video.
    """

    file: str
    place: index.Place
    frame: Node | None = None


def detect(root: Path) -> bool:
    """Whether an XML file of the folder is a document of CVAT."""
    return index.detect(root)


def scan(root: Path, findings: Findings, options: ReadOptions, *, labels: LabelSpace | None = None) -> Source:
    """Every image of every document; subsets are splits."""
    indices: dict[str, index.Index] = {}
    for file in index.documents_in(root):
        try:
            indices[file] = index.read(root / file)
        except SegdataError as error:
            findings.skip(error.located(file=root / file))
    entries: list[Entry] = []
    splits: dict[str, list[int]] = {}
    for file, document in indices.items():
        for place in document.images:
            split = place.attributes.get("subset") or ("all" if stem(file) == "annotations" else stem(file))
            try:
                entry = _entry(root, file, split, place, options)
            except SegdataError as error:
                findings.skip(error.located(file=root / file, place=f"line {place.line}"))
                continue
            splits.setdefault(split, []).append(len(entries))
            entries.append(entry)
        split = "all" if stem(file) == "annotations" else stem(file)
        for entry in _frames(
            root, file, document, options.images_dir.get(split) or options.images_dir.get(""), findings
        ):
            splits.setdefault(split, []).append(len(entries))
            entries.append(entry)
    return Source(
        root=root,
        layout="cvat",
        labels=_labels(list(indices.values()), options) if labels is None else labels,
        entries=pairs.distinct(root, _distinct_endings(entries, splits, findings), splits, findings),
        splits=splits,
        documents=[document.as_document(file) for file, document in indices.items()],
        annotation_files=list(indices),
    )


def _frames(root: Path, file: str, document: index.Index, folder: Path | None, findings: Findings) -> Sequence[Entry]:
    """The frames of a video that have shapes in the document and an image."""
    try:
        frames = tracks.of_frames([node for _, node in document.nodes], findings, file)
    except InvalidAnnotation as error:
        findings.skip(error.located(file=root / file))
        return []
    images = tracks.images_of(root, folder) if frames else {}
    present = [number for number in frames if number in images]
    if frames and not present:
        findings.skip(
            InvalidAnnotation(
                "annotations of a video without its frames",
                file=root / file,
                why=f"tracks have {len(frames)} frames, the first is {min(frames)}; no image has one of these numbers",
                fix="put the frames into images/ as frame_000000.png …, name their folder with --images-dir, or export the "
                'task as "CVAT for images 1.1"',
            )
        )
    elif frames:
        for kind, count in (
            ("frames of a video without an image: not read", len(frames) - len(present)),
            ("images of a video without a shape in the document: not read", len(images.keys() - frames)),
        ):
            if count:
                findings.remark(kind, file, count)
    return [
        Entry(
            stem(images[number].rpartition("/")[2]),
            images[number],
            data=Data(file, index.Place(0, 0, 0, number, {}), frames[number]),
            disk="" if folder is None else str(folder.absolute() / images[number]),
        )
        for number in present
    ]


def _entry(root: Path, file: str, split: str, place: index.Place, options: ReadOptions) -> Entry:
    name = place.attributes.get("name", "")
    checked_name(name, "the name of an image")
    subset = place.attributes.get("subset", "")
    if subset:
        checked_name(subset, "the subset of an image")
    data, size = Data(file, place), place.end - place.begin
    folder = options.images_dir.get(split) or options.images_dir.get("")
    if folder is not None:
        below = folder / split if split not in options.images_dir and (folder / split).is_dir() else folder
        return Entry(stem(name), name, size, data, str(below.absolute() / name))
    return Entry(stem(name), index.image_of(root, name, subset), size, data)


def _distinct_endings(entries: Sequence[Entry], splits: Mapping[str, Sequence[int]], findings: Findings) -> list[Entry]:
    """Images of one split that differ in their endings alone are called with them."""
    called = list(entries)
    for members in splits.values():
        keys: set[str] = set()
        for number in members:
            key = entries[number].key
            if key in keys:
                key = entries[number].data.place.attributes["name"]
                findings.remark("images of one name but for the ending: called with it", key)
                called[number] = replace(called[number], key=key)
            keys.add(key)
    return called


def _labels(documents: Sequence[index.Index], options: ReadOptions) -> LabelSpace:
    """The labels that the documents declare, in their order, from 1; those of shapes where none is declared."""
    colors: dict[str, str | None] = {}
    for document in documents:
        for name, color in document.declared():
            colors.setdefault(name, color)
    if not colors or options.classes_from_data:
        colors |= {name: None for document in documents for name in document.labels if name not in colors}
    rows = enumerate(colors.items(), 1)
    return LabelSpace("custom", tuple(Category(name, number, from_hex(color)) for number, (name, color) in rows))


# ---------------------------------------------------------------------- load


def load(source: Source, entry: Entry, findings: Findings) -> Sample:
    """One image with its shapes."""
    path = source.root / entry.data.file
    node = entry.data.frame or index.image(path, entry.data.place)
    size = _size(source, entry, node, findings)
    height, width, orientation = size
    drawn = _drawn(source, entry, node, size, findings)
    masks = drawing.masks_of([item.shape for item in drawn.with_area], height, width)
    places = (f"{entry.key}: {item.node.tag}, child {item.position}" for item in drawn.with_area)
    drawing.remark_empty(masks, places, findings)
    residue: dict[str, Any] = {}  # a frame's shapes stand in the tracks, which the document keeps
    if entry.data.frame is None:
        residue = {"file": entry.data.file, "place": entry.data.place.position, "attributes": dict(node.attributes)}
    if orientation != 1:
        residue["orientation"] = orientation
    if drawn.others:
        residue["children"] = drawn.others
    number = node.attributes.get("id", "")
    return Sample(
        entry.key,
        height,
        width,
        file=entry.file,
        id=int(number) if number.isascii() and number.isdecimal() and len(number) < 19 else -1,
        encoded=(lambda: image_bytes(source, entry)) if entry.file else None,
        instances=_instances(source.labels, drawn, masks, orientation),
        extra={"cvat": residue},
    )


def _size(source: Source, entry: Entry, node: Node, findings: Findings) -> tuple[int, int, int]:
    """Height and width of the image as stored, and the orientation by which the shapes have to be turned back."""
    path, place = source.root / entry.data.file, f"line {node.line}"
    if entry.data.frame is not None:
        encoded, limit = image_bytes(source, entry), source.options.max_pixels
        return pictures.orientation_of(
            encoded, None, image_path(source.root, entry), entry.key, findings, max_pixels=limit
        )
    height, width = (images.side_of(node.attributes.get(name)) for name in ("height", "width"))
    if not height or not width:
        raise InvalidAnnotation(
            "an image has no size in pixels",
            file=path,
            key=entry.key,
            place=place,
            why=f"width {node.attributes.get('width')!r}, height {node.attributes.get('height')!r}"[:200],
            fix="write width and height of the annotated picture",
        )
    image = image_path(source.root, entry)
    if not is_file(image):
        images.require_size(height, width, source.options.max_pixels)
        return height, width, 1
    try:
        encoded = image_bytes(source, entry)
        limit = source.options.max_pixels
        return pictures.orientation_of(encoded, (height, width), image, entry.key, findings, max_pixels=limit)
    except InvalidAnnotation as error:
        raise error.located(file=path, place=place) from error


@dataclass(frozen=True)
class _Item:
    """A shape with area: its position among the children, its element, what it covers in the image as stored."""

    position: int
    node: Node
    shape: Shape


@dataclass
class _Drawn:
    """The children of an image: shapes with area, and positions and nodes of the others."""

    with_area: list[_Item] = field(default_factory=list)
    others: list[list[Any]] = field(default_factory=list)

    def groups(self) -> list[list[int]]:
        """For each object the indices of its shapes."""
        by_group: dict[Any, list[int]] = {}
        for number, item in enumerate(self.with_area):
            group = shapes.group_of(item.node.attributes)
            by_group.setdefault((item.node.attributes["label"], group) if group else number, []).append(number)
        return list(by_group.values())


def _drawn(source: Source, entry: Entry, node: Node, size: tuple[int, int, int], findings: Findings) -> _Drawn:
    """The shapes in pixels of the image as stored; those that are not valid go to the findings."""
    height, width, orientation = size
    upright = upright_size(orientation, height, width)
    drawn = _Drawn()
    for position, child in enumerate(node.children):
        if not child.is_element:
            drawn.others.append([position, child.as_list()])
            continue
        try:
            shapes.check(child)
            shape, odd = shapes.draw(child, *upright)
            if shape is not None and not child.attributes["label"]:
                findings.remark("shape without label: kept, no object", entry.key)
                shape = None
            if shape is not None:
                _check_label(child.attributes["label"], source.labels)
        except InvalidAnnotation as error:
            place = f"line {child.line}"
            findings.skip(error.located(file=source.root / entry.data.file, key=entry.key, place=place))
            continue
        if odd:
            findings.remark(odd, f"{entry.key}: {child.tag}, child {position}")
        if shape is None:
            drawn.others.append([position, child.as_list()])
        else:
            stored = drawing.to_stored(shape, orientation, height, width).compact(height, width)
            drawn.with_area.append(_Item(position, child, stored))
    return drawn


def _check_label(label: str, labels: LabelSpace) -> None:
    if label not in labels.index_of_name:
        raise InvalidAnnotation(
            "shape of a label that is not declared",
            why=f"{label!r}; {labels.name!r} has {', '.join(item.name for item in labels.categories[:6])} …",
            fix="declare it in <meta>, or take all labels of the shapes with --classes from-data",
        )


def _instances(labels: LabelSpace, drawn: _Drawn, masks: Masks, orientation: int) -> Instances:
    groups = drawn.groups()
    members = [[drawn.with_area[number] for number in group] for group in groups]
    polygons = drawing.polygons_of([item.shape for item in drawn.with_area], groups)
    extra, boxes = [], []
    for number, parts in enumerate(members):
        rings = polygons[number] or [None] * len(parts)
        is_alone = orientation == 1 and len(parts) == 1
        kept = [
            [part.position, _kept(part, ring, orientation, masks, is_alone=is_alone)]
            for part, ring in zip(parts, rings, strict=True)
        ]
        extra.append({"cvat": {"parts": kept}})
        boxes.append(_box(parts))
    return Instances.build(
        [labels.index_of_name[parts[0].node.attributes["label"]] for parts in members],
        drawing.united(masks, groups),
        occluded=[any(part.node.attributes.get("occluded") == "1" for part in parts) for parts in members],
        bbox=boxes if boxes else None,
        order=[parts[0].position for parts in members],
        polygons=polygons,
        extra=extra,
    )


def _box(parts: Sequence[_Item]) -> list[float]:
    """x y width height of an object that is one box which is not turned; else unknown."""
    node = parts[0].node
    if len(parts) > 1 or node.tag != "box" or float(node.attributes.get("rotation", "0")):
        return [float("nan")] * 4
    x, y = parts[0].shape.ring[0::2], parts[0].shape.ring[1::2]
    return [x.min().item(), y.min().item(), (x.max() - x.min()).item(), (y.max() - y.min()).item()]


def _kept(part: _Item, ring: Any, orientation: int, masks: Masks, *, is_alone: bool) -> list[Any]:
    """A shape's element without its label, and without points or runs that follow from polygon or mask."""
    attributes = {name: value for name, value in part.node.attributes.items() if name != "label"}
    if part.node.tag == "polygon" and ring is not None:
        points = shapes.points_text(_upright(ring, orientation, masks.height, masks.width), digits=2)
        if points == attributes["points"]:
            del attributes["points"]
    runs = part.shape.runs
    if part.node.tag == "mask" and is_alone and runs is not None and _rle(runs[0], attributes) == attributes["rle"]:
        del attributes["rle"]
    return replace(part.node, attributes=attributes).as_list()


def _upright(ring: npt.NDArray[Any], orientation: int, height: int, width: int) -> npt.NDArray[Any]:
    """Points (K, 2) of the image as stored in the upright picture."""
    turned = ring.copy()
    turned[:, 0], turned[:, 1] = turned_points(ring[:, 0], ring[:, 1], orientation, height, width)
    return turned


# ---------------------------------------------------------------------- write


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write images, and the element of each into a part file that `finish` puts in order."""
    records = []
    for _, sample in samples:
        write_image(root, sample)
        residue = sample.extra.get("cvat", {})
        if "file" in residue:
            records.append((residue["file"], residue["place"], element(_element(sample, header.labels))))
    return split_documents.write_records(records, root, number)


def _element(sample: Sample, labels: LabelSpace) -> Node:
    """The `<image>` of a sample, with its children in their order."""
    residue, instances = sample.extra["cvat"], sample.instances
    placed = [(position, Node.of(item)) for position, item in residue.get("children", ())]
    for number, extra in enumerate(instances.extra):
        rings = iter(instances.polygons[number])
        label = labels[int(instances.category[number])].name
        for position, item in extra["cvat"]["parts"]:
            node = Node.of(item)
            attributes = {"label": label, **node.attributes}
            ring = next(rings, None)
            if node.tag == "polygon" and "points" not in attributes and ring is not None:
                orientation = residue.get("orientation", 1)
                points = _upright(ring, orientation, sample.height, sample.width)
                attributes["points"] = shapes.points_text(points, digits=2)
            if node.tag == "mask" and "rle" not in attributes:
                attributes["rle"] = _rle(instances.masks[number], attributes)
            placed.append((position, replace(node, attributes=attributes)))
    placed.sort(key=lambda item: item[0])
    return Node("image", [node for _, node in placed], residue["attributes"])


def _rle(mask: npt.NDArray[Any], attributes: Mapping[str, str]) -> str:
    left, top, width, height = (int(float(attributes[name])) for name in ("left", "top", "width", "height"))
    return shapes.rle_of(mask[top : top + height, left : left + width] > 0)


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Put the elements of all parts into their documents, in the source's order."""
    elements = split_documents.written_records(receipts, root)
    for document in header.documents:
        if document.get("format") == "cvat":
            write_file(root, document["file"], _document(document, elements.get(document["file"], [])))


def _document(document: Mapping[str, Any], elements: Sequence[tuple[int, str]]) -> bytes:
    """A document's text."""
    others = [(position, element(Node.of(item))) for position, item in document["nodes"]]
    inner = "\n".join(text for _, text in sorted([*others, *elements], key=lambda item: item[0]))
    empty = Node("annotations", "", document["attributes"])
    before, after = index.as_nodes(document["before"]), index.as_nodes(document["after"])
    top = serialise(empty, before, []).decode().rstrip("\n").removesuffix(" />")
    end = "".join(f"{element(node)}\n" for node in after)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{top}>\n{inner}\n</annotations>\n{end}'.encode(
        "utf-8", "xmlcharrefreplace"
    )
