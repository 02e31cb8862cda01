"""The regions of Label Studio's results: checked, drawn, and which label they have.

    polygonlabels      points [[x, y], …]
    rectanglelabels    x y width height; rotation in degrees, clockwise, around x y
    ellipselabels      x y of the centre, radiusX radiusY; rotation in degrees, clockwise, around the centre
    brushlabels        rle, see `brush.py`
    polygon … brush    the same without label, which a result `labels` of the same id has
    anything else      no area: key points, relations, choices, texts

Coordinates are percent of the picture's width and height as shown, x right, y down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.errors import InvalidAnnotation
from segdata.formats.label_studio import brush
from segdata.formats.shapes import drawing
from segdata.formats.shapes.drawing import Shape

SHAPES = ("polygon", "rectangle", "ellipse", "brush")
_LABELS = "labels"
_FARTHEST = 1e6
"""Of coordinates, in percent."""


def kind_of(region: Any) -> str | None:
    """The kind of shape that a result is, one of `SHAPES`; None where it has no area."""
    type = region.get("type") if isinstance(region, dict) else None
    kind = type.removesuffix(_LABELS) if isinstance(type, str) else None
    return kind if kind in SHAPES else None


def labels_by_id(results: Sequence[Any]) -> dict[str, list[str]]:
    """Id of a region → the labels that a result of its own gives it."""
    labels: dict[str, list[str]] = {}
    for item in results:
        if isinstance(item, dict) and item.get("type") == _LABELS and isinstance(item.get("id"), str):
            labels[item["id"]] = own_labels(item)
    return labels


def own_labels(region: Mapping[str, Any]) -> list[str]:
    """The labels in a result itself."""
    value = region.get("value")
    labels = value.get(region["type"]) if isinstance(value, dict) else None
    return [label for label in labels if isinstance(label, str)] if isinstance(labels, list) else []


def check(region: Mapping[str, Any]) -> tuple[int, int]:
    """(height, width) of the picture that a region with area is drawn on.

    Raises:
        InvalidAnnotation: no value, no size, or drawn on a picture that was turned in Label Studio.
    """
    if not isinstance(region.get("value"), dict):
        raise InvalidAnnotation("a region has no value", why=f"found {region.get('value')!r}"[:200], fix=_DRAW)
    height, width = (region.get(f"original_{name}") for name in ("height", "width"))
    if type(height) is not int or type(width) is not int or min(height, width) < 1:
        why = f"original_height and original_width are {height!r} and {width!r}"[:200]
        raise InvalidAnnotation("a region does not say how large its picture is", why=why, fix=_DRAW)
    if region.get("image_rotation") not in (None, 0):
        raise InvalidAnnotation(
            "a region is of a picture that was turned in Label Studio",
            why=f"image_rotation is {region['image_rotation']!r}"[:200],
            fix="turn it back there, and export again",
        )
    return height, width


_DRAW = "draw it again, or remove it"


def draw(region: Mapping[str, Any], kind: str, height: int, width: int) -> Shape:
    """A checked region, in pixels of the picture as shown.

    Raises:
        InvalidAnnotation: numbers that are none, too few points, or a stroke of another picture.
    """
    value = region["value"]
    if kind == "brush":
        alpha = brush.decode(brush.to_bytes(value.get("rle")), height, width)
        rows, columns = np.nonzero(alpha.any(axis=1))[0], np.nonzero(alpha.any(axis=0))[0]
        y0, y1, x0, x1 = (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) if len(rows) else (0, 0, 0, 0)
        return drawing.mask(alpha[y0:y1, x0:x1], (int(x0), int(y0)), height, width)
    if kind == "polygon":
        return drawing.polygon(_points(value.get("points"), height, width), height, width)
    x, y = _number(value, "x") * width / 100, _number(value, "y") * height / 100
    degrees = _number({"rotation": 0, **value}, "rotation")
    names = ("width", "height") if kind == "rectangle" else ("radiusX", "radiusY")
    across, down = _number(value, names[0]) * width / 100, _number(value, names[1]) * height / 100
    if min(across, down) < 0:
        raise InvalidAnnotation(f"a {kind} ends before it begins", why=f"{across} × {down} pixels", fix=_DRAW)
    if kind == "rectangle":
        return drawing.rectangle(x, y, x + across, y + down, degrees=degrees, around=(x, y))
    return drawing.ellipse((x, y), (across, down), height, width, degrees=degrees)


def _points(points: Any, height: int, width: int) -> list[tuple[float, float]]:
    if not isinstance(points, list) or not all(isinstance(point, list) and len(point) == 2 for point in points):
        raise InvalidAnnotation("points are no list of [x, y]", why=f"found {points!r}"[:200], fix=_DRAW)
    return [(_checked(x, "x") * width / 100, _checked(y, "y") * height / 100) for x, y in points]


def _number(value: Mapping[str, Any], name: str) -> float:
    return _checked(value.get(name), name)


def _checked(value: Any, name: str) -> float:
    if type(value) not in (int, float) or not abs(value) <= _FARTHEST:
        raise InvalidAnnotation(f"{name} of a region is no number of percent", why=f"found {value!r}"[:200], fix=_DRAW)
    return float(value)


def percent(values: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
    """Pixels as percent of a size that give these pixels again, where there are any."""
    numbers = values * 100 / size
    for direction in (-math.inf, math.inf):
        nearby = np.nextafter(numbers, direction)
        numbers = np.where((numbers * size / 100 != values) & (nearby * size / 100 == values), nearby, numbers)
    return np.asarray(numbers)


def points_of(ring: npt.NDArray[np.float64], height: int, width: int) -> list[list[float]]:
    """The points (K, 2) of a polygon, in pixels of the picture as shown, in percent."""
    points: list[list[float]] = np.stack([percent(ring[:, 0], width), percent(ring[:, 1], height)], axis=1).tolist()
    return points
