"""COCO's JSON documents: found in a folder, and indexed by image; annotation records stay unparsed until asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt

from segdata.catalog import manifest
from segdata.core.findings import Findings
from segdata.core.images import require_size
from segdata.core.labels import Category, LabelSpace
from segdata.core.sample import Instances, Sample
from segdata.errors import InvalidAnnotation, SegdataError, Unsafe
from segdata.formats.coco.corrections import whole_number
from segdata.formats.contract import Entry, Source
from segdata.formats.shared import json_text
from segdata.formats.shared.folder import folders_in, image_bytes, names_in, stem
from segdata.system.files import checked_name

KINDS = ("instances", "person_keypoints", "captions", "image_info")
"""Kinds of documents that are read; of several with one split, the first gives the samples."""

NOT_READ = ("panoptic", "stuff", "labels")
"""Kinds that are passed over beside others, with a remark."""

_PEEK = 1 << 16
_MAX_ID = (1 << 63) - 1


class Image(msgspec.Struct):
    """The fields of an image record that every document must have."""

    id: int
    file_name: str
    height: int
    width: int


class _Link(msgspec.Struct):
    image_id: int
    id: int | None = None


_IMAGE = msgspec.json.Decoder(Image)
_LINK = msgspec.json.Decoder(_Link)


@dataclass
class Document:
    """One JSON file with unparsed records.

    Attributes:
        name: its path under the root.
        images, annotations: the records, in the order of the file.
        header: every other key with its value.
        by_image: (A,) int64, positions of annotations sorted by image, those without a valid image first; and
            (images + 1,) int64, where each image's begin.
        new_ids: position of an annotation whose id another one has → the id that it gets.
        block: which images were read last, many at once, and what they gave.
    """

    path: Path
    name: str
    kind: str
    split: str
    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    header: dict[str, Any]
    by_image: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] = field(
        default_factory=lambda: (np.zeros(0, np.int64), np.zeros(1, np.int64))
    )
    new_ids: dict[int, int] = field(default_factory=dict)
    block: tuple[int, Any] = (-1, None)

    @classmethod
    def of(
        cls, path: Path, name: str, kind_and_split: tuple[str, str], top: Mapping[str, msgspec.Raw], text: memoryview
    ) -> Document:
        """From the keys of the outermost object of the file's text."""
        images = json_text.decode(top["images"], list[msgspec.Raw], path)
        annotations = json_text.decode(top.get("annotations", b"[]"), list[msgspec.Raw], path)
        header = {
            key: json_text.decode(raw, Any, path, whole=text)
            for key, raw in top.items()
            if key not in ("images", "annotations")
        }
        return cls(path, name, *kind_and_split, images, annotations, header)

    def image(self, index: int) -> Image:
        """The fields of an image record that every document must have."""
        return _IMAGE.decode(self.images[index])

    def image_record(self, index: int) -> dict[str, Any]:
        """A whole image record."""
        record: dict[str, Any] = json_text.decode(self.images[index], dict[str, Any], self.path)
        return record

    def annotation_record(self, position: int) -> dict[str, Any]:
        """A whole annotation record.

        Raises:
            InvalidAnnotation: it is no JSON object.
        """
        record: dict[str, Any] = json_text.decode(self.annotations[position], dict[str, Any], self.path)
        return record

    def of_image(self, index: int) -> list[int]:
        """Positions of an image's annotations, in the order of the file."""
        order, pointer = self.by_image
        return cast(list[int], order[pointer[index] : pointer[index + 1]].tolist())


def candidates(root: Path) -> list[tuple[Path, str]]:
    """Folder and name of each JSON file in `annotations/`; where there is none, of those in the folder itself."""
    for folder in (root / "annotations", root):
        names = names_in(folder, ".json") if folder.is_dir() else []
        if names:
            return [(folder, name) for name in names]
    return []


def kind_of(name: str) -> tuple[str, str]:
    """Kind and split by a document's name: ("instances", "val2017"); kind "" where the name says none (`labels.json`)."""
    base = stem(name)
    if base == "labels":
        return "", base
    for kind in (*KINDS, *NOT_READ):
        if base.startswith(kind + "_") or base == kind:
            return kind, base[len(kind) + 1 :] or "all"
    return "", base


def looks_like_coco(path: Path) -> bool:
    """Whether a JSON file begins like a COCO document."""
    with path.open("rb") as file:
        head = file.read(_PEEK)
    return b'"images"' in head or b'"annotations"' in head


