"""COCO's JSON documents: found, opened and indexed by image, with everything inside still unparsed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt

from segdata.catalog import label_spaces
from segdata.core.findings import Findings
from segdata.core.images import require_size
from segdata.core.labels import Category, LabelSpace
from segdata.errors import InvalidAnnotation, SegdataError, Unsafe
from segdata.formats.contract import Entry
from segdata.formats.shared import json_text
from segdata.formats.shared.folder import folders_in, names_in, stem
from segdata.system.paths import checked_name

KINDS = ("instances", "person_keypoints", "captions", "image_info")
"""Kinds of documents that are read, most telling first."""

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
    """One JSON file, indexed: which annotations belong to which of its images; `name` is its path under the root."""

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

    block: tuple[int, Any] = (-1, None)
    """What was read last, many images at once: which, and what."""

    def of_image(self, index: int) -> list[int]:
        """Places of the annotations of the document's image `index`, in order."""
        order, pointer = self.by_image
        return cast(list[int], order[pointer[index] : pointer[index + 1]].tolist())

    def image(self, index: int) -> Image:
        """What every image record has."""
        return _IMAGE.decode(self.images[index])


@dataclass(frozen=True)
class Places:
    """What an entry needs: in which documents it stands, and where; the first one is its own."""

    places: tuple[tuple[int, int], ...]
    split: str


def candidates(root: Path) -> list[tuple[Path, str]]:
    """Folder and name of the JSON files of `annotations/`, else of the folder itself."""
    for folder in (root / "annotations", root):
        names = names_in(folder, ".json") if folder.is_dir() else []
        if names:
            return [(folder, name) for name in names]
    return []


def kind_of(name: str) -> tuple[str, str]:
    """Kind and split that a document's name tells; the kind is "" when it tells none, as `labels.json` does."""
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


def open_document(root: Path, path: Path, split: str) -> Document:
    """Map a JSON file and find its images and annotations, without parsing them.

    Raises:
        InvalidAnnotation: not JSON, or not what its name says.
    """
    view = json_text.map_file(path)
    name = path.relative_to(root).as_posix()
    told = kind_of(path.name)[0]
    kind = told if told in KINDS else "instances"
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
                fix=f"name it captions_{split}.json"
                if "caption" in first
                else "give a panoptic document on its own, or add --from coco-panoptic",
            )
    return Document(path, name, kind, split, images, annotations, header)


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


def enter(
    root: Path,
    document: Document,
    number: int,
    entries: list[Entry],
    by_file: dict[str, int],
    members: list[int],
    findings: Findings,
) -> None:
    """Add a document's images to the entries; those that are there already get one more place."""
    path = document.path
    images = [_image(raw, index, path) for index, raw in enumerate(document.images)]
    index_of = {image.id: index for index, image in enumerate(images)}
    if len(index_of) < len(images):
        raise _twice("image id", [image.id for image in images], "images", path)
    document.by_image = _group(document, index_of, path, findings)
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
            entries.append(Entry(stem(image.file_name), file, data=Places((place,), document.split)))
        else:
            entry = entries[at]
            entries[at] = Entry(entry.key, entry.file, data=Places((*entry.data.places, place), entry.data.split))
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


def _group(
    document: Document, index_of: Mapping[int, int], path: Path, findings: Findings
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
            findings.skip(InvalidAnnotation(message, file=path, place=f"$.annotations[{place}]", why=why, fix=fix))
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


def _image_folder(root: Path, document: Document, images: Sequence[Image]) -> str:
    """The folder (under the root) in which a document's photos lie; a guess by name when none is on disk."""
    split = document.split
    folders = [split, f"images/{split}", "images", "", *folders_in(root)]
    folders += [f"images/{name}" for name in folders_in(root / "images")]
    for image in images[:3]:
        for folder in folders:
            if (root / folder / image.file_name).is_file():
                return folder
    return split


def label_space(documents: Sequence[Document]) -> LabelSpace:
    """The categories of the documents that give samples; those of different splits must agree."""
    merged: dict[int, Category] = {}
    for document in documents:
        if document.kind not in ("instances", "image_info", "panoptic") and merged:
            continue
        records = document.header.get("categories") or []
        if not isinstance(records, list):
            raise InvalidAnnotation(
                "categories is not a list",
                file=document.path,
                place="$.categories",
                why=f"found {records!r}"[:200],
            )
        listed = [record.get("id") for record in records if isinstance(record, dict)]
        if all(type(number) is int for number in listed) and len(set(listed)) < len(listed):
            raise _twice("category id", listed, "categories", document.path)
        for index, record in enumerate(records):
            category = _category(record, document.path, f"$.categories[{index}]")
            known = merged.get(category.id)
            if known is not None and known.name != category.name:
                raise InvalidAnnotation(
                    f"two documents give category id {category.id} different names",
                    file=document.path,
                    place=f"$.categories[{index}]",
                    why=f"{known.name!r} and {category.name!r}",
                    fix="convert the splits on their own",
                )
            merged.setdefault(category.id, category)
    names = {category.name for category in merged.values()}
    official = {category.name for category in label_spaces.label_space("coco").categories}
    try:
        return LabelSpace("coco" if names and names <= official else "custom", tuple(merged.values()))
    except SegdataError as error:
        raise error.located(file=documents[0].path, place="$.categories") from error


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
