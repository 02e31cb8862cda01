"""Ground truth and predictions: the two inputs of every metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from segdata.core.columns import Columns
from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.regions import Regions
from segdata.core.sample import Sample

Holding = Literal["boxes", "masks", "scores", "semantic", "panoptic"]
"""What predictions may hold; it decides which metrics are computed when none is asked for."""


@dataclass(frozen=True)
class GroundTruth:
    """The annotated images that predictions are about.

    Attributes:
        path: where they came from.
        format: "pack" or the format's name.
        made_from: the format whose samples these are, also for a pack.
        labels: what category indices mean.
        splits: name → places of its images.
        keys: every image's key (`Sample.key`), in order.
        get: the image at a place with its annotations, read anew each time.
        find_images: (N, 3) int64, the source's number of every image (−1 where it has none), its height and width.
        problems: what was odd in it.
        find_columns: the objects at a place, where they can be had without reading the whole sample.
        find_semantic, find_numbers: the same for label maps and Cityscapes' instance maps; they may give None.
        progress: told (images done, of how many) by every walk over the images.
    """

    path: Path
    format: str
    made_from: str
    labels: LabelSpace
    splits: Mapping[str, Sequence[int]]
    keys: Sequence[str]
    get: Callable[[int], Sample]
    find_images: Callable[[], npt.NDArray[np.int64]]
    findings: Findings = field(default_factory=Findings)
    find_columns: Callable[[int], Columns] | None = None
    find_semantic: Callable[[int], npt.NDArray[Any] | None] | None = None
    find_numbers: Callable[[int], npt.NDArray[Any] | None] | None = None
    progress: Callable[[int, int], None] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def walk(self, places: Sequence[int] | None = None) -> Iterator[int]:
        """Places of the images, all of them by default, one after another."""
        places = range(len(self)) if places is None else places
        for done, place in enumerate(places, 1):
            yield place
            if self.progress is not None:
                self.progress(done, len(places))

    def columns(self, place: int) -> Columns:
        """The objects of the image at a place."""
        return Columns.of(self.get(place).instances) if self.find_columns is None else self.find_columns(place)

    def semantic(self, place: int) -> npt.NDArray[Any] | None:
        """The label map of the image at a place, None where it has none."""
        found = None if self.find_semantic is None else self.find_semantic(place)
        return self.get(place).semantic if found is None else found

    @cached_property
    def _images(self) -> npt.NDArray[np.int64]:
        return self.find_images()

    @property
    def ids(self) -> npt.NDArray[np.int64]:
        """(N,) int64, the source's number of every image, −1 where it has none."""
        return self._images[:, 0]

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """(N, 2) int64, height and width of every image in pixels."""
        return self._images[:, 1:]

    @cached_property
    def place_of_id(self) -> dict[int, int]:
        """Number → place."""
        return {number: place for place, number in enumerate(self.ids.tolist()) if number >= 0}

    @cached_property
    def place_of_key(self) -> dict[str, int]:
        """Key → place; of several images with one key, the first."""
        return {key: len(self.keys) - 1 - place for place, key in enumerate(reversed(self.keys))}


@dataclass(frozen=True)
class Predictions:
    """What was predicted for the images of a truth.

    Attributes:
        path: where they came from.
        kind: "pack" or the name of the results' kind.
        holds: what is in them.
        get: what was predicted for the truth's image at a place, under the truth's label space; None where the
            predictions do not speak of it.
        problems: what was odd in them; metrics add to it.
        find_columns: the detections at a place, where they can be had without making a sample.
        find_regions: the same for scored masks.
    """

    path: Path
    kind: str
    holds: frozenset[Holding]
    get: Callable[[int], Sample | None]
    findings: Findings = field(default_factory=Findings)
    find_columns: Callable[[int], Columns] | None = None
    find_regions: Callable[[int], Regions | None] | None = None

    def regions(self, place: int) -> Regions | None:
        """The scored masks in the truth's image at a place; None where the predictions do not speak of it."""
        if self.find_regions is not None:
            return self.find_regions(place)
        sample = self.get(place)
        return None if sample is None else Regions.of(sample.instances)

    def columns(self, place: int) -> Columns:
        """What was detected in the truth's image at a place."""
        if self.find_columns is not None:
            return self.find_columns(place)
        sample = self.get(place)
        return Columns.none() if sample is None else Columns.of(sample.instances)
