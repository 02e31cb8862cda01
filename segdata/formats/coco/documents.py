"""COCO's JSON documents: found in a folder, and indexed by image; annotation records stay unparsed until asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt

from segdata.core.findings import Findings
from segdata.core.sample import Instances, Sample
from segdata.errors import InvalidAnnotation
from segdata.formats.contract import Entry, Source
from segdata.formats.shared import json_text
from segdata.formats.shared.folder import folders_in, image_bytes, names_in, stem
from segdata.system.reading import open_file

KINDS = ("instances", "person_keypoints", "captions", "image_info")
"""Kinds of documents that are read; of several with one split, the first gives the samples."""

NOT_READ = ("panoptic", "stuff", "labels")
"""Kinds that are passed over beside others, with a remark."""

_PEEK, _PEEK_CATEGORIES = 1 << 16, 1 << 22
_SPLIT = re.compile(r"train|val|test|dev", re.IGNORECASE)
"""How names of folders begin that are splits even where their documents lie in a folder of their own."""

_MOST_SPLITS, _MOST_JSON = 32, 256
"""Folders with a JSON file each are splits, unless there are more, or more JSON files than these."""

MAX_ID = (1 << 63) - 1


class Image(msgspec.Struct):
    """The fields of an image record that every document must have."""

    id: int
    file_name: str
    height: int
    width: int


_IMAGE = msgspec.json.Decoder(Image)


@dataclass
class Document:
    """One JSON file with unparsed records.

    Attributes:
        name: its path under the root.
        images, annotations: the records, in the order of the file.
        header: every other key with its value.
        by_image: (A,) int64, positions of annotations sorted by image, those without a valid image first; and
            (images + 1,) int64, where each image's begin.
        corrected: position of an image whose record is not as it should be → the record as it is meant.
        files: position of an image → its file under the root, where it does not follow from the record.
        category_ids: category id in the document → id in the label space, where these differ.
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
    corrected: dict[int, Image] = field(default_factory=dict)
    files: dict[int, str] = field(default_factory=dict)
    category_ids: dict[int, int] = field(default_factory=dict)
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
        """The fields of an image record that every document must have, corrected where they are not as they should be."""
        return self.corrected.get(index) or _IMAGE.decode(self.images[index])

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


def in_words(number: Any, json_path: str = "") -> str:
    """An annotation by its id and its place in the document, in words for messages; by one of them alone."""
    named = "annotation without id" if number is None else f"annotation {number}"
    return (json_path if number is None else f"{named}, {json_path}") if json_path else named


def candidates(root: Path) -> list[tuple[Path, str]]:
    """Folder and name of each JSON file in `annotations/`; else of those in the folder; else in the folders of splits."""
    for folder in (root / "annotations", root):
        names = _json_files(folder) if folder.is_dir() else []
        if names:
            return [(folder, name) for name in names]
    folders = [root / name for name in folders_in(root)]
    folders += [folder / "annotations" for folder in folders if _SPLIT.match(folder.name)]
    folders += [root / "annotations" / name for name in folders_in(root / "annotations")]
    files = [(folder, name) for folder in folders for name in _json_files(folder)]
    if len(files) > _MOST_JSON:
        return []
    documents = sum(looks_like_coco(folder / name) for folder, name in files)
    return files if 0 < documents <= _MOST_SPLITS else []


def _json_files(folder: Path) -> list[str]:
    """Names of a folder's JSON files; none of a pack, whose index has images, too."""
    names = names_in(folder, ".json")
    return [] if "pack.json" in names else names


def split_of(path: Path, root: Path) -> tuple[str, str]:
    """Kind and split of a document: the folder tells the split where every split has one, else the name (`kind_of`)."""
    kind, split = kind_of(path.name)
    folders = [name for name in path.parent.relative_to(root).parts if name != "annotations"]
    return (kind, folders[-1]) if folders else (kind, split)


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
    """Whether a JSON file begins like a COCO document; LVIS has a megabyte of categories first."""
    with open_file(path) as file:
        head = file.read(_PEEK)
        if b'"categories"' in head:
            head += file.read(_PEEK_CATEGORIES)
    return b'"images"' in head or b'"annotations"' in head


