"""CVAT's shapes: checked, drawn, and written.

    box        xtl ytl xbr ybr, rotation       corners; degrees clockwise around the centre
    polygon    points "x,y;x,y;…"
    ellipse    cx cy rx ry, rotation
    mask       rle, left top width height      runs of 0, 1, 0 … row by row of the box
    polyline, points, cuboid, skeleton, tag    no area

Coordinates are pixels of the upright picture (EXIF applied), continuous: a box from 0 to 4 has four pixels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from segdata.errors import InvalidAnnotation
from segdata.formats.shapes import drawing
from segdata.formats.shapes.drawing import FARTHEST, Shape
from segdata.formats.xml import Node

WITH_AREA = ("box", "polygon", "ellipse", "mask")
WITHOUT_AREA = ("polyline", "points", "cuboid", "skeleton", "tag")
PADDED = "mask with fewer pixels than its box: the rest is outside"

_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*", re.ASCII | re.IGNORECASE)
_RUNS = re.compile(r"\s*\d+(\s*,\s*\d+)*\s*,?\s*", re.ASCII)
_LONGEST_RUN = 10


def check(node: Node) -> None:
    """Raise what is wrong with a shape's kind.

    Raises:
        InvalidAnnotation: a kind that is not known, or no label.
    """
    if node.tag not in (*WITH_AREA, *WITHOUT_AREA):
        raise InvalidAnnotation(
            "an image holds a shape of a kind that is not known",
            why=f"found <{node.tag}>; known are {', '.join((*WITH_AREA, *WITHOUT_AREA))}",
            fix="draw it as one of these, or remove it",
        )
    if "label" not in node.attributes:
        raise InvalidAnnotation(f"a {node.tag} has no label", why="expected an attribute label", fix="name it")


def draw(node: Node, height: int, width: int) -> tuple[Shape | None, str]:
    """A shape of the upright picture, None where it has no area; and what is odd about it, "" where nothing is.

    Raises:
        InvalidAnnotation: numbers that are none, runs that do not fit, a mask past the image.
    """
    if node.tag in WITHOUT_AREA:
        return None, ""
    if node.tag == "mask":
        return _mask(node, height, width)
    if node.tag == "polygon":
        return drawing.polygon(_points(node), height, width), ""
    rotation = _number(node, "rotation", "0")
    if node.tag == "box":
        x0, y0, x1, y1 = (_number(node, name) for name in ("xtl", "ytl", "xbr", "ybr"))
        if x1 < x0 or y1 < y0:
            why = f"xtl ytl xbr ybr = {x0} {y0} {x1} {y1}"
            raise InvalidAnnotation("a box ends before it begins", why=why, fix="swap the corners")
        return drawing.rectangle(x0, y0, x1, y1, degrees=rotation), ""
    cx, cy, rx, ry = (_number(node, name) for name in ("cx", "cy", "rx", "ry"))
    return drawing.ellipse((cx, cy), (abs(rx), abs(ry)), height, width, degrees=rotation), ""


def _number(node: Node, name: str, default: str = "") -> float:
    text = node.attributes.get(name, default)
    return _value(text, f"{name} of a {node.tag}")


def _value(text: str, what: str) -> float:
    value = float(text) if len(text) < 64 and _NUMBER.fullmatch(text) else math.nan
    if not abs(value) <= FARTHEST:
        raise InvalidAnnotation(f"{what} is no number of pixels", why=f"found {text[:100]!r}", fix="draw it again")
    return value


def _points(node: Node) -> list[list[float]]:
    text = node.attributes.get("points", "")
    points = [[_value(part, f"points of a {node.tag}") for part in pair.split(",")] for pair in text.split(";")]
    if any(len(point) != 2 for point in points):
        raise InvalidAnnotation(
            f"points of a {node.tag} are no pairs x,y", why=f"found {text[:100]!r}", fix="draw it again"
        )
    return points


# ---------------------------------------------------------------------- masks


def _whole(node: Node, name: str) -> int:
    value = _number(node, name)
    if value != int(value):
        why = f"found {node.attributes[name]!r}"
        raise InvalidAnnotation(f"{name} of a mask is no whole number", why=why, fix="draw it again")
    return int(value)


def _mask(node: Node, height: int, width: int) -> tuple[Shape, str]:
    left, top, columns, rows = (_whole(node, name) for name in ("left", "top", "width", "height"))
    if min(columns, rows) < 1 or min(left, top) < 0 or left + columns > width or top + rows > height:
        raise InvalidAnnotation(
            "a mask reaches past the image",
            why=f"it is {columns} × {rows} at ({left}, {top}); the image is {width} × {height} (width × height)",
            fix="draw it again",
        )
    text = node.attributes.get("rle", "")
    if not _RUNS.fullmatch(text) or max(map(len, text.replace(" ", "").split(","))) > _LONGEST_RUN:
        raise InvalidAnnotation(
            "run lengths of a mask are no whole numbers", why=f"found {text[:100]!r}", fix="draw it again"
        )
    runs = np.array([part for part in text.split(",") if part.strip()], np.int64)
    total = int(runs.sum())
    if total > rows * columns:
        raise InvalidAnnotation(
            "run lengths of a mask are too long",
            why=f"they sum to {total}; width {columns} · height {rows} = {rows * columns}",
            fix="draw it again",
        )
    flat = np.zeros(rows * columns, bool)
    flat[:total] = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    odd = PADDED if total < rows * columns else ""
    return drawing.mask(flat.reshape(rows, columns), (left, top), height, width), odd


def rle_of(crop: npt.NDArray[np.bool_]) -> str:
    """The runs of a mask (h, w), row by row, the first of zeros."""
    flat = np.concatenate(([False], crop.reshape(-1), [not crop.reshape(-1)[-1]]))
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    runs = np.diff(np.concatenate(([0], ends)))
    return ", ".join(map(str, runs.tolist()))


# ---------------------------------------------------------------------- written


def points_text(ring: npt.NDArray[np.float64], *, digits: int | None = None) -> str:
    """Points (K, 2) x y as CVAT writes them, with two digits after the point, or all that they have."""
    pairs = ring.tolist()
    if digits is None:
        return ";".join(f"{x!r},{y!r}" for x, y in pairs)
    return ";".join(f"{x:.{digits}f},{y:.{digits}f}" for x, y in pairs)


def geometry_of(shape: Shape) -> tuple[str, dict[str, str]]:
    """Tag and attributes of a shape of the upright picture: a polygon, or a mask."""
    if shape.crop is None:
        return "polygon", {"points": points_text(shape.ring.reshape(-1, 2))}
    (left, top), (rows, columns) = shape.corner, shape.crop.shape
    numbers = {"left": left, "top": top, "width": columns, "height": rows}
    rle = rle_of(np.ascontiguousarray(shape.crop).astype(bool))
    return "mask", {"rle": rle, **{name: str(value) for name, value in numbers.items()}}


def box_of(corners: Sequence[float]) -> tuple[str, dict[str, str]]:
    """Tag and attributes of a box x0 y0 x1 y1."""
    return "box", {name: repr(value) for name, value in zip(("xtl", "ytl", "xbr", "ybr"), corners, strict=True)}


def group_of(attributes: Mapping[str, str]) -> str:
    """A shape's group; "" where it has none, which CVAT also writes as 0."""
    group = attributes.get("group_id", "").strip()
    return "" if group == "0" else group
