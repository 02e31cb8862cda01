"""Results: files of predictions as challenges and papers exchange them. This module is their table and their types.

A results file says nothing about images and categories but their numbers or names; it is read against a `GroundTruth`, and
gives one sample with scores for every image of the truth that it speaks of. A module of results has:

    LAYOUT                                   what `detect` looks for, in one line
    detect(path)                             whether the file or folder looks like it; cheap
    read(path, truth, problems)              Predictions
    write_part, finish                       as a format has them, where segdata writes this kind, too
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from segdata.core.findings import Findings
from segdata.core.predictions import GroundTruth, Predictions
from segdata.errors import NotThere, UnknownLayout, UsageError

NAMES = ("coco-results", "voc-results", "coco-panoptic", "cityscapes-results", "label-maps")
"""Every kind of results, in the order in which they are looked for; `coco-results` is `formats/coco_results.py`."""


class Results(Protocol):
    """The functions of a module of results."""

    LAYOUT: str

    def detect(self, path: Path) -> bool:
        """Whether the file or folder looks like this kind; cheap."""

    def read(self, path: Path, truth: GroundTruth, findings: Findings) -> Predictions:
        """Predictions for the truth's images; numbers and names that the truth does not have are refused."""


def named(name: str) -> Results:
    """The module of a kind of results.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in NAMES:
        raise UsageError(f"there is no kind of results {name!r}", why=f"kinds are pack, {', '.join(NAMES)}")
    homes = {
        "coco-results": "coco.results",
        "voc-results": "voc.results",
        "coco-panoptic": "coco_panoptic.format",
        "cityscapes-results": "cityscapes.results",
        "label-maps": "label_maps",
    }
    return cast(Results, import_module(f"segdata.formats.{homes[name]}"))


def detect(path: Path) -> str:
    """The kind of a results file or folder.

    Raises:
        NotThere: no such file.
        UnknownLayout: no known kind; the message says what was looked for.
    """
    if not path.exists():
        raise NotThere(f"{path} does not exist", file=path, fix="check the path of the predictions")
    for name in NAMES:
        if named(name).detect(path):
            return name
    raise UnknownLayout(
        "no known kind of predictions was found",
        file=path,
        why="looked for a pack; " + "; ".join(named(name).LAYOUT for name in NAMES),
        fix="it holds annotations, not predictions: give predictions first, then the truth"
        if path.suffix == ".json"
        else "check the path, or name the kind with --from",
    )
