"""COCO: JSON documents beside folders of photos.

    root/
        annotations/instances_val2017.json            objects: polygons, run lengths for crowds, boxes
                    person_keypoints_val2017.json     carried along: what the instances do not say
                    captions_val2017.json             carried along
        val2017/000000397133.jpg                      or images/val2017/…, images/…, or beside the JSON

A *document* is one JSON file; its split is the part of the name after the kind. For each split the first of
instances, person_keypoints, captions, image_info gives the samples; the others are carried per image.

Traps: file names come from `file_name`, never from the id; ids have gaps and exceed 2³¹; `segmentation` is a list of
rings, a list of runs or a compressed string whatever `iscrowd` says; `area` and crowd boxes follow no raster; info and
licences may be absent; two official boxes have no height; annotations of one image are scattered over the list.
"""

from __future__ import annotations

import contextlib
import math
import re
import shutil
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt

from segdata.errors import InvalidAnnotation, SegdataError, UnknownLayout, Unsafe
from segdata.files import checked_name, disk_errors, inside
from segdata.formats import json_text
from segdata.formats.contract import (
    Entry,
    Header,
    Source,
    folders_in,
    names_in,
    read_bytes,
    stem,
    write_file,
)
from segdata.labels import Category, LabelSpace
from segdata.masks import Masks
from segdata.problems import Problems
from segdata.sample import Instances, Polygons, Sample

LAYOUT = "annotations/instances_*.json (COCO)"

KINDS = ("instances", "person_keypoints", "captions", "image_info")
"""Kinds of documents that are read, most telling first."""

_NOT_READ = ("panoptic", "stuff", "labels")
_KNOWN = ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation")
_OFFICIAL_SPLIT = re.compile(r"/((?:train|val|test|unlabeled)20\d\d)/")
_PEEK = 1 << 16
_MAX_ID = (1 << 63) - 1


# ---------------------------------------------------------------------- entries


class _Image(msgspec.Struct):
    id: int
    file_name: str
    height: int
    width: int


class _Link(msgspec.Struct):
    image_id: int
    id: int | None = None


class _Text(msgspec.Struct):
    """A document's top level; what stands in the two long lists stays unparsed."""

    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw] | None = None


@dataclass
class Document:
    """One JSON file, indexed: which annotations belong to which of its images."""

    name: str
    kind: str
    split: str
    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    header: dict[str, Any]
    by_image: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] = field(
        default_factory=lambda: (np.zeros(0, np.int64), np.zeros(1, np.int64))
    )

    def of_image(self, index: int) -> list[int]:
        """Places of the annotations of the document's image `index`, in order."""
        order, pointer = self.by_image
        return cast(list[int], order[pointer[index] : pointer[index + 1]].tolist())


@dataclass(frozen=True)
class _Data:
    """What an entry needs: in which documents it stands, and where; the first one is its own."""

    places: tuple[tuple[int, int], ...]
    split: str


def detect(root: Path) -> bool:
    """Whether the folder holds COCO documents, or is one itself."""
    if root.is_file():
        return root.suffix == ".json"
    return any(_kind_of(name)[0] in KINDS for _, name in _candidates(root)) or any(
        _looks_like_coco(folder / name) for folder, name in _candidates(root)
    )


def scan(root: Path, problems: Problems, *, labels: LabelSpace | None = None) -> Source:
    """Index every document: images in order, annotations by image; segmentations stay unparsed."""
    if root.is_file():
        paths, root = [root], root.parent
    else:
        paths = [folder / name for folder, name in _candidates(root)]
    by_split: dict[str, list[tuple[int, Path]]] = {}
    for path in paths:
        kind, split = _kind_of(path.name)
        if kind in _NOT_READ:
            problems.remark(f"document not read: {kind}", path.relative_to(root).as_posix())
            continue
        rank = KINDS.index(kind) if kind else 0
        by_split.setdefault(split, []).append((rank, path))
    documents: list[Document] = []
    entries: list[Entry] = []
    splits: dict[str, list[int]] = {}
    by_file: dict[str, int] = {}
    for split, ranked in by_split.items():
        ranked.sort()
        if len(ranked) > 1 and ranked[-1][0] == KINDS.index("image_info"):
            problems.remark("document not read: image_info", ranked.pop()[1].relative_to(root).as_posix())
        members: list[int] = []
        for _, path in ranked:
            document = _open(root, path, split)
            documents.append(document)
            _enter(root, document, len(documents) - 1, entries, by_file, members, problems)
        splits[split] = members
    if not documents:
        raise UnknownLayout(
            "no COCO document was found",
            file=root,
            why=f"looked for {', '.join(f'annotations/{kind}_*.json' for kind in KINDS)}",
        )
    space = labels or _label_space(root, documents)
    return Source(
        root=root,
        layout="COCO documents",
        labels=space,
        entries=entries,
        splits=splits,
        documents=[
            {
                "format": "coco",
                "file": document.name,
                "kind": document.kind,
                "split": document.split,
                "header": document.header,
            }
            for document in documents
        ],
        annotation_files=[document.name for document in documents],
        data=documents,
    )


