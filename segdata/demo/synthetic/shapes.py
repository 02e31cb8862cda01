"""Shapes, and a canvas that paints them back to front and keeps the outline of each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from segdata.demo.synthetic import outlines
from segdata.demo.synthetic.scene import Color, Region, Ring, Scene

_TURN = np.linspace(0, 2 * np.pi, 32, endpoint=False)


def ring(*points: tuple[float, float]) -> Ring:
    """(N, 2) ring of the points."""
    return np.array(points, np.float64)


def box(x0: float, y0: float, x1: float, y1: float) -> Ring:
    """A rectangle."""
    return ring((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def oval(x: float, y: float, rx: float, ry: float | None = None) -> Ring:
    """An ellipse; a circle without `ry`."""
    return np.stack([x + rx * np.cos(_TURN), y + (rx if ry is None else ry) * np.sin(_TURN)], 1)


def limb(x0: float, y0: float, x1: float, y1: float, half: float, end: float | None = None) -> Ring:
    """A line with round ends, of half width `half` at its beginning and `end` (or the same) at its end."""
    end = half if end is None else end
    angle = math.atan2(y1 - y0, x1 - x0)
    back, front = np.linspace(0.5, 1.5, 9) * np.pi + angle, np.linspace(-0.5, 0.5, 9) * np.pi + angle
    return np.vstack([
        np.stack([x0 + half * np.cos(back), y0 + half * np.sin(back)], 1),
        np.stack([x1 + end * np.cos(front), y1 + end * np.sin(front)], 1),
    ])  # fmt: skip


def wheel(x: float, y: float, radius: float, half: float) -> list[Ring]:
    """A circle's line, as limbs of half width `half`."""
    corners = np.vstack([oval(x, y, radius), oval(x, y, radius)[:1]])
    return [limb(x0, y0, x1, y1, half) for (x0, y0), (x1, y1) in itertools.pairwise(corners.tolist())]


@dataclass(frozen=True)
class Layer:
    """Shapes of one colour in a drawing: y points up, and the origin is where the thing stands.

    Attributes:
        color: RGB of 0 … 1, or how light the colour is that is chosen for the whole thing.
        shapes: rings, united.
        cuts: rings cut out of them.
    """

    color: Color | float
    shapes: Sequence[Ring]
    cuts: Sequence[Ring] = ()


class Canvas:
    """The image while it is painted, seen by a camera 1.5 m above flat ground."""

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self.rng, self.height, self.width = rng, height, width
        self.focal, self.horizon = 1.15 * height, 0.45 * height
        self.regions: list[Region] = []
        self._pixels = np.zeros((height, width, 3), np.float32)
        coarse = Image.fromarray(rng.random((12, 16), np.float32)).resize((width, height), Image.Resampling.BICUBIC)
        self._texture = 0.9 + 0.12 * np.asarray(coarse) + 0.1 * (rng.random((height, width), np.float32) - 0.5)
        self._shapes: list[Ring] = []
        self._cuts: list[Ring] = []

    def pick(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def one(self, colors: Sequence[Color]) -> Color:
        return colors[int(self.rng.integers(len(colors)))]

    def project(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Where a point x m right, y m up, z m ahead lies in the image."""
        return self.width / 2 + self.focal * x / z, self.horizon - self.focal * (y - 1.5) / z

    def paint(self, shapes: Sequence[Ring], color: Color, *, cuts: Sequence[Ring] = (), is_part: bool = True) -> None:
        """Fill shapes, lighter above than below; `is_part` shapes belong to the region that `close` makes."""
        if is_part:
            self._shapes += shapes
            self._cuts += cuts
        window = self._window(shapes)
        if window is None:
            return
        y0, y1, x0, x1 = window
        cover = _cover(window, shapes, cuts, 2)[..., None]
        light = np.linspace(1.08, 0.88, y1 - y0, dtype=np.float32)[:, None] * self._texture[y0:y1, x0:x1]
        self._pixels[y0:y1, x0:x1] += cover * (
            light[..., None] * np.array(color, np.float32) - self._pixels[y0:y1, x0:x1]
        )

    def draw(self, layers: Iterable[Layer], coat: Color, x: float, y: float, scale: float, *, way: int = 1) -> None:
        """Paint a drawing that stands at (x, y), `scale` pixels to its unit; mirrored where `way` is −1."""
        for layer in layers:
            tone = layer.color
            color = tone if isinstance(tone, tuple) else (coat[0] * tone, coat[1] * tone, coat[2] * tone)
            shapes, cuts = (
                [one * (way * scale, -scale) + (x, y) for one in rings] for rings in (layer.shapes, layer.cuts)
            )
            self.paint(shapes, color, cuts=cuts)

    def close(
        self,
        name: str,
        *,
        is_thing: bool = True,
        is_crowd: bool = False,
        points: Iterable[tuple[str, float, float]] = (),
    ) -> None:
        """Make a region of what was painted since the last call."""
        shapes, cuts, self._shapes, self._cuts = self._shapes, self._cuts, [], []
        window = self._window(shapes) if shapes else None
        if window is None:
            return
        outer, holes = outlines.trace(_cover(window, shapes, cuts, 1) > 0.5)
        if outer:
            corner = (window[2], window[0])
            rings, gaps = (tuple(one + corner for one in some) for some in (outer, holes))
            self.regions.append(Region(name, rings, gaps, is_thing, is_crowd, tuple(points)))

    def finish(self) -> Scene:
        """The image, a little soft and grainy, with its regions."""
        grain = 2.2 * self.rng.standard_normal((self.height, self.width, 1), np.float32)
        image = Image.fromarray(np.clip(255 * self._pixels + grain, 0, 255).astype(np.uint8))
        return Scene(np.asarray(image.filter(ImageFilter.GaussianBlur(0.4))), tuple(self.regions))

    def _window(self, shapes: Sequence[Ring]) -> tuple[int, int, int, int] | None:
        """Rows and columns (y0, y1, x0, x1) of the canvas that shapes can reach; None outside of it."""
        points = np.vstack(shapes)
        x0, y0 = np.maximum(np.floor(points.min(0)) - 1, 0).astype(int).tolist()
        x1, y1 = np.minimum(np.ceil(points.max(0)) + 1, (self.width, self.height)).astype(int).tolist()
        return (y0, y1, x0, x1) if x1 > x0 and y1 > y0 else None


def _cover(
    window: tuple[int, int, int, int], shapes: Sequence[Ring], cuts: Sequence[Ring], fold: int
) -> npt.NDArray[np.float32]:
    """How much of each pixel of a window the shapes cover, (h, w) 0 … 1; `fold`² samples a pixel."""
    y0, y1, x0, x1 = window
    picture = Image.new("L", ((x1 - x0) * fold, (y1 - y0) * fold))
    pen = ImageDraw.Draw(picture)
    for value, rings in ((255, shapes), (0, cuts)):
        for one in rings:
            pen.polygon(((one - (x0, y0)) * fold - 0.5).ravel().tolist(), fill=value)
    return np.asarray(picture.reduce(fold) if fold > 1 else picture, np.float32) / np.float32(255)