def open_document(root: Path, path: Path, split: str, findings: Findings) -> Document:
    """Map a JSON file and find its images and annotations, without parsing them.

    Raises:
        InvalidAnnotation: not JSON, or not what its name says.
    """
    view, name = json_text.map_file(path), path.relative_to(root).as_posix()
    kind = kind_of(path.name)[0]
    kind = kind if kind in KINDS else "instances"
    first_byte = bytes(view[:64]).lstrip()[:1]
    if first_byte != b"{":
        raise InvalidAnnotation(
            "the document is not a JSON object",
            file=path,
            place="byte 0",
            why="a list at the top looks like a results file: predictions, not annotations"
            if first_byte == b"["
            else "a COCO document begins with '{'",
            fix="give the instances document; predictions are evaluated, not converted",
        )
    view, top = _top_of(view, path, findings)
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
    document = Document.of(path, name, (kind, split), top, view)
    if "annotations" not in top:
        document.header["annotations"] = None
    if kind in ("instances", "person_keypoints") and document.annotations:
        _require_objects(document)
    return document


def _top_of(view: memoryview, path: Path, findings: Findings) -> tuple[memoryview, dict[str, msgspec.Raw]]:
    """The text of a document and the keys of its outermost object; NaN and Infinity are read as null."""
    try:
        return view, json_text.decode(view, dict[str, msgspec.Raw], path)
    except InvalidAnnotation:
        text, count = (view, 0) if findings.strict else json_text.without_nan(view)
        if not count:
            raise
    findings.remark("NaN or Infinity, read as null", path.name, count)
    return text, json_text.decode(text, dict[str, msgspec.Raw], path)


def _require_objects(document: Document) -> None:
    """Refuse a document of captions or of panoptic segments that is named like one of objects."""
    first = document.annotation_record(0)
    if "caption" in first or "segments_info" in first:
        raise InvalidAnnotation(
            f"the document holds no {document.kind}",
            file=document.path,
            place="$.annotations[0]",
            why=f"its annotations have {', '.join(map(repr, first))}: {_guess(first)}",
            fix=f"name it captions_{document.split}.json"
            if "caption" in first
            else "give a panoptic document on its own, or add --from coco-panoptic",
        )


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


class ImageIndex:
    """The images of all documents of a dataset; an image that several documents have is one entry.

    Attributes:
        entries: every image once; `data` is a tuple of (document, position of the image in it), the document that
            gives the sample first.
        splits: name → indices of entries.
    """

    def __init__(self, root: Path) -> None:
        self.documents: list[Document] = []
        self.entries: list[Entry] = []
        self.splits: dict[str, list[int]] = {}
        self._root = root
        self._index_of_file: dict[str, int] = {}

    def add(self, document: Document, findings: Findings) -> None:
        """Index the annotations of a document, and add its images."""
        path = document.path
        images = [_image(raw, index, path) for index, raw in enumerate(document.images)]
        position_of_id = {image.id: position for position, image in enumerate(images)}
        if len(position_of_id) < len(images):
            raise _twice("image id", [image.id for image in images], "images", path)
        document.by_image = _by_image(document, position_of_id, findings)
        if len({image.file_name for image in images}) < len(images):
            raise _twice("file_name", [image.file_name for image in images], "images", path)
        members = self.splits.setdefault(document.split, [])
        known = set(members)
        folder = _image_folder(self._root, document, images)
        counts = np.diff(document.by_image[1]).tolist()
        for position, image in enumerate(images):
            file = f"{folder}/{image.file_name}" if folder else image.file_name
            index = self._index_of_file.setdefault(file, len(self.entries))
            if index == len(self.entries):
                self.entries.append(Entry(stem(image.file_name), file, data=()))
            # About 500 bytes an annotation: a polygon's share. Of several documents the last counts: fingerprints know it so.
            size = 0 if document.kind == "image_info" else 500 * counts[position]
            key, data = self.entries[index].key, (*self.entries[index].data, (len(self.documents), position))
            self.entries[index] = Entry(key, file, size, data)
            if index not in known:
                known.add(index)
                members.append(index)
        self.documents.append(document)


def _image(raw: msgspec.Raw, index: int, path: Path) -> Image:
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
        require_size(image.height, image.width)
        checked_name(image.file_name, "the document")
    except Unsafe as error:
        raise error.located(file=path, place=f"$.images[{index}]") from error
    return image


