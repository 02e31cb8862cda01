"""Where datasets of masks that number objects keep images and masks.

    PennFudan     PNGImages/NAME.png         PedMasks/NAME_mask.png
    two folders   images[/SPLIT]/NAME.jpg    masks[/SPLIT]/NAME.png
    in splits     SPLIT/images/NAME.jpg      SPLIT/masks/NAME.png
    by words      ANY-Image/NAME.jpg         ANY-Mask/NAME.png, GroundTruth/NAME_segmentation.png, …
    a mask each   [SPLIT/]ID/images/ID.png   [SPLIT/]ID/masks/*.png     a file for each object (Data Science Bowl 2018)

Which ending of names tells masks (none, _mask, _masks, _instances …) is what fits most images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segdata.formats.contract import Entry
from segdata.formats.shared import pairs
from segdata.formats.shared.folder import IMAGE_ENDINGS, file_size, folders_in, has_files, names_in, stem
from segdata.formats.shared.pairs import Pair, by_words, rank

IMAGES, MASKS = "images", "masks"
_IMAGES = (IMAGES, "image", "imgs", "img", "pngimages", "jpegimages")
_PEDESTRIANS = "pedmasks"
_MASKS = (MASKS, "mask", _PEDESTRIANS, "labels", "label", "instances", "instance_masks", "annotations", "annotation")
_SUFFIXES = ("", "_mask", "_masks", "_instances", "_instance", "_inst", "_label", "_labels", "_cp_masks")
_LOOKED_AT = 8


@dataclass(frozen=True)
class ObjectFiles:
    """The masks of one image, a file for each object.

    Attributes:
        folder: their folder under the root; "" where there is none.
        names: of the files.
    """

    folder: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """One of the layouts above.

    Attributes:
        name: in words.
        pairs: folders of images and of masks.
        parts: split → its folder under the root, where every object has a file of its own.
        is_sure: whether nothing but numbers of objects lies in such folders.
    """

    name: str
    pairs: Sequence[Pair] = ()
    parts: tuple[tuple[str, str], ...] = ()
    is_sure: bool = False


def find(root: Path, *, elsewhere: bool = False) -> Layout | None:
    """The layout of a folder; None where it has none of them.

    Args:
        elsewhere: the images may lie outside.

    Raises:
        InvalidAnnotation: two folders may hold the masks.
    """
    folders = folders_in(root)
    pairs = list(_two_folders(root, "", folders, elsewhere=elsewhere))
    if pairs:
        is_sure = pairs[0].labels.lower() == _PEDESTRIANS
        return Layout("PennFudan" if is_sure else "two folders", pairs, is_sure=is_sure)
    if _has_object_folders(root, folders):
        return Layout("a mask for each object", parts=(("", ""),), is_sure=True)
    inner = {name: folders_in(root / name) for name in folders}
    parts = [name for name in folders if _has_object_folders(root / name, inner[name])]
    if parts:
        others = [name for name in folders if name not in parts and _are_ids(root / name, inner[name])]
        parts = sorted([*parts, *others], key=rank)
        return Layout("a mask for each object, in splits", parts=tuple((name, name) for name in parts), is_sure=True)
    for name in sorted(folders, key=rank):
        pairs += _two_folders(root, name, inner[name], elsewhere=elsewhere)
    if pairs:
        return Layout("in splits", pairs)
    pairs = by_words(root, folders, _SUFFIXES)
    return Layout("by words", pairs) if pairs else None


def _two_folders(root: Path, above: str, folders: Sequence[str], *, elsewhere: bool) -> Iterator[Pair]:
    """A folder of images and one of masks under one folder, and those of splits in both."""
    prefix = f"{above}/" if above else ""
    images = [name for name in folders if name.lower() in _IMAGES]
    masks = [name for name in folders if name.lower() in _MASKS and _holds_images(root / prefix / name)]
    if not images and elsewhere:
        images = [IMAGES]
    if len(images) != 1 or not masks:
        return
    image_folder, mask_folder = prefix + images[0], prefix + pairs.only_folder(root, above, masks, "masks")
    inner = [name for name in folders_in(root / mask_folder) if elsewhere or (root / image_folder / name).is_dir()]
    if not inner or has_files(root / mask_folder, *IMAGE_ENDINGS):
        if above == "" or not _is_object_folder(root / above):
            yield Pair(above, image_folder, mask_folder, _SUFFIXES)
        return
    for name in sorted(inner, key=rank):
        yield Pair(prefix + name, f"{image_folder}/{name}", f"{mask_folder}/{name}", _SUFFIXES)


def _holds_images(folder: Path) -> bool:
    return any(has_files(folder / name, *IMAGE_ENDINGS) for name in ("", *folders_in(folder)[:_LOOKED_AT]))


# ---------------------------------------------------------------------- a file for each object


def _is_object_folder(folder: Path) -> bool:
    """Whether a folder has one image, which is called as the folder, and no mask of that name."""
    names, masks = (names_in(folder / name, *IMAGE_ENDINGS) for name in (IMAGES, MASKS))
    return len(names) == 1 and stem(names[0]) == folder.name and folder.name not in map(stem, masks)


def _are_ids(root: Path, folders: Sequence[str]) -> bool:
    return bool(folders) and all(_is_object_folder(root / name) for name in folders[:_LOOKED_AT])


def _has_object_folders(root: Path, folders: Sequence[str]) -> bool:
    """Whether folders have an image each, and some have masks for it."""
    return _are_ids(root, folders) and any(has_files(root / name / MASKS, *IMAGE_ENDINGS) for name in folders)


def object_entries(root: Path, part: str) -> list[Entry]:
    """The images of a folder of such folders, each with its files of masks."""
    entries = []
    for name in folders_in(root / part):
        base = f"{part}/{name}" if part else name
        folder = f"{base}/{MASKS}" if (root / base / MASKS).is_dir() else ""
        masks = tuple(names_in(root / folder, *IMAGE_ENDINGS)) if folder else ()
        for image in names_in(root / base / IMAGES, *IMAGE_ENDINGS):
            size = sum(file_size(root, f"{folder}/{mask}") for mask in masks)
            entries.append(Entry(stem(image), f"{base}/{IMAGES}/{image}", size, ObjectFiles(folder, masks)))
    return entries