def _candidates(root: Path) -> list[tuple[Path, str]]:
    """JSON files of `annotations/`, else of the folder itself."""
    for folder in (root / "annotations", root):
        names = names_in(folder, ".json") if folder.is_dir() else []
        if names:
            return [(folder, name) for name in names]
    return []


def _kind_of(name: str) -> tuple[str, str]:
    """Kind and split that a document's name tells; the kind is "" when it tells none."""
    base = stem(name)
    for kind in (*KINDS, *_NOT_READ):
        if base.startswith(kind + "_") or base == kind:
            return kind, base[len(kind) + 1 :] or "all"
    return "", base


def _looks_like_coco(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_PEEK)
    return b'"images"' in head or b'"annotations"' in head


def _open(root: Path, path: Path, split: str) -> Document:
    view = json_text.map_file(path)
    name = path.relative_to(root).as_posix()
    kind = _kind_of(path.name)[0] or "instances"
    if bytes(view[:64]).lstrip()[:1] != b"{":
        raise InvalidAnnotation(
            "the document is not a JSON object",
            file=path,
            place="byte 0",
            why="a list at the top looks like a results file: predictions, not annotations"
            if bytes(view[:64]).lstrip()[:1] == b"["
            else "a COCO document begins with '{'",
            fix="give the instances document; predictions are evaluated, not converted",
        )
    top = json_text.decode(view, dict[str, msgspec.Raw], path)
    missing = [key for key in ("images", *(("annotations",) if kind != "image_info" else ())) if key not in top]
    if kind in ("instances", "person_keypoints") and "categories" not in top:
        missing.append("categories")
    if missing:
        raise InvalidAnnotation(
            f"the document has no {' and no '.join(map(repr, missing))}",
            file=path,
            place="$",
            why=f"it has {', '.join(map(repr, top)) or 'nothing'}: {_guess(top)}",
            fix=f"name a captions document captions_{split}.json, a keypoints document person_keypoints_{split}.json",
        )
    images = json_text.decode(top["images"], list[msgspec.Raw], path)
    annotations = json_text.decode(top.get("annotations", b"[]"), list[msgspec.Raw], path)
    header = {
        key: json_text.decode(raw, Any, path, whole=view)
        for key, raw in top.items()
        if key not in ("images", "annotations")
    }
    if "annotations" not in top:
        header["annotations"] = None
    if kind in ("instances", "person_keypoints") and annotations:
        first = json_text.decode(annotations[0], dict[str, Any], path)
        if "caption" in first or "segments_info" in first:
            raise InvalidAnnotation(
                f"the document holds no {kind}",
                file=path,
                place="$.annotations[0]",
                why=f"its annotations have {', '.join(map(repr, first))}: {_guess(first)}",
                fix=f"name it captions_{split}.json" if "caption" in first else "panoptic documents are not read here",
            )
    return Document(name, kind, split, images, annotations, header)


def _guess(keys: Iterable[str]) -> str:
    for key, text in (
        ("caption", "it looks like a captions document"),
        ("segments_info", "it looks like a panoptic document"),
        ("shapes", "it looks like a Labelme file"),
        ("objects", "it looks like a Cityscapes polygon file"),
        ("annotations", "a captions document has no categories, an image list no annotations"),
    ):
        if key in keys:
            return text
    return "it does not look like a COCO document"