def _by_image(
    document: Document, position_of_id: Mapping[int, int], findings: Findings
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """`Document.by_image`; annotation records without a valid id or image are reported and left out."""
    path, count = document.path, len(document.annotations)
    images = np.full(count, -1, np.int64)
    ids = np.full(count, -1, np.int64)
    for position, raw in enumerate(document.annotations):
        why = fix = None
        try:
            link = _LINK.decode(raw) if findings.strict else _link(raw)
            ids[position] = -1 if link.id is None else link.id
            images[position] = position_of_id.get(link.image_id, -1)
            if link.id is not None and not 0 <= link.id <= _MAX_ID:
                message, why = "an annotation record is not valid", f"id {link.id} is not between 0 and 2^63 − 1"
            elif images[position] < 0:
                message = "an annotation names an image that the document does not define"
                why = f"annotation {link.id} names image {link.image_id}"
                fix = "add the image to the document, or remove the annotation"
        except (msgspec.MsgspecError, OverflowError) as error:
            message, why = "an annotation record is not valid", str(error)
        if why is not None:
            images[position] = -1
            json_path = f"$.annotations[{position}]"
            findings.skip(InvalidAnnotation(message, file=path, place=json_path, why=why, fix=fix))
    stated = ids[ids >= 0]
    if len(np.unique(stated)) < len(stated) and "minival" not in document.name:
        if findings.strict:
            raise _twice("annotation id", ids.tolist(), "annotations", path)
        document.new_ids = _new_ids(ids)
        for position in document.new_ids:
            findings.remark(
                "annotation id that another one has: numbered anew",
                f"{document.name}: annotation {ids[position]}, $.annotations[{position}]",
            )
    order = np.argsort(images, kind="stable")
    return order, np.searchsorted(images[order], np.arange(len(position_of_id) + 1))


def _link(raw: msgspec.Raw) -> _Link:
    """The ids of an annotation record; whole numbers may be written as text or with a point."""
    try:
        return _LINK.decode(raw)
    except msgspec.ValidationError:
        record = msgspec.json.decode(raw, type=dict[str, Any])
        numbers = {name: whole_number(record[name]) for name in ("id", "image_id") if record.get(name) is not None}
        if None in numbers.values():
            raise
        return msgspec.convert(numbers, _Link)


def _new_ids(ids: npt.NDArray[np.int64]) -> dict[int, int]:
    """Position → a new id, for every id after its first occurrence."""
    order = ids.argsort(kind="stable")
    is_again = (ids[order][1:] == ids[order][:-1]) & (ids[order][1:] >= 0)
    positions = sorted(order[1:][is_again].tolist())
    return {position: int(ids.max()) + 1 + number for number, position in enumerate(positions)}


def _twice(what: str, values: Sequence[Any], where: str, path: Path) -> InvalidAnnotation:
    first: dict[Any, int] = {}
    for position, value in enumerate(values):
        if value in first and value != -1:
            return InvalidAnnotation(
                f"{what} {value!r} occurs twice",
                file=path,
                place=f"$.{where}[{first[value]}] and $.{where}[{position}]",
                why=f"every {what} must be unique in its document",
                fix="give one of them another value",
            )
        first[value] = position
    raise AssertionError("no value occurs twice")


def _image_folder(root: Path, document: Document, images: Sequence[Image]) -> str:
    """The folder (under the root) of a document's image files; named like the split where none is on disk."""
    split = document.split
    folders = [split, f"images/{split}", "images", "", *folders_in(root)]
    folders += [f"images/{name}" for name in folders_in(root / "images")]
    for image in images[:3]:
        for folder in folders:
            if (root / folder / image.file_name).is_file():
                return folder
    return split


def sample_of(
    source: Source,
    entry: Entry,
    record: Mapping[str, Any],
    *,
    instances: Instances | None,
    semantic: npt.NDArray[Any] | None = None,
    extra: Mapping[str, Any],
) -> Sample:
    """The sample of an entry, with the id and size of its image record."""
    return Sample(
        entry.key,
        record["height"],
        record["width"],
        file=entry.file,
        id=record["id"],
        encoded=lambda: image_bytes(source, entry),
        instances=instances,
        semantic=semantic,
        extra=extra,
    )


def label_space(documents: Sequence[Document]) -> LabelSpace:
    """The categories of the documents that give samples.

    Raises:
        InvalidAnnotation: category records that are not valid, or two documents that give one id different names.
    """
    merged: dict[int, Category] = {}
    for document in documents:
        if document.kind not in ("instances", "image_info", "panoptic") and merged:
            continue
        for index, category in enumerate(_categories(document)):
            known = merged.setdefault(category.id, category)
            if known.name != category.name:
                raise InvalidAnnotation(
                    f"two documents give category id {category.id} different names",
                    file=document.path,
                    place=f"$.categories[{index}]",
                    why=f"{known.name!r} and {category.name!r}",
                    fix="convert the splits on their own",
                )
    names = {category.name for category in merged.values()}
    official = {category.name for category in manifest.label_space("coco").categories}
    try:
        return LabelSpace("coco" if names and names <= official else "custom", tuple(merged.values()))
    except SegdataError as error:
        raise error.located(file=documents[0].path, place="$.categories") from error


def _categories(document: Document) -> Iterator[Category]:
    records = document.header.get("categories") or []
    if not isinstance(records, list):
        raise InvalidAnnotation(
            "categories is not a list", file=document.path, place="$.categories", why=f"found {records!r}"[:200]
        )
    ids = [record.get("id") for record in records if isinstance(record, dict)]
    if all(type(number) is int for number in ids) and len(set(ids)) < len(ids):
        raise _twice("category id", ids, "categories", document.path)
    for index, record in enumerate(records):
        yield _category(record, document.path, f"$.categories[{index}]")


def _category(record: Any, path: Path, json_path: str) -> Category:
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
            place=json_path,
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
