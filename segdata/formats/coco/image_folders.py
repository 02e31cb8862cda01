"""Which folder holds the images of a COCO document: by its name, else by the files that the document names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from segdata.core import images as image_files
from segdata.core.findings import Findings
from segdata.errors import InvalidAnnotation, SegdataError
from segdata.formats.coco.documents import Document, Image
from segdata.formats.shared.folder import folders_in
from segdata.system.files import inside

_LOOKED_FOR = 20
"""Images of a document that are looked for in every folder."""


def image_folder(
    root: Path, document: Document, images: Sequence[Image], taken: Mapping[str, str], findings: Findings
) -> str:
    """The folder under the root; named like the split where none holds an image.

    Args:
        taken: folder → the split that it was chosen for.

    Raises:
        InvalidAnnotation: two folders fit equally well.
    """
    split = document.split
    looked_for = [image for image in images[:: max(len(images) // _LOOKED_FOR, 1)] if image.file_name]
    beside = Path(document.name).parent.as_posix()
    named = [split, f"images/{split}", *([beside] if beside not in (".", "annotations") else [])]
    for folder in named:
        if any((root / folder / image.file_name).is_file() for image in images[:3]):
            return folder
    folders = dict.fromkeys(
        ["images", "", *folders_in(root), *(f"images/{name}" for name in folders_in(root / "images"))]
    )
    count = {folder: sum((root / folder / image.file_name).is_file() for image in looked_for) for folder in folders}
    most = max(count.values(), default=0)
    best = [folder for folder in folders if most and count[folder] == most]
    if len(best) < 2:
        return best[0] if best else split
    chosen = _of_name(best, split) or best
    if len(chosen) > 1:
        chosen = [folder for folder in chosen if taken.get(folder, split) == split] or chosen
    if len(chosen) > 1:
        chosen = [folder for folder in chosen if _has_sizes(root, folder, looked_for[:3])] or chosen
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


def _of_name(folders: Sequence[str], split: str) -> list[str]:
    """The folders whose last part is named after the split (train_images, images_val2017 …)."""
    name = split.lower()
    bare = name.rstrip("0123456789") or name
    parts = {folder: folder.rpartition("/")[2].lower() for folder in folders}
    exact = [folder for folder in folders if name in parts[folder]]
    return exact or [folder for folder in folders if bare in parts[folder]]


def _has_sizes(root: Path, folder: str, images: Sequence[Image]) -> bool:
    """Whether the files have the sizes that the records say."""
    for image in images:
        try:
            path = inside(root, f"{folder}/{image.file_name}" if folder else image.file_name, "the document")
            header = image_files.probe(path.read_bytes())
        except (OSError, SegdataError):
            return False
        if image.height and (header.height, header.width) != (image.height, image.width):
            return False
    return True