def _enter(
    root: Path,
    document: Document,
    number: int,
    entries: list[Entry],
    by_file: dict[str, int],
    members: list[int],
    problems: Problems,
) -> None:
    """Add a document's images to the entries; those that are there already get one more place."""
    path = root / document.name
    images = [_image(raw, index, path) for index, raw in enumerate(document.images)]
    index_of = {image.id: index for index, image in enumerate(images)}
    if len(index_of) < len(images):
        raise _twice("image id", [image.id for image in images], "images", path)
    document.by_image = _group(document, index_of, path, problems)
    folder = _image_folder(root, document, images)
    known = set(members)
    names: set[str] = set()
    for index, image in enumerate(images):
        if image.file_name in names:
            raise _twice("file_name", [other.file_name for other in images], "images", path)
        names.add(image.file_name)
        file = f"{folder}/{image.file_name}" if folder else image.file_name
        at = by_file.get(file)
        place = (number, index)
        if at is None:
            at = by_file[file] = len(entries)
            entries.append(Entry(stem(image.file_name), file, data=_Data((place,), document.split)))
        else:
            entry = entries[at]
            entries[at] = Entry(entry.key, entry.file, data=_Data((*entry.data.places, place), entry.data.split))
        if at not in known:
            known.add(at)
            members.append(at)
    if document.kind != "image_info":
        sizes = np.diff(document.by_image[1])
        for index, image in enumerate(images):
            at = by_file[f"{folder}/{image.file_name}" if folder else image.file_name]
            entry = entries[at]
            # About 500 bytes an annotation: a polygon's share of the document.
            entries[at] = Entry(entry.key, entry.file, entry.annotation_bytes + 500 * int(sizes[index]), entry.data)


def _image(raw: msgspec.Raw, index: int, path: Path) -> _Image:
    try:
        image = _IMAGE.decode(raw)
    except msgspec.MsgspecError as error:
        raise InvalidAnnotation(
            "an image record is not valid", file=path, place=f"$.images[{index}]", why=str(error)
        ) from error
    if image.height <= 0 or image.width <= 0 or not 0 <= image.id <= _MAX_ID:
        raise InvalidAnnotation(
            "an image record is not valid",
            file=path,
            place=f"$.images[{index}]",
            why=f"id {image.id}, height {image.height}, width {image.width}",
        )
    try:
        checked_name(image.file_name, "the document")
    except Unsafe as error:
        raise error.located(file=path, place=f"$.images[{index}].file_name") from error
    return image


_IMAGE = msgspec.json.Decoder(_Image)
_LINK = msgspec.json.Decoder(_Link)


