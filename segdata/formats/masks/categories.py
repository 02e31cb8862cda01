"""The one category of the objects: what was declared, what a table beside the masks says, or "object"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segdata.catalog.label_table import Table
from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace
from segdata.errors import InvalidAnnotation

OBJECT = "object"
_NO_OBJECTS = ("background", "bg", "void", "unlabelled", "unlabeled", "ignore", "ignored")


def of_objects(labels: LabelSpace) -> list[int]:
    """Indices of the categories that objects may have: all but background, void and stuff."""
    return [
        index
        for index, category in enumerate(labels.categories)
        if not category.ignore
        and category.isthing is not False
        and category.name.strip(" _").lower() not in _NO_OBJECTS
    ]


def decide(
    root: Path, labels: LabelSpace | None, table: Table | None, folder: str, findings: Findings
) -> tuple[LabelSpace, int]:
    """The label space, and the index of the objects' category.

    Args:
        labels: what the user declared.
        table: what lies beside the masks.
        folder: of the masks.

    Raises:
        InvalidAnnotation: several categories, and nothing says which.
    """
    if labels is None and table is None:
        kind = f"nothing names the objects: their category is {OBJECT!r} (--classes NAME names it)"
        findings.remark(kind, folder)
        return LabelSpace("custom", (Category(OBJECT, 1, isthing=True),)), 0
    path = root if table is None or labels is not None else root / table.file
    space = labels if labels is not None else table.label_space() if table is not None else None
    assert space is not None
    indices = of_objects(space)
    if len(indices) != 1:
        raise _not_one(path, space, indices)
    rows = list(space.categories)
    rows[indices[0]] = replace(rows[indices[0]], isthing=True)
    return LabelSpace(space.name, tuple(rows)), indices[0]


def _not_one(path: Path, labels: LabelSpace, indices: Sequence[int]) -> InvalidAnnotation:
    names = [labels[index].name for index in indices]
    return InvalidAnnotation(
        "masks number objects of one category, and several are named" if names else "no category for the objects",
        file=path,
        why=f"{', '.join(names[:5])}{' …' if len(names) > 5 else ''}: nothing says which object has which"
        if names
        else f"{labels.name!r} has background alone",
        fix="name the one category with --classes NAME; where the values of the masks are classes: put images and "
        "masks into images/ and masks/, and add --from camvid",
    )
