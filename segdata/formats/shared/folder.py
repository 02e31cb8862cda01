"""Files of a dataset folder: listed, read and written without leaving the folder."""

from __future__ import annotations

import errno
import io
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from segdata.core import images
from segdata.core.sample import Sample
from segdata.errors import InvalidAnnotation, NotThere, SegdataError, number_of
from segdata.formats.contract import Entry, Source
from segdata.system.files import disk_errors, inside
from segdata.system.reading import read_file

NAMES_SHOWN = 5
"""Names that an error message lists at most."""

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")
"""Of the files that images can be decoded from."""

_FOLDERS_LOOKED_AT = 1000
_FILES_LOOKED_AT = 1000


CONVERTED = ".segdata.json"
"""In a folder that a conversion made: what it was made of and how, with the conversion's report."""


def conversion_report(root: Path) -> Mapping[str, Any]:
    """The report of the conversion that made the folder; empty where none did."""
    try:
        report = json.loads(read_file(root / CONVERTED))["report"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return report if isinstance(report, dict) else {}


def read_bytes(root: Path, name: str, what: str) -> bytes:
    """The bytes of a file under the root.

    Raises:
        Unsafe: the name or a link leads out of the root.
        NotThere: no such file.
    """
    path = inside(root, name, what)
    with disk_errors(path):
        return read_file(path)


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
        return read_file(path)


def image_size(source: Source, entry: Entry) -> tuple[int, int]:
    """(height, width) of an entry's image, from the header of its file.

    Raises:
        SegdataError: the image cannot be read, see `image_bytes`, or is none; with file and key.
    """
    try:
        header = images.probe(image_bytes(source, entry))
    except SegdataError as error:
        raise error.located(file=source.root / entry.file, key=entry.key) from error
    return header.height, header.width


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
                if not item.name.startswith(".") and item.name.lower().endswith(suffixes) and not is_folder(item)
            )
    except FileNotFoundError:
        return []
    except NotADirectoryError as error:
        raise NotThere(f"{folder} is not a folder", file=folder) from error


def has_files(folder: Path, *endings: str) -> bool:
    """Whether a folder has a file with one of these endings among its first; hidden files do not count."""
    if not folder.is_dir():
        return False
    with os.scandir(folder) as items:
        return any(
            item.name.lower().endswith(endings) for item in islice(items, _FILES_LOOKED_AT) if item.name[0] != "."
        )


def folders_in(folder: Path) -> list[str]:
    """Sorted names of the folders in a folder; hidden ones left out."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as items:
        return sorted(item.name for item in items if not item.name.startswith(".") and is_folder(item))


def is_folder(item: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one; a link to itself is none."""
    try:
        return item.is_dir()
    except OSError:
        return False


def is_file(path: Path) -> bool:
    """Whether there is a file of this path; a name that is longer than the file system's is none."""
    try:
        return path.is_file()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


def missing_images(root: Path, entries: Sequence[Entry]) -> list[int]:
    """Indices of the entries whose image is neither on disk nor in the annotation file."""
    return [
        index
        for index, entry in enumerate(entries)
        if not entry.embedded and (not entry.file or not is_file(image_path(root, entry)))
    ]


