"""What a folder looks like in which no dataset was found: counts of files, and the tool that may have made them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from segdata.formats.coco.documents import OTHER_TOOLS
from segdata.formats.shared.folder import IMAGE_ENDINGS, NAMES_SHOWN, is_folder
from segdata.system.reading import open_file

_MOST_FILES = 20_000
_MOST_OF_A_FOLDER = 5_000
_LEVELS = 3
_PEEK = 1 << 16
_OF_AN_ENDING = 8
"""Files of one ending that are looked into."""


_EXPORT = "export COCO from the tool that made it, or convert it with the tool's own script"
_YOLO = re.compile(rb"\s*\d+(\s+[-+]?[\d.]+(e[-+]?\d+)?){4,}\s*$", re.MULTILINE)
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".7z", ".rar")
_TABLES = {
    ".tfrecord": "TFRecord files",
    ".tfrecords": "TFRecord files",
    ".parquet": "Parquet tables",
    ".arrow": "Arrow tables",
    ".mat": "Matlab files",
    ".npz": "NumPy archives",
    ".npy": "NumPy arrays",
    ".h5": "HDF5 files",
}


@dataclass
class _Contents:
    """Files below a folder.

    Attributes:
        endings: lower-case ending → how many.
        first: lower-case ending → the first files.
        folders: names of the folders directly below.
        names: the first files.
        packs: folders that hold a pack.
        is_cut: whether there are more than were looked at.
    """

    endings: Counter[str] = field(default_factory=Counter)
    first: dict[str, list[Path]] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    packs: list[Path] = field(default_factory=list)
    is_cut: bool = False

    @property
    def images(self) -> int:
        """How many images there are."""
        return sum(self.endings[ending] for ending in IMAGE_ENDINGS)


def what_it_looks_like(root: Path) -> tuple[str, str]:
    """What a file or folder holds, in words, with a guess; and the nearest thing that works."""
    contents = _look(root)
    guess, fix = _guess(contents)
    more = "more than " if contents.is_cut else ""
    counts = [f"{count:,} {ending or 'without ending'}" for ending, count in contents.endings.most_common(NAMES_SHOWN)]
    there = [f"it holds {more}{', '.join(counts)}" if counts else "it holds no files"]
    if contents.folders:
        there.append(f"folders {', '.join(contents.folders[:NAMES_SHOWN])}")
    if contents.names:
        there.append(f"first files {', '.join(contents.names[:3])}")
    return f"{'; '.join(there)}{': ' if guess else ''}{guess}", fix


def _look(root: Path) -> _Contents:
    contents = _Contents()
    files = [root] if root.is_file() else _files_of(root, contents, _LEVELS)
    for number, path in enumerate(files):
        if number >= _MOST_FILES:
            contents.is_cut = True
            break
        ending = path.suffix.lower()
        contents.endings[ending] += 1
        if len(first := contents.first.setdefault(ending, [])) < _OF_AN_ENDING:
            first.append(path)
        if len(contents.names) < NAMES_SHOWN:
            contents.names.append(path.relative_to(root).as_posix() if path != root else path.name)
    return contents


def _files_of(folder: Path, contents: _Contents, levels: int) -> Iterator[Path]:
    """The files of a folder, then those of the folders below it; hidden ones left out."""
    try:
        with os.scandir(folder) as items:
            entries = list(islice(items, _MOST_OF_A_FOLDER + 1))
    except OSError:
        return
    contents.is_cut |= len(entries) > _MOST_OF_A_FOLDER
    entries = sorted((entry for entry in entries if entry.name[0] != "."), key=lambda entry: entry.name)
    folders = [entry.name for entry in entries if is_folder(entry)]
    if levels == _LEVELS:
        contents.folders = folders
    if any(entry.name == "pack.json" for entry in entries):
        contents.packs.append(folder)
    yield from (folder / entry.name for entry in entries if not is_folder(entry))
    for name in folders if levels else ():
        yield from _files_of(folder / name, contents, levels - 1)


def _head(path: Path) -> bytes:
    try:
        with open_file(path) as file:
            return file.read(_PEEK)
    except OSError:
        return b""


def _first_line(path: Path) -> bytes:
    return _head(path).partition(b"\n")[0].rstrip(b"\r")


def _guess(contents: _Contents) -> tuple[str, str]:
    """What made the files, and what to do with them."""
    first, check = contents.first, "check the path, or name the format with --from"
    if contents.packs:
        return "there is a pack", f"give the pack: {contents.packs[0]}"
    if any(_YOLO.match(_first_line(path)) for path in first.get(".txt", ())):
        return (
            "looks like YOLO labels",
            "put the images into images/, the label files into labels/, and add a data.yaml",
        )
    for path in first.get(".json", ()):
        head = _head(path)
        made_by = next((text for key, text in OTHER_TOOLS if f'"{key}"'.encode() in head), "")
        if made_by:
            return f"{made_by} ({path.name})", _EXPORT
    if any(b"<annotations" in _head(path) for path in first.get(".xml", ())):
        return "looks like CVAT's own XML", "give the folder that holds it"
    if ".csv" in first and contents.images:
        path = first[".csv"][0]
        shown = _first_line(path)[:80].decode("utf-8", "replace")
        return f"looks like annotations in a table ({path.name}: {shown})", _EXPORT
    for ending, name in _TABLES.items():
        if ending in first:
            return f"looks like {name}", "convert them to COCO JSON or to images and masks with a script"
    if any(ending in first for ending in _ARCHIVES):
        return "there are archives", "unpack them, and give the folder that comes out"
    if contents.images and contents.images == sum(contents.endings.values()):
        return (
            "looks like images alone",
            "give the folder that holds the annotations, too; masks are found in images/ and masks/, or SPLIT/ and "
            "SPLITannot/",
        )
    return "", check
