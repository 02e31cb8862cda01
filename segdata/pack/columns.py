"""The columns of a pack that queries ask for, shard by shard; `segdata.query.fields` says what each of them holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray, FloatArray, IntArray
from segdata.core.labels import LabelMapping, LabelSpace
from segdata.core.masks import Masks
from segdata.pack import layout
from segdata.pack.entries import FEW
from segdata.pack.store import Shard, Store
from segdata.pack.tables import texts
from segdata.query.fields import Of
from segdata.query.values import WITHOUT_PREDICTIONS, Absent, Names

_NO_SCORES = Absent("the pack is ground truth; predictions have scores")
_AT_ONCE = 1 << 14
"""Masks whose pixels are counted at once."""


class Columns:
    """The tables of a pack's shards under a label space.

    Attributes:
        names: what the texts of a query are compared with.
        remarked: what the pack's report gives as examples, such as keys of images → what is odd about it.
    """

    def __init__(self, store: Store, mapping: LabelMapping | None) -> None:
        self._store = store
        self._in_split: dict[str, BoolArray] = {}
        labels = store.labels if mapping is None else mapping.target
        remarks = store.index["report"]["remarks"].items()
        self.remarked = {example: kind for kind, remark in remarks for example in remark["examples"]}
        self.remarked |= {example.partition(": ")[0]: kind for example, kind in self.remarked.items()}
        self.names = Names(
            labels,
            {"split": list(store.splits), "codec": [None if name == "none" else name for name in layout.CODECS]},
            WITHOUT_PREDICTIONS if _has_scores(store) else {("object", "score"): _NO_SCORES, **WITHOUT_PREDICTIONS},
        )
        self._tables = [ShardTable(self, shard, labels, mapping) for shard in store.shards]

    @property
    def tables(self) -> Iterator[ShardTable]:
        """One of each shard; what is computed for one stays only where all shards are mapped."""
        for table in self._tables:
            yield table
            if len(self._tables) > FEW:
                table.forget()

    def of_images(self, numbers: IntArray, read: Callable[[ShardTable], Any]) -> list[Any]:
        """What a function of tables, which gives a value for each image, has for some images of the pack, (E,) ascending."""
        values: list[Any] = []
        ends = np.searchsorted(numbers, [table.first for table in self._tables[1:]])
        for table, rows in zip(self._tables, np.split(numbers, ends), strict=True):
            if len(rows):
                of_table = read(table)
                values += [of_table[row] for row in (rows - table.first).tolist()]
        return values

    def in_split(self, name: str) -> BoolArray:
        """(N,) bool over the whole pack."""
        if name not in self._in_split:
            is_member = np.zeros(self._store.count, bool)
            is_member[self._store.splits[name]] = True
            self._in_split[name] = is_member
        return self._in_split[name]


def _has_scores(store: Store) -> bool:
    """Whether an object has a score; a pack without objects has nothing that lacks one."""
    entries = (store.index["shards"][shard.number] for shard in store.shards)
    return not store.index["instances"] or any("instance/score" in each["annotations"]["arrays"] for each in entries)


class ShardTable:
    """The columns of one shard with N images and M objects; see `segdata.query.values.Table`.

    Attributes:
        first: the index of its first image in the pack.
    """

    def __init__(self, columns: Columns, shard: Shard, labels: LabelSpace, mapping: LabelMapping | None) -> None:
        self.first = shard.first
        self._columns = columns
        self._shard = shard
        self._labels = labels
        self._mapping = mapping
        self._texts: dict[str, list[str]] = {}

    @property
    def pointer(self) -> IntArray:
        """(N + 1,) int64, the objects of image i are `pointer[i] … pointer[i + 1] − 1`."""
        pointer: IntArray = self._shard.table["instance/pointer"]
        return pointer

    @property
    def is_counted(self) -> BoolArray | None:
        """(M,) bool, False for objects that the label space leaves out; None where all count."""
        return None if self._mapping is None else self._category >= 0

    def forget(self) -> None:
        """Let go what was computed."""
        self._texts.clear()
        self.__dict__.pop("_pixels", None)

    def column(self, of: Of, name: str) -> npt.NDArray[Any]:
        """A field's numbers or flags, (N,) or (M,)."""
        return (_OF_OBJECTS if of == "object" else _OF_IMAGES)[name](self)

    def texts(self, name: str) -> Sequence[str]:
        """The keys or files of the images."""
        if name not in self._texts:
            parts = texts(self._shard.table, f"image/{name}")
            self._texts[name] = [part.decode("utf-8", "surrogatepass") for part in parts]
        return self._texts[name]

    def among(self, of: Of, name: str, is_meant: BoolArray) -> BoolArray:
        """(N,) or (M,) bool, whether a split, codec or category is one of those that `is_meant` says, (K,) bool."""
        if name == "split":
            names = self._columns.names.listed[name]
            chosen = [str(names[number]) for number in np.flatnonzero(is_meant).tolist()]
            part = slice(self._shard.first, self._shard.first + len(self.pointer) - 1)
            parts = [self._columns.in_split(split)[part] for split in chosen]
            return np.logical_or.reduce(parts) if parts else np.zeros(len(self.pointer) - 1, bool)
        if name == "codec":
            number = self._shard.table["image/codec"]
        else:
            is_meant, number = np.append(is_meant, False), self._category
        return np.asarray(is_meant[number], bool)

    # ------------------------------------------------------------------ columns

    @property
    def _category(self) -> npt.NDArray[Any]:
        """(M,) index into the label space, −1 where it leaves the object out."""
        category: npt.NDArray[Any] = self._shard.table["instance/category"]
        return category if self._mapping is None else self._mapping.indices[category]

    def _of_category(self, name: str) -> BoolArray:
        return self.among(
            "object", "category", np.array([bool(getattr(each, name)) for each in self._labels.categories], bool)
        )

    def _has(self, array: str, flag: int) -> BoolArray:
        has_flag: BoolArray = (self._shard.table[array] & flag) != 0
        return has_flag

    def _problem(self) -> BoolArray:
        remarked = self._columns.remarked
        if not remarked:
            return np.zeros(len(self.pointer) - 1, bool)
        return np.array([key in remarked for key in self.texts("key")], bool)

    def _objects(self) -> IntArray:
        if self._mapping is None:
            return np.diff(self.pointer)
        before = np.append([0], np.cumsum(self._category >= 0))
        return np.diff(before[self.pointer])

    def _box(self, side: int) -> FloatArray:
        """(M,) float64, a number of x y width height: as annotated, else of the mask."""
        table = self._shard.table
        annotated: FloatArray = table["instance/bbox"][:, side]
        is_unknown = np.isnan(annotated)
        return np.where(is_unknown, table["instance/frame"][:, side], annotated) if is_unknown.any() else annotated

    def _area(self) -> FloatArray:
        """(M,) float64, as annotated, else of the mask, else NaN."""
        annotated: FloatArray = self._shard.table["instance/area"]
        is_unknown = np.isnan(annotated)
        if not is_unknown.any():
            return annotated
        of_mask = np.where(self._has("instance/flags", layout.HAS_MASK), self._pixels, np.nan)
        return np.where(is_unknown, of_mask, annotated)

    @cached_property
    def _pixels(self) -> IntArray:
        """(M,) int64, pixels of each mask."""
        table = self._shard.table
        frame, run, offset = (table[f"instance/{name}"] for name in ("frame", "run", "run_offset"))
        pixels = np.zeros(len(frame), np.int64)
        for begin in range(0, len(frame), _AT_ONCE):
            part = offset[begin : begin + _AT_ONCE + 1]
            masks = Masks(0, 0, frame[begin : begin + _AT_ONCE], run[part[0] : part[-1]], part - part[0])
            pixels[begin : begin + _AT_ONCE] = masks.areas
        return pixels

    def _score(self) -> FloatArray:
        score: FloatArray | None = self._shard.table["instance/score"]
        return np.full(len(self._category), np.nan) if score is None else score


