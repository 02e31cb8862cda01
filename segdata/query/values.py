"""Tables that queries are computed on, and the values that parts of a query give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray, IntArray
from segdata.core.labels import LabelSpace
from segdata.query.fields import COMPARED, OTHER, Kind, Of

Level = Literal["constant", "image", "object"]
LEVELS: tuple[Level, ...] = ("constant", "image", "object")


class Table(Protocol):
    """Columns of N images and of their M objects."""

    @property
    def pointer(self) -> IntArray:
        """(N + 1,) int64, the objects of image i are `pointer[i] … pointer[i + 1] − 1`."""

    @property
    def is_counted(self) -> BoolArray | None:
        """(M,) bool, False for objects that the label space leaves out; None where all count."""

    def column(self, of: Of, name: str) -> npt.NDArray[Any]:
        """A field's numbers or flags, (N,) or (M,); an unknown number is NaN, an unknown id of an image −1."""

    def texts(self, name: str) -> Sequence[str]:
        """The texts of all N images, of a field whose texts `Names` does not list."""

    def among(self, of: Of, name: str, is_meant: BoolArray) -> BoolArray:
        """(N,) or (M,) bool, whether a field has one of the meant texts.

        Args:
            is_meant: (K,) bool, over the texts that `Names` lists.
        """


class Absent(NamedTuple):
    """Why no image or object has a field, and what to do."""

    why: str
    fix: str | None = None


WITHOUT_OTHER = Absent("there are no other predictions to compare with", "segdata view PACK PREDICTIONS OTHER")
"""What one set of predictions does not have."""

_NOT_COMPARED = Absent("there are no predictions to compare with", "segdata view PACK PREDICTIONS")
WITHOUT_PREDICTIONS: Mapping[tuple[Of, str], Absent] = {
    (of, name): WITHOUT_OTHER if name in OTHER else _NOT_COMPARED for of, names in COMPARED.items() for name in names
}
"""What a dataset alone does not have."""


@dataclass(frozen=True)
class Names:
    """What the texts of a query are compared with.

    Attributes:
        labels: the categories.
        listed: field of an image → all texts that it can have; None stands for none.
        missing: fields that no image or no object has here.
    """

    labels: LabelSpace
    listed: Mapping[str, Sequence[str | None]]
    missing: Mapping[tuple[Of, str], Absent] = field(default_factory=lambda: WITHOUT_PREDICTIONS)

    def of(self, name: str) -> Sequence[str | None] | None:
        """All texts that a field can have; None where they are not listed."""
        if name == "category":
            return [category.name for category in self.labels.categories]
        if name == "supercategory":
            return [category.supercategory for category in self.labels.categories]
        return self.listed.get(name)


@dataclass(frozen=True)
class Value:
    """What a part of a query gives.

    Attributes:
        level: whether it is one value, one of each image, or one of each object.
        run: computes it: numbers or flags.
        is_unknown: where the dataset does not say; None where it always does.
    """

    kind: Kind
    level: Level
    run: Callable[[Table], Any]
    is_unknown: Callable[[Table], Any] | None = None


def together(values: Sequence[Value]) -> list[Value]:
    """The same values at one level: those of images are repeated for their objects."""
    level = LEVELS[max(LEVELS.index(value.level) for value in values)]
    if level == "object":
        return [of_objects(value) if value.level == "image" else value for value in values]
    return [replace(value, level=level) for value in values]


def of_objects(value: Value) -> Value:
    """A value of images for each of their objects."""
    run, is_unknown = value.run, value.is_unknown
    return Value(
        value.kind,
        "object",
        lambda table: np.repeat(run(table), np.diff(table.pointer)),
        None if is_unknown is None else lambda table: np.repeat(is_unknown(table), np.diff(table.pointer)),
    )


def count_of_images(is_meant: BoolArray, pointer: IntArray) -> IntArray:
    """(N,) int64, how many objects of each image are meant."""
    before = np.zeros(len(is_meant) + 1, np.int64)
    np.cumsum(is_meant, out=before[1:])
    count: IntArray = before[pointer[1:]] - before[pointer[:-1]]
    return count
