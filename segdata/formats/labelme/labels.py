"""What labels of shapes mean: labels.txt in its order, or the labels that the documents name.

`__ignore__` is no category: its pixels are void. Where `_background_` is one, every image has a label map, as
labelme2voc makes it: shapes in their order over the background.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segdata.core.labels import Category, LabelSpace, is_background
from segdata.errors import InvalidAnnotation, SegdataError
from segdata.formats.labelme.shapes import BACKGROUND, IGNORE

_MOST_BYTES = 8 << 20


def from_table(content: bytes, path: Path) -> LabelSpace:
    """The categories of a labels.txt, whose lines are names as they stand; `__ignore__`, where it is first, is −1.

    Raises:
        InvalidAnnotation: too long, or a name twice.
    """
    if len(content) > _MOST_BYTES:
        raise InvalidAnnotation("list of labels is too long", file=path, why=f"it has {len(content):,} bytes")
    lines = [line.strip() for line in content.decode("utf-8-sig", "replace").splitlines() if line.strip()]
    first = -1 if lines[:1] == [IGNORE] else 0
    try:
        return _space([(name, number) for number, name in enumerate(lines, first) if name != IGNORE])
    except SegdataError as error:
        raise error.located(file=path) from error


def from_names(names: Sequence[str]) -> LabelSpace:
    """The labels that shapes have, from 1; the background is 0 where they speak of one or of ignored regions."""
    others = [name for name in names if name not in (IGNORE, BACKGROUND)]
    rows = [(BACKGROUND, 0)] if len(others) < len(names) else []
    return _space([*rows, *((name, number) for number, name in enumerate(others, 1))])


def with_names(labels: LabelSpace, names: Sequence[str]) -> LabelSpace:
    """The categories, and after them the labels that shapes have beside them."""
    others = [name for name in names if name not in labels.index_of_name and name not in (IGNORE, BACKGROUND)]
    first = max((category.id for category in labels.categories), default=0) + 1
    more = tuple(Category(name, number) for number, name in enumerate(others, first))
    return LabelSpace(labels.name, (*labels.categories, *more))


def _space(rows: Sequence[tuple[str, int]]) -> LabelSpace:
    categories = (Category(name, number, isthing=False if is_background(name) else None) for name, number in rows)
    return LabelSpace("custom", tuple(categories))