def _group(
    document: Document, index_of: Mapping[int, int], path: Path, problems: Problems
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Places of annotations sorted by image, and the pointer of each image into them; bad ones are left out."""
    owners = np.full(len(document.annotations), -1, np.int64)
    ids = np.full(len(document.annotations), -1, np.int64)
    for place, raw in enumerate(document.annotations):
        why = fix = None
        try:
            link = _LINK.decode(raw)
            ids[place] = -1 if link.id is None else link.id
            owners[place] = index_of.get(link.image_id, -1)
            if link.id is not None and not 0 <= link.id <= _MAX_ID:
                message, why = "an annotation record is not valid", f"id {link.id} is not between 0 and 2^63 − 1"
            elif owners[place] < 0:
                message = "an annotation names an image that the document does not define"
                why = f"annotation {link.id} names image {link.image_id}"
                fix = "add the image to the document, or remove the annotation"
        except (msgspec.MsgspecError, OverflowError) as error:
            message, why = "an annotation record is not valid", str(error)
        if why is not None:
            owners[place] = -1
            problems.skip(InvalidAnnotation(message, file=path, place=f"$.annotations[{place}]", why=why, fix=fix))
    stated = ids[ids >= 0]
    if len(np.unique(stated)) < len(stated) and "minival" not in document.name:
        raise _twice("annotation id", ids.tolist(), "annotations", path)
    order = np.argsort(owners, kind="stable")
    return order, np.searchsorted(owners[order], np.arange(len(index_of) + 1))


def _twice(what: str, values: Sequence[Any], where: str, path: Path) -> InvalidAnnotation:
    first: dict[Any, int] = {}
    for place, value in enumerate(values):
        if value in first and value != -1:
            return InvalidAnnotation(
                f"{what} {value!r} occurs twice",
                file=path,
                place=f"$.{where}[{first[value]}] and $.{where}[{place}]",
                why=f"every {what} must be unique in its document",
                fix="give one of them another value",
            )
        first[value] = place
    raise AssertionError("no value occurs twice")


def _image_folder(root: Path, document: Document, images: Sequence[_Image]) -> str:
    """The folder (under the root) in which a document's photos lie; a guess by name when none is on disk."""
    split = document.split
    folders = [split, f"images/{split}", "images", "", *folders_in(root)]
    folders += [f"images/{name}" for name in folders_in(root / "images")]
    for image in images[:3]:
        for folder in folders:
            if (root / folder / image.file_name).is_file():
                return folder
    return split


def _label_space(root: Path, documents: Sequence[Document]) -> LabelSpace:
    """The categories of the documents that give samples; those of different splits must agree."""
    merged: dict[int, Category] = {}
    for document in documents:
        if document.kind not in ("instances", "image_info") and merged:
            continue
        records = document.header.get("categories") or ()
        listed = [record.get("id") for record in records if isinstance(record, dict)]
        if len(set(listed)) < len(listed):
            raise _twice("category id", listed, "categories", root / document.name)
        for index, record in enumerate(records):
            category = _category(record, root / document.name, f"$.categories[{index}]")
            known = merged.get(category.id)
            if known is not None and known.name != category.name:
                raise InvalidAnnotation(
                    f"two documents give category id {category.id} different names",
                    file=root / document.name,
                    place=f"$.categories[{index}]",
                    why=f"{known.name!r} and {category.name!r}",
                    fix="convert the splits on their own",
                )
            merged.setdefault(category.id, category)
    names = {category.name for category in merged.values()}
    official = {category.name for category in _official().categories}
    try:
        return LabelSpace("coco" if names and names <= official else "custom", tuple(merged.values()))
    except SegdataError as error:
        raise error.located(file=root / documents[0].name, place="$.categories") from error


def _official() -> LabelSpace:
    from segdata import manifest

    return manifest.label_space("coco")


def _category(record: Any, path: Path, place: str) -> Category:
    is_valid = (
        isinstance(record, dict)
        and type(record.get("id")) is int
        and 0 <= record["id"] <= _MAX_ID
        and isinstance(record.get("name"), str)
    )
    if not is_valid:
        raise InvalidAnnotation(
            "a category record is not valid",
            file=path,
            place=place,
            why=f"expected an integer id and a name, found {record!r}"[:300],
        )
    color, group = record.get("color"), record.get("supercategory")
    is_color = isinstance(color, list) and len(color) == 3 and all(type(v) is int and 0 <= v < 256 for v in color)
    isthing = record.get("isthing")
    return Category(
        record["name"],
        record["id"],
        color=(color[0], color[1], color[2]) if is_color else None,
        isthing=None if isthing is None else bool(isthing),
        supercategory=group if isinstance(group, str) else None,
    )


def inspect(root: Path, problems: Problems) -> None:
    """Look for keys that occur twice in one object: readers keep one of them and never say so."""
    folder = root.parent if root.is_file() else root
    paths = [root] if root.is_file() else [above / name for above, name in _candidates(root)]
    for path in paths:
        kind, split = _kind_of(path.name)
        if kind in _NOT_READ:
            continue
        document = _open(folder, path, split)
        for where, records in (("images", document.images), ("annotations", document.annotations)):
            for place, raw in enumerate(records):
                for key in json_text.repeated_keys(raw):
                    problems.skip(
                        InvalidAnnotation(
                            "an object has a key twice",
                            file=path,
                            place=f"$.{where}[{place}]",
                            why=f"key {key!r}",
                            fix="remove one of the two",
                        )
                    )


# ---------------------------------------------------------------------- load


def load(source: Source, entry: Entry, problems: Problems) -> Sample:
    """One image of the documents with its objects, captions and what its other documents say."""
    documents: list[Document] = source.data
    (number, index), *others = entry.data.places
    own = documents[number]
    path = source.root / own.name
    record = json_text.decode(own.images[index], dict[str, Any], path)
    height, width = record["height"], record["width"]
    extra: dict[str, Any] = {
        key: value for key, value in record.items() if key not in ("id", "file_name", "height", "width", "coco")
    }
    residue: dict[str, Any] = {"coco": record["coco"]} if "coco" in record else {}
    carried: dict[str, Any] = {}
    official = _OFFICIAL_SPLIT.search(str(record.get("coco_url", "")))
    if (
        official
        and _OFFICIAL_SPLIT.search(f"/{own.split}/")
        and official[1] != own.split
        and official[1][-4:] == own.split[-4:]
    ):
        problems.remark(f"photo of {official[1]} by its coco_url", f"{own.name}: {entry.key}")
    instances = None
    if own.kind in ("instances", "person_keypoints"):
        instances = _instances(source, own, index, height, width, entry, problems)
    elif own.kind == "captions":
        carried[own.name] = _carry(own, index, None, path, extra)
    for other, place in others:
        document = documents[other]
        carried[document.name] = _carry(document, place, record, source.root / document.name, extra)
    first = next(document for document in documents if document.split == own.split)
    if own is not first:
        residue["own"] = [own.name, index]
    if carried:
        residue["documents"] = carried
    if residue:
        extra["coco"] = residue
    return Sample(
        entry.key,
        height,
        width,
        file=entry.file,
        id=record["id"],
        encoded=lambda: read_bytes(source.root, entry.file, "the document"),
        instances=instances,
        extra=extra,
    )


def _carry(
    document: Document, index: int, own: Mapping[str, Any] | None, path: Path, extra: dict[str, Any]
) -> dict[str, Any]:
    """What a further document says about an image, verbatim: its place there, its record if another, its annotations."""
    carried: dict[str, Any] = {"place": index}
    record = json_text.decode(document.images[index], dict[str, Any], path)
    if own is not None and record != own:
        carried["image"] = record
    annotations = []
    for place in document.of_image(index):
        annotation = json_text.decode(document.annotations[place], dict[str, Any], path)
        if document.kind == "captions" and isinstance(annotation.get("caption"), str):
            captions = extra.setdefault("captions", [])
            captions.append(annotation.pop("caption"))
            annotations.append([place, annotation, len(captions) - 1])
        else:
            annotations.append([place, annotation])
    carried["annotations"] = annotations
    return carried


def _instances(
    source: Source, document: Document, index: int, height: int, width: int, entry: Entry, problems: Problems
) -> Instances:
    path = source.root / document.name
    records: list[dict[str, Any]] = []
    places: list[int] = []
    for place in document.of_image(index):
        try:
            record: dict[str, Any] = json_text.decode(document.annotations[place], dict[str, Any], path)
        except SegdataError as error:
            problems.skip(error.located(key=entry.key, place=f"$.annotations[{place}]"))
            continue
        try:
            _check(record, source.labels, height, width)
        except SegdataError as error:
            problems.skip(
                error.located(file=path, key=entry.key, place=f"annotation {record.get('id')}, $.annotations[{place}]")
            )
            continue
        _remark(record, f"{document.name}: annotation {record.get('id')}", height, width, problems)
        records.append(record)
        places.append(place)
    segmentations = [record.get("segmentation") for record in records]
    masks = _masks(segmentations, height, width)
    polygons = Polygons.of([item if isinstance(item, list) else [] for item in segmentations])
    instances = Instances.build(
        [source.labels.index_of_id[record["category_id"]] for record in records],
        masks,
        has_mask=[bool(item) for item in segmentations],
        iscrowd=[bool(record.get("iscrowd", 0)) for record in records],
        id=[record.get("id", -1) for record in records],
        bbox=[record.get("bbox") or [math.nan] * 4 for record in records],
        area=[record.get("area", math.nan) for record in records],
        order=places,
        polygons=polygons,
    )
    rebuilt = _records(instances, source.labels)
    extras = [_residue(record, again) for record, again in zip(records, rebuilt, strict=True)]
    return Instances(**{**vars(instances), "extra": extras})


def _masks(segmentations: Sequence[Any], height: int, width: int) -> Masks:
    """Masks of polygons, run lengths of either kind, and (empty) of nothing, in order."""
    is_rle = [isinstance(item, dict) for item in segmentations]
    if not any(is_rle):
        return Masks.from_polygons([item or [] for item in segmentations], height, width)
    shapes = Masks.from_polygons(
        [item or [] for item, rle in zip(segmentations, is_rle, strict=True) if not rle], height, width
    )
    runs = Masks.from_rle([item for item, rle in zip(segmentations, is_rle, strict=True) if rle], height, width)
    both = Masks.concatenate([shapes, runs], height, width)
    return both[np.argsort(np.argsort(is_rle, kind="stable"), kind="stable")]


def _check(record: dict[str, Any], labels: LabelSpace, height: int, width: int) -> None:
    """Raise what is wrong with an annotation."""
    category = record.get("category_id")
    if type(category) is not int or category not in labels.index_of_id:
        known = sorted(labels.index_of_id)
        raise InvalidAnnotation(
            "an annotation names a category that the document does not define",
            why=f"category_id {category!r}; it defines {known[0] if known else 'none'} … {known[-1] if known else ''}",
            fix="add the category to the document, or remove the annotation",
        )
    crowd = record.get("iscrowd", 0)
    if crowd not in (0, 1) or isinstance(crowd, float):
        raise InvalidAnnotation("iscrowd is neither 0 nor 1", why=f"found {crowd!r}")
    area = record.get("area", 0)
    if type(area) not in (int, float) or area < 0:
        raise InvalidAnnotation("area is not a number ≥ 0", why=f"found {area!r}")
    _check_box(record.get("bbox", []), height, width)
    segmentation = record.get("segmentation", [])
    if isinstance(segmentation, dict):
        _check_rle(segmentation, height, width)
    elif isinstance(segmentation, list):
        _check_rings(segmentation)
    else:
        raise InvalidAnnotation(
            "segmentation is neither a list of rings nor run lengths", why=f"found {segmentation!r}"[:200]
        )


def _check_box(box: Any, height: int, width: int) -> None:
    if box == []:
        return
    if not isinstance(box, list) or len(box) != 4 or not all(type(value) in (int, float) for value in box):
        raise InvalidAnnotation("bbox is not four numbers", why=f"found {box!r}"[:200])
    x, y, w, h = box
    if w < 0 or h < 0:
        raise InvalidAnnotation(
            "bbox has a negative size", why=f"[x, y, width, height] = {box!r}", fix="correct the box"
        )
    if x < -1 or y < -1 or x + w > width + 1 or y + h > height + 1:
        corners = x <= w <= width + 1 and y <= h <= height + 1
        raise InvalidAnnotation(
            "bbox reaches more than one pixel past the image",
            why=f"[x, y, width, height] = {box!r} in an image of {width} × {height}"
            + ("; read as [x0, y0, x1, y1] it would fit" if corners else ""),
            fix="write boxes as [x, y, width, height]" if corners else "correct the box",
        )


def _check_rings(rings: list[Any]) -> None:
    if rings and all(type(value) in (int, float) for value in rings):
        raise InvalidAnnotation(
            "segmentation is a flat list",
            why=f"found {len(rings)} numbers where a list of rings is expected",
            fix="wrap the ring in a list: [[x0, y0, …]]",
        )
    for number, ring in enumerate(rings):
        if not isinstance(ring, list) or not all(type(value) in (int, float) for value in ring):
            raise InvalidAnnotation("a ring is not a list of numbers", why=f"ring {number} is {ring!r}"[:200])
        if len(ring) % 2 or len(ring) < 6:
            raise InvalidAnnotation(
                "a ring has too few or an odd count of numbers",
                why=f"ring {number} has {len(ring)}; a ring needs x and y of at least three points",
                fix="write a rectangle as its four corners, or remove the ring",
            )
        if max(ring) > 1e9 or min(ring) < -1e9:
            raise InvalidAnnotation(
                "a ring has coordinates beyond any image", why=f"ring {number}, up to {max(ring)!r}"
            )


def _check_rle(rle: dict[str, Any], height: int, width: int) -> None:
    size, counts = rle.get("size"), rle.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(type(value) is int for value in size):
        raise InvalidAnnotation("run lengths have no valid size", why=f"size is {size!r}"[:200])
    if size != [height, width]:
        raise InvalidAnnotation(
            "run lengths are of another size than the image",
            why=f"size is {size}; the image is [{height}, {width}] (height, width)"
            + ("; height and width are swapped" if size == [width, height] else ""),
        )
    if isinstance(counts, list):
        if not all(type(value) is int and 0 <= value <= height * width for value in counts):
            raise InvalidAnnotation("run lengths hold something that is no run", why=f"{_odd_run(counts)!r}"[:200])
        if sum(counts) != height * width:
            raise InvalidAnnotation(
                "run lengths do not add up to the size of the image",
                why=f"they sum to {sum(counts)}; height {height} · width {width} = {height * width}",
            )
    elif isinstance(counts, str):
        Masks.from_rle([rle], height, width)
    else:
        raise InvalidAnnotation("run lengths have no counts", why=f"counts is {counts!r}"[:200])


def _odd_run(counts: list[Any]) -> Any:
    return next(value for value in counts if type(value) is not int or value < 0 or value == max(counts))


def _remark(record: dict[str, Any], where: str, height: int, width: int, problems: Problems) -> None:
    """Count what is odd but legal."""
    segmentation = record.get("segmentation")
    if "iscrowd" not in record:
        problems.remark("iscrowd missing, taken as 0", where)
    if not segmentation:
        problems.remark("no segmentation: kept as a box without mask", where)
    box = record.get("bbox")
    if box:
        x, y, w, h = box
        if w == 0 or h == 0:
            problems.remark("box without width or height", where)
        if x < 0 or y < 0 or x + w > width or y + h > height:
            problems.remark("box reaches up to one pixel past the image", where)
    if isinstance(segmentation, list) and segmentation and "area" in record and not record.get("iscrowd"):
        drawn = sum(abs(_shoelace(ring)) for ring in segmentation)
        if abs(drawn - record["area"]) > 0.02 * max(drawn, record["area"]):
            problems.remark("area differs from the polygon's by more than 2 %", where)
        if drawn == 0:
            problems.remark("polygon without area", where)


def _shoelace(ring: Sequence[float]) -> float:
    x, y = ring[0::2], ring[1::2]
    return 0.5 * sum(a * d - c * b for a, b, c, d in zip(x, y, (*x[1:], x[0]), (*y[1:], y[0]), strict=True))


def _residue(record: Mapping[str, Any], rebuilt: Mapping[str, Any]) -> dict[str, Any]:
    """What `rebuilt` (made from the columns alone) does not give back of the source's record."""
    extra = {key: value for key, value in record.items() if key not in _KNOWN and key != "coco"}
    verbatim = {
        key: value
        for key, value in record.items()
        if key == "coco" or (key in _KNOWN and key != "image_id" and not _same(rebuilt.get(key), value))
    }
    absent = [key for key in rebuilt if key not in record]
    residue: dict[str, Any] = {}
    segmentation = verbatim.get("segmentation")
    if isinstance(segmentation, dict):
        other = _other_rle(rebuilt.get("segmentation"), segmentation)
        if other == segmentation:
            residue["segmentation"] = "string" if isinstance(segmentation["counts"], str) else "counts"
            del verbatim["segmentation"]
    if verbatim:
        residue["verbatim"] = verbatim
    if absent:
        residue["absent"] = absent
    if residue:
        extra["coco"] = residue
    return extra


def _same(mine: Any, theirs: Any) -> bool:
    return mine == theirs and isinstance(mine, bool) == isinstance(theirs, bool)


def _other_rle(mine: Any, theirs: dict[str, Any]) -> Any:
    """The same run lengths in the source's way of writing them."""
    if not isinstance(mine, dict) or isinstance(mine["counts"], str) == isinstance(theirs["counts"], str):
        return mine
    masks = Masks.from_rle([mine], *mine["size"])
    return _rle(masks, 0, as_string=isinstance(theirs["counts"], str))


# ---------------------------------------------------------------------- write


def _records(instances: Instances, labels: LabelSpace) -> list[dict[str, Any]]:
    """Annotation records from the columns; `image_id` is added by the caller."""
    ids, category = instances.id.tolist(), instances.category.tolist()
    boxes, areas = instances.bbox.tolist(), instances.area.tolist()
    crowd, has_mask = instances.iscrowd.tolist(), instances.has_mask.tolist()
    pointer, rings = instances.polygons.pointer.tolist(), instances.polygons.rings.tolist()
    values = instances.polygons.values.tolist()
    records = []
    for i in range(len(instances)):
        segmentation: Any = [values[rings[r] : rings[r + 1]] for r in range(pointer[i], pointer[i + 1])]
        if has_mask[i] and not segmentation:
            segmentation = _rle(instances.masks, i, as_string=not crowd[i])
        record: dict[str, Any] = {
            "id": ids[i],
            "category_id": labels[category[i]].id,
            "iscrowd": int(crowd[i]),
            "segmentation": segmentation,
        }
        if not math.isnan(boxes[i][0]):
            record["bbox"] = boxes[i]
        if not math.isnan(areas[i]):
            record["area"] = areas[i]
        records.append(record)
    return records


def _rle(masks: Masks, index: int, *, as_string: bool) -> dict[str, Any]:
    size = [masks.height, masks.width]
    one = masks[index : index + 1]
    if as_string:
        return {"size": size, "counts": one.rle()[0]["counts"].decode("ascii")}
    return {"size": size, "counts": one.counts()[0].tolist()}


def _with_residue(record: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """The source's record: the columns' part corrected by what was kept beside them."""
    residue = extra.get("coco", {})
    kind = residue.get("segmentation")
    if kind and isinstance(record["segmentation"], dict):
        masks = Masks.from_rle([record["segmentation"]], *record["segmentation"]["size"])
        record["segmentation"] = _rle(masks, 0, as_string=kind == "string")
    record.update((key, value) for key, value in extra.items() if key != "coco")
    record.update(residue.get("verbatim", {}))
    for key in residue.get("absent", ()):
        del record[key]
    return record


_PLACE = struct.Struct("<qqqq")  # document, place, offset, length


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write photos, and each sample's JSON records into a part file that `finish` puts in order."""
    documents = _documents(header)
    index_of = {document["file"]: index for index, document in enumerate(documents)}
    members = [_positions(header, document) for document in documents]
    folder = root / ".parts"
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    encoder = msgspec.json.Encoder()
    places: list[bytes] = []
    with disk_errors(folder), (folder / f"{number:05d}").open("wb") as part:

        def put(document: int, is_annotation: bool, place: int, record: Mapping[str, Any]) -> None:
            text = encoder.encode(record)
            places.append(_PLACE.pack(2 * document + is_annotation, place, part.tell(), len(text)))
            part.write(text)

        for index, sample in samples:
            encoded = sample.encoded
            if encoded is not None:
                write_file(root, sample.file, encoded)
            image = _image_record(sample, documents)
            carried: Mapping[str, Any] = sample.extra.get("coco", {}).get("documents", {})
            own, place = _own(sample, index, documents, members, carried)
            if own is not None:
                put(own, False, place, image)
                instances = sample.instances
                for record, extra, order in zip(
                    _records(instances, header.labels), instances.extra, instances.order.tolist(), strict=True
                ):
                    put(own, True, order, {"image_id": sample.id, **_with_residue(record, extra)})
            for file, item in carried.items():
                if file not in index_of:
                    continue
                put(index_of[file], False, item["place"], item.get("image", image))
                for place, annotation, *caption in item["annotations"]:
                    text = {"caption": sample.captions[caption[0]]} if caption else {}
                    put(index_of[file], True, place, {**annotation, **text})
    return {"part": f"{number:05d}", "places": b"".join(places)}


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Put the records of all parts into their documents, in the source's order."""
    tables = [np.frombuffer(receipt["places"], np.int64).reshape(-1, 4) for receipt in receipts]
    place = np.concatenate([np.zeros((0, 4), np.int64), *tables])
    part_of = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    folder = root / ".parts"
    with contextlib.ExitStack() as stack:
        parts = [memoryview(stack.enter_context((folder / receipt["part"]).open("rb")).read()) for receipt in receipts]
        for number, document in enumerate(_documents(header)):
            path = inside(root, document["file"], "the pack")
            with disk_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    separator = b"{"
                    for key, value in document["header"].items():
                        if key == "annotations":
                            continue
                        file.write(separator + json_text.encode(key) + b":" + json_text.encode(value))
                        separator = b",\n"
                    for is_annotation, key in enumerate(("images", "annotations")):
                        if key in document["header"]:
                            continue
                        rows = np.nonzero(place[:, 0] == 2 * number + is_annotation)[0]
                        rows = rows[np.argsort(place[rows, 1], kind="stable")]
                        file.write(separator + b'"' + key.encode() + b'":[')
                        separator = b"\n"
                        for row in rows.tolist():
                            _, _, offset, length = place[row].tolist()
                            file.write(separator + parts[part_of[row]][offset : offset + length])
                            separator = b",\n"
                        file.write(b"]")
                        separator = b",\n"
                    file.write(b"}\n")
    shutil.rmtree(folder, ignore_errors=True)


def _documents(header: Header) -> Sequence[Mapping[str, Any]]:
    """The source's documents, or one instances document a split for data that came from elsewhere."""
    documents = [document for document in header.documents if document.get("format") == "coco"]
    if documents:
        return [document for document in documents if document["split"] in header.splits]
    categories = [
        {"id": category.id, "name": category.name, "supercategory": category.supercategory or category.name}
        for category in header.labels.categories
    ]
    return [
        {
            "file": f"annotations/instances_{split.replace('/', '_')}.json",
            "kind": "instances",
            "split": split,
            "header": {"info": {}, "licenses": [], "categories": categories},
        }
        for split in header.splits
    ]


def _positions(header: Header, document: Mapping[str, Any]) -> dict[int, int]:
    """Index of a sample → its place in the document's list of images."""
    return {int(index): place for place, index in enumerate(header.splits[document["split"]])}


def _own(
    sample: Sample,
    index: int,
    documents: Sequence[Mapping[str, Any]],
    members: Sequence[Mapping[int, int]],
    carried: Mapping[str, Any],
) -> tuple[int | None, int]:
    """The document that a sample's columns belong to, and the image's place in it: the first of its splits' documents.

    Other documents are carried; where another one is the sample's own, `load` has noted it.
    """
    noted = sample.extra.get("coco", {}).get("own")
    for number, document in enumerate(documents):
        if document["file"] in carried:
            continue
        if noted is not None:
            if document["file"] == noted[0]:
                return number, noted[1]
        elif index in members[number]:
            return number, members[number][index]
    return None, 0


def _image_record(sample: Sample, documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A sample's record in a document's list of images."""
    record = {key: value for key, value in sample.extra.items() if key not in ("coco", "captions")}
    if "coco" in sample.extra.get("coco", {}):
        record["coco"] = sample.extra["coco"]["coco"]
    ending = sample.file[len(stem(sample.file)) :]
    return {
        **record,
        "id": sample.id,
        "file_name": sample.key + ending,
        "height": sample.height,
        "width": sample.width,
    }
