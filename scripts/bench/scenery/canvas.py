"""Shapes, and a canvas that paints them back to front with soft light, textures and grain."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from segdata.demo.synthetic import outlines
from segdata.demo.synthetic.scene import Color, Region, Ring, Scene

Array = npt.NDArray[Any]
Paint = Color | Callable[[Array, Array], Array]
Box = tuple[int, int, int, int]


def ring(*points: tuple[float, float]) -> Ring:
    """(N, 2) ring of the points."""
    return np.array(points, np.float64)


_TURN = np.linspace(0, 2 * np.pi, 32, endpoint=False)

_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], 1)


def oval(x: float, y: float, rx: float, ry: float | None = None, turn: float = 0.0) -> Ring:
    """Ring of an ellipse, turned by `turn` radians."""
    cos, sin = math.cos(turn), math.sin(turn)
    ry = rx if ry is None else ry
    return np.asarray(_CIRCLE @ np.array([[rx * cos, rx * sin], [-ry * sin, ry * cos]]) + np.array([x, y]))


def box(x0: float, y0: float, x1: float, y1: float, round_: float = 0.0) -> Ring:
    """A rectangle, its corners cut round."""
    r = min(round_, abs(x1 - x0) / 2, abs(y1 - y0) / 2)
    bend = np.linspace(0, np.pi / 2, 5)
    corners = ((x1 - r, y1 - r, 0.0), (x0 + r, y1 - r, 0.5), (x0 + r, y0 + r, 1.0), (x1 - r, y0 + r, 1.5))
    return np.vstack(
        [np.stack([x + r * np.cos(bend + q * np.pi), y + r * np.sin(bend + q * np.pi)], 1) for x, y, q in corners]
    )


def limb(x0: float, y0: float, x1: float, y1: float, w0: float, w1: float | None = None) -> Ring:
    """A tapering limb with round ends; w0 and w1 are half widths."""
    w1 = w0 if w1 is None else w1
    angle = math.atan2(y1 - y0, x1 - x0)
    back, front = np.linspace(0.5, 1.5, 9) * np.pi + angle, np.linspace(-0.5, 0.5, 9) * np.pi + angle
    return np.vstack([
        np.stack([x0 + w0 * np.cos(back), y0 + w0 * np.sin(back)], 1),
        np.stack([x1 + w1 * np.cos(front), y1 + w1 * np.sin(front)], 1),
    ])  # fmt: skip


def stroke(line: Ring, half: float) -> list[Ring]:
    """Rings of a line of that half width."""
    return [limb(a[0], a[1], b[0], b[1], half) for a, b in itertools.pairwise(line.tolist())]


def wheel(x: float, y: float, radius: float, half: float) -> list[Ring]:
    """Rings of a wheel: tyre and rim."""
    ring = oval(x, y, radius)
    return stroke(np.vstack([ring, ring[:1]]), half)


def one(c: Canvas, colors: Sequence[Color]) -> Color:
    """One of the colours."""
    return colors[int(c.rng.integers(len(colors)))]


def times(color: Color, tone: float) -> Color:
    """The colour, lighter or darker."""
    return color[0] * tone, color[1] * tone, color[2] * tone


def _noise(rng: np.random.Generator, size: int, octaves: Iterable[int]) -> Array:
    """Clouds (size, size) float32 of mean 0 and spread 1 that repeat without a seam."""
    total = np.zeros((size, size), np.float32)
    for cells in octaves:
        grid = np.pad(rng.standard_normal((cells, cells)).astype(np.float32), 2, mode="wrap")
        edge = 2 * size // cells
        layer = Image.fromarray(grid).resize((size + 2 * edge, size + 2 * edge), Image.Resampling.BICUBIC)
        total += np.asarray(layer)[edge : edge + size, edge : edge + size] / cells**0.75
    return np.asarray((total - total.mean()) / total.std())


class Canvas:
    """The picture while it is painted, seen by a camera 1.5 m above flat ground."""

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self.rng, self.h, self.w = rng, height, width
        self.px: Array = np.zeros((height, width, 3), np.float32)
        self.cloud = _noise(rng, 512, (4, 8, 16, 32, 64))
        self.fine = _noise(rng, 512, (64, 128, 256))
        self.sun = float(rng.choice([-1.0, 1.0]))
        self.f, self.horizon, self.middle, self.eye = 1.15 * height, 0.45 * height, 0.5 * width, 1.5
        self.regions: list[Region] = []
        self.parts: list[Ring] = []
        self.cuts: list[Ring] = []

    def pick(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def at(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Where a point x m right, y m up, z m ahead lies in the picture."""
        return self.middle + self.f * x / z, self.horizon - self.f * (y - self.eye) / z

    def alpha(
        self, parts: Sequence[Ring], cuts: Sequence[Ring] = (), blur: float = 0.0, pad: int = 2
    ) -> tuple[Box, Array] | None:
        """Box (y0, y1, x0, x1) of the shapes on the canvas and their cover in it (h, w) float32 0 … 1."""
        points = np.vstack(parts)
        pad += int(3 * blur)
        x0, y0 = np.maximum(np.floor(points.min(0)) - pad, 0).astype(int).tolist()
        x1, y1 = np.minimum(np.ceil(points.max(0)) + pad, (self.w, self.h)).astype(int).tolist()
        if x1 <= x0 or y1 <= y0:
            return None
        fold = 4 if (x1 - x0) * (y1 - y0) < 60_000 else 2
        picture = Image.new("L", ((x1 - x0) * fold, (y1 - y0) * fold))
        pen = ImageDraw.Draw(picture)
        for value, rings in ((255, parts), (0, cuts)):
            for ring in rings:
                pen.polygon(((ring - (x0, y0)) * fold - 0.5).ravel().tolist(), fill=value)
        picture = picture.reduce(fold)
        if blur:
            picture = picture.filter(ImageFilter.GaussianBlur(blur))
        return (y0, y1, x0, x1), np.asarray(picture, np.float32) / 255

    def paint(
        self,
        parts: Sequence[Ring],
        color: Paint,
        *,
        cuts: Sequence[Ring] = (),
        rough: float = 0.04,
        volume: float = 0.0,
        opacity: float = 1.0,
        part: bool = True,
    ) -> None:
        """Fill shapes. `rough` is the strength of the texture, `volume` the radius in pixels of rounded edges."""
        if part:
            self.parts += parts
            self.cuts += cuts
        found = self.alpha(parts, cuts, pad=2 + int(2 * volume))
        if found is None:
            return
        (y0, y1, x0, x1), cover = found
        yy, xx = np.mgrid[y0:y1, x0:x1].astype(np.float32) + np.float32(0.5)
        dy, dx = self.rng.integers(0, 512, 2).tolist()
        rows, cols = (np.arange(y1 - y0) + dy) % 512, (np.arange(x1 - x0) + dx) % 512
        tone = 1 + rough * (0.35 * self.cloud[np.ix_(rows, cols)] + 0.75 * self.fine[np.ix_(rows, cols)])
        if volume >= 0.8:
            soft = Image.fromarray((cover * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(volume))
            low = np.asarray(soft, np.float32) / 255
            d = max(1, int(volume * 0.8))
            wide, (h, w), k = np.pad(low, d, mode="edge"), low.shape, int(self.sun * d)
            side = wide[:h, d + k : d + k + w] - wide[2 * d :, d - k : d - k + w]
            tone = tone * (1 - 0.42 * side) * (0.8 + 0.22 * low)
        fill = color(yy, xx) if callable(color) else np.array(color, np.float32)
        cover = cover[..., None] * opacity
        self.px[y0:y1, x0:x1] += cover * (fill * tone[..., None] - self.px[y0:y1, x0:x1])

    def shade(self, parts: Sequence[Ring], strength: float, blur: float) -> None:
        """A soft shadow."""
        found = self.alpha(parts, blur=max(blur, 0.6))
        if found is not None:
            (y0, y1, x0, x1), cover = found
            self.px[y0:y1, x0:x1] *= 1 - strength * cover[..., None] * np.array([1.0, 0.97, 0.9], np.float32)

    def close(
        self,
        name: str,
        thing: bool = True,
        crowd: bool = False,
        points: Iterable[tuple[str, float, float]] = (),
    ) -> None:
        """Make a region of what was painted since the last call."""
        parts, cuts, self.parts, self.cuts = self.parts, self.cuts, [], []
        found = self.alpha(parts, cuts) if parts else None
        if found is None:
            return
        (y0, _, x0, _), cover = found
        outer, holes = outlines.trace(cover > 0.5)
        if outer:
            shift = np.array([x0, y0])
            rings = tuple(ring + shift for ring in outer)
            self.regions.append(Region(name, rings, tuple(ring + shift for ring in holes), thing, crowd, tuple(points)))

    def finish(self) -> Scene:
        """Lens and film: vignette, colour cast, slight blur, grain."""
        y, x = np.mgrid[-1 : 1 : self.h * 1j, -1 : 1 : self.w * 1j].astype(np.float32)
        px = self.px * (1.03 - 0.13 * (x * x + y * y))[..., None]
        px = 255 * np.clip(px, 0, 1.2) ** 0.92 * np.array([1.02, 1.0, 0.97], np.float32)
        px += 2.2 * self.rng.standard_normal((self.h, self.w, 1), np.float32)
        picture = Image.fromarray(np.clip(px, 0, 255).astype(np.uint8)).filter(
            ImageFilter.GaussianBlur(0.55 * (self.h / 480) ** 0.5)
        )
        return Scene(np.asarray(picture), tuple(self.regions))
