"""The columns of a pack that the grid asks for again and again: which images a query means, in what order, and counts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray, FloatArray, IntArray
from segdata.errors import UsageError, close_names
from segdata.pack.read import Pack
from segdata.query.fields import COMPARED
from segdata.viewer.facets import Facets

SORTS = ("index", "key", "objects", "size", "area")
"""What images can be ordered by."""

_MOST_MATCHES = 200


class Index:
    """Columns of the N images and M objects of a pack; tables alone are read.

    Attributes:
        problems: sample number → what was odd about it when the pack was made, where the pack tells it.
    """

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self.counts: npt.NDArray[np.int32] = self._of_images("objects").astype(np.int32)
        self.category: npt.NDArray[np.uint16] = _joined(
            [np.asarray(column) for column in pack.instance_columns("instance/category") if column is not None],
            np.uint16,
        )
        self.flags: npt.NDArray[np.uint8] = _joined(
            [np.asarray(column) for column in pack.instance_columns("instance/flags") if column is not None], np.uint8
        )
        self.has_semantic: BoolArray = self._of_images("has_semantic").astype(bool)
        self.has_instances: BoolArray = self._of_images("has_instances").astype(bool)
        self.problems = self._problems()
        self._everything: dict[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.counts)

    def _of_images(self, name: str) -> npt.NDArray[Any]:
        return _joined([np.asarray(table.column("image", name)) for table in self.pack.query_columns.tables], np.int64)

    # ------------------------------------------------------------------ columns

    @cached_property
    def image(self) -> npt.NDArray[np.int32]:
        """(M,) the image of each object."""
        return np.repeat(np.arange(len(self), dtype=np.int32), self.counts)

    @cached_property
    def pointer(self) -> IntArray:
        """(N + 1,) int64, the objects of image i are `pointer[i] … pointer[i + 1] − 1`."""
        return np.concatenate(([0], np.cumsum(self.counts, dtype=np.int64)))

    def area(self) -> FloatArray:
        """(M,) pixels of each object, NaN where they are not known."""
        return _joined(
            [np.asarray(table.column("object", "area")) for table in self.pack.query_columns.tables], np.float64
        )

    @cached_property
    def _areas(self) -> FloatArray:
        """(N,) pixels of the known objects of each image."""
        return np.bincount(self.image, np.nan_to_num(self.area()), minlength=len(self)).astype(np.float64, copy=False)

    @cached_property
    def _facets(self) -> Facets:
        with_problem = np.zeros(len(self), bool)
        with_problem[list(self.problems)] = True
        return Facets(
            categories=len(self.pack.labels),
            counts=self.counts,
            category=self.category,
            area=self.area(),
            flags=self.flags,
            has={"has_semantic": self.has_semantic, "problems": with_problem},
            in_split=self.in_split,
        )

    @cached_property
    def sizes(self) -> IntArray:
        """(N, 2) height and width in pixels."""
        return np.asarray(self.pack.column("image/size"), np.int64).reshape(-1, 2)

    @cached_property
    def in_split(self) -> Mapping[str, IntArray]:
        """Split → numbers of its images."""
        return {name: np.asarray(members) for name, members in self.pack.splits.items()}

    def splits_of(self, number: int) -> list[str]:
        """The splits that an image is in."""
        is_in = self.pack.query_columns.in_split
        return [name for name in self.pack.splits if is_in(name)[number]]

    def keys(self) -> list[str]:
        """The key of every image."""
        return [key for table in self.pack.query_columns.tables for key in table.texts("key")]

    def _problems(self) -> dict[int, str]:
        remarked = self.pack.query_columns.remarked
        return {number: remarked[key] for number, key in enumerate(self.keys()) if key in remarked} if remarked else {}

    # ------------------------------------------------------------------ order

    def values(self, sort: str) -> npt.NDArray[Any]:
        """(N,) what images are ordered by."""
        if sort == "objects":
            return self.counts
        if sort == "size":
            return self.sizes[:, 0] * self.sizes[:, 1]
        if sort == "area":
            return self._areas
        rank: IntArray = np.argsort(np.argsort(np.array(self.keys(), object), kind="stable"), kind="stable")
        return rank

    def ordered(self, numbers: IntArray, values: npt.NDArray[Any] | None, *, is_falling: bool) -> IntArray:
        """Images by rising or falling values of all images; equal ones by number, those without value last."""
        if values is None:
            return numbers[::-1] if is_falling else numbers
        chosen = values[numbers].astype(np.float64)
        return numbers[np.argsort(-chosen if is_falling else chosen, kind="stable")]

    # ------------------------------------------------------------------ counts

    def facets(self, is_meant: BoolArray | None) -> dict[str, Any]:
        """Counts of the images that are meant, (N,) bool, or of all, and of their objects."""
        if is_meant is None:
            if self._everything is None:
                self._everything = self._facets.count(np.ones(len(self), bool))
            return self._everything
        return self._facets.count(is_meant)

    def find(self, text: str) -> list[int]:
        """Images whose number in the source a text is, then those that have it in their key; at most 200."""
        numbers: list[int] = []
        if text.isdecimal() and len(text) < 19:
            numbers = np.flatnonzero(self.pack.column("image/id") == int(text))[:_MOST_MATCHES].tolist()
        lower = text.casefold()
        for number, key in enumerate(self.keys()):
            if len(numbers) >= _MOST_MATCHES:
                break
            if lower in key.casefold() and number not in numbers:
                numbers.append(number)
        return numbers


def sort_of(text: str, sorts: tuple[str, ...]) -> tuple[str, bool]:
    """What images are ordered by, and whether its largest comes first, of a text such as `-objects`.

    Raises:
        UsageError: there is no such order.
    """
    name = text.removeprefix("-") or "index"
    if name not in sorts:
        close = close_names(name, sorts)
        fix = f"did you mean {' or '.join(close)}?" if close else None
        fix = "segdata view PACK PREDICTIONS" if name in COMPARED["image"] else fix
        fix = "segdata view PACK PREDICTIONS OTHER" if name == "change" else fix
        raise UsageError(f"images cannot be ordered by {name!r}", why=f"they can by {', '.join(sorts)}", fix=fix)
    return name, text.startswith("-")


def _joined(parts: list[npt.NDArray[Any]], dtype: Any) -> npt.NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, dtype)
