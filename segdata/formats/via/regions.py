"""VIA's regions: checked, drawn, and what their attributes say.

    rect       x y width height
    polygon    all_points_x all_points_y, three or more
    circle     cx cy r
    ellipse    cx cy rx ry, theta in radians, clockwise
    polyline, point      no area

Coordinates are pixels of the picture as browsers show it, x right, y down.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.errors import InvalidAnnotation
from segdata.formats.shapes import drawing
from segdata.formats.shapes.drawing import FARTHEST, Shape

WITH_AREA = ("rect", "polygon", "circle", "ellipse")
WITHOUT_AREA = ("polyline", "point", "line")
CLASS = "class"
"""The attribute that segdata writes."""


def check(region: Any) -> None:
    """Raise what is wrong with a region's form.

    Raises:
        InvalidAnnotation: no object with both kinds of attributes, or an unknown shape.
    """
    if not isinstance(region, dict) or not all(
        isinstance(region.get(name), dict) for name in ("shape_attributes", "region_attributes")
    ):
        raise InvalidAnnotation("a region has no shape_attributes and region_attributes", why=f"found {region!r}"[:200])
    kind = kind_of(region)
    if kind not in (*WITH_AREA, *WITHOUT_AREA):
        raise InvalidAnnotation(
            "a region is of a shape that is not known",
            why=f"found {kind!r}; known are {', '.join((*WITH_AREA, *WITHOUT_AREA))}"[:200],
            fix="draw it as one of these, or remove it",
        )


def kind_of(region: Mapping[str, Any]) -> Any:
    """The name of a region's shape."""
    return region["shape_attributes"].get("name")


def draw(region: Mapping[str, Any], height: int, width: int) -> Shape | None:
    """A checked region; None where it has no area.

    Raises:
        InvalidAnnotation: numbers that are none, or lists of points that do not fit.
    """
    shape, kind = region["shape_attributes"], kind_of(region)
    if kind in WITHOUT_AREA:
        return None
    if kind == "polygon":
        x, y = (_numbers(shape, name) for name in ("all_points_x", "all_points_y"))
        if len(x) != len(y):
            why = f"{len(x)} x and {len(y)} y"
            raise InvalidAnnotation("a polygon has other numbers of x and y", why=why, fix="draw it again")
        return drawing.polygon(list(zip(x, y, strict=True)), height, width)
    if kind == "rect":
        x0, y0, columns, rows = (_number(shape, name) for name in ("x", "y", "width", "height"))
        if min(columns, rows) < 0:
            raise InvalidAnnotation("a rect ends before it begins", why=f"{columns} × {rows}", fix="draw it again")
        return drawing.rectangle(x0, y0, x0 + columns, y0 + rows)
    centre = _number(shape, "cx"), _number(shape, "cy")
    radii = (_number(shape, "r"),) * 2 if kind == "circle" else (_number(shape, "rx"), _number(shape, "ry"))
    degrees = math.degrees(_number({"theta": 0, **shape}, "theta"))
    return drawing.ellipse(centre, (abs(radii[0]), abs(radii[1])), height, width, degrees=degrees)


def _number(shape: Mapping[str, Any], name: str) -> float:
    return _checked(shape.get(name), name)


def _numbers(shape: Mapping[str, Any], name: str) -> list[float]:
    values = shape.get(name)
    if not isinstance(values, list):
        raise InvalidAnnotation(f"{name} is no list", why=f"found {values!r}"[:200], fix="draw it again")
    return [_checked(value, name) for value in values]


def _checked(value: Any, name: str) -> float:
    if type(value) not in (int, float) or not abs(value) <= FARTHEST:
        raise InvalidAnnotation(f"{name} is no number of pixels", why=f"found {value!r}"[:200], fix="draw it again")
    return float(value)


def points_of(ring: npt.NDArray[np.float64]) -> dict[str, list[float]]:
    """The points (K, 2) of a polygon as VIA's two lists; whole numbers without a point."""
    x, y = ([int(value) if value == int(value) else value for value in column] for column in ring.T.tolist())
    return {"all_points_x": x, "all_points_y": y}


# ---------------------------------------------------------------------- classes


def value_of(attributes: Mapping[str, Any], name: str) -> str | None:
    """What an attribute says: a text, a number as text, or the one box that is checked; None where that is nothing."""
    value = attributes.get(name)
    if isinstance(value, dict):
        checked = [key for key, is_checked in value.items() if is_checked is True]
        return checked[0] if len(checked) == 1 else None
    return (value or None) if isinstance(value, str) else str(value) if type(value) in (int, float) else None


def class_attribute(attributes: Sequence[Mapping[str, Any]], declared: Iterable[str] | None) -> str:
    """Which attribute of regions is their class; "" where there is none.

    It is the only one; else the one with none but declared values, the one called `class`, the first where all say the
    same, or the only one that every region has.

    Args:
        attributes: of all regions.

    Raises:
        InvalidAnnotation: there are several, and they say different things.
    """
    names = list(dict.fromkeys(name for item in attributes for name in item if value_of(item, name) is not None))
    if declared is not None and len(names) > 1:
        known = set(declared)
        fitting = [n for n in names if {v for item in attributes if (v := value_of(item, n)) is not None} <= known]
        names = fitting or names
    if CLASS in names:
        return CLASS
    if len(names) < 2 or all(len({value_of(item, name) for name in names}) == 1 for item in attributes):
        return names[0] if names else ""
    complete = [name for name in names if all(value_of(item, name) is not None for item in attributes)]
    if len(complete) == 1:
        return complete[0]
    first = {name: sorted({v for item in attributes if (v := value_of(item, name)) is not None})[:3] for name in names}
    raise InvalidAnnotation(
        "regions have several attributes, and nothing says which is their class",
        why="; ".join(f"{name}: {', '.join(values)}" for name, values in first.items())[:300],
        fix="name the values of the one that is: --classes a,b,c",
    )
