"""Where Labelme's documents lie: beside the images, in folders of splits, or in folders of their own.

NAME.json  NAME.jpg                       labels.txt may name the labels, a line each
SPLIT/NAME.json  SPLIT/NAME.jpg           train, val, test …
annotations/NAME.json  images/NAME.jpg    imagePath is "../images/NAME.jpg"
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segdata.core.findings import Findings
from segdata.errors import SegdataError
from segdata.formats.contract import Entry, ReadOptions
from segdata.formats.labelme import documents
from segdata.formats.shared.folder import (
    IMAGE_ENDINGS,
    conversion_report,
    file_size,
    folders_in,
    is_file,
    names_in,
    stem,
)
from segdata.formats.shared.lists import SPLITS

LABELS = "labels.txt"
_ANNOTATIONS = ("annotations", "annotation", "annotated", "labels", "label", "json", "jsons", "images")
_FOLDERS_LOOKED_AT = 200


@dataclass(frozen=True)
class Data:
    """What loading needs of an entry.

    Attributes:
        file: the document's path under the root.
        has_photo: whether the image is in the document, and nowhere else.
    """

    file: str
    has_photo: bool = False


def detect(root: Path) -> bool:
    """Whether the first documents of a folder are Labelme's; of the folders in it, where it has none itself.

    Folders count that are called as splits or as annotations are; any, where a list of labels tells that this is the
    dataset.
    """
    if not root.is_dir():
        return False
    if beside := _documents(root):
        return documents.are_labelme(beside)
    has_labels = is_file(root / LABELS)
    folders = []
    for name in folders_in(root)[:_FOLDERS_LOOKED_AT]:
        if name.lower() in SPLITS:
            folders += [root / name, *(root / name / inner for inner in folders_in(root / name)[:_FOLDERS_LOOKED_AT])]
        elif has_labels or name.lower() in _ANNOTATIONS:
            folders.append(root / name)
    kinds = {documents.are_labelme(paths) for folder in folders if (paths := _documents(folder))}
    return kinds == {True} or (has_labels and True in kinds)


def _documents(folder: Path) -> list[Path]:
    return [folder / name for name in names_in(folder, ".json")]


@dataclass(frozen=True)
class Listing:
    """The documents of a folder.

    Attributes:
        entries: one each.
        splits: name → indices of entries.
        labels: of all shapes, sorted.
    """

    entries: list[Entry]
    splits: dict[str, list[int]]
    labels: list[str]


def listing(root: Path, findings: Findings, options: ReadOptions) -> Listing:
    """All documents; one that is not valid goes to the findings and is left out."""
    entries: list[Entry] = []
    splits: dict[str, list[int]] = {}
    labels: set[str] = set()
    for split, folder, files in _by_split(root):
        for file in files:
            try:
                outline = documents.outline(root / file)
                images_dir = options.images_dir.get(split) or options.images_dir.get("")
                entry = _entry(root, file, stem(file[len(folder) :]), outline, findings, images_dir)
            except SegdataError as error:
                findings.skip(error.located(file=root / file))
                continue
            labels.update(outline.labels)
            splits.setdefault(split, []).append(len(entries))
            entries.append(entry)
    return Listing(entries, splits, sorted(labels))


def _by_split(root: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Split, the folder that all of its documents lie in (with a slash), and its documents.

    Where one of the folders in the root is called as a split, all of them are splits.
    """
    files = [name for name in documents.names_below(root) if documents.is_labelme(root / name)]
    first = {name.partition("/")[0] for name in files}
    is_written_here = conversion_report(root).get("target_format") == "labelme"
    if first <= {*folders_in(root)} and (is_written_here or any(name.lower() in SPLITS for name in first)):
        for split in sorted(first, key=_rank):
            members = [name for name in files if name.startswith(f"{split}/")]
            yield split, _common_folder(members), members
    else:
        yield "all", _common_folder(files), files


def _rank(split: str) -> tuple[int, str]:
    name = split.lower()
    return SPLITS.index(name) if name in SPLITS else len(SPLITS), split


def _common_folder(files: Sequence[str]) -> str:
    folder = posixpath.commonpath([posixpath.dirname(name) for name in files]) if files else ""
    return f"{folder}/" if folder else ""


def _entry(
    root: Path, file: str, key: str, outline: documents.Outline, findings: Findings, images_dir: Path | None
) -> Entry:
    size = file_size(root, file)
    if images_dir is not None:
        name = posixpath.basename(outline.image_path.replace("\\", "/")) or f"{stem(posixpath.basename(file))}.jpg"
        return Entry(key, name, size, Data(file), str(images_dir.absolute() / name))
    image, odd = documents.image_beside(root, file, outline.image_path) if outline.image_path else ("", "")
    if odd:
        findings.remark(odd, file)
    if image and is_file(root / image):
        return Entry(key, image, size, Data(file))
    beside = next((f"{stem(file)}{ending}" for ending in IMAGE_ENDINGS if is_file(root / f"{stem(file)}{ending}")), "")
    if beside:
        findings.remark("imagePath names no file: the image of the document's name is taken", f"{file}: {image!r}")
        return Entry(key, beside, size, Data(file))
    if outline.has_photo:
        findings.remark("image taken from imageData: no file beside", file)
        return Entry(key, image or f"{stem(file)}.png", size, Data(file, has_photo=True), embedded=True)
    return Entry(key, image, size, Data(file))
