"""Categories, label spaces (ordered categories) and mappings between them.

Inside segdata a category is its index `0 … K−1` in a `LabelSpace`; the source's own id is data of the `Category`.
Void (unlabelled pixels) is a value outside the categories, never one of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from segdata.core.reprs import counted, first, line
from segdata.errors import InvalidInput, LabelMismatch, NotThere

Byte = Annotated[int, Meta(ge=0, le=255)]
Color = tuple[Byte, Byte, Byte]


@dataclass(frozen=True)
class Category:
    """One category of a label space.

    Attributes:
        name: the source's own name, unchanged.
        id: the source's own number (COCO leaves gaps, Cityscapes has −1).
        color: RGB, 0..255, or None where the source gives none.
        isthing: True for countable objects, False for stuff, None where the source does not say.
        supercategory: the source's group of categories, or None.
        ignore: left out of training and evaluation views (Cityscapes' "static", CamVid's "Void").
    """

    name: str
    id: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    color: Color | None = None
    isthing: bool | None = None
    supercategory: str | None = None
    ignore: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The category as JSON holds it; what is unknown is left out."""
        document: dict[str, Any] = {"name": self.name, "id": self.id}
        if self.color is not None:
            document["color"] = list(self.color)
        if self.isthing is not None:
            document["isthing"] = self.isthing
        if self.supercategory is not None:
            document["supercategory"] = self.supercategory
        if self.ignore:
            document["ignore"] = True
        return document


