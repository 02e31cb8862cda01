"""Files of a dataset folder: listed, read and written without leaving the folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from segdata.errors import InvalidAnnotation, NotThere
from segdata.formats.contract import Entry, Source
from segdata.system.files import disk_errors, inside

NAMES_SHOWN = 5
"""Names that an error message lists at most."""

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")
"""Of the files that images can be decoded from."""

_FOLDERS_LOOKED_AT = 1000


def read_bytes(root: Path, name: str, what: str) -> bytes:
    """The bytes of a file under the root.

    Raises:
        Unsafe: the name or a link leads out of the root.
        NotThere: no such file.
    """
    path = inside(root, name, what)
    with disk_errors(path):
        return path.read_bytes()


def image_path(root: Path, entry: Entry) -> Path:
    """Where an entry's image lies."""
    return Path(entry.disk) if entry.disk else root / entry.file


def image_bytes(source: Source, entry: Entry) -> bytes:
    """The bytes of an entry's image file.

    Raises:
        Unsafe: a link leads out of the dataset's folder.
        NotThere: no such file.
    """
    path = Path(entry.disk) if entry.disk else inside(source.root, entry.file, "the dataset")
    with disk_errors(path):
        return path.read_bytes()


def file_size(root: Path, name: str) -> int:
    """Size of a file in bytes, 0 when it does not exist."""
    try:
        return (root / name).stat().st_size if name else 0
    except OSError:
        return 0


def names_in(folder: Path, *suffixes: str) -> list[str]:
    """Sorted names of the files in a folder with one of these endings (any case); hidden files left out."""
    try:
        with os.scandir(folder) as items:
            return sorted(
                item.name
                for item in items
                if not item.name.startswith(".") and item.name.lower().endswith(suffixes) and not item.is_dir()
            )
    except FileNotFoundError:
        return []
    except NotADirectoryError as error:
        raise NotThere(f"{folder} is not a folder", file=folder) from error


def folders_in(folder: Path) -> list[str]:
    """Sorted names of the folders in a folder; hidden ones left out."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as items:
        return sorted(item.name for item in items if item.is_dir() and not item.name.startswith("."))


def missing_images(root: Path, entries: Sequence[Entry]) -> list[int]:
    """Indices of the entries whose image is not on disk."""
    return [index for index, entry in enumerate(entries) if not entry.file or not image_path(root, entry).is_file()]


def images_not_there(root: Path, entries: Sequence[Entry], missing: Sequence[int]) -> InvalidAnnotation:
    """One error for all of them, with the count, the first names, and where there are images at all."""
    names = ", ".join(entries[index].file or entries[index].key for index in missing[:NAMES_SHOWN])
    there = ", ".join(f"{count:,} in {folder}" for folder, count in _folders_of_images(root))
    return InvalidAnnotation(
        f"{len(missing)} of {len(entries)} images are not on disk",
        file=root,
        why=f"missing are {names}{' …' if len(missing) > NAMES_SHOWN else ''}; "
        + (f"there are images of other names or endings: {there}" if there else "there are no images below the folder"),
        fix="say where they are with --images-dir [SPLIT=]DIR, convert the annotations alone with --images none, or leave "
        "them out with --on-error skip",
    )


def _folders_of_images(root: Path) -> list[tuple[str, int]]:
    """The folders with most image files below the root, and how many they have."""
    counts: dict[str, int] = {}
    for number, (folder, _, files) in enumerate(os.walk(root)):
        if number >= _FOLDERS_LOOKED_AT:
            break
        count = sum(name.lower().endswith(IMAGE_ENDINGS) for name in files)
        if count:
            counts[Path(folder).relative_to(root).as_posix()] = count
    return sorted(counts.items(), key=lambda item: -item[1])[:3]


def stem(name: str) -> str:
    """A path without its ending."""
    base, _, ending = name.rpartition(".")
    return base if base and "/" not in ending else name


def write_file(root: Path, name: str, data: bytes) -> None:
    """Write a file of an unfinished output folder, with the folders above it.

    Raises:
        Unsafe: the name leads out of the root.
    """
    path = inside(root, name, "the sample")
    with disk_errors(path):
        try:
            path.write_bytes(data)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
