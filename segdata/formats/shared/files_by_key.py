"""Result files in a folder, found by the names of the truth's images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from segdata.core.findings import Findings
from segdata.core.predictions import GroundTruth
from segdata.core.sample import Sample
from segdata.errors import InvalidAnnotation
from segdata.formats.shared.folder import NAMES_SHOWN, stem


def files_below(root: Path, ending: str) -> Iterator[str]:
    """Paths under the root of all files with an ending; links to folders are not followed, hidden names left out."""
    for folder, below, names in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(ending) and not name.startswith("."):
                yield (Path(folder) / name).relative_to(root).as_posix()


def by_place(root: Path, names: Sequence[str], truth: GroundTruth, findings: Findings) -> dict[int, str]:
    """Which file belongs to which image of the truth.

    A file belongs to the image whose key its path ends in; where keys differ in their last part, that part of the name
    is enough, and the name may go on after `_` (the longest key that fits counts).

    Raises:
        InvalidAnnotation: two files for one image.
    """
    places: dict[str, list[int]] = {}
    for place, key in enumerate(truth.keys):
        places.setdefault(key.rpartition("/")[2], []).append(place)
    found: dict[int, str] = {}
    for name in names:
        own = _place(stem(name), places, truth)
        if own is None:
            findings.remark("file of no image of the truth: not read", name)
        elif own in found:
            raise InvalidAnnotation(
                "two files are there for one image",
                file=root,
                key=truth.keys[own],
                why=f"{found[own]} and {name}",
                fix="remove one of them, or give the folder that holds one kind of predictions",
            )
        else:
            found[own] = name
    return found


def _place(path: str, places: Mapping[str, list[int]], truth: GroundTruth) -> int | None:
    folder, _, base = path.rpartition("/")
    candidate = base
    while candidate:
        own = places.get(candidate, [])
        if len(own) == 1:
            return own[0]
        for place in own:
            above = truth.keys[place].rpartition("/")[0]
            if f"/{folder}".endswith(f"/{above}"):
                return place
        candidate = candidate.rpartition("_")[0]
    return None


def require_all(
    root: Path, found: Mapping[int, object], truth: GroundTruth, is_annotated: Callable[[Sample], bool], what: str
) -> None:
    """Refuse predictions that leave out annotated images.

    Raises:
        InvalidAnnotation: with the count and the first names.
    """
    missing = [
        truth.keys[place] for place in range(len(truth)) if place not in found and is_annotated(truth.get(place))
    ]
    if missing:
        raise InvalidAnnotation(
            f"{len(missing)} of {len(truth)} images have no {what}",
            file=root,
            why=f"missing are {', '.join(missing[:NAMES_SHOWN])}{' …' if len(missing) > NAMES_SHOWN else ''}",
            fix="add them, or evaluate one split with --split",
        )
