"""Images that lie under another spelling of their name: another case, %-escapes, a query, other accents, .jpg for .jpeg."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from segdata.core.findings import Findings
from segdata.errors import SegdataError
from segdata.formats.contract import Entry, Source
from segdata.formats.shared.folder import IMAGE_ENDINGS, image_path, is_file
from segdata.system.files import inside

MASKS = re.compile(r"mask|label|annot|gt|seg|depth|trimap", re.IGNORECASE)
"""In names of folders that hold no images to look at."""

_FOLDERS_LOOKED_AT = 10_000


def loosened(name: str) -> str:
    """What two spellings of one name have in common.

    >>> loosened("Photo%201.JPEG?size=large")
    'photo 1.jpg'
    """
    name = unicodedata.normalize("NFC", unquote(name.partition("?")[0])).casefold()
    return f"{name[:-5]}.jpg" if name.endswith(".jpeg") else name


class LooseNames:
    """The files below a folder by their loosened names; a folder is listed when a name is first looked for in it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: dict[str, dict[str, list[str]]] = {}

    def find(self, file: str) -> str | None:
        """The one file under the root whose path is another spelling of `file`; None where there is none, or several."""
        path = ""
        for part in loosened(file).split("/"):
            names = self._in(path).get(part, [])
            if len(names) != 1:
                return None
            path = f"{path}/{names[0]}" if path else names[0]
        try:
            return path if is_file(inside(self._root, path, "the dataset")) else None
        except SegdataError:  # a link that leads out
            return None

    def _in(self, folder: str) -> dict[str, list[str]]:
        if folder not in self._names:
            names: dict[str, list[str]] = {}
            try:
                for item in (self._root / folder).iterdir():
                    names.setdefault(loosened(item.name), []).append(item.name)
            except OSError:
                names = {}
            self._names[folder] = names
        return self._names[folder]


def found_otherwise(source: Source, entries: list[Entry], missing: Sequence[int], findings: Findings) -> list[int]:
    """Give missing images the files that are spelled otherwise, with a remark; which are missing then.

    Args:
        missing: indices of entries.
    """
    if findings.strict:
        return list(missing)
    names = {folder: LooseNames(folder) for folder in (source.root, *source.options.images_dir.values())}
    elsewhere: dict[Path, Mapping[str, str]] = {}
    remaining = []
    for index in missing:
        entry, path = entries[index], image_path(source.root, entries[index])
        root = next((folder for folder in reversed(names) if path.is_relative_to(folder)), source.root)
        actual = names[root].find(path.relative_to(root).as_posix()) if entry.file else None
        kind = "image found under another spelling of its name"
        if actual is None and entry.file:
            if root not in elsewhere:
                elsewhere[root] = _only_ones(root, {entry.file for entry in entries})
            actual, kind = elsewhere[root].get(path.name), "image found in another folder: the only one of its name"
        if actual is None:
            remaining.append(index)
            continue
        entries[index] = replace(entry, disk=str(root / actual))
        findings.remark(kind, f"{entry.file} is {actual}")
    return remaining


def _only_ones(root: Path, taken: Collection[str]) -> dict[str, str]:
    """Name → path under the root, of image files that are the only ones of their name; folders of masks left out.

    Args:
        taken: paths that are images already.
    """
    paths: dict[str, list[str]] = {}
    for number, (folder, below, files) in enumerate(os.walk(root)):
        if number >= _FOLDERS_LOOKED_AT:
            return {}
        below[:] = [name for name in below if not name.startswith(".") and not MASKS.search(name)]
        for name in files:
            if name.lower().endswith(IMAGE_ENDINGS):
                paths.setdefault(name, []).append((Path(folder) / name).relative_to(root).as_posix())
    return {name: same[0] for name, same in paths.items() if len(same) == 1 and same[0] not in taken}
