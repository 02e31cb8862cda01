"""What every format file provides, and the types that pass between it and the rest.

A format is a module with the functions of `Format`; the module itself is the implementation.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.sample import Sample
from segdata.errors import InvalidAnnotation, NotThere
from segdata.system.files import disk_errors
from segdata.system.paths import inside

NAMES_SHOWN = 5


@dataclass(frozen=True)
class Entry:
    """One image of a dataset, found but not read.

    Attributes:
        key: see `Sample.key`.
        file: the image's path under the root; "" when there is none.
        annotation_bytes: size of its own annotation files, for cutting work into shards.
        data: what the format needs to load it.
    """

    key: str
    file: str
    annotation_bytes: int = 0
    data: Any = None


@dataclass(frozen=True)
class Source:
    """A dataset folder after a cheap, complete look.

    Attributes:
        root: the dataset's folder.
        layout: which of the format's layouts was found, in words.
        labels: what its category numbers mean.
        entries: every image, in order, each once.
        splits: name → indices of entries; splits may overlap.
        documents: what its files say beyond single images; kept in the pack for the way back.
        annotation_files: files to fingerprint by content (paths under the root).
        data: what the format keeps for loading.
        passed_over: files that were recognised, are not read, and are remarked already (paths under the root).
    """

    root: Path
    layout: str
    labels: LabelSpace
    entries: Sequence[Entry]
    splits: Mapping[str, Sequence[int]]
    documents: Sequence[Mapping[str, Any]] = ()
    annotation_files: Sequence[str] = ()
    data: Any = None
    passed_over: Sequence[str] = ()


@dataclass(frozen=True)
class Header:
    """What a writer needs to know beyond the single samples: the same three things that a `Source` and a pack have."""

    labels: LabelSpace
    splits: Mapping[str, Sequence[int]]
    documents: Sequence[Mapping[str, Any]]


FORMATS = ("coco", "coco-panoptic", "voc", "cityscapes", "camvid")
"""Names under which samples and objects keep what only one format understands."""


class Writer(Protocol):
    """The functions of a module that segdata writes a folder with: a format, or a kind of results."""

    def write_part(
        self, samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int
    ) -> Mapping[str, Any]:
        """Write the files of some samples (each with its index, as in the splits); returns a receipt."""

    def finish(self, receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
        """Write what is one file for all samples."""


class Format(Writer, Protocol):
    """The functions of a format file."""

    LAYOUT: str
    """What `detect` looks for, in one line, for the message when nothing is found."""

    def detect(self, root: Path) -> bool:
        """Whether the folder looks like this format; cheap."""

    def scan(self, root: Path, findings: Findings, *, labels: LabelSpace | None = None) -> Source:
        """Everything that is there, in order, without reading images or masks."""

    def load(self, source: Source, entry: Entry, findings: Findings) -> Sample:
        """One sample; pure. Single bad annotations go to `findings` and are left out; a bad image raises."""


def read_bytes(root: Path, name: str, what: str) -> bytes:
    """The bytes of a file under the root.

    Raises:
        Unsafe: the name or a link leads out of the root.
        NotThere: no such file.
    """
    path = inside(root, name, what)
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
        with os.scandir(folder) as found:
            return sorted(
                item.name
                for item in found
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
    with os.scandir(folder) as found:
        return sorted(item.name for item in found if item.is_dir() and not item.name.startswith("."))


def missing_images(root: Path, entries: Sequence[Entry]) -> list[int]:
    """Places of the entries whose image is not on disk."""
    return [place for place, entry in enumerate(entries) if not entry.file or not (root / entry.file).is_file()]


def images_not_there(root: Path, entries: Sequence[Entry], missing: Sequence[int]) -> InvalidAnnotation:
    """One error for all of them, with the count and the first names."""
    names = ", ".join(entries[place].file or entries[place].key for place in missing[:NAMES_SHOWN])
    return InvalidAnnotation(
        f"{len(missing)} of {len(entries)} images are not on disk",
        file=root,
        why=f"missing are {names}{' …' if len(missing) > NAMES_SHOWN else ''}",
        fix="put the images there, convert the annotations alone with --images none, or leave them out with "
        "--on-error skip",
    )


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
