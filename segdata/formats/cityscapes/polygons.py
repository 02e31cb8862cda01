"""Cityscapes' polygon documents: checked, kept whole, and drawn where there are no label files.

They are drawn as the official scripts draw them (json2labelImg, json2instanceImg): in their order, so later objects hide
earlier ones; deleted ones and labels with a negative id are left out; LABELgroup is LABEL without a number of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.findings import Findings
from segdata.core.images import MAX_SIDE, require_size
from segdata.core.labels import LabelSpace
from segdata.errors import InvalidAnnotation, SegdataError
from segdata.formats.shared import json_text

_PER_CATEGORY = 1000
_FARTHEST = 1 << 24
"""Of coordinates that are drawn, in pixels."""


def read(path: Path, labels: LabelSpace, key: str, findings: Findings, *, is_drawn: bool) -> dict[str, Any]:
    """A polygon document, checked.

    Args:
        is_drawn: whether the frame has no other labels, so that every label must be known.

    Raises:
        InvalidAnnotation: not a document of Cityscapes, or a label that is not known and would be drawn.
    """
    document: dict[str, Any] = json_text.decode(json_text.map_file(path), dict[str, Any], path)
    missing = [name for name in ("imgHeight", "imgWidth", "objects") if name not in document]
    sizes = [document.get(name) for name in ("imgHeight", "imgWidth")]
    if missing or not isinstance(document["objects"], list) or not all(map(_is_side, sizes)):
        raise InvalidAnnotation(
            "polygon document is not valid",
            file=path,
            key=key,
            why=f"it has no {', '.join(missing) or 'list of objects with a size in whole numbers'}",
            fix="restore the file, or remove it: label files are read without it",
        )
    if is_drawn:
        try:
            require_size(document["imgHeight"], document["imgWidth"])
        except SegdataError as failure:
            raise failure.located(file=path, key=key) from failure
    for number, item in enumerate(document["objects"]):
        where = f"$.objects[{number}]"
        label = item.get("label") if isinstance(item, dict) else None
        if not isinstance(label, str) or not is_known(label, labels):
            error = InvalidAnnotation(
                "a polygon has a label that the label space does not have",
                file=path,
                key=key,
                place=where,
                why=f"label {label!r}; {labels.name!r} has {len(labels)} others",
                fix="correct the label, or name the categories with --classes FILE|NAMES|from-data",
            )
            if not isinstance(label, str) or is_drawn:
                raise error
            findings.correct(f"polygon of a label beyond the label space: kept, not drawn {label!r}", key, error)
        points = item.get("polygon")
        try:
            _check(points, is_drawn=is_drawn)
        except InvalidAnnotation as failure:
            raise failure.located(file=path, key=key, place=where) from failure
        if not points:
            findings.remark("empty polygon: kept in the document", f"{key}: {where}")
        if item.get("deleted"):
            findings.remark("deleted polygon: kept in the document", f"{key}: {where}")
    return document


def _is_side(value: Any) -> bool:
    return type(value) is int and 0 < value <= MAX_SIDE


def _check(points: Any, *, is_drawn: bool) -> None:
    """Raise what is wrong with a polygon."""
    if not isinstance(points, list) or not all(
        isinstance(point, list) and len(point) == 2 and all(type(v) in (int, float) for v in point) for point in points
    ):
        raise InvalidAnnotation(
            "a polygon is not a list of points", why=f"found {points!r}"[:200], fix="give [[x, y], …]"
        )
    farthest = max((abs(value) for point in points for value in point), default=0)
    if is_drawn and farthest > _FARTHEST:
        raise InvalidAnnotation(
            "a polygon has coordinates beyond any image", why=f"up to {farthest!r}"[:200], fix="correct the polygon"
        )


def is_known(label: str, labels: LabelSpace) -> bool:
    """Whether a label, or the label that a group is of, is a category."""
    return label in labels.index_of_name or _of_group(label) in labels.index_of_name


def _of_group(label: str) -> str:
    return label.removesuffix("group")


def names_in(path: Path) -> Iterator[str]:
    """The labels of a document's polygons, as far as it can be read."""
    document = json_text.decode(json_text.map_file(path), dict[str, Any], path)
    objects = document.get("objects")
    for item in objects if isinstance(objects, list) else ():
        if isinstance(item, dict) and isinstance(item.get("label"), str):
            yield item["label"]


def draw(
    document: Mapping[str, Any], labels: LabelSpace, background: int
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    """(H, W) uint16 label ids and instance ids (id, or id · 1000 + n) of a document; `background` where nothing is."""
    from PIL import Image, ImageDraw

    size = (document["imgWidth"], document["imgHeight"])
    canvases = [Image.new("I", size, background) for _ in range(2)]
    pens = [ImageDraw.Draw(canvas) for canvas in canvases]
    counts: dict[str, int] = {}
    for item in document["objects"]:
        if item.get("deleted"):
            continue
        name = item["label"]
        is_group = name not in labels.index_of_name
        name = _of_group(name) if is_group else name
        category = labels[labels.index_of_name[name]]
        number = category.id
        if category.isthing and not is_group and number >= 0:
            number = number * _PER_CATEGORY + counts.get(name, 0)
            counts[name] = counts.get(name, 0) + 1
        points = [(x, y) for x, y in item["polygon"]]
        if category.id < 0 or len(points) < 2:
            continue
        for pen, value in zip(pens, (category.id, number), strict=True):
            pen.polygon(points, fill=value)
    ids, numbers = (np.asarray(canvas).astype(np.uint16) for canvas in canvases)
    return ids, numbers
