"""Labelme's shapes: checked, drawn, and written.

    polygon     three or more points
    rectangle   two opposite corners; X-AnyLabeling writes four, and "rotation" for turned ones
    circle      its centre and a point on it
    mask        base64 of a PNG; points are its first and its last pixel, both inside
    line, linestrip, point      no area

Coordinates are pixels of the upright picture (EXIF applied), x right, y down, from the corner of the first pixel.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from segdata.core import png
from segdata.errors import InvalidAnnotation, SegdataError
from segdata.formats.shapes import drawing
from segdata.formats.shapes.drawing import FARTHEST, Shape

WITHOUT_AREA = ("line", "linestrip", "point")
WITH_AREA = ("polygon", "rectangle", "circle", "mask", "rotation")
IGNORE, BACKGROUND = "__ignore__", "_background_"

_COUNTS = {"circle": (2,), "mask": (2,), "rectangle": (2, 4), "rotation": (4,), "line": (2,), "point": (1,)}
"""Points that a shape has."""


def kind_of(record: Mapping[str, Any]) -> str:
    """A shape's type; a polygon where it says none."""
    return record.get("shape_type") or "polygon"


def check(record: Any) -> None:
    """Raise what is wrong with a shape, as far as it does not need the image.

    Raises:
        InvalidAnnotation: no object, an unknown type, fields of other types, or points that are none.
    """
    if not isinstance(record, dict):
        raise InvalidAnnotation("a shape is no object", why=f"found {record!r}"[:200])
    kind = kind_of(record)
    if not isinstance(kind, str) or kind not in (*WITH_AREA, *WITHOUT_AREA):
        raise InvalidAnnotation(
            "a shape is of a type that is not known",
            why=f"found {kind!r}; known are {', '.join((*WITH_AREA, *WITHOUT_AREA))}"[:200],
            fix="draw it as one of these types, or remove it",
        )
    if not isinstance(record.get("label"), str):
        raise InvalidAnnotation("a shape has no label", why=f"found {record.get('label')!r}"[:200], fix="name it")
    group = record.get("group_id")
    if group is not None and type(group) not in (int, str):
        raise InvalidAnnotation("a group_id is no number", why=f"found {group!r}"[:200], fix="write a number, or null")
    _check_points(record, kind)


def _check_points(record: Mapping[str, Any], kind: str) -> None:
    points = record.get("points")
    if not isinstance(points, list) or not all(
        isinstance(point, list) and len(point) == 2 and all(type(value) in (int, float) for value in point)
        for point in points
    ):
        raise InvalidAnnotation(
            "the points of a shape are no list of [x, y]", why=f"found {points!r}"[:200], fix="draw it again"
        )
    counts = _COUNTS.get(kind)
    if counts is not None and len(points) not in counts:
        raise InvalidAnnotation(
            f"a {kind} has another number of points",
            why=f"expected {' or '.join(map(str, counts))}, found {len(points)}",
            fix="draw it again, or remove it",
        )
    farthest = max((abs(value) for point in points for value in point), default=0)
    if farthest > FARTHEST:
        raise InvalidAnnotation(
            "a shape has coordinates beyond any image", why=f"up to {farthest!r}"[:200], fix="draw it again"
        )


def draw(record: Mapping[str, Any], height: int, width: int) -> Shape | None:
    """A checked shape of the upright picture; None where it has no area.

    Raises:
        InvalidAnnotation: a polygon of two points, a mask of another size or past the image.
    """
    kind, points = kind_of(record), record["points"]
    if kind in WITHOUT_AREA:
        return None
    if kind == "mask":
        return _mask(record, height, width)
    if kind == "circle":
        (cx, cy), (x, y) = points
        radius = math.hypot(x - cx, y - cy)
        return drawing.ellipse((cx, cy), (radius, radius), height, width)
    if kind == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points
        return drawing.rectangle(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    return drawing.polygon(points, height, width)


def _mask(record: Mapping[str, Any], height: int, width: int) -> Shape:
    (x0, y0), (x1, y1) = ([int(value) for value in point] for point in record["points"])
    size = y1 - y0 + 1, x1 - x0 + 1
    try:
        data = base64.b64decode(record["mask"], validate=True)
    except (KeyError, TypeError, binascii.Error, ValueError) as error:
        raise InvalidAnnotation(
            "the mask of a shape is not base64", why=f"{type(error).__name__}: {error}"[:200], fix="draw it again"
        ) from error
    try:
        values = png.read_labels(data, max_pixels=max(height * width, 1)).values
    except SegdataError as error:
        raise InvalidAnnotation("the mask of a shape is no PNG", why=error.why or error.message) from error
    values = values if values.ndim == 2 else values[:, :, :3].max(axis=2)
    if values.shape != size:
        raise InvalidAnnotation(
            "the mask of a shape is of another size than its points say",
            why=f"the PNG is {values.shape[1]} × {values.shape[0]}, from the first to the last pixel it is "
            f"{size[1]} × {size[0]} (width × height)",
            fix="draw it again",
        )
    return drawing.mask(values, (x0, y0), height, width)


# ---------------------------------------------------------------------- written


def record_of(shape: Shape) -> dict[str, Any]:
    """Points, type and mask of a shape of the upright picture: of a polygon, or of a mask with a pixel at least."""
    if shape.crop is None:
        return {"points": shape.ring.reshape(-1, 2).tolist(), "group_id": None, "shape_type": "polygon", "flags": {}}
    x, y = shape.corner
    height, width = shape.crop.shape
    data = png.encode_png(np.ascontiguousarray(shape.crop).astype(np.uint8), mode="1")
    return {
        "points": [[float(x), float(y)], [float(x + width - 1), float(y + height - 1)]],
        "group_id": None,
        "shape_type": "mask",
        "flags": {},
        "mask": base64.b64encode(data).decode(),
    }
