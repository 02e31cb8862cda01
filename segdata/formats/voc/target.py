"""The categories of datasets that are written with VOC's numbers: 0 is the background, 255 void."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from segdata.catalog import manifest
from segdata.core.labels import Category, LabelSpace
from segdata.errors import UsageError
from segdata.formats.adapting import plain_names
from segdata.formats.shared.palettes import PALETTE

MOST = 254
"""Highest object and category number of an 8-bit mask whose 255 is void."""


def label_space(source: LabelSpace) -> tuple[LabelSpace, npt.NDArray[np.int64]]:
    """VOC's 21 categories where they include all of the source's, else the source's after a background; and `Plan.table`.

    Raises:
        UsageError: more categories than masks hold.
    """
    official = manifest.label_space("voc")
    names = [category.name for category in source.categories]
    if source.background is not None and "background" not in names:
        names[source.background] = "background"
    names = plain_names(names, without=":#")
    if set(names) <= set(official.index_of_name):
        labels = official
    else:
        others = [item for item in zip(names, source.categories, strict=True) if item[0] != "background"]
        if len(others) > MOST:
            raise UsageError(
                f"VOC's masks hold {MOST} categories",
                why=f"{source.name!r} has {len(others)}",
                fix="map to fewer categories with --labels",
            )
        rows = ["background", *(name for name, _ in others)]
        things = [None, *(category.isthing for _, category in others)]
        labels = LabelSpace(
            "custom",
            tuple(
                Category(name, index, _color(index), isthing=isthing)
                for index, (name, isthing) in enumerate(zip(rows, things, strict=True))
            ),
        )
    return labels, np.array([*(labels.index_of_name[name] for name in names), -1], np.int64)


def _color(index: int) -> tuple[int, int, int]:
    return PALETTE[3 * index], PALETTE[3 * index + 1], PALETTE[3 * index + 2]


def labelmap(labels: LabelSpace) -> str:
    """The text of `labelmap.txt`."""
    return "".join(f"{line}\n" for line in ["# label:color_rgb:parts:actions", *map(_row, labels.categories)])


def _row(category: Category) -> str:
    color = category.color or (0, 0, 0)
    return f"{category.name}:{color[0]},{color[1]},{color[2]}::"