def open_document(root: Path, path: Path, split: str, findings: Findings, *, names_categories: bool = True) -> Document:
    """Map a JSON file and find its images and annotations, without parsing them.

    Args:
        names_categories: whether a document of objects must define its categories.

    Raises:
        InvalidAnnotation: not JSON, or not what its name says.
    """
    view, name = json_text.map_file(path), path.relative_to(root).as_posix()
    kind = kind_of(path.name)[0]
    kind = kind if kind in KINDS else "instances"
    first_byte = bytes(view[:64]).lstrip()[:1]
    if first_byte != b"{":
        raise _no_object(path, bytes(view[:_PEEK]))
    view, top = _top_of(view, path, findings)
    missing = [key for key in ("images", *(("annotations",) if kind != "image_info" else ())) if key not in top]
    if kind in ("instances", "person_keypoints") and "categories" not in top and names_categories:
        missing.append("categories")
    if missing:
        raise InvalidAnnotation(
            f"the document has no {' and no '.join(map(repr, missing))}",
            file=path,
            place="$",
            why=f"it has {', '.join(map(repr, top)) or 'nothing'}: {_guess(top)}",
            fix=_way_on(top, split),
        )
    document = Document.of(path, name, (kind, split), top, view)
    if "annotations" not in top:
        document.header["annotations"] = None
    if kind in ("instances", "person_keypoints") and document.annotations:
        _require_objects(document)
    return document


def _no_object(path: Path, begin: bytes) -> InvalidAnnotation:
    """The error of a document that begins otherwise than with '{'."""
    made_by = next((text for key, text in OTHER_TOOLS if f'"{key}"'.encode() in begin), "")
    why, fix = "a COCO document begins with '{'", "give the instances document"
    is_list = begin.lstrip().startswith(b"[")
    if is_list and (b'"image_id"' in begin or not made_by):
        why = "a list at the top looks like a results file: predictions, not annotations"
        fix = "give the instances document; predictions are evaluated, not converted"
    elif is_list:
        why, fix = f"a list at the top: {made_by}", "export it as COCO from the tool that made it"
    return InvalidAnnotation("the document is not a JSON object", file=path, place="byte 0", why=why, fix=fix)


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


OTHER_TOOLS = (
    ("original_width", "it looks like Label Studio's JSON-MIN: export it as JSON"),
    ("caption", "it looks like a captions document"),
    ("segments_info", "it looks like a panoptic document"),
    ("shapes", "it looks like a Labelme file"),
    ("_via_img_metadata", "it looks like a project of the VGG Image Annotator (VIA)"),
    ("regions", "it looks like a file of the VGG Image Annotator (VIA)"),
    ("imgHeight", "it looks like a Cityscapes polygon file"),
    ("objects", "it looks like a Supervisely or Cityscapes file of one image"),
    ("image", "it looks like an SA-1B file of one image"),
    ("annotations", "a captions document has no categories, an image list no annotations"),
)
"""A key of a JSON file → what the file looks like."""


def _guess(keys: Iterable[str]) -> str:
    names = set(keys)
    if any(
        isinstance(name, str) and name.rstrip("0123456789").lower().endswith((".jpg", ".png", ".jpeg"))
        for name in names
    ):
        return "it looks like a file of the VGG Image Annotator (VIA)"
    return next((text for key, text in OTHER_TOOLS if key in names), "it does not look like a COCO document")


def _way_on(keys: Iterable[str], split: str) -> str:
    """What to do with a JSON file that is no COCO document of objects."""
    if {"images", "annotations"} <= set(keys):
        return (
            "name the categories with --classes FILE|NAMES; a captions document without categories is called "
            f"captions_{split}.json"
        )
    if _guess(keys).startswith("a captions document"):
        return f"name a captions document captions_{split}.json, a keypoints document person_keypoints_{split}.json"
    return "export it as COCO from the tool that made it, or see docs/your-data.md"


def sample_of(
    source: Source,
    entry: Entry,
    record: Image,
    *,
    instances: Instances | None,
    semantic: npt.NDArray[Any] | None = None,
    extra: Mapping[str, Any],
) -> Sample:
    """The sample of an entry, with the id and size of its image record."""
    return Sample(
        entry.key,
        record.height,
        record.width,
        file=entry.file,
        id=record.id,
        encoded=lambda: image_bytes(source, entry),
        instances=instances,
        semantic=semantic,
        extra=extra,
    )


def twice(what: str, values: Sequence[Any], where: str, path: Path) -> InvalidAnnotation:
    """The error of a value that two records have."""
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
