"""Where PASCAL VOC and its relatives keep annotations, images and masks.

    official       Annotations/NAME.xml       JPEGImages/NAME.jpg       SegmentationClass/NAME.png …
    other names    annotations/NAME.xml       images/NAME.jpg           any folder whose XML files are VOC's
    side by side   NAME.xml                   NAME.jpg                  LabelImg, Roboflow
    deeper         Annotations/SUB/NAME.xml   JPEGImages/SUB/NAME.jpg
    in splits      SPLIT/ with any of these

Which folder holds the images says `images.py`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from segdata.errors import InvalidAnnotation
from segdata.formats.shared.folder import IMAGE_ENDINGS, folders_in, names_in, stem
from segdata.system.reading import open_file

ANNOTATIONS, IMAGES, SETS = "Annotations", "JPEGImages", "ImageSets"
CLASSES, OBJECTS = "SegmentationClass", "SegmentationObject"
_MASKS = (CLASSES, f"{CLASSES}PNG", OBJECTS, f"{OBJECTS}PNG")

SPLIT = re.compile(r"(train|training|val|valid|validation|dev|test|testing|trainval|default)(20\d\d)?", re.IGNORECASE)
"""Names of folders that are splits."""

MOST_SPLITS = 32
"""Folders with annotations each are splits, unless there are more."""

_ROOT_TAG = re.compile(rb"<annotation[\s>]")
_PEEK = 4096
_LOOKED_AT = 1000
"""Entries of a folder that are looked at to find out what it holds."""


@dataclass(frozen=True)
class Part:
    """A split, or a whole dataset: paths under the root, "" for the root itself.

    Attributes:
        split: the folder that is the split; "" where lists tell the splits.
        annotations: the folder of the XML files.
        images: the folder of the images; None where the annotations tell which one it is.
    """

    split: str
    annotations: str
    images: str | None

    def path(self, folder: str) -> str:
        """A folder of VOC's beside the annotations."""
        return joined(self.split, folder)


def joined(above: str, name: str) -> str:
    """A path under the root; either part may be ""."""
    return f"{above}/{name}" if above and name else above or name


def is_official(root: Path) -> bool:
    """Whether the folder has VOC's sub-folders."""
    if (root / IMAGES).is_dir() and any((root / name).is_dir() for name in (ANNOTATIONS, CLASSES, SETS)):
        return True
    return (root / ANNOTATIONS).is_dir() and bool(names_in(root / ANNOTATIONS, ".xml"))


def is_relative(root: Path, *, alone: bool = False) -> bool:
    """Whether the folder has one of the other layouts.

    Args:
        alone: annotations without images count, too.
    """
    parts = find(root) if root.is_dir() else []
    return bool(parts) and (alone or any(_has_images(root / part.split) for part in parts))


def find(root: Path) -> list[Part]:
    """The parts of a dataset, none where it has none of the layouts; only the beginnings of files are looked at.

    Raises:
        InvalidAnnotation: two folders hold annotations of one part.
    """
    if is_official(root) or _has_annotations(root):
        return [part] if (part := _part(root, "")) is not None else []
    parts = _splits(root)
    if not any(SPLIT.fullmatch(part.split) for part in parts):
        part = _part(root, "")
        parts = [part] if part is not None else parts if len(parts) > 1 else []
    return parts


def _splits(root: Path) -> list[Part]:
    """The folders that have annotations and images of their own."""
    folders = folders_in(root)
    if len(folders) > MOST_SPLITS:
        return []
    folders = [name for name in folders if not (root / name / SETS).is_dir()]
    parts = [part for name in folders if (part := _part(root, name)) is not None]
    return [part for part in parts if _has_images(root / part.split)]


def _part(root: Path, split: str) -> Part | None:
    base = root / split
    if is_official(base):
        return Part(split, joined(split, ANNOTATIONS), joined(split, IMAGES) if (base / IMAGES).is_dir() else None)
    if _has_annotations(base):
        return Part(split, split, split if _is_beside(base) else None)
    inner = _annotation_folders(base)
    if len(inner) > 1 and all(map(split_of, inner)):
        return Part(split, split, None)
    if len(inner) > 1:
        raise InvalidAnnotation(
            "two folders hold annotations",
            file=base,
            why=" and ".join(inner[:5]),
            fix="move all but one of them out of the dataset's folder",
        )
    if not inner:
        has_masks = any((base / name).is_dir() for name in _MASKS)
        return Part(split, joined(split, ANNOTATIONS), None) if has_masks else None
    folder = inner[0]
    while not _has_annotations(base / folder) and len(deeper := _annotation_folders(base / folder)) == 1:
        folder = f"{folder}/{deeper[0]}"
    return Part(split, joined(split, folder), None)


def _annotation_folders(base: Path) -> list[str]:
    return [name for name in folders_in(base)[: 2 * MOST_SPLITS] if _holds_annotations(base / name)]


def split_of(folder: str) -> str:
    """The split that a folder is named after (train, train_annotations, xml_val), "" where it is named after none."""
    if SPLIT.fullmatch(folder):
        return folder
    return next((word for word in re.split(r"[\W_]+", folder) if SPLIT.fullmatch(word)), "")


def split_in(path: str) -> str:
    """The split that the first such folder of a path is named after; "" where there is none."""
    return next(filter(None, map(split_of, path.split("/")[:-1])), "")


def _holds_annotations(folder: Path) -> bool:
    """Whether there are VOC's XML files in the folder or in the folders below it, and no JPEG files."""
    if is_official(folder) or _has_images(folder, ".jpg", ".jpeg"):
        return False
    inner = [folder, *(folder / name for name in folders_in(folder)[:MOST_SPLITS])]
    return any(_has_annotations(path) and not _is_beside(path) for path in inner)


def _first(folder: Path, *endings: str) -> Sequence[str]:
    """Names of files among the first entries of a folder, in no order."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as items:
        return [
            item.name
            for item in islice(items, _LOOKED_AT)
            if item.name.lower().endswith(endings) and not item.name.startswith(".") and (folder / item.name).is_file()
        ]


def _has_annotations(folder: Path) -> bool:
    """Whether the first XML file of a folder is VOC's."""
    for name in sorted(_first(folder, ".xml"))[:1]:
        with open_file(folder / name) as file:
            return _ROOT_TAG.search(file.read(_PEEK)) is not None
    return False


def _is_beside(folder: Path) -> bool:
    """Whether images lie beside the XML files that are theirs."""
    names = [stem(name) for name in _first(folder, ".xml")]
    return any((folder / (name + ending)).is_file() for name in names[:5] for ending in IMAGE_ENDINGS) or bool(
        {stem(name) for name in _first(folder, *IMAGE_ENDINGS)}.intersection(names)
    )


def is_of_masks(name: str) -> bool:
    """Whether a folder's name is one of VOC's for masks, also of those that Labelme writes beside."""
    return name.startswith((CLASSES, OBJECTS))


def _has_images(folder: Path, *endings: str) -> bool:
    """Whether there are images in the folder, or up to two levels below it."""
    below = [name for name in folders_in(folder)[: 2 * MOST_SPLITS] if not is_of_masks(name)]
    deeper = [f"{name}/{inner}" for name in below for inner in folders_in(folder / name)[:MOST_SPLITS]]
    return any(_first(folder / name, *(endings or IMAGE_ENDINGS)) for name in ("", *below, *deeper))
