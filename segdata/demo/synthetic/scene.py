"""A scene: a picture and its regions. Coordinates are pixel-edge based, x from 0 to the width, y from 0 to the height."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Ring = npt.NDArray[np.float64]
"""Corners (N, 2) of x, y."""

Color = tuple[float, float, float]
"""Red, green, blue of 0 … 1."""


@dataclass(frozen=True)
class Region:
    """One painted thing or piece of stuff; later regions of a scene hide earlier ones.

    Attributes:
        name: neutral class name ("car", "traffic sign"), to be mapped to a dataset's own.
        rings: outer rings (N, 2) float64 of x, y, united.
        holes: rings (N, 2) cut out of them.
        is_thing: countable object, not stuff.
        is_crowd: several objects drawn as one.
        points: named body points (name, x, y) of people, else empty.
    """

    name: str
    rings: tuple[Ring, ...]
    holes: tuple[Ring, ...]
    is_thing: bool
    is_crowd: bool = False
    points: tuple[tuple[str, float, float], ...] = ()

    def mask(self, height: int, width: int) -> npt.NDArray[np.bool_]:
        """What the region covers, hidden parts included: (height, width) bool."""
        picture = Image.new("1", (width, height))
        pen = ImageDraw.Draw(picture)
        for value, rings in ((1, self.rings), (0, self.holes)):
            for ring in rings:
                pen.polygon([(x - 0.5, y - 0.5) for x, y in ring.tolist()], fill=value)
        return np.array(picture)


@dataclass(frozen=True)
class Scene:
    """A picture (H, W, 3) uint8 RGB and its regions, painted back to front."""

    image: npt.NDArray[np.uint8]
    regions: tuple[Region, ...]
