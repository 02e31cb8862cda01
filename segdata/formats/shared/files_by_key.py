"""Match files of a results folder to the images of the ground truth by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from segdata.core.findings import Findings
from segdata.core.predictions import GroundTruth
from segdata.core.sample import Sample
from segdata.errors import InvalidAnnotation, number_of
from segdata.formats.shared.folder import NAMES_SHOWN, stem


def files_below(root: Path, ending: str) -> Iterator[str]:
    """Paths under the root of all files with an ending; links to folders are not followed, hidden names left out."""
    for folder, below, names in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(ending) and not name.startswith("."):
                yield (Path(folder) / name).relative_to(root).as_posix()


def by_image(root: Path, names: Sequence[str], truth: GroundTruth, findings: Findings) -> dict[int, str]:
    """Which file belongs to which image of the ground truth: index → name.

    A file belongs to the image whose key its path ends in; where keys differ in their last part, that part of the name
    is enough, and the name may go on after `_` (the longest key that fits counts).

    Raises:
        InvalidAnnotation: two files for one image.
    """
    indices: dict[str, list[int]] = {}
    for index, key in enumerate(truth.keys):
        indices.setdefault(key.rpartition("/")[2], []).append(index)
    file_of: dict[int, str] = {}
    for name in names:
        image = _index(stem(name), indices, truth)
        if image is None:
            findings.remark("file of no image of the truth: not read", name)
        elif image in file_of:
            raise InvalidAnnotation(
                "two files are there for one image",
                file=root,
                key=truth.keys[image],
                why=f"{file_of[image]} and {name}",
                fix="remove one of them, or give the folder that holds one kind of predictions",
            )
        else:
            file_of[image] = name
    return file_of


def _index(path: str, indices: Mapping[str, list[int]], truth: GroundTruth) -> int | None:
    """The image that a file is about, by its path without the ending."""
    folder, _, base = path.rpartition("/")
    candidate = base
    while candidate:
        images = indices.get(candidate, [])
        if len(images) == 1:
            return images[0]
        for index in images:
            above = truth.keys[index].rpartition("/")[0]
            if f"/{folder}".endswith(f"/{above}"):
                return index
        candidate = candidate.rpartition("_")[0]
    return None


def require_all(
    root: Path, predicted: Mapping[int, object], truth: GroundTruth, is_annotated: Callable[[Sample], bool], what: str
) -> None:
    """Refuse predictions that leave out annotated images.

    Args:
        predicted: what there is for the images, by their indices in the ground truth.
        what: what an image needs, for the message.

    Raises:
        InvalidAnnotation: with the count and the first names.
    """
    if truth.may_lack:
        return
    missing = [
        truth.keys[index] for index in range(len(truth)) if index not in predicted and is_annotated(truth.get(index))
    ]
    if missing:
        raise InvalidAnnotation(
            f"{len(missing)} of {number_of(len(truth), 'image has', 'images have')} no {what}",
            file=root,
            why=f"missing are {', '.join(missing[:NAMES_SHOWN])}{' …' if len(missing) > NAMES_SHOWN else ''}",
            fix="add them, evaluate one split with --split, or these images alone with --images-of predictions",
        )
