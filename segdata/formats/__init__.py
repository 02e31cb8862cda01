"""The formats: one file each, both directions. This module is the table of them, and finds out what a folder is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, cast, overload

from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.sample import Sample
from segdata.errors import NotThere, UnknownLayout, UsageError
from segdata.formats.contract import Format, Header, Source, Writer

NAMES = ("voc", "cityscapes", "camvid", "coco-panoptic", "coco")
"""Every format, in the order in which layouts are looked for."""

RESULTS = ("coco-results", "cityscapes-results", "voc-results")
"""Kinds of results that are written from predictions; none of them is read without the truth that they are about."""


def named(name: str) -> Format:
    """The format with this name.

    Raises:
        UsageError: there is none.
    """
    if name not in NAMES:
        raise UsageError(
            f"there is no format {name!r}",
            why=f"formats are pack, {', '.join(sorted(NAMES))}; results {', '.join(RESULTS)}",
            fix="results are read together with what they are about: add --truth TRUTH" if name in RESULTS else None,
        )
    return cast(Format, import_module(f"segdata.formats.{name.replace('-', '_')}.format"))


def writer(name: str) -> Writer:
    """The format or kind of results with this name, for writing.

    Raises:
        UsageError: there is none.
    """
    if name not in RESULTS:
        return named(name)
    return cast(Writer, import_module(f"segdata.formats.{name.removesuffix('-results')}.results"))


def detect(root: Path) -> str:
    """The name of the format of a dataset folder.

    Raises:
        NotThere: no such folder.
        UnknownLayout: no known layout; the message says what was looked for.
    """
    if not root.exists():
        raise NotThere(f"{root} does not exist", file=root, fix="check the path; `segdata list` shows known datasets")
    for name in NAMES:
        if named(name).detect(root):
            return name
    inner = (
        [
            child.name
            for child in sorted(root.iterdir())
            if child.is_dir() and any(named(name).detect(child) for name in NAMES)
        ]
        if root.is_dir()
        else []
    )
    raise UnknownLayout(
        "no known dataset layout was found",
        file=root,
        why="looked for " + "; ".join(named(name).LAYOUT for name in NAMES),
        fix=f"use {root / inner[0]}" if inner else "check the path, or name the format with --from",
    )


def scan(root: Path, name: str | None, findings: Findings, *, labels: LabelSpace | None = None) -> tuple[str, Source]:
    """Find out the format (unless named) and look through a dataset folder."""
    name = name or detect(root)
    if not root.exists():
        raise NotThere(f"{root} does not exist", file=root)
    source = named(name).scan(root, findings, labels=labels)
    if not source.entries and name != "coco":
        raise UnknownLayout(
            "no sample was found", file=root, why=f"looked for {named(name).LAYOUT}", fix="check the folders' names"
        )
    if root.is_dir():
        _remark_unread(source, findings)
    return name, source


def _remark_unread(source: Source, findings: Findings) -> None:
    """Count the files of a dataset folder that no part of it names, and the folders that hold nothing else."""
    read = {*source.annotation_files, *source.passed_over, *(entry.file for entry in source.entries)}
    above = {"", *(parent for file in read for parent in _parents(file))}
    for folder, inner, files in os.walk(source.root):
        at = "" if Path(folder) == source.root else Path(folder).relative_to(source.root).as_posix() + "/"
        for name in sorted(files):
            if at + name not in read and not name.startswith("."):
                findings.remark("file not read", at + name)
        unread = sorted(name for name in inner if f"{at}{name}/" not in above)
        inner[:] = sorted(set(inner).difference(unread))
        for name in unread:
            if not name.startswith(".") and _holds_data(Path(folder, name)):
                findings.remark("folder not read", at + name)


def _parents(file: str) -> Iterator[str]:
    """`a/b/` and `a/` for `a/b/c`."""
    at = file.rfind("/")
    while at >= 0:
        yield file[: at + 1]
        at = file.rfind("/", 0, at)


def _holds_data(folder: Path) -> bool:
    """Whether a folder is neither empty nor something that a conversion wrote or is writing."""
    names = {path.name for path in folder.iterdir()}
    is_ours = bool(names & {"pack.json", ".segdata.json"}) or any(name.startswith(".work-") for name in names)
    return bool(names) and not is_ours


class Folder(Sequence[Sample]):
    """A dataset folder read directly, without a pack: a sequence of samples."""

    def __init__(self, name: str, source: Source, members: Sequence[int], findings: Findings) -> None:
        self._format = named(name)
        self._source = source
        self._members = members
        self.findings = findings

    @property
    def labels(self) -> LabelSpace:
        """What category indices mean."""
        return self._source.labels

    @property
    def splits(self) -> dict[str, Sequence[int]]:
        """Name → indices."""
        return dict(self._source.splits)

    @property
    def keys(self) -> list[str]:
        """Every sample's key, in order."""
        return [self._source.entries[index].key for index in self._members]

    def find(self, key: str) -> Sample:
        """The first sample with this key.

        Raises:
            NotThere: no such key.
        """
        if key not in self.keys:
            raise NotThere(f"no sample has the key {key!r}", file=self._source.root)
        return self[self.keys.index(key)]

    def __len__(self) -> int:
        return len(self._members)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        return self._format.load(self._source, self._source.entries[self._members[index]], self.findings)

    def __iter__(self) -> Iterator[Sample]:
        for index in range(len(self)):
            yield self[index]


def read(path: str | Path, split: str | None = None, *, format: str | None = None) -> Folder:
    """Read a dataset folder in any known layout directly; `segdata.open` is for packs, and much faster.

    Raises:
        NotThere: no such folder or split.
        UnknownLayout: no known layout was found.
    """
    findings = Findings()
    name, source = scan(Path(path), format, findings)
    if split is not None and split not in source.splits:
        raise NotThere(
            f"there is no split {split!r}", file=path, why=f"splits are {', '.join(map(repr, source.splits))}"
        )
    members = range(len(source.entries)) if split is None else source.splits[split]
    return Folder(name, source, members, findings)


__all__ = ["NAMES", "Folder", "Format", "Header", "Source", "detect", "named", "read", "scan", "writer"]