def images_not_there(
    source: Source, entries: Sequence[Entry], missing: Sequence[int], folders: Iterable[Path] = ()
) -> InvalidAnnotation:
    """One error for all of them, with the count, the first names, and what lies in folders of images instead.

    Args:
        folders: where the user said that the images are.
    """
    root, no_images = source.root, {source.root / name for name in source.annotation_files}
    names = [entries[index].file or entries[index].key for index in missing[:NAMES_SHOWN]]
    paths = [image_path(root, entries[index]) for index in missing if entries[index].file]
    dead = list(filter(None, (_dead_link(root, path) for path in paths or sorted(root.glob("*")))))
    there: list[str] = []
    for folder in (*dict.fromkeys(folders), root):
        there += _images_below(folder, no_images, names[0], shown_from=root)
    return InvalidAnnotation(
        f"{len(missing)} of {number_of(len(entries), 'image is', 'images are')} not on disk",
        file=root,
        why=f"missing are {', '.join(names)}{' …' if len(missing) > NAMES_SHOWN else ''}; "
        + (f"{len(dead)} dead {'link' if len(dead) == 1 else 'links'}: {dead[0]}; " if dead else "")
        + (
            f"there are images of other names or endings: {'; '.join(there[:NAMES_SHOWN])}"
            if there
            else "there are no images below the folder"
        ),
        fix=("restore what the links lead to, or " if dead else "")
        + "say where they are with --images-dir [SPLIT=]DIR, convert the annotations alone with --images none, or leave "
        "them out with --on-error skip",
    )


def _dead_link(root: Path, path: Path) -> str:
    """The link to nowhere on the way from the root to a file, and where it leads; "" where there is none."""
    for part in (path, *path.parents):
        if part == root:
            break
        if part.is_symlink() and not part.exists():
            shown = part.relative_to(root) if part.is_relative_to(root) else part
            return f"{shown.as_posix()} leads to {part.readlink()}, which does not exist"
    return ""


def _images_below(folder: Path, no_images: Collection[Path], name: str, *, shown_from: Path) -> list[str]:
    """The folders with most image files below one, how many they have and the first; and which may be the named one."""
    images: dict[str, list[str]] = {}
    for number, (path, _, files) in enumerate(os.walk(folder)):
        if number >= _FOLDERS_LOOKED_AT:
            break
        there = sorted(file for file in files if file.lower().endswith(IMAGE_ENDINGS))
        there = [file for file in there if Path(path, file) not in no_images and Path(path, file).exists()]
        if there:
            inner = Path(path).relative_to(folder).as_posix()
            images[inner if folder == shown_from else (folder / inner).as_posix()] = there
    most = sorted(images.items(), key=lambda item: -len(item[1]))[:3]
    wanted = stem(name.rpartition("/")[2]).lower()
    lines = []
    for where, there in most:
        like = next((file for file in there if _is_like(stem(file).lower(), wanted)), None)
        shown = f"{len(there):,} in {where}, the first is {there[0]}"
        lines.append(f"{shown}; is {like} the image of {wanted!r}?" if like else shown)
    return lines


def _is_like(name: str, wanted: str) -> bool:
    """Whether a name differs in case, in zeros before its number, or in what stands before or after it."""
    if name == wanted or (name.isdecimal() and wanted.isdecimal() and int(name) == int(wanted)):
        return True
    short, long = sorted((name, wanted), key=len)
    return bool(re.search(rf"(?<![a-z0-9]){re.escape(short)}(?![a-z0-9])", long))


def stem(name: str) -> str:
    """A path without its ending."""
    base, _, ending = name.rpartition(".")
    return base if base and "/" not in ending else name


def image_ending(file: str) -> str:
    """The ending of an image file; .png where it has none of an image."""
    ending = file[len(stem(file)) :]
    return ending if ending.lower() in IMAGE_ENDINGS else ".png"


def write_file(root: Path, name: str, data: bytes) -> None:
    """Write a file of an unfinished output folder, with the folders above it.

    Raises:
        Unsafe: the name leads out of the root.
    """
    path = inside(root, name, "the sample")
    with disk_errors(path):
        try:
            file = path.open("wb", buffering=0)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("wb", buffering=0)
        with file:
            _write_all(file, data)


def _write_all(file: io.FileIO, data: bytes) -> None:
    """Write all of the data: the system may take a part of it at a time."""
    written = file.write(data)
    while written < len(data):
        written += file.write(memoryview(data)[written:])


def write_image(root: Path, sample: Sample) -> None:
    """Write a sample's image, if it has one, as `write_file` does."""
    encoded = sample.encoded
    if encoded is not None:
        write_file(root, sample.file, encoded)
