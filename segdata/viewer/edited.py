"""The images of a pack that were edited: they are counted, filtered and ordered with the annotations that they have now."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray, FloatArray, IntArray
from segdata.core.sample import Instances, Sample
from segdata.pack import layout
from segdata.query.fields import Of
from segdata.viewer.facets import Facets
from segdata.viewer.index import Index

if TYPE_CHECKING:
    from segdata.correction.editing import Editing

_FLAGS = {
    "has_mask": layout.HAS_MASK,
    "iscrowd": layout.IS_CROWD,
    "difficult": layout.IS_DIFFICULT,
    "truncated": layout.IS_TRUNCATED,
    "occluded": layout.IS_OCCLUDED,
}
_SIDES = ("x", "y", "width", "height")


@dataclass(frozen=True)
class Image:
    """An image that was edited.

    Attributes:
        number: in the pack.
        sample: with its edits.
        edit: the last of them.
    """

    number: int
    sample: Sample
    edit: object


class Edited:
    """E images that were edited, by ascending number, and their M objects; a table of queries (`segdata.query.values`).

    Attributes:
        numbers: (E,) int64.
        counts: (E,) int64, objects of each.
    """

    is_counted = None

    def __init__(self, index: Index, images: Sequence[Image]) -> None:
        self._index = index
        self.images = images
        self.numbers = np.array([image.number for image in images], np.int64)
        self._instances: list[Instances] = [image.sample.instances for image in images]
        self.counts = np.array([len(instances) for instances in self._instances], np.int64)

    @cached_property
    def pointer(self) -> IntArray:
        """(E + 1,) int64, the objects of image i are `pointer[i] … pointer[i + 1] − 1`."""
        return np.concatenate(([0], np.cumsum(self.counts)))

    def get(self, number: int) -> Image | None:
        """An image by its number in the pack; None where it was not edited."""
        nth = int(np.searchsorted(self.numbers, number))
        return self.images[nth] if nth < len(self.images) and self.images[nth].number == number else None

    # ------------------------------------------------------------------ columns

    def _joined(self, values: Callable[[Instances], npt.NDArray[Any]], dtype: Any) -> npt.NDArray[Any]:
        return np.concatenate([np.zeros(0, dtype), *(values(instances) for instances in self._instances)])

    @cached_property
    def category(self) -> IntArray:
        """(M,) int64."""
        return self._joined(lambda instances: instances.category, np.int64)

    @cached_property
    def flags(self) -> npt.NDArray[np.uint8]:
        """(M,) uint8, as a pack has them."""
        flags = np.zeros(len(self.category), np.uint8)
        for name, bit in _FLAGS.items():
            flags |= self._joined(lambda instances, name=name: getattr(instances, name), bool) * np.uint8(bit)  # type: ignore[misc]
        return flags

    @cached_property
    def pixels(self) -> IntArray:
        """(M,) int64, of each mask."""
        return self._joined(lambda instances: instances.masks.areas, np.int64)

    @cached_property
    def area(self) -> FloatArray:
        """(M,) float64, as annotated, else of the mask, else NaN."""
        area = self._joined(lambda instances: instances.area, np.float64)
        of_mask = np.where((self.flags & layout.HAS_MASK) != 0, self.pixels, np.nan)
        return np.where(np.isnan(area), of_mask, area)

    def _box(self, side: int) -> FloatArray:
        annotated = self._joined(lambda instances: instances.bbox[:, side], np.float64)
        of_mask = self._joined(lambda instances: instances.masks.boxes_xywh[:, side], np.float64)
        return np.where(np.isnan(annotated), of_mask, annotated)

    def _has(self, name: str) -> BoolArray:
        """(E,) bool, has_instances or has_semantic."""
        return np.array([getattr(image.sample, name) for image in self.images], bool)

    def column(self, of: Of, name: str) -> npt.NDArray[Any]:
        """A field's numbers or flags, (E,) or (M,)."""
        if of == "image":
            if name == "objects":
                return self.counts
            if name in ("has_instances", "has_semantic"):
                return self._has(name)
            return np.array(self._of_pack(lambda table: table.column("image", name)))
        if name in _FLAGS:
            has_flag: BoolArray = (self.flags & _FLAGS[name]) != 0
            return has_flag
        if name in _SIDES:
            return self._box(_SIDES.index(name))
        if name in ("isthing", "ignore"):
            is_so = [bool(getattr(category, name)) for category in self._index.pack.labels.categories]
            return np.array(is_so, bool)[self.category]
        if name in ("area", "pixels"):
            return self.area if name == "area" else self.pixels
        return self._joined(lambda instances: getattr(instances, name), np.float64 if name == "score" else np.int64)

    def texts(self, name: str) -> Sequence[str]:
        """The keys or files of the images."""
        return self._of_pack(lambda table: table.texts(name))

    def among(self, of: Of, name: str, is_meant: BoolArray) -> BoolArray:
        """(E,) or (M,) bool, whether a split, codec or category is one of those that `is_meant` says, (K,) bool."""
        if of == "object":
            return is_meant[self.category]
        return np.array(self._of_pack(lambda table: table.among(of, name, is_meant)), bool)

    def _of_pack(self, read: Callable[[Any], Any]) -> list[Any]:
        """What edits do not change, from the pack's tables."""
        return self._index.pack.query_columns.of_images(self.numbers, read)

    # ------------------------------------------------------------------ order and counts

    def values(self, sort: str) -> npt.NDArray[Any] | None:
        """(E,) what the images are ordered by; None where edits do not change it."""
        if sort == "objects":
            return self.counts
        image = np.repeat(np.arange(len(self.images)), self.counts)
        return np.bincount(image, np.nan_to_num(self.area), len(self.images)) if sort == "area" else None

    @cached_property
    def facets(self) -> Facets:
        """What is counted of them."""
        problems = self._index.problems
        return Facets(
            categories=len(self._index.pack.labels),
            counts=self.counts,
            category=self.category,
            area=self.area,
            flags=self.flags,
            has={
                "has_semantic": self._has("has_semantic"),
                "problems": np.array([image.number in problems for image in self.images], bool),
            },
            in_split=self._in_split(),
        )

    def _in_split(self) -> Mapping[str, IntArray]:
        is_in = self._index.pack.query_columns.in_split
        return {name: np.flatnonzero(is_in(name)[self.numbers]) for name in self._index.in_split}


class EditedImages:
    """The images that were edited, as they are now: what did not change since they were asked for is not read again."""

    def __init__(self, index: Index, editing: Editing) -> None:
        self._index = index
        self._editing = editing
        self._lock = threading.Lock()
        self._now = Edited(index, [])

    def now(self) -> Edited | None:
        """All of them; None where there are none. The same object as before where nothing was edited since.

        Raises:
            InvalidInput: an edit replaces another mask than the object had.
        """
        with self._lock:
            before = self._now
            edits = [(number, self._editing.last_edit(number)) for number in self._editing.edited()]
            known = {image.number: image for image in before.images}
            images = [self._image(number, edit, known.get(number)) for number, edit in edits if edit is not None]
            if [id(image) for image in images] != [id(image) for image in before.images]:
                self._now = Edited(self._index, images)
            return self._now if images else None

    def _image(self, number: int, edit: object, known: Image | None) -> Image:
        if known is not None and known.edit is edit:
            return known
        sample = self._editing.replayed(number, self._index.pack[number]).sample
        return Image(number, sample, edit)
