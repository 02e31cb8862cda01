"""Annotation tools' documents for many images each: found in the dataset's folder or in those of splits, and put together.

Documents that lie in the dataset's folder are one split; else those in a folder are its split. A document is written by
several processes: each leaves the records of its images in a part file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from segdata.formats.shared.folder import conversion_report, folders_in, names_in, write_file
from segdata.formats.shared.lists import SPLITS
from segdata.system.reading import read_file

_LOOKED_AT = 5


def places(root: Path, is_document: Callable[[Path], bool], format: str) -> Iterator[tuple[str, str]]:
    """Split and path under the root of every document: in the root, else in its folders, where one is called as a split.

    Args:
        format: whose documents they are; in a folder that segdata wrote of this format every folder is a split.
    """
    beside = [name for name in names_in(root, ".json") if is_document(root / name)]
    yield from (("all", name) for name in beside)
    below = {
        split: [name for name in names_in(root / split, ".json") if is_document(root / split / name)]
        for split in (() if beside else sorted(folders_in(root), key=_rank))
    }
    is_written_here = conversion_report(root).get("target_format") == format
    if is_written_here or any(names and split.lower() in SPLITS for split, names in below.items()):
        yield from ((split, f"{split}/{name}") for split, names in below.items() for name in names)


def _rank(split: str) -> int:
    return SPLITS.index(split.lower()) if split.lower() in SPLITS else len(SPLITS)


def detect(root: Path, is_document: Callable[[Path], bool]) -> bool:
    """Whether one of the first JSON files, of the folder or of its splits, is a document."""
    if not root.is_dir():
        return False
    splits = [name for name in folders_in(root) if name.lower() in SPLITS]
    return any(
        is_document(root / folder / name)
        for folder in ("", *splits)
        for name in names_in(root / folder, ".json")[:_LOOKED_AT]
    )


def write_records(records: Iterable[tuple[str, int, Any]], root: Path, number: int) -> Mapping[str, Any]:
    """Write the records of a part, each with its document and its place in it; returns the part's receipt."""
    lines = [json.dumps(record).encode() + b"\n" for record in records]
    write_file(root, f".parts/{number:05d}.lines", b"".join(lines))
    return {"part": f"{number:05d}"}


def written_records(receipts: Sequence[Mapping[str, Any]], root: Path) -> dict[str, list[tuple[int, Any]]]:
    """Document → place and record of the images of all parts, in the order of their places."""
    records: dict[str, list[tuple[int, Any]]] = {}
    for receipt in receipts:
        for line in read_file(root / ".parts" / f"{receipt['part']}.lines").splitlines():
            file, place, record = json.loads(line)
            records.setdefault(file, []).append((place, record))
    return {file: sorted(placed, key=lambda item: item[0]) for file, placed in records.items()}
