"""A table of labels beside a dataset, as its file says it; what it leaves out is a published label space's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from segdata.catalog import manifest
from segdata.core.labels import Category, Color, LabelSpace


class Row(NamedTuple):
    """A row of a table: the value of its pixels, its name and its colour, None where the table has none."""

    value: int
    name: str
    color: Color | None


@dataclass(frozen=True)
class Table:
    """A table of labels as a file says it.

    Attributes:
        file: its path under the folder that it was looked for in.
        rows: in the file's order.
        content: the file's bytes.
        others: further tables beside it, which say the same.
        categories: the rows with whatever else the file says of them.
    """

    file: str
    rows: tuple[Row, ...]
    content: bytes = b""
    others: tuple[str, ...] = ()
    categories: tuple[Category, ...] = ()

    @property
    def has_colors(self) -> bool:
        """Whether every row has a colour."""
        return all(row.color is not None for row in self.rows)

    def is_part_of(self, official: LabelSpace) -> bool:
        """Whether every name is one of a published table's, with its colour where the row has one."""
        known = {category.name: category.color for category in official.categories}
        return all(row.name in known and row.color in (None, known[row.name]) for row in self.rows)

    def label_space(self, official: LabelSpace | None = None) -> LabelSpace:
        """The table's categories; values are their ids.

        Args:
            official: a published space that says the rest where this table is a part of it or has all of its names.
                Without it every published space is asked that has no name that this table lacks.

        Raises:
            InvalidInput: a name or value twice.
        """
        names = {row.name for row in self.rows}
        spaces = [manifest.label_space(name) for name in manifest.spaces()] if official is None else [official]
        whole = next((space for space in spaces if set(space.index_of_name) <= names), None)
        base = official if whole is None and official is not None and self.is_part_of(official) else whole
        categories = tuple(category if base is None else _completed(category, base) for category in self.categories)
        return LabelSpace("custom" if whole is None else whole.name, categories)


def _completed(category: Category, official: LabelSpace) -> Category:
    """A category with what its file does not say from the published category of its name."""
    known = official.index_of_name.get(category.name)
    if known is None:
        return category
    row = official[known]
    return replace(
        category,
        color=row.color if category.color is None else category.color,
        isthing=row.isthing if category.isthing is None else category.isthing,
        ignore=row.ignore or category.ignore,
    )