@dataclass(frozen=True)
class LabelSpace:
    """Ordered categories; the position of a category is its index everywhere in segdata.

    Names and ids must each be unique. `name` says which published table this is ("coco", "camvid-32").

    Raises:
        InvalidInput: a name or id twice, or more than 65,535 categories.
    """

    name: str
    categories: tuple[Category, ...]

    def __post_init__(self) -> None:
        for kind in ("name", "id"):
            seen: dict[object, int] = {}
            for index, category in enumerate(self.categories):
                value = getattr(category, kind)
                if value in seen:
                    raise InvalidInput(
                        f"label space {self.name!r} has the {kind} {value!r} twice",
                        place=f"categories {seen[value]} and {index}",
                        fix=f"give every category a {kind} of its own",
                    )
                seen[value] = index
        if len(self.categories) > 65535:
            raise InvalidInput(f"label space {self.name!r} has {len(self.categories)} categories; at most 65,535 fit")

    def __len__(self) -> int:
        return len(self.categories)

    def __repr__(self) -> str:
        names = first([category.name for category in self.categories])
        return line(self, repr(self.name), counted(len(self), "category") + (f": {names}" if names else ""))

    def __getitem__(self, index: int) -> Category:
        return self.categories[index]

    @cached_property
    def background(self) -> int | None:
        """Index of the background, by its name; None where no category is it."""
        return next((index for index, item in enumerate(self.categories) if is_background(item.name)), None)

    @property
    def void(self) -> int:
        """The value of unlabelled pixels in semantic maps: 255, or 65535 when there are more than 255 categories."""
        return 255 if len(self.categories) <= 255 else 65535

    @property
    def dtype(self) -> np.dtype[Any]:
        """dtype of this space's semantic maps: uint8, or uint16 when there are more than 255 categories."""
        return np.dtype(np.uint8 if len(self.categories) <= 255 else np.uint16)

    @cached_property
    def index_of_id(self) -> dict[int, int]:
        """Source id → index."""
        return {category.id: index for index, category in enumerate(self.categories)}

    @cached_property
    def index_of_name(self) -> dict[str, int]:
        """Name → index."""
        return {category.name: index for index, category in enumerate(self.categories)}

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of names, ids, flags and colours in order; equal for equal categories, whatever `name` is."""
        text = json.dumps([category.as_dict() for category in self.categories], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """The space as JSON holds it."""
        return {"name": self.name, "categories": [category.as_dict() for category in self.categories]}

    @classmethod
    def of(cls, categories: Iterable[str | Category], name: str = "own") -> LabelSpace:
        """From names and `Category` objects, in the order of their indices.

        The ids of names count from 1, as in COCO's files, or from 0 where the first is the background.

        Raises:
            InvalidInput: not a list, or something in it that is no name; see `LabelSpace`, too.
        """
        is_list = not isinstance(categories, (str, bytes, Mapping))
        categories = list(categories)
        wrong = [item for item in categories if not isinstance(item, Category) and not (isinstance(item, str) and item)]
        if wrong or not is_list:
            raise InvalidInput(
                "labels are no list of names",
                why="found a text or a mapping" if not is_list else f"found {wrong[0]!r}",
                fix='give names in the order of their indices, as ["cat", "dog"], or Category objects',
            )
        first = categories[0] if categories else ""
        begin = 0 if is_background(first if isinstance(first, str) else first.name) else 1
        return cls(
            name,
            tuple(
                item if isinstance(item, Category) else Category(item, index)
                for index, item in enumerate(categories, begin)
            ),
        )

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> LabelSpace:
        """The inverse of `as_dict`.

        Raises:
            InvalidInput: of another shape; the place is named. Or see `LabelSpace`.
        """
        try:
            return msgspec.convert(document, cls)
        except (msgspec.ValidationError, UnicodeEncodeError) as error:
            if isinstance(error.__cause__, InvalidInput):
                raise error.__cause__ from None
            why, _, place = str(error).partition(" - at ")
            raise InvalidInput("this is no label space", place=place or None, why=why) from error

    def table_from_ids(self, size: int) -> np.ndarray:
        """Lookup table (size,) int32: source id 0 … size − 1 → index, −1 where no category has that id."""
        table = np.full(size, -1, np.int32)
        for category_id, index in self.index_of_id.items():
            if 0 <= category_id < size:
                table[category_id] = index
        return table

    def require_equal(self, other: LabelSpace, what: str) -> None:
        """Compare with another space.

        Raises:
            LabelMismatch: they differ; it shows the first differences.
        """
        if self.digest == other.digest:
            return
        differences = [
            f"{index}: {_difference(mine, theirs)}"
            for index, (mine, theirs) in enumerate(_pairs(self.categories, other.categories))
            if mine != theirs
        ]
        raise LabelMismatch(
            f"{what}: label spaces {self.name!r} and {other.name!r} differ",
            why="; ".join(differences[:5]) + (" …" if len(differences) > 5 else ""),
        )


@dataclass(frozen=True)
class LabelMapping:
    """A mapping from one label space to another, as a table of category indices.

    `table[i]` is the target index of source index i, or None where the category becomes void (in semantic maps) or
    is left out (instances).
    """

    target: LabelSpace
    table: tuple[int | None, ...]

    def __repr__(self) -> str:
        kept = sum(index is not None for index in self.table)
        return line(self, f"{kept} of {counted(len(self.table), 'category')}", f"to {self.target!r}")

    @cached_property
    def indices(self) -> npt.NDArray[np.int64]:
        """(K,) int64, `table` with −1 for None."""
        return np.array([-1 if index is None else index for index in self.table], np.int64)

    def lookup(self, source: LabelSpace) -> np.ndarray:
        """Lookup table (void + 1,) over all values of `source`'s semantic maps; dtype of the target's maps."""
        table = np.full(source.void + 1, self.target.void, self.target.dtype)
        for index, to in enumerate(self.table):
            if to is not None:
                table[index] = to
        return table

    @classmethod
    def from_names(cls, source: LabelSpace, target: LabelSpace, sources: Sequence[Sequence[str]]) -> LabelMapping:
        """From names: `sources[i]` lists the source categories that become target category i.

        Raises:
            NotThere: `source` has no category of that name.
        """
        table: list[int | None] = [None] * len(source)
        for index, names in enumerate(sources):
            for name in names:
                if name not in source.index_of_name:
                    raise NotThere(
                        f"label space {source.name!r} has no category {name!r}, which {target.name!r} maps from"
                    )
                table[source.index_of_name[name]] = index
        return cls(target, tuple(table))


def is_background(name: str) -> bool:
    """Whether a category is the background by its name, as VOC, CVAT and torchvision write it."""
    return name.strip("_ ").lower() in ("background", "bg")


def look_up(table: npt.NDArray[Any], values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`table[values]` for a lookup table (L,) and a map (H, W); several times as fast where both are uint8.

    Returns:
        (H, W) of the table's dtype; `values` itself where the table changes nothing.
    """
    if table.dtype == values.dtype == np.uint8 and len(table) == 256:
        if np.array_equal(table, np.arange(256)):
            return values
        return np.frombuffer(values.tobytes().translate(table.tobytes()), np.uint8).reshape(values.shape)
    mapped: npt.NDArray[Any] = table[values]
    return mapped


def _pairs(mine: tuple[Category, ...], theirs: tuple[Category, ...]) -> list[tuple[Category | None, Category | None]]:
    length = max(len(mine), len(theirs))
    return [(mine[i] if i < len(mine) else None, theirs[i] if i < len(theirs) else None) for i in range(length)]


def _difference(mine: Category | None, theirs: Category | None) -> str:
    """How two categories differ, in words: by name and id, or by whatever else is said of them."""
    if mine is None or theirs is None or (mine.name, mine.id) != (theirs.name, theirs.id):
        return f"{_short(mine)} ≠ {_short(theirs)}"
    names = [field.name for field in fields(Category) if getattr(mine, field.name) != getattr(theirs, field.name)]
    values = [f"{name} {getattr(mine, name)!r} ≠ {getattr(theirs, name)!r}" for name in names]
    return f"{mine.name!r} has {', '.join(values)}"


def _short(category: Category | None) -> str:
    return "nothing" if category is None else f"{category.name!r} (id {category.id})"
