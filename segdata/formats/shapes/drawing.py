"""Shapes with area, in pixels of an image as stored, as masks; turned where they were drawn on the upright image.

Polygons are drawn as pycocotools draws them. Of a circle or an ellipse, the pixels whose centres lie inside count.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.findings import Findings
from segdata.core.masks import Masks
from segdata.core.polygons import MAX_BOUNDARY, Polygons, boundary_length
from segdata.errors import InvalidAnnotation
from segdata.sets.orientation import back, turned, turned_points, upright_size

FARTHEST = 1 << 24
"""Of coordinates, in pixels."""


@dataclass(frozen=True, eq=False)
class Shape:
    """A polygon, or a mask of a part of the image; one of the two.

    Attributes:
        ring: (2 K,) float64, x0 y0 x1 y1 … in pixels; empty where the shape is a mask.
        crop: (h, w) bool, wholly inside the image; None where the shape is a polygon, or compact.
        corner: x and y of the crop's top left pixel.
        runs: the mask of the whole image that a compact shape has instead of a crop.
    """

    ring: npt.NDArray[np.float64]
    crop: npt.NDArray[Any] | None = None
    corner: tuple[int, int] = (0, 0)
    runs: Masks | None = None

    @property
    def is_polygon(self) -> bool:
        """Whether this is no mask."""
        return self.crop is None and self.runs is None

    def compact(self, height: int, width: int) -> Shape:
        """The same with runs instead of pixels, in an image of this size: many large masks would fill the memory."""
        if self.crop is None:
            return self
        return Shape(self.ring, runs=Masks.from_crops([self.crop], [self.corner], height, width))


def polygon(points: Sequence[Sequence[float]], height: int, width: int) -> Shape:
    """The polygon of these points, (K, 2) x y in pixels.

    Raises:
        InvalidAnnotation: fewer than three points, or an outline longer than any image's.
    """
    if len(points) < 3:
        raise InvalidAnnotation(
            "a polygon has fewer than three points", why=f"it has {len(points)}", fix="draw it again, or remove it"
        )
    ring = np.array(points, np.float64).reshape(-1)
    length = boundary_length(ring, height, width)  # type: ignore[arg-type]
    if length > MAX_BOUNDARY:
        raise InvalidAnnotation(
            "an outline is longer than any that is drawn",
            why=f"{length:,.0f} pixels; the limit is {MAX_BOUNDARY:,}",
            fix="draw the object as a mask",
        )
    return Shape(ring)


def rectangle(
    x0: float, y0: float, x1: float, y1: float, *, degrees: float = 0.0, around: tuple[float, float] | None = None
) -> Shape:
    """The rectangle between two corners, in pixels, turned clockwise (y down).

    Args:
        around: x and y of the point that stays in its place; the centre where it is None.
    """
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float64)
    if degrees:
        centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2] if around is None else around)
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        corners = (corners - centre) @ np.array([[cosine, sine], [-sine, cosine]]) + centre
    return Shape(corners.reshape(-1))


def ellipse(
    centre: tuple[float, float], radii: tuple[float, float], height: int, width: int, *, degrees: float = 0.0
) -> Shape:
    """The pixels whose centres lie in an ellipse, turned clockwise (y down) around its centre.

    Args:
        centre, radii: x and y in pixels.
    """
    (cx, cy), (rx, ry) = centre, radii
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    half = math.hypot(rx * cosine, ry * sine), math.hypot(rx * sine, ry * cosine)
    x0, x1 = (int(np.clip(cx + sign * half[0] + sign, 0, width)) for sign in (-1, 1))
    y0, y1 = (int(np.clip(cy + sign * half[1] + sign, 0, height)) for sign in (-1, 1))
    x, y = np.arange(x0, x1) + 0.5 - cx, np.arange(y0, y1)[:, None] + 0.5 - cy
    along, across = x * cosine + y * sine, y * cosine - x * sine
    inside = np.hypot(along * ry, across * rx) <= rx * ry if rx > 0 and ry > 0 else np.zeros((y1 - y0, x1 - x0), bool)
    return Shape(np.zeros(0), inside, (x0, y0))


def mask(crop: npt.NDArray[Any], corner: tuple[int, int], height: int, width: int) -> Shape:
    """A mask of a part of the image.

    Args:
        crop: (h, w), 0 outside the object.
        corner: x and y of its top left pixel.

    Raises:
        InvalidAnnotation: it reaches past the image.
    """
    x, y = corner
    if x < 0 or y < 0 or x + crop.shape[1] > width or y + crop.shape[0] > height:
        raise InvalidAnnotation(
            "a mask reaches past the image",
            why=f"it is {crop.shape[1]} × {crop.shape[0]} at ({x}, {y}); the image is {width} × {height} (width × height)",
            fix="cut the mask to the image",
        )
    return Shape(np.zeros(0), crop != 0, corner)


def shape_of(masks: Masks, index: int) -> Shape:
    """A mask as a shape, cut to its box."""
    x, y, _, _ = masks.boxes_xywh[index].tolist()
    return Shape(np.zeros(0), masks[index : index + 1].crops()[0], (x, y))


def to_stored(shape: Shape, orientation: int, height: int, width: int) -> Shape:
    """A shape of the upright image in the image as stored, which has this EXIF orientation, 1 … 8, and this size."""
    return turned_shape(shape, back(orientation), *upright_size(orientation, height, width))


def turned_shape(shape: Shape, orientation: int, height: int, width: int) -> Shape:
    """A shape of an image of this size in the image that an EXIF orientation, 1 … 8, makes of it."""
    if orientation == 1:
        return shape
    if shape.crop is None:
        x, y = turned_points(shape.ring[0::2], shape.ring[1::2], orientation, height, width)
        return replace(shape, ring=np.stack([x, y], axis=1).reshape(-1))
    (x0, y0), (rows, columns) = shape.corner, shape.crop.shape
    corners = np.array([x0, x0 + columns], np.float64), np.array([y0, y0 + rows], np.float64)
    x, y = turned_points(*corners, orientation, height, width)
    return Shape(shape.ring, turned(shape.crop, orientation), (int(x.min()), int(y.min())))


def masks_of(shapes: Sequence[Shape], height: int, width: int) -> Masks:
    """One mask for each shape."""
    rings = Polygons.of([[shape.ring] if shape.is_polygon else [] for shape in shapes])
    drawn = [number for number, shape in enumerate(shapes) if not shape.is_polygon]
    masks = Masks.from_polygons(rings, height, width)
    if not drawn:
        return masks
    others = [runs for shape in shapes if (runs := shape.compact(height, width).runs) is not None]
    both = Masks.concatenate([masks, *others], height, width)
    order = np.arange(len(shapes))
    order[drawn] = len(shapes) + np.arange(len(drawn))
    return both[order]


def remark_empty(masks: Masks, places: Iterable[str], findings: Findings) -> None:
    """Remark shapes that cover no pixel.

    Args:
        places: where each mask's shape is: key and place in the document.
    """
    for place, area in zip(places, masks.areas.tolist(), strict=True):
        if not area:
            findings.remark("shape without a pixel", place)


def united(masks: Masks, groups: Sequence[Sequence[int]]) -> Masks:
    """For each group of masks the mask of all their pixels.

    Args:
        groups: indices of masks, at least one each.
    """
    parts = []
    for members in groups:
        chosen = masks[np.asarray(members)]
        parts.append(chosen if len(members) == 1 else Masks.from_dense(chosen.dense().max(axis=0, keepdims=True)))
    return Masks.concatenate(parts, masks.height, masks.width)


def polygons_of(shapes: Sequence[Shape], groups: Sequence[Sequence[int]]) -> Polygons:
    """The rings of each group; none where one of its shapes is a mask."""
    return Polygons.of(
        [
            [shapes[number].ring for number in members] if all(shapes[n].is_polygon for n in members) else []
            for members in groups
        ]
    )
