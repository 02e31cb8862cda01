"""Names of a network's classes, for weights that carry none, as the user gives them.

A network counts its classes from 0, the background. Names fit where there is one for every class after it, or where their
ids are the numbers of the classes, with gaps, as torchvision's networks have COCO's. Nothing else is taken for an order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from segdata.catalog import manifest
from segdata.core.labels import Category, LabelSpace, is_background
from segdata.errors import SegdataError, UsageError
from segdata.formats.shared import label_tables
from segdata.torch import object_categories

Names = str | Path | Sequence[str] | LabelSpace
"""Names with commas between them or as a list, a table of labels (as `segdata convert --classes` reads it, also a COCO
document), the name of a published label space, or a label space."""


class Named(NamedTuple):
    """Categories of a network's classes.

    Attributes:
        labels: the categories.
        categories: (C,) int64 the category of each class from 1 on, −1 for none.
        remarks: what a user may want to know of the names.
    """

    labels: LabelSpace
    categories: npt.NDArray[np.int64]
    remarks: tuple[str, ...] = ()


def numbered(count: int) -> Named:
    """class_1, class_2 … for `count` classes that nothing names, and a remark that says how to name them."""
    labels = LabelSpace("unnamed", tuple(Category(f"class_{number}", number) for number in range(1, count + 1)))
    names = "class_1" if count == 1 else f"class_1 … class_{count}"
    remark = (
        f"the weights do not name their classes, taken as {names}; --labels NAME,NAME,… or --labels FILE names them"
    )
    return Named(labels, np.arange(count), (remark,))


def fitted(names: Names, count: int, source: str) -> Named:
    """Names for the classes of a network.

    Args:
        count: of the network's classes, without the background.
        source: the weights, for messages.

    Raises:
        UsageError: they do not fit.
        NotThere: there is no such file.
        InvalidAnnotation: a file that is no table of labels, or a name twice.
    """
    space = _read(names)
    remarks: tuple[str, ...] = ()
    for order in _orders(space, is_in_order=isinstance(names, LabelSpace)):
        rows = [space[index] for index in order]
        ids = [row.id for row in rows]
        if len(rows) == count:
            positions = list(range(count))
        elif ids and min(ids) >= 1 and max(ids) == count:
            positions = [number - 1 for number in ids]
        else:
            continue
        if order != sorted(order):
            remarks = ("names of classes are taken in the order of their ids; --labels NAME,NAME,… says another order",)
        categories = np.full(count, -1, np.int64)
        categories[positions] = np.arange(len(rows))
        return Named(LabelSpace(space.name, tuple(rows)), categories, remarks)
    has_background = any(is_background(category.name) for category in space.categories)
    raise UsageError(
        "the names do not fit the network's classes",
        file=source,
        why=f"{len(space) - has_background} names{' and a background' if has_background else ''}; "
        f"the network has {count} classes and the background",
        fix="--labels with a name for each class, in the network's order; a background comes first or not at all",
    )


def _orders(space: LabelSpace, *, is_in_order: bool) -> Iterator[list[int]]:
    """The rows that may be the network's classes, in order: all of them, or those that objects can have.

    Args:
        is_in_order: whether the rows are in the network's order, whatever their ids are.
    """
    rows = list(range(len(space)))
    if not is_in_order:
        rows.sort(key=lambda index: space[index].id)
    if rows and is_background(space[rows[0]].name):
        del rows[0]
    objects = set(object_categories(space))
    if not any(is_background(space[index].name) for index in rows):
        yield rows
    elif not is_in_order:
        return  # a background elsewhere speaks of another order than the network's
    yield [index for index in rows if index in objects]


def _read(names: Names) -> LabelSpace:
    """The names as a label space; ids of names alone are the numbers of their classes."""
    if isinstance(names, LabelSpace):
        return names
    try:
        if isinstance(names, str) and names in manifest.spaces() and not Path(names).is_file():
            return manifest.label_space(names)
        given = label_tables.given(names)
        if isinstance(given, Path):
            return label_tables.from_file(given)
        space = label_tables.from_names(given)
    except SegdataError as error:
        error.fix = error.fix and error.fix.replace("--classes", "--labels")
        raise
    first = 0 if is_background(space[0].name) else 1
    return LabelSpace(space.name, tuple(replace(row, id=row.id + first) for row in space.categories))
