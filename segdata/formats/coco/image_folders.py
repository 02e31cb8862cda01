"""Which folder holds the images of a COCO document: by its name, else by the files that the document names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath

from segdata.core import images as image_files
from segdata.core.findings import Findings
from segdata.errors import InvalidAnnotation, SegdataError
from segdata.formats.coco.documents import Document, Image
from segdata.formats.shared.folder import folders_in, is_file
from segdata.formats.shared.loose_names import MASKS, LooseNames
from segdata.system.files import inside
from segdata.system.reading import read_file

_LOOKED_FOR = 20
"""Images of a document that are looked for in every folder."""


def image_folder(
    root: Path,
    document: Document,
    images: Sequence[Image],
    taken: Mapping[str, Collection[str]],
    loose: LooseNames,
    findings: Findings,
) -> str:
    """The folder under the root; named like the split where none holds an image.

    Args:
        taken: folder → the names of the images of other documents that lie in it.
        loose: files by other spellings of their names, which count where no name is exact.

    Raises:
        InvalidAnnotation: two folders fit equally well.
    """
    split = document.split
    looked_for = [image for image in images[:: max(len(images) // _LOOKED_FOR, 1)] if image.file_name]
    beside = Path(document.name).parent.as_posix()
    near = (
        [] if beside in (".", "annotations") else [beside, *(f"{beside}/{name}" for name in folders_in(root / beside))]
    )
    near += [f"{split}/{name}" for name in folders_in(root / split) if f"{split}/{name}" not in near]
    named = [split, f"images/{split}", *near]
    by_name = [folder for folder in named if any(is_file(root / folder / image.file_name) for image in images[:3])]
    if by_name and _fits(root, by_name[0], images[:3]):
        return by_name[0]
    folders = dict.fromkeys(
        [*by_name, "images", "", *folders_in(root), *(f"images/{name}" for name in folders_in(root / "images"))]
    )
    count = {folder: sum(is_file(root / folder / image.file_name) for image in looked_for) for folder in folders}
    if not any(count.values()) and not findings.strict:
        count = {folder: sum(_is_spelled(loose, folder, image) for image in looked_for) for folder in folders}
    plain = [folder for folder in folders if count[folder] and not MASKS.search(folder)]
    if all(any(is_file(root / folder / image.file_name) for folder in plain) for image in looked_for):
        count = {folder: count[folder] for folder in plain}
    most = max(count.values(), default=0)
    best = [folder for folder in count if most and count[folder] == most]
    if len(best) < 2:
        return best[0] if best else split
    if _is_spread(root, best, looked_for):
        return split
    names = {image.file_name for image in images}
    chosen = [folder for folder in best if _fits(root, folder, looked_for[:3])] or best
    chosen = [folder for folder in chosen if names.isdisjoint(taken.get(folder, ()))] or chosen
    chosen = _of_name(chosen, split) or chosen
    if len(chosen) > 1 and chosen[0] != "images":
        raise InvalidAnnotation(
            "two folders may hold the images of a document",
            file=document.path,
            why=f"{' and '.join(repr(folder or '.') for folder in chosen[:3])} have files of the names of split {split!r}",
            fix=f"say which: --images-dir {split}={root / chosen[0]}",
        )
    findings.remark(
        "folder of the images chosen among several that have files of these names", f"{document.name}: {chosen[0]}"
    )
    return chosen[0]


def _is_spread(root: Path, folders: Sequence[str], images: Sequence[Image]) -> bool:
    """Whether no image is in two of the folders: they hold parts of the images, each of which is looked for alone."""
    return all(sum(is_file(root / folder / image.file_name) for folder in folders) < 2 for image in images)


def _is_spelled(loose: LooseNames, folder: str, image: Image) -> bool:
    return loose.find(f"{folder}/{image.file_name}" if folder else image.file_name) is not None


def _of_name(folders: Sequence[str], split: str) -> list[str]:
    """The folders whose last part is named after the split (train_images, images_val2017 …)."""
    name = split.lower()
    bare = name.rstrip("0123456789") or name
    parts = {folder: folder.rpartition("/")[2].lower() for folder in folders}
    exact = [folder for folder in folders if name in parts[folder]]
    return exact or [folder for folder in folders if bare in parts[folder]]


def _fits(root: Path, folder: str, images: Sequence[Image]) -> bool:
    """Whether the files have the sizes that the records say, and are not plainly masks: PNGs of indices beside a document."""
    for image in images:
        try:
            path = inside(root, f"{folder}/{image.file_name}" if folder else image.file_name, "the document")
            header = image_files.probe(read_file(path))
        except (OSError, SegdataError):
            continue  # a missing or damaged file is reported with its image
        if image.height and {header.height, header.width} != {image.height, image.width}:
            return False
        if header.codec == "png" and header.color in ("palette", "grey") and MASKS.search(folder):
            return False
    return True


def ends_of(name: str) -> list[str]:
    """The ends of a path or address of any system, the longest first, without drive, host, `.` and `..`.

    >>> ends_of("C:\\data\\..\\images\\1.jpg")
    ['data/images/1.jpg', 'images/1.jpg', '1.jpg']
    """
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "//", "..", ".")]
    parts = [part for part in parts if ":" not in part and "\0" not in part]
    return ["/".join(parts[first:]) for first in range(len(parts))]