def _array(name: str) -> Callable[[ShardTable], npt.NDArray[Any]]:
    return lambda table: table._shard.table[name]


def _flag(array: str, flag: int) -> Callable[[ShardTable], BoolArray]:
    return lambda table: table._has(array, flag)


def _side(number: int) -> Callable[[ShardTable], FloatArray]:
    return lambda table: table._box(number)


_OF_IMAGES: dict[str, Callable[[ShardTable], npt.NDArray[Any]]] = {
    "id": _array("image/id"),
    "width": lambda table: table._shard.table["image/size"][:, 1],
    "height": lambda table: table._shard.table["image/size"][:, 0],
    "objects": ShardTable._objects,
    "has_instances": _flag("image/flags", layout.INSTANCES_ANNOTATED),
    "has_semantic": _flag("image/flags", layout.SEMANTIC_ANNOTATED),
    "bytes": _array("image/length"),
    "problem": ShardTable._problem,
}
_OF_OBJECTS: dict[str, Callable[[ShardTable], npt.NDArray[Any]]] = {
    "isthing": lambda table: table._of_category("isthing"),
    "ignore": lambda table: table._of_category("ignore"),
    "id": _array("instance/id"),
    "area": ShardTable._area,
    "pixels": lambda table: table._pixels,
    **{name: _side(number) for number, name in enumerate(("x", "y", "width", "height"))},
    "iscrowd": _flag("instance/flags", layout.IS_CROWD),
    "difficult": _flag("instance/flags", layout.IS_DIFFICULT),
    "truncated": _flag("instance/flags", layout.IS_TRUNCATED),
    "occluded": _flag("instance/flags", layout.IS_OCCLUDED),
    "has_mask": _flag("instance/flags", layout.HAS_MASK),
    "score": ShardTable._score,
}
"""Numbers and flags of images and of objects; those with texts are in `ShardTable.texts` and `among`."""
