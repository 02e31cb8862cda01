"""What every format file provides, and the types that pass between it and the rest.

A format is a module with the functions of `Format`; the module itself is the implementation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.sample import Sample


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
