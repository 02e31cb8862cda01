"""Scenes drawn by a program: photograph-like pictures whose every region is known, for demonstrations and tests.

`street` and `objects` paint back to front with soft light, textures and grain. Coordinates are pixel-edge based:
x runs from 0 to the width, y from 0 to the height.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Array = npt.NDArray[Any]
Ring = npt.NDArray[np.float64]
Color = tuple[float, float, float]
Paint = Color | Callable[[Array, Array], Array]
Box = tuple[int, int, int, int]


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


def trace(mask: npt.NDArray[np.bool_], tolerance: float = 0.7) -> tuple[list[Ring], list[Ring]]:
    """Outer rings and holes of a mask (H, W) bool: rings (N, 2) float64 through the middles of the pixel edges."""
    padded = np.pad(mask, 1).astype(np.int8)
    down, right = np.diff(padded, axis=0)[:, 1:-1], np.diff(padded, axis=1)[1:-1]
    follow: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for steps, (dy, dx), (sy, sx) in (
        (down == 1, (0, 1), (0, 0)),
        (down == -1, (0, -1), (0, 1)),
        (right == 1, (-1, 0), (1, 0)),
        (right == -1, (1, 0), (0, 0)),
    ):
        for y, x in np.argwhere(steps).tolist():
            follow.setdefault((y + sy, x + sx), []).append((dy, dx))
    outer: list[Ring] = []
    holes: list[Ring] = []
    while follow:
        start = next(iter(follow))
        at, turn, middles = start, (0, 0), []
        while at in follow:
            ways = follow[at]
            # where two pixels meet at a corner, turn inwards: they stay apart
            way = (turn[1], -turn[0]) if len(ways) > 1 and (turn[1], -turn[0]) in ways else ways[0]
            ways.remove(way)
            if not ways:
                del follow[at]
            middles.append((at[1] + way[1] / 2, at[0] + way[0] / 2))
            at, turn = (at[0] + way[0], at[1] + way[1]), way
            if at == start:
                break
        ring = _simple(np.array(middles), tolerance)
        if len(ring) >= 3:
            (outer if shoelace(ring) > 0 else holes).append(ring)
    return outer, holes


def shoelace(ring: Ring) -> float:
    """Signed area of a ring (N, 2), positive where it runs clockwise on the screen."""
    x, y = ring[:, 0], ring[:, 1]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _simple(ring: Ring, tolerance: float) -> Ring:
    """Douglas–Peucker on a closed ring."""
    keep = np.zeros(len(ring) + 1, bool)
    closed = np.vstack([ring, ring[:1]])
    far = int(np.argmax(((ring - ring[0]) ** 2).sum(1)))
    keep[[0, far]] = True
    stack = [(0, far), (far, len(ring))]
    while stack:
        first, last = stack.pop()
        if last - first < 2:
            continue
        a, b = closed[first], closed[last]
        inner = closed[first + 1 : last] - a
        length = math.hypot(*(b - a).tolist()) or 1e-9
        away = np.abs(inner[:, 0] * (b - a)[1] - inner[:, 1] * (b - a)[0]) / length
        worst = int(np.argmax(away))
        if away[worst] > tolerance:
            keep[first + 1 + worst] = True
            stack += [(first, first + 1 + worst), (first + 1 + worst, last)]
    return closed[keep & (np.arange(len(keep)) < len(ring))]


# ---------------------------------------------------------------------- shapes


def _ring(*points: tuple[float, float]) -> Ring:
    return np.array(points, np.float64)


_TURN = np.linspace(0, 2 * np.pi, 32, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], 1)


def _oval(x: float, y: float, rx: float, ry: float | None = None, turn: float = 0.0) -> Ring:
    cos, sin = math.cos(turn), math.sin(turn)
    ry = rx if ry is None else ry
    return np.asarray(_CIRCLE @ np.array([[rx * cos, rx * sin], [-ry * sin, ry * cos]]) + np.array([x, y]))


def _box(x0: float, y0: float, x1: float, y1: float, round_: float = 0.0) -> Ring:
    """A rectangle, its corners cut round."""
    r = min(round_, abs(x1 - x0) / 2, abs(y1 - y0) / 2)
    bend = np.linspace(0, np.pi / 2, 5)
    corners = ((x1 - r, y1 - r, 0.0), (x0 + r, y1 - r, 0.5), (x0 + r, y0 + r, 1.0), (x1 - r, y0 + r, 1.5))
    return np.vstack(
        [np.stack([x + r * np.cos(bend + q * np.pi), y + r * np.sin(bend + q * np.pi)], 1) for x, y, q in corners]
    )


def _limb(x0: float, y0: float, x1: float, y1: float, w0: float, w1: float | None = None) -> Ring:
    """A tapering limb with round ends; w0 and w1 are half widths."""
    w1 = w0 if w1 is None else w1
    angle = math.atan2(y1 - y0, x1 - x0)
    back, front = np.linspace(0.5, 1.5, 9) * np.pi + angle, np.linspace(-0.5, 0.5, 9) * np.pi + angle
    return np.vstack([
        np.stack([x0 + w0 * np.cos(back), y0 + w0 * np.sin(back)], 1),
        np.stack([x1 + w1 * np.cos(front), y1 + w1 * np.sin(front)], 1),
    ])  # fmt: skip


def _stroke(line: Ring, half: float) -> list[Ring]:
    return [_limb(a[0], a[1], b[0], b[1], half) for a, b in itertools.pairwise(line.tolist())]


def _wheel(x: float, y: float, radius: float, half: float) -> list[Ring]:
    ring = _oval(x, y, radius)
    return _stroke(np.vstack([ring, ring[:1]]), half)


def _noise(rng: np.random.Generator, size: int, octaves: Iterable[int]) -> Array:
    """Clouds (size, size) float32 of mean 0 and spread 1 that repeat without a seam."""
    total = np.zeros((size, size), np.float32)
    for cells in octaves:
        grid = np.pad(rng.standard_normal((cells, cells)).astype(np.float32), 2, mode="wrap")
        edge = 2 * size // cells
        layer = Image.fromarray(grid).resize((size + 2 * edge, size + 2 * edge), Image.Resampling.BICUBIC)
        total += np.asarray(layer)[edge : edge + size, edge : edge + size] / cells**0.75
    return np.asarray((total - total.mean()) / total.std())


# ---------------------------------------------------------------------- canvas


class _Canvas:
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
        outer, holes = trace(cover > 0.5)
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


# ---------------------------------------------------------------------- street


def street(rng: np.random.Generator, height: int, width: int, *, ego: bool = False) -> Scene:
    """A town street seen from a car: image (height, width, 3) and regions; `ego` shows the bonnet of that car."""
    c = _Canvas(rng, height, width)
    curb, wall = c.pick(3.4, 4.6), c.pick(6.5, 9.0)
    c.middle *= c.pick(0.85, 1.15)
    _sky(c)
    for z, low, high in ((110.0, 4, 9), (85.0, 6, 14)):
        _hedge(c, -40, 40, z, c.pick(low, high))
    for side in (-1, 1):
        z = 75.0
        while z > 3:
            near = max(2.2, z - c.pick(7, 13))
            _facade(c, side * wall, near, z, c.pick(7, 15)) if c.pick(0, 1) < 0.8 else _park(c, side * wall, near, z)
            z = near if near > 2.5 else 0.0
    _ground(c, curb, wall)
    items: list[tuple[float, Callable[[], None]]] = []

    def put(z: float, draw: Callable[..., None], *args: object) -> None:
        items.append((z, lambda: draw(c, *args)))

    rack, rack_side = c.pick(8, 13), float(c.rng.choice([-1, 1]))
    for side in (-1, 1):
        for z in np.arange(c.pick(7, 11), 60, c.pick(12, 17)).tolist():
            put(z, _lamp, side * (curb + 0.5), z, side)
            if c.pick(0, 1) < 0.7:
                put(z + 4, _tree, side * (curb + c.pick(0.9, 1.6)), z + 4, c.pick(4.5, 8))
        for z in np.arange(c.pick(6, 9), 45, c.pick(6, 8)).tolist():
            if c.pick(0, 1) < 0.6 and (z > rack + 4 or side != rack_side):
                put(z, _vehicle, "car", side * (curb - 1.0), z, 0.0 if side > 0 else math.pi)
        for _ in range(5):
            z = c.pick(10, 32)
            put(z, _walker, side * c.pick(curb + 0.5, wall - 0.5), z)
        put(z := c.pick(9, 20), _signal, side * (curb + 0.3), z)
        put(z := c.pick(6, 22), _sign, side * (curb + 0.35), z)
    put(z := c.pick(14, 24), _vehicle, str(rng.choice(["bus", "truck"])), c.pick(-2.0, -1.4), z, math.pi)
    put(z := c.pick(9, 16), _vehicle, "car", c.pick(0.9, 1.6), z, 0.0)
    put(z := c.pick(30, 50), _vehicle, "car", c.pick(-1.8, 1.8), z, 0.0)
    put(z := c.pick(7, 13), _cyclist, c.pick(-curb + 1.5, curb - 1.6), z)
    put(z := c.pick(12, 20), _group, c.pick(-1, 1) * wall * 0.8, z)
    put(rack, _rack, c.pick(0.75, 0.85) * wall * rack_side, rack)
    for _, draw in sorted(items, key=lambda item: -item[0]):
        draw()
    if ego:
        hood = [_oval(width / 2, height * 1.1, width * 0.6, height * 0.22)]
        c.shade(hood, 0.5, height / 60)
        c.paint(hood, (0.1, 0.105, 0.115), volume=height / 60)
        c.close("ego vehicle", False)
    return c.finish()


def _sky(c: _Canvas) -> None:
    top, low = np.array([0.36, 0.55, 0.84]) * c.pick(0.9, 1.1), np.array([0.83, 0.89, 0.95])
    dark, size = c.pick(0.2, 1.1), 360 / c.h

    def fill(y: Array, x: Array) -> Array:
        t = np.clip(y / c.horizon, 0, 1)[..., None]
        u = 260 / (1.25 - t[..., 0])
        cloud = c.cloud[(u * 1.6).astype(int) % 512, ((x - c.middle) * size / (1.35 - t[..., 0])).astype(int) % 512]
        cover = np.clip(cloud * 0.7 + 0.55 - dark, 0, 1)[..., None] * (1 - 0.5 * t)
        return np.asarray((top * (1 - t) + low * t) * (1 - cover) + cover * np.array([0.97, 0.97, 0.98]))

    c.paint([_box(0, 0, c.w, c.horizon + 0.06 * c.h)], fill, rough=0.004)
    c.close("sky", False)


def _ground(c: _Canvas, curb: float, wall: float) -> None:
    """Pavements, road and lane markings, their textures laid out in metres."""

    def plane(base: Color, grain: float, joints: float = 0.0, spots: float = 0.05) -> Paint:
        def fill(y: Array, x: Array) -> Array:
            z = c.f * c.eye / np.maximum(y - c.horizon, 0.5)
            u = (x - c.middle) * z / c.f
            tone = 1 + spots * c.cloud[(z * 22).astype(int) % 512, (u * 30).astype(int) % 512]
            near = np.clip(1.4 - z / 25, 0, 1)
            tone += grain * near * c.fine[(z * 90).astype(int) % 512, (u * 90).astype(int) % 512]
            if joints:
                wide = 0.02 + 0.5 * z / c.f
                gap = np.maximum(
                    np.abs(u % joints - joints / 2) > joints / 2 - wide,
                    np.abs(z % joints - joints / 2) > joints / 2 - wide * z,
                )
                tone -= 0.16 * gap * near
            tone += 0.05 * np.clip(z / 60, 0, 1)
            return np.asarray(np.array(base, np.float32) * tone[..., None])

        return fill

    def strip(x0: float, x1: float, z0: float = 1.2, z1: float = 110.0) -> Ring:
        return _ring(c.at(x0, 0, z0), c.at(x0, 0, z1), c.at(x1, 0, z1), c.at(x1, 0, z0))

    grey, warm = c.pick(0.34, 0.44), c.pick(0.5, 0.6)
    for side in (-1, 1):
        c.paint([strip(side * curb, side * (wall + 0.1))], plane((warm, warm * 0.97, warm * 0.92), 0.07, 0.8))
        c.close("sidewalk", False)
    c.paint([strip(-curb, curb)], plane((grey, grey, grey * 1.03), 0.08, spots=0.03), rough=0.02)
    c.close("road", False)
    for side in (-1, 1):
        c.paint([strip(side * curb, side * (curb + 0.16))], (0.66, 0.65, 0.62), part=False)
        c.paint([strip(side * (curb - 0.25), side * curb)], (0.2, 0.2, 0.2), opacity=0.45, part=False)
    phase = c.pick(0, 4)
    white = plane((0.84, 0.84, 0.81), 0.12)
    for z in np.arange(1.5 + phase, 70, 6).tolist():
        c.paint([strip(-0.07, 0.07, z, z + 3)], white)
    zebra = c.pick(18, 30)
    for x in np.arange(-curb + 0.4, curb - 0.5, 1.0).tolist():
        c.paint([strip(x, x + 0.5, zebra, zebra + 3.0)], white)
    c.close("lane marking", False)
    if c.pick(0, 1) < 0.8:
        deep = curb + c.pick(-1.5, 0.5)
        c.shade([strip(-c.sun * wall * 1.1, -c.sun * (wall - deep), 1.2, 70)], 0.42, c.h / 90)


def _facade(c: _Canvas, x: float, near: float, far: float, tall: float) -> None:
    """A house front along the street at x m, with windows, floors and a plinth."""
    wall = np.array(
        [(0.62, 0.36, 0.28), (0.78, 0.72, 0.6), (0.7, 0.68, 0.66), (0.72, 0.6, 0.5), (0.55, 0.5, 0.47)][
            int(c.rng.integers(5))
        ]
    )
    wall = wall * c.pick(0.85, 1.1) * (1.1 if x * c.sun < 0 else 0.8)
    step, floor, brick = c.pick(1.9, 2.6), c.pick(2.9, 3.4), wall[0] > 1.5 * wall[2]
    glow = c.rng.uniform(0.5, 1.5, (64, 16)).astype(np.float32)
    tall = max(1, round(tall / floor)) * floor + 0.6

    def fill(y: Array, xx: Array) -> Array:
        z = np.clip(c.f * x / np.where(np.abs(xx - c.middle) < 1, np.sign(x), xx - c.middle), near, far)
        up = c.eye + (c.horizon - y) * z / c.f
        pz, py = 0.7 * z * z / (c.f * abs(x)) + 0.02, 0.7 * z / c.f + 0.02
        u, v = (z - near) % step - step / 2, up % floor - floor * 0.52
        tone = 1 + 0.05 * c.cloud[(up * 25).astype(int) % 512, (z * 25).astype(int) % 512]
        tone += 0.04 * c.fine[(up * 60).astype(int) % 512, (z * 60).astype(int) % 512]
        if brick:
            row = np.floor(up / 0.15)
            tone -= (
                0.22 * np.clip(1.2 - z / 12, 0, 1) * np.maximum(up % 0.15 < 0.03, (z + 0.15 * (row % 2)) % 0.3 < 0.03)
            )
        tone *= 0.8 + 0.25 * np.clip(up / tall, 0, 1)
        tone += 0.12 * (np.abs(v - floor * 0.4) < 0.1) - 0.12 * (np.abs(v - floor * 0.33) < 0.07)
        color = wall * tone[..., None]

        def inside(du: float, dv: float) -> Array:
            a = np.clip((du - np.abs(u)) / pz + 0.5, 0, 1) * np.clip((dv - np.abs(v)) / py + 0.5, 0, 1)
            return np.asarray(a * (up < tall - 0.5) * ((z - near) // step < (far - near) // step))[..., None]

        frame, glass = inside(step * 0.29, floor * 0.29), inside(step * 0.24, floor * 0.255)
        shine = glow[((z - near) // step).astype(int) % 64, np.clip(up // floor, 0, 15).astype(int)]
        sky = np.clip(
            0.22 * shine + 0.25 * v / floor + 0.05 * c.cloud[y.astype(int) % 512, xx.astype(int) % 512],
            0.05,
            1,
        )
        bar = (np.abs(u) < 0.04) | (np.abs(v - 0.35) < 0.035)
        color = color * (1 - frame) + frame * 0.82 * np.clip(tone, 0.8, 1.1)[..., None]
        pane = sky[..., None] * np.array([0.85, 1.0, 1.15]) * (1 - bar[..., None]) + bar[..., None] * 0.7
        haze = 0.25 * np.clip(z / 80, 0, 1)[..., None]
        color = color * (1 - glass) + pane * glass
        return np.asarray(color * (1 - haze) + haze * np.array([0.8, 0.85, 0.9]))

    gable = [(x, 0.0), (x, tall), (x * 1.35, tall + 2.2), (x * 1.7, tall), (x * 1.7, 0.0)]
    c.paint(
        [_ring(*(c.at(*p, near) for p in gable))],
        _times((float(wall[0]), float(wall[1]), float(wall[2])), 0.85),
        rough=0.05,
    )
    c.paint([_ring(c.at(x, 0, near), c.at(x, tall, near), c.at(x, tall, far), c.at(x, 0, far))], fill, rough=0.01)
    over = x * 0.97
    c.paint(
        [
            _ring(
                c.at(x, tall, near),
                c.at(over, tall + 0.4, near),
                c.at(over, tall + 0.4, far),
                c.at(x, tall, far),
            )
        ],
        (0.3, 0.26, 0.24),
    )
    c.close("building", False)


def _park(c: _Canvas, x: float, near: float, far: float) -> None:
    """Trees behind a fence, in place of a house."""
    hedge = [(x * 1.25, 1.7), (x, 1.7), (x, 0.0), (x * 1.25, 0.0)]
    front = _ring(c.at(x, 0, near), c.at(x, 1.7, near), c.at(x, 1.7, far), c.at(x, 0, far))
    c.paint([_ring(*(c.at(*p, near) for p in hedge)), front], (0.17, 0.25, 0.12), rough=0.3)
    for z in np.linspace(far, near + 0.5, 3).tolist():
        _crown(c, *c.at(x * 1.15, 2.6, z), 2.4 * c.f / z, c.at(x, 0, z)[1])
    c.close("tree", False)
    posts = np.arange(near, far, 0.35).tolist()
    bars = [
        _ring(c.at(x, y, near), c.at(x, y + 0.07, near), c.at(x, y + 0.07, far), c.at(x, y, far)) for y in (0.15, 1.2)
    ]
    bars += [_limb(*c.at(x, 0, z), *c.at(x, 1.4, z), 0.025 * c.f / z) for z in posts]
    c.paint(bars, (0.16, 0.19, 0.17))
    c.close("fence", False)


def _hedge(c: _Canvas, x0: float, x1: float, z: float, tall: float) -> None:
    s = c.f / z
    ovals = [
        _oval(*c.at(x, c.pick(0.2, 0.7) * tall, z), tall * c.pick(0.4, 0.7) * s)
        for x in np.linspace(x0, x1, 36).tolist()
    ]
    tone = c.pick(0.3, 0.4)
    c.paint(
        [*ovals, _box(0, c.at(0, tall * 0.4, z)[1], c.w, c.at(0, 0, z)[1] + 2)],
        (tone * 0.95, tone * 1.15, tone),
        rough=0.2,
        volume=0.02 * c.h,
    )
    c.close("tree", False)


def _crown(c: _Canvas, x: float, y: float, r: float, foot: float) -> None:
    """A tree's trunk and leaves of radius r px, with gaps that show what is behind."""
    c.paint(
        [_limb(x, foot, x, y, r * 0.11, r * 0.07), _limb(x, y + r * 0.6, x + r * 0.4, y, r * 0.05)],
        (0.3, 0.23, 0.17),
        rough=0.15,
        volume=r * 0.06,
    )
    count = int(np.clip(r * 1.5, 24, 170))
    spread = c.rng.standard_normal((count, 2)) * 0.42
    spread *= np.minimum(1, 0.85 / np.maximum(np.hypot(*spread.T), 1e-6))[:, None]
    green = np.array([c.pick(0.24, 0.42), c.pick(0.38, 0.5), c.pick(0.14, 0.22)])
    size = c.rng.uniform(0.05, 0.16, count) * r * (170 / count) ** 0.25
    gaps = [_oval(x + u * r, y + v * r, r * 0.05, r * 0.035, u) for u, v in c.rng.uniform(-0.6, 0.6, (12, 2)).tolist()]
    for level, (tone, share) in enumerate(((0.55, 1.0), (0.85, 0.75), (1.2, 0.5), (1.5, 0.3))):
        move = np.array([c.sun, -1.0]) * 0.07 * level
        blobs = [
            _oval(
                x + (u + move[0]) * r * (1 - 0.06 * level),
                y + (v + move[1]) * r * 0.9,
                s * share,
                s * share * 0.8,
                3 * u,
            )
            for (u, v), s in zip(spread.tolist(), size.tolist(), strict=True)
        ]
        cover = 1.0 if level == 0 else 0.8
        color = (float(green[0] * tone), float(green[1] * tone), float(green[2] * tone))
        c.paint(blobs, color, cuts=gaps, rough=0.3, volume=r * 0.04, opacity=cover)


def _tree(c: _Canvas, x: float, z: float, tall: float) -> None:
    px, foot = c.at(x, 0, z)
    s = c.f / z
    c.shade([_oval(px - c.sun * s, foot, 1.6 * s, 0.28 * s)], 0.4, 0.12 * s)
    _crown(c, px, foot - tall * 0.66 * s, tall * 0.33 * s, foot)
    c.close("tree", False)


def _lamp(c: _Canvas, x: float, z: float, side: int) -> None:
    px, foot = c.at(x, 0, z)
    s = c.f / z
    top = foot - 6 * s
    c.paint(
        [
            _limb(px, foot, px, top, 0.075 * s, 0.045 * s),
            _limb(px, top, px - side * 1.3 * s, top - 0.25 * s, 0.04 * s),
        ],
        (0.36, 0.38, 0.38),
        volume=0.05 * s,
    )
    c.paint(
        [_limb(px - side * 1.3 * s, top - 0.25 * s, px - side * 1.8 * s, top - 0.28 * s, 0.1 * s, 0.06 * s)],
        (0.6, 0.6, 0.58),
        volume=0.05 * s,
    )
    c.close("pole", False)


def _signal(c: _Canvas, x: float, z: float) -> None:
    px, foot = c.at(x, 0, z)
    s = c.f / z
    c.paint([_limb(px, foot, px, foot - 3.4 * s, 0.06 * s)], (0.3, 0.32, 0.32), volume=0.05 * s)
    c.close("pole", False)
    y, on = foot - 3.3 * s, int(c.rng.integers(3))
    c.paint(
        [_box(px - 0.17 * s, y - 0.5 * s, px + 0.17 * s, y + 0.5 * s, 0.06 * s)],
        (0.08, 0.09, 0.09),
        volume=0.04 * s,
    )
    for k, light in enumerate(((1.1, 0.2, 0.15), (1.1, 0.75, 0.15), (0.25, 1.05, 0.5))):
        tone = 1.0 if k == on else 0.25
        c.paint(
            [_oval(px, y + (k - 1) * 0.31 * s, 0.115 * s)],
            (light[0] * tone, light[1] * tone, light[2] * tone),
        )
    c.close("traffic light")


def _sign(c: _Canvas, x: float, z: float) -> None:
    px, foot = c.at(x, 0, z)
    s, kind = c.f / z, int(c.rng.integers(3))
    c.paint([_limb(px, foot, px, foot - 2.4 * s, 0.035 * s)], (0.5, 0.51, 0.52), volume=0.03 * s)
    c.close("pole", False)
    y, corners = foot - 2.5 * s, (8, 32, 3)[kind]
    angle = np.arange(corners) * 2 * np.pi / corners + (np.pi / 8 if corners == 8 else -np.pi / 2)
    shape = np.stack([np.cos(angle), np.sin(angle)], 1) * 0.38 * s
    c.paint([shape + np.array([px, y])], (0.75, 0.1, 0.11), volume=0.03 * s)
    if kind == 0:
        c.paint([_box(px - 0.22 * s, y - 0.06 * s, px + 0.22 * s, y + 0.06 * s)], (0.93, 0.93, 0.92))
    else:
        c.paint([shape * 0.72 + np.array([px, y])], (0.92, 0.92, 0.9))
    c.close("stop sign" if kind == 0 else "traffic sign")


# ---------------------------------------------------------------------- vehicles and people

_PROFILES: dict[str, tuple[float, list[tuple[float, float]], tuple[int, ...], list[list[tuple[float, float]]], list[float], float]] = {
    # half width; side view as (along, up) from the rear foot over the roof to the front foot; which of the faces
    # between its points are glass; side windows; wheels along; wheel radius
    "car": (
        0.88,
        [(-2.1, 0.26), (-2.18, 0.55), (-2.12, 0.85), (-2.0, 0.98), (-1.5, 1.38), (-1.2, 1.47), (-0.6, 1.5), (0.3, 1.46), (1.1, 1.0), (1.95, 0.85), (2.14, 0.65), (2.1, 0.26)],
        (3, 7),
        [[(-1.7, 1.0), (-1.32, 1.36), (-0.45, 1.41), (-0.45, 1.0)], [(-0.36, 1.0), (-0.36, 1.41), (0.22, 1.38), (0.85, 1.0)]],
        [-1.32, 1.32],
        0.33,
    ),
    "bus": (
        1.25,
        [(-5.4, 0.4), (-5.4, 1.5), (-5.35, 2.7), (-5.2, 3.1), (5.1, 3.1), (5.35, 2.8), (5.4, 1.2), (5.4, 0.4)],
        (1, 5),
        [[(a, 1.45), (a, 2.6), (a + 1.35, 2.6), (a + 1.35, 1.45)] for a in (-5.0, -3.5, -2.0, -0.5, 1.0, 2.5, 3.9)],
        [-3.2, 3.4],
        0.48,
    ),
    "truck": (
        1.2,
        [(-4.0, 0.6), (-4.0, 3.2), (2.0, 3.2), (2.1, 2.8), (3.2, 2.6), (3.55, 1.6), (3.6, 0.5)],
        (4,),
        [[(2.25, 1.65), (2.25, 2.4), (3.05, 2.35), (3.3, 1.65)]],
        [-2.6, -1.5, 2.7],
        0.48,
    ),
}  # fmt: skip
_PAINTS = ((0.62, 0.1, 0.1), (0.14, 0.2, 0.42), (0.75, 0.76, 0.78), (0.1, 0.1, 0.11), (0.42, 0.44, 0.46), (0.86, 0.86, 0.84), (0.16, 0.32, 0.24), (0.72, 0.55, 0.16))  # fmt: skip
_CLOTHES = ((0.16, 0.2, 0.33), (0.55, 0.14, 0.15), (0.2, 0.36, 0.28), (0.8, 0.78, 0.72), (0.13, 0.13, 0.14), (0.75, 0.58, 0.2), (0.38, 0.46, 0.6), (0.45, 0.36, 0.28))  # fmt: skip
_SKINS = ((0.85, 0.66, 0.54), (0.72, 0.52, 0.4), (0.5, 0.34, 0.25), (0.35, 0.24, 0.18))


def _one(c: _Canvas, colors: Sequence[Color]) -> Color:
    return colors[int(c.rng.integers(len(colors)))]


def _times(color: Color, tone: float) -> Color:
    return color[0] * tone, color[1] * tone, color[2] * tone


def _vehicle(c: _Canvas, kind: str, x: float, z: float, yaw: float) -> None:
    """A car, bus or truck as a solid: faces turned to the camera, from far to near."""
    half, profile, glassy, windows, wheels, radius = _PROFILES[kind]
    z, yaw = z + profile[-1][0], yaw + c.pick(-0.05, 0.05)
    body = _one(c, _PAINTS) if kind != "bus" else _one(c, _PAINTS[:1] + _PAINTS[5:])
    s = c.f / z
    belt = 1.0 if kind == "car" else 9.0

    def solid(u: float, v: float, y: float) -> tuple[float, float, float]:
        v *= (1 - 0.5 * max(0.0, y - belt)) * (1 - 0.06 * (abs(u) > 2.05) * (belt < 5))
        return (
            x + v * math.cos(yaw) + u * math.sin(yaw),
            y,
            max(1.6, z + u * math.cos(yaw) - v * math.sin(yaw)),
        )

    def face(points: Iterable[tuple[float, float, float]]) -> tuple[Ring, float]:
        corners = [solid(*p) for p in points]
        return _ring(*(c.at(*p) for p in corners)), float(np.mean([math.hypot(p[0], p[2]) for p in corners]))

    ground, _ = face([(u * 1.03, v * 1.08, 0) for u, v in ((-2.1, -half), (-2.1, half), (2.1, half), (2.1, -half))] if kind == "car"
                     else [(profile[k][0], v * half, 0) for k, v in ((0, -1), (0, 1), (-1, 1), (-1, -1))])  # fmt: skip
    c.shade([ground + np.array([-c.sun * 0.15 * s, 0.0])], 0.6, 0.1 * s)
    faces: list[tuple[float, Ring, Color, str, int]] = []
    for k, ((u0, y0), (u1, y1)) in enumerate(itertools.pairwise(profile)):
        ring, depth = face([(u0, -half, y0), (u1, -half, y1), (u1, half, y1), (u0, half, y0)])
        flat = abs(u1 - u0) / math.hypot(u1 - u0, y1 - y0)
        faces.append((depth, ring, _times(body, 0.72 + 0.5 * flat), "glass" if k in glassy else "strip", k))
    for side in (-1, 1):
        ring, depth = face([(u, side * half, y) for u, y in profile])
        lit = 1.0 if side * c.sun * math.cos(yaw) > 0 else 0.8
        faces.append((depth, ring, _times(body, 0.85 * lit), "side", side))
    toward = z * math.sin(yaw) - x * math.cos(yaw)
    seen = [
        item
        for item in sorted(faces, key=lambda item: -item[0])
        if (item[4] * toward > half if item[3] == "side" else shoelace(item[1]) > 0)
    ]
    for _, ring, color, what, k in seen:
        c.paint([ring], color, rough=0.02, volume=0.07 * s)
        if what == "glass":
            inner = ring.mean(0) + (ring - ring.mean(0)) * 0.86
            c.paint([inner], (0.14, 0.17, 0.2), rough=0.12)
            c.paint(
                [np.vstack([inner[:2], inner[2:3] * 0.4 + inner[1:2] * 0.6])],
                (0.55, 0.62, 0.7),
                opacity=0.35,
                part=False,
            )
        elif what == "side":
            for window in windows:
                c.paint([face([(u, k * half * 1.005, y) for u, y in window])[0]], (0.15, 0.18, 0.21), rough=0.15)
            c.paint(
                [face([(u, k * half, y) for u, y in ((-2.0, 0.72), (2.0, 0.7), (2.0, 0.73), (-2.0, 0.75))])[0]],
                _times(color, 0.6),
                opacity=0.5,
            )
            turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)
            for u in wheels:
                for r, tone in (
                    (radius * 1.15, (0.05, 0.05, 0.06)),
                    (radius, (0.11, 0.11, 0.12)),
                    (radius * 0.62, (0.55, 0.56, 0.58)),
                    (radius * 0.2, (0.25, 0.25, 0.26)),
                ):
                    disc = [
                        (u + r * a, k * half * 1.01, max(0.0, radius + r * b))
                        for a, b in zip(np.cos(turn).tolist(), np.sin(turn).tolist(), strict=True)
                    ]
                    c.paint([face(disc)[0]], tone, volume=0.03 * s)
    rear = any(what in ("strip", "glass") and k == 0 for *_, what, k in seen)
    end, sign = (profile[0][0] - 0.05, 1) if rear else (profile[-1][0] + 0.03, -1)
    wide = half * 0.95
    plates: list[Ring] = []
    for v in (-1, 1):
        c.paint(
            [
                face(
                    [
                        (end, v * wide, 0.72),
                        (end, v * wide * 0.62, 0.72),
                        (end, v * wide * 0.62, 0.9),
                        (end, v * wide, 0.9),
                    ]
                )[0]
            ],
            (0.75, 0.08, 0.06) if rear else (0.95, 0.94, 0.86),
            volume=0.03 * s,
        )
        c.paint(
            [
                face(
                    [
                        (end, v * wide * 0.9, 0.0),
                        (end, v * wide * 0.64, 0.0),
                        (end, v * wide * 0.64, 0.34),
                        (end, v * wide * 0.9, 0.34),
                    ]
                )[0]
            ],
            (0.06, 0.06, 0.06),
        )
    c.paint(
        [face([(end, -wide, 0.34), (end, wide, 0.34), (end, wide, 0.48), (end, -wide, 0.48)])[0]],
        _times(body, 0.4),
        volume=0.03 * s,
    )
    c.close(kind)
    if sign and s > 10:
        plates.append(face([(end, -0.26, 0.52), (end, 0.26, 0.52), (end, 0.26, 0.64), (end, -0.26, 0.64)])[0])
        c.paint(plates, (0.93, 0.92, 0.86))
        c.close("license plate")


Joints = dict[str, tuple[float, float]]


def _body(
    c: _Canvas, x: float, foot: float, tall: float, way: float, ride: bool = False
) -> list[tuple[str, float, float]]:
    """A person `tall` px high looking to the left (way −1) or right; returns COCO's 17 body points."""
    swing = c.pick(0.3, 1.0)
    lean = 0.14 if ride else 0.02
    j: Joints = {"hip": (0.0, 0.52), "neck": (lean, 0.84), "head": (lean * 1.35, 0.925)}
    for name, k in (("l", 1.0), ("r", -1.0)):
        j[name + "knee"] = (0.07 * k * swing + 0.02, 0.28)
        j[name + "ankle"] = (0.13 * k * swing - 0.01, 0.035 + 0.02 * (k < 0))
        j[name + "elbow"] = (lean - 0.07 * k * swing, 0.66)
        j[name + "wrist"] = (lean - 0.08 * k * swing + 0.05, 0.52)
        if ride:
            j[name + "knee"], j[name + "ankle"] = (0.15 - 0.03 * k, 0.37 + 0.06 * k), (0.05, 0.17 + 0.08 * k)
            j[name + "elbow"], j[name + "wrist"] = (0.17, 0.66), (0.29, 0.6)
    p = {name: (x + way * u * tall, foot - v * tall) for name, (u, v) in j.items()}
    skin, top, legs, hair = (
        _one(c, _SKINS),
        _one(c, _CLOTHES),
        _one(c, _CLOTHES[:1] + _CLOTHES[4:5] + _CLOTHES[6:]),
        _one(c, ((0.1, 0.08, 0.07), (0.3, 0.2, 0.12), (0.6, 0.47, 0.28), (0.5, 0.5, 0.5))),
    )
    v, t = 0.018 * tall, tall
    for name, dim in (("r", 0.75), ("l", 1.0)):
        if name == "l":
            c.paint(
                [
                    _limb(*p["neck"], *p["hip"], 0.078 * t, 0.07 * t),
                    _limb(
                        p["neck"][0],
                        p["neck"][1] + 0.03 * t,
                        p["hip"][0],
                        p["hip"][1] - 0.04 * t,
                        0.088 * t,
                        0.076 * t,
                    ),
                ],
                top,
                rough=0.1,
                volume=v * 1.6,
            )
        c.paint(
            [
                _limb(*p["hip"], *p[name + "knee"], 0.062 * t, 0.046 * t),
                _limb(*p[name + "knee"], *p[name + "ankle"], 0.044 * t, 0.03 * t),
            ],
            _times(legs, dim),
            rough=0.1,
            volume=v,
        )
        a = p[name + "ankle"]
        c.paint(
            [
                _limb(
                    a[0] - way * 0.015 * t,
                    a[1] + 0.018 * t,
                    a[0] + way * 0.06 * t,
                    a[1] + 0.022 * t,
                    0.024 * t,
                    0.017 * t,
                )
            ],
            (0.12, 0.1, 0.1),
            volume=v / 2,
        )
        shoulder = (p["neck"][0], p["neck"][1] + 0.03 * t)
        c.paint(
            [
                _limb(*shoulder, *p[name + "elbow"], 0.036 * t, 0.03 * t),
                _limb(*p[name + "elbow"], *p[name + "wrist"], 0.03 * t, 0.022 * t),
            ],
            _times(top, dim * 0.92),
            rough=0.1,
            volume=v,
        )
        c.paint([_oval(*p[name + "wrist"], 0.026 * t)], skin, volume=v)
    h = p["head"]
    c.paint(
        [
            _limb(*p["neck"], *h, 0.03 * t),
            _oval(h[0], h[1], 0.05 * t, 0.064 * t),
            _oval(h[0] + way * 0.05 * t, h[1] + 0.008 * t, 0.012 * t),
        ],
        skin,
        volume=v,
    )
    c.paint(
        [
            _oval(h[0] - way * 0.016 * t, h[1] - 0.025 * t, 0.054 * t, 0.048 * t),
            _oval(h[0] - way * 0.035 * t, h[1] + 0.005 * t, 0.034 * t, 0.05 * t),
        ],
        _one(c, _PAINTS) if ride else hair,
        rough=0.15,
        volume=v,
    )
    if not ride and c.pick(0, 1) < 0.4:
        c.paint(
            [
                _box(
                    p["hip"][0] - way * 0.14 * t,
                    p["hip"][1] - 0.28 * t,
                    p["hip"][0] - way * 0.06 * t,
                    p["hip"][1] - 0.06 * t,
                    0.03 * t,
                )
            ],
            _one(c, _CLOTHES),
            rough=0.1,
            volume=v,
        )
    points = [("nose", h[0] + way * 0.055 * t, h[1] + 0.005 * t)]
    for name, k in (("left", 1), ("right", -1)):
        points += [
            (name + "_eye", h[0] + way * (0.035 + 0.008 * k) * t, h[1] - 0.012 * t),
            (name + "_ear", h[0] - way * 0.01 * k * t, h[1]),
        ]
    places = (
        ("shoulder", "neck", 0.03),
        ("elbow", "elbow", 0.0),
        ("wrist", "wrist", 0.0),
        ("hip", "hip", 0.0),
        ("knee", "knee", 0.0),
        ("ankle", "ankle", 0.0),
    )
    for part, at, low in places:
        for name in ("left", "right"):
            joint = p[at if at in p else name[0] + at]
            points.append(
                (
                    f"{name}_{part}",
                    joint[0] + (0.02 * t if name == "left" else -0.02 * t) * (at in p),
                    joint[1] + low * t,
                )
            )
    order = {name: k for k, name in enumerate(KEYPOINTS)}
    return sorted(points, key=lambda point: order[point[0]])


KEYPOINTS = ("nose", *(f"{side}_{part}" for part in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle") for side in ("left", "right")))  # fmt: skip
"""COCO's names of body points, in COCO's order."""


def _walker(c: _Canvas, x: float, z: float) -> None:
    px, foot = c.at(x, 0, z)
    s = c.f / z
    c.shade([_oval(px - c.sun * 0.3 * s, foot, 0.5 * s, 0.09 * s)], 0.5, 0.05 * s)
    c.close("person", points=_body(c, px, foot, c.pick(1.5, 1.9) * s, float(c.rng.choice([-1, 1]))))


def _group(c: _Canvas, x: float, z: float) -> None:
    """People too close together to tell apart: one crowd."""
    for k in range(6):
        zk = z + 2.5 - 0.4 * k
        px, foot = c.at(x + c.pick(-1.2, 1.2), 0, zk)
        _body(c, px, foot, c.pick(1.5, 1.85) * c.f / zk, float(c.rng.choice([-1, 1])))
    c.close("person", crowd=True)


def _bicycle(c: _Canvas, x: float, foot: float, s: float, way: float) -> None:
    """A bicycle from the side; the wheels are rings."""

    def at(u: float, v: float) -> tuple[float, float]:
        return x + way * u * s, foot - v * s

    rear, front, pedal, seat, bar = (
        at(-0.52, 0.34),
        at(0.52, 0.34),
        at(-0.06, 0.3),
        at(-0.2, 0.88),
        at(0.36, 0.95),
    )
    for wheel in (rear, front):
        c.paint(_wheel(*wheel, 0.32 * s, 0.03 * s), (0.08, 0.08, 0.09), volume=0.02 * s)
        c.paint([_oval(*wheel, 0.05 * s)], (0.4, 0.4, 0.42))
    c.paint(
        [
            _limb(*a, *b, 0.024 * s)
            for a, b in (
                (rear, pedal),
                (pedal, seat),
                (seat, rear),
                (pedal, bar),
                (bar, front),
                (at(-0.17, 0.8), at(0.38, 0.86)),
            )
        ],
        _one(c, _PAINTS),
        volume=0.02 * s,
    )
    c.paint(
        [
            _limb(*at(-0.3, 0.92), *at(-0.1, 0.92), 0.04 * s, 0.025 * s),
            _limb(*bar, *at(0.42, 1.03), 0.025 * s),
            _oval(*pedal, 0.07 * s),
        ],
        (0.1, 0.09, 0.09),
    )


def _cyclist(c: _Canvas, x: float, z: float) -> None:
    px, foot = c.at(x, 0, z)
    s, way = c.f / z, float(c.rng.choice([-1, 1]))
    c.shade([_oval(px, foot, 0.95 * s, 0.07 * s)], 0.5, 0.05 * s)
    _bicycle(c, px, foot, s, way)
    c.close("bicycle")
    c.close("rider", points=_body(c, px - way * 0.2 * s, foot - 0.02 * s, 1.72 * s, way, ride=True))


def _rack(c: _Canvas, x: float, z: float) -> None:
    """Parked bicycles, one behind the other: one crowd."""
    for k in range(4):
        zk = z + 1.5 - 0.5 * k
        px, foot = c.at(x + 0.25 * k, 0, zk)
        c.shade([_oval(px, foot, 0.9 * c.f / zk, 0.06 * c.f / zk)], 0.35, 0.05 * c.f / zk)
        _bicycle(c, px, foot, c.f / zk, 1.0)
    c.close("bicycle", crowd=True)


# ---------------------------------------------------------------------- objects


def objects(rng: np.random.Generator, height: int, width: int) -> Scene:
    """Animals and people on a meadow, or things on a table: image (height, width, 3) and regions."""
    c = _Canvas(rng, height, width)
    (_meadow if rng.random() < 0.5 else _table)(c)
    return c.finish()


def landscape(rng: np.random.Generator, height: int, width: int) -> Scene:
    """A meadow with trees and nobody on it: image (height, width, 3) and regions, none of them a thing."""
    c = _Canvas(rng, height, width)
    _field(c)
    return c.finish()


_BEASTS: dict[str, tuple[float, float, float, float, tuple[Color, ...]]] = {
    # height m, leg share, neck length and slope, coats
    "dog": (0.7, 0.5, 0.22, 0.9, ((0.55, 0.38, 0.2), (0.2, 0.16, 0.13), (0.8, 0.7, 0.52))),
    "cat": (0.45, 0.42, 0.12, 0.8, ((0.78, 0.5, 0.24), (0.42, 0.4, 0.38), (0.14, 0.13, 0.13))),
    "horse": (1.6, 0.58, 0.45, 1.0, ((0.42, 0.24, 0.13), (0.3, 0.17, 0.1), (0.62, 0.55, 0.47))),
    "sheep": (0.9, 0.4, 0.15, 0.6, ((0.86, 0.83, 0.75), (0.8, 0.75, 0.66))),
    "cow": (1.5, 0.45, 0.2, 0.35, ((0.85, 0.82, 0.78), (0.48, 0.27, 0.15))),
}


def _beast(c: _Canvas, kind: str, x: float, foot: float, s: float, way: float) -> None:
    """An animal from the side; `s` px a metre."""
    tall, share, neck, slope, coats = _BEASTS[kind]
    t = tall * s
    coat, r = _one(c, coats), (1 - share) * 0.42 * t
    long, low = 1.05 * t if kind != "cat" else 0.95 * t, foot - (share + 0.5 * (1 - share)) * t
    front, rear = x + way * 0.5 * long * 0.72, x - way * 0.5 * long * 0.72
    c.shade([_oval(x - c.sun * 0.1 * t, foot, 0.75 * long, 0.09 * t)], 0.5, 0.05 * t)
    leg = 0.24 * r + 0.012 * t

    def paint(parts: list[Ring], tone: float = 1.0, rough: float = 0.13) -> None:
        c.paint(parts, _times(coat, tone), rough=0.16 if kind == "sheep" else rough, volume=0.3 * r)

    for at, tone in ((0.06, 0.62), (-0.06, 0.92)):
        for base in (front - way * 0.1 * r, rear + way * 0.2 * r):
            knee, hoof = (
                base + way * (at + c.pick(-0.03, 0.03)) * t,
                base + way * (1.4 * at + c.pick(-0.05, 0.05)) * t,
            )
            paint(
                [
                    _limb(base, low, knee, foot - share * 0.5 * t, leg * 1.9, leg),
                    _limb(knee, foot - share * 0.5 * t, hoof, foot - 0.02 * t, leg, leg * 0.8),
                ],
                tone,
            )
            c.paint(
                [_limb(hoof, foot - 0.02 * t, hoof + way * leg, foot - 0.015 * t, leg)],
                _times(coat, 0.5),
                volume=leg / 2,
            )
    tip = (
        rear - way * (0.5 if kind == "cat" else 0.3) * t,
        low - (0.5 if kind in ("cat", "dog") else -0.35) * t * (0.9 if kind != "sheep" else 0.3),
    )
    line = [
        (
            (1 - q) * (rear - way * 0.6 * r) + q * tip[0],
            (1 - q) * (low - 0.5 * r) + q * tip[1] + 0.15 * t * math.sin(3 * q) * (1 if kind == "cat" else -0.3),
        )
        for q in np.linspace(0, 1, 8).tolist()
    ]
    paint(_stroke(np.array(line), (0.1 if kind == "cow" else 0.16) * r + 0.012 * t), 0.85)
    body = [
        _limb(rear, low, front, low, r * 1.05, r),
        _oval(front, low + 0.05 * r, r * 1.08),
        _oval(rear, low, r * 1.12),
    ]
    if kind == "sheep":
        body += [
            _oval(x + u * long * 0.62, low + v * r * 0.85, 0.4 * r) for u, v in c.rng.uniform(-1, 1, (26, 2)).tolist()
        ]
    paint(body)
    if kind == "cow":
        spots = [
            _oval(x + u * 0.5 * long, low + v * 0.6 * r, c.pick(0.15, 0.4) * r, c.pick(0.15, 0.3) * r, u * 3)
            for u, v in c.rng.uniform(-0.8, 0.8, (5, 2)).tolist()
        ]
        c.paint(spots, (0.14, 0.11, 0.1), rough=0.1)
    hx, hy, hr = (
        front + way * (0.55 * r + neck * t),
        low - neck * slope * t - 0.5 * r,
        (0.36 if kind == "horse" else 0.5 if kind != "cat" else 0.75) * r + 0.015 * t,
    )
    paint([_limb(front + way * 0.25 * r, low - 0.2 * r, hx, hy, 0.7 * r, 0.8 * hr)])
    for tone, off in ((0.65, 0.35), (0.8, -0.25)):
        if kind in ("cat", "dog", "horse"):
            up = 1.75 if kind != "dog" else 1.35
            paint(
                [
                    _ring(
                        (hx - way * hr * (off + 0.45), hy - hr * 0.6),
                        (hx - way * hr * off, hy - up * hr),
                        (hx - way * hr * (off - 0.5), hy - hr * 0.7),
                    )
                ],
                tone,
            )
        else:
            paint([_oval(hx - way * (off + 0.6) * hr, hy - 0.55 * hr, 0.6 * hr, 0.25 * hr, -0.5 * way)], tone)
    nose = (hx + way * (0.75 if kind == "cat" else 1.7) * hr, hy + (0.2 if kind == "cat" else 0.75) * hr)
    head = 0.75 if kind == "sheep" else 1.0
    paint([_oval(hx, hy, hr, hr * 0.92), _limb(hx, hy + 0.1 * hr, *nose, hr * 0.8, hr * 0.42)], head)
    c.paint([_oval(nose[0] + way * hr * 0.3, nose[1] - hr * 0.12, hr * 0.17)], (0.08, 0.06, 0.06))
    c.paint([_oval(hx + way * hr * 0.35, hy - hr * 0.25, hr * 0.13)], (0.05, 0.04, 0.03))
    c.paint([_oval(hx + way * hr * 0.38, hy - hr * 0.29, hr * 0.045)], (0.95, 0.95, 0.95))
    if kind == "horse":
        c.paint(
            [
                _limb(
                    hx - way * hr * (0.6 + 1.3 * q),
                    hy - hr * 0.5 + 2.0 * r * q,
                    hx - way * hr * (1.5 + 1.3 * q),
                    hy + hr * 0.5 + 2.0 * r * q,
                    hr * 0.4,
                )
                for q in (0.0, 0.3, 0.6, 0.9)
            ],
            (0.1, 0.08, 0.07),
            rough=0.2,
            volume=0.2 * hr,
        )
    c.close(kind)


def _field(c: _Canvas) -> None:
    c.horizon = c.pick(0.3, 0.42) * c.h
    c.f *= 1.2
    _sky(c)
    _hedge(c, -60, 60, 80, c.pick(8, 14))
    base = np.array([c.pick(0.3, 0.42), c.pick(0.42, 0.52), 0.2], np.float32)

    def grass(y: Array, x: Array) -> Array:
        z = c.f * c.eye / np.maximum(y - c.horizon, 0.5)
        u = (x - c.middle) * z / c.f
        tone = 1 + 0.10 * c.cloud[(z * 12).astype(int) % 512, (u * 12).astype(int) % 512]
        tone += 0.10 * np.clip(1.3 - z / 30, 0.2, 1) * c.fine[(z * 40).astype(int) % 512, (u * 120).astype(int) % 512]
        return np.asarray(base * tone[..., None], np.float32)

    c.paint([_box(0, c.horizon, c.w, c.h)], grass, rough=0.05)
    c.close("grass", False)
    for _ in range(2):
        _tree(c, c.pick(-16, 16), c.pick(22, 40), c.pick(6, 9))
    for tone in (0.7, 1.0, 1.3):
        y = c.horizon + (c.h - c.horizon) * c.rng.uniform(0.1, 1.1, 450) ** 0.6
        x, s = c.rng.uniform(0, c.w, 450), (y - c.horizon) * 0.07
        bend = c.rng.uniform(-0.7, 0.7, 450)
        blades = [
            _ring((a - 0.12 * k, b), (a + 0.12 * k, b), (a + v * k, b - k))
            for a, b, k, v in zip(x.tolist(), y.tolist(), s.tolist(), bend.tolist(), strict=True)
        ]
        c.paint(
            blades,
            (float(base[0] * tone), float(base[1] * tone), float(base[2] * tone)),
            part=False,
            opacity=0.7,
        )


def _meadow(c: _Canvas) -> None:
    _field(c)
    kinds = c.rng.permutation(["dog", "horse", "sheep", "cow", "cat"]).tolist()
    spots: list[tuple[float, str]] = [(c.pick(4, 9), "person")]
    for k in range(6):
        kind = kinds[k % 5] if c.pick(0, 1) < 0.7 else kinds[0]
        spots.append((c.pick(2.6, 6) if kind in ("cat", "dog") else c.pick(4, 13), kind))
    flock = c.pick(0, 1) < 0.6
    for k in range(7 if flock else 0):
        _flock(c, k)
    if flock:
        c.close("sheep", crowd=True)
    for z, kind in sorted(spots, reverse=True):
        x = c.pick(-0.5, 0.5) * z
        if kind == "person":
            _walker(c, x, z)
        else:
            px, foot = c.at(x, 0, z)
            _beast(c, kind, px, min(foot, 0.98 * c.h), c.f / z, float(c.rng.choice([-1, 1])))


def _flock(c: _Canvas, k: int) -> None:
    regions = len(c.regions)
    x, foot = c.at(6 + 1.1 * k + c.pick(-0.4, 0.4), 0, 30 + c.pick(-2, 2))
    _beast(c, "sheep", x - c.w * 0.1, foot, c.f / 26, 1.0)
    last = c.regions[regions:]
    del c.regions[regions:]
    c.parts += [ring for region in last for ring in region.rings]


def _table(c: _Canvas) -> None:
    wall, edge = (
        np.array([c.pick(0.6, 0.85), c.pick(0.62, 0.78), c.pick(0.55, 0.75)], np.float32),
        c.pick(0.5, 0.6) * c.h,
    )
    stripes = c.pick(0.0, 0.05)

    def paper(y: Array, x: Array) -> Array:
        light = 1.05 - 0.45 * np.hypot((x / c.w - 0.5 + 0.35 * c.sun), y / c.h * 0.7)
        return np.asarray(wall * (light + stripes * (np.sin(x * 60 / c.w) > 0))[..., None], np.float32)

    c.paint([_box(0, 0, c.w, c.h)], paper, rough=0.015)
    c.close("wall", False)
    s = c.h / 100
    x = c.pick(0.2, 0.8) * c.w
    c.paint([_box(x - 26 * s, 6 * s, x + 26 * s, 38 * s, s)], (0.06, 0.06, 0.07), volume=s)
    c.paint(
        [_box(x - 24.5 * s, 7.5 * s, x + 24.5 * s, 35.5 * s)],
        lambda yy, xx: np.asarray(
            np.array([0.2, 0.35, 0.5]) * (0.5 + 0.5 * xx / c.w + 0.2 * (yy < 22 * s))[..., None], np.float32
        ),
        rough=0.1,
    )
    c.close("tv")
    for k in (0.12, 0.85):
        _chair(c, k * c.w + c.pick(-5, 5) * s, edge + 25 * s, s)
    wood = np.array(_one(c, ((0.55, 0.36, 0.2), (0.7, 0.52, 0.33), (0.4, 0.26, 0.17))), np.float32)

    def boards(y: Array, x: Array) -> Array:
        depth = 60 * s / (y - edge + 25 * s)
        u = (x - c.w / 2) * depth
        grain = c.cloud[(u * 1.2).astype(int) % 512, (depth * 60 + 40 * (u // (30 * s))).astype(int) % 512]
        tone = 1 + 0.07 * grain - 0.25 * (u % (30 * s) < 0.5 * s * depth) + 0.15 * (y - edge) / c.h
        return np.asarray(wood * tone[..., None], np.float32)

    c.paint(
        [_ring((c.w * 0.04, edge), (c.w * 0.96, edge), (c.w * 1.1, c.h), (-c.w * 0.1, c.h))],
        boards,
        rough=0.03,
    )
    c.close("table")
    makers: list[Callable[[_Canvas, float, float, float], None]] = [
        _bottle,
        _donut,
        _cup,
        _fruit,
        _bowl,
        _plant,
        _bottle,
        _donut,
        _fruit,
    ]
    c.rng.shuffle(makers)
    rows = sorted(edge + q * (c.h - edge) for q in c.rng.uniform(0.12, 0.92, len(makers)).tolist())
    places = c.rng.permutation(len(makers)).tolist()
    for y, place, make in zip(rows, places, makers, strict=True):
        scale = s * (0.55 + 0.75 * (y - edge) / (c.h - edge))
        make(c, c.w * (0.1 + 0.8 * (place + c.pick(-0.2, 0.2)) / len(makers) + 0.02), y, scale)
        if place == 2:
            _beast(c, "cat", c.w * c.pick(0.3, 0.7), y + 2 * s, scale * 62, float(c.rng.choice([-1, 1])))
    if c.pick(0, 1) < 0.7:
        x, y = c.w * c.pick(0.2, 0.8), c.h * 0.9
        for u, v in sorted(c.rng.uniform(-1, 1, (14, 2)).tolist(), key=lambda item: item[1]):
            _apple(c, x + u * 14 * s, y + v * 5 * s, 4 * s)
        c.close("apple", crowd=True)


def _below(c: _Canvas, x: float, y: float, rx: float, s: float) -> None:
    c.shade([_oval(x - c.sun * rx * 0.5, y, rx * 1.35, rx * 0.4)], 0.5, 1.2 * s)


def _bottle(c: _Canvas, x: float, y: float, s: float) -> None:
    _below(c, x, y, 5 * s, s)
    glass = _one(c, ((0.1, 0.3, 0.16), (0.3, 0.17, 0.06), (0.16, 0.26, 0.38)))
    c.paint(
        [
            _box(x - 5 * s, y - 24 * s, x + 5 * s, y + 1.2 * s, 3 * s),
            _limb(x, y - 22 * s, x, y - 30 * s, 4.4 * s, 1.7 * s),
            _box(x - 1.7 * s, y - 38 * s, x + 1.7 * s, y - 28 * s),
        ],
        glass,
        rough=0.1,
        volume=1.6 * s,
    )
    c.paint([_box(x - 2 * s, y - 40 * s, x + 2 * s, y - 36 * s, 0.6 * s)], (0.62, 0.16, 0.14), volume=0.8 * s)
    c.paint(
        [_box(x - 5 * s, y - 17 * s, x + 5 * s, y - 6 * s)],
        _one(c, ((0.88, 0.84, 0.72), (0.8, 0.3, 0.2), (0.85, 0.75, 0.35))),
        rough=0.06,
        volume=1.6 * s,
    )
    c.paint(
        [_limb(x + c.sun * 3 * s, y - 21 * s, x + c.sun * 3 * s, y - 4 * s, 0.6 * s)],
        (0.95, 0.97, 1.0),
        opacity=0.5,
    )
    c.close("bottle")


def _donut(c: _Canvas, x: float, y: float, s: float) -> None:
    _below(c, x, y, 8 * s, s)
    hole = [_oval(x, y - 4.2 * s, 2.6 * s, 1.5 * s)]
    c.paint([_oval(x, y - 3 * s, 9 * s, 5.6 * s)], (0.7, 0.46, 0.24), cuts=hole, rough=0.1, volume=1.6 * s)
    wave = _oval(x, y - 4 * s, 8.3 * s, 4.5 * s) + 0.35 * s * np.sin(np.arange(32) * 2.4)[:, None]
    c.paint([wave], _one(c, ((0.9, 0.5, 0.6), (0.28, 0.15, 0.1), (0.93, 0.9, 0.84))), cuts=hole, volume=1.4 * s)
    bits = [
        (x + r * 5.6 * s * math.cos(a), y - 4.2 * s + r * 3 * s * math.sin(a), a)
        for r, a in zip(c.rng.uniform(0.75, 1.15, 26).tolist(), c.rng.uniform(0, 6.3, 26).tolist(), strict=True)
    ]
    for k, (u, v, a) in enumerate(bits):
        c.paint(
            [_limb(u, v, u + s * math.cos(3 * a), v + 0.6 * s * math.sin(3 * a), 0.22 * s)],
            ((0.9, 0.8, 0.2), (0.2, 0.5, 0.8), (0.95, 0.95, 0.95))[k % 3],
            part=False,
        )
    c.close("donut")


def _cup(c: _Canvas, x: float, y: float, s: float) -> None:
    _below(c, x, y, 6 * s, s)
    glaze = _one(c, ((0.85, 0.84, 0.8), (0.25, 0.4, 0.55), (0.7, 0.3, 0.22)))
    handle = _oval(x + 6.6 * s, y - 7 * s, 3 * s, 3.6 * s)
    c.paint(_stroke(np.vstack([handle, handle[:1]]), 0.8 * s), glaze, volume=0.6 * s)
    c.paint(
        [
            _ring(
                (x - 6 * s, y - 13 * s),
                (x + 6 * s, y - 13 * s),
                (x + 5 * s, y),
                (x + 3 * s, y + 1.2 * s),
                (x - 3 * s, y + 1.2 * s),
                (x - 5 * s, y),
            ),
            _oval(x, y - 13 * s, 6 * s, 1.9 * s),
        ],
        glaze,
        volume=1.6 * s,
    )
    c.paint([_oval(x, y - 13 * s, 5.4 * s, 1.5 * s)], (0.25, 0.15, 0.09))
    c.close("cup")


def _apple(c: _Canvas, x: float, y: float, r: float) -> None:
    c.shade([_oval(x - c.sun * r * 0.4, y + r * 0.8, r, r * 0.35)], 0.4, r * 0.2)
    c.paint(
        [_oval(x - 0.12 * r, y, r * 0.9, r * 0.92), _oval(x + 0.12 * r, y, r * 0.9, r * 0.92)],
        _one(c, ((0.72, 0.12, 0.1), (0.55, 0.65, 0.2), (0.8, 0.4, 0.15))),
        rough=0.12,
        volume=0.4 * r,
    )
    c.paint([_limb(x, y - 0.75 * r, x + 0.15 * r, y - 1.2 * r, 0.06 * r)], (0.25, 0.17, 0.1))
    c.paint([_oval(x + c.sun * 0.35 * r, y - 0.4 * r, 0.2 * r, 0.13 * r)], (1, 1, 1), opacity=0.4)


def _fruit(c: _Canvas, x: float, y: float, s: float) -> None:
    if c.pick(0, 1) < 0.5:
        _apple(c, x, y - 4 * s, 5 * s)
        c.close("apple")
        return
    _below(c, x, y, 9 * s, s)
    bend = np.linspace(0.25, 2.8, 14)
    line = np.stack([x + 11 * s * np.cos(bend), y - 9 * s + 9 * s * np.sin(bend)], 1)
    c.paint(_stroke(line, 2.0 * s), (0.88, 0.74, 0.2), rough=0.1, volume=1.2 * s)
    c.paint([_oval(line[k, 0], line[k, 1], r * s) for k, r in ((0, 1.3), (-1, 1.1))], (0.3, 0.22, 0.1))
    c.close("banana")


def _bowl(c: _Canvas, x: float, y: float, s: float) -> None:
    _below(c, x, y, 9 * s, s)
    turn = np.linspace(0, np.pi, 20)
    side = np.stack([x + 13 * s * np.cos(turn), y - 9 * s + 10 * s * np.sin(turn)], 1)
    glaze = _one(c, ((0.88, 0.87, 0.84), (0.25, 0.42, 0.5), (0.55, 0.3, 0.2)))
    c.paint([side, _oval(x, y - 9 * s, 13 * s, 3.4 * s)], glaze, volume=2 * s)
    c.paint([_oval(x, y - 9 * s, 12 * s, 2.8 * s)], _times(glaze, 0.5))
    c.close("bowl")
    rim = np.stack([x + 13 * s * np.cos(turn), y - 9 * s + 3.4 * s * np.sin(turn)], 1)
    front = np.vstack([rim, side[::-1]])
    for u, v in ((-6, 11), (5, 11), (-0.5, 12)):
        _apple(c, x + u * s, y - v * s, 4.3 * s)
        c.cuts.append(front)
        c.close("apple")
    c.paint([front], glaze, volume=1.5 * s, part=False)


def _plant(c: _Canvas, x: float, y: float, s: float) -> None:
    _below(c, x, y, 7 * s, s)
    for k in range(26):
        a, long = c.pick(-1.25, 1.25), c.pick(13, 24) * s
        tip, mid = (
            (x + long * math.sin(a), y - 13 * s - long * math.cos(a) * 0.9),
            (x + 0.5 * long * math.sin(a * 0.7), y - 13 * s - 0.6 * long * math.cos(a * 0.7)),
        )
        tone = 0.6 + 0.022 * k
        c.paint(
            [_limb(x, y - 13 * s, *mid, 0.4 * s, 1.9 * s), _limb(*mid, *tip, 1.9 * s, 0.3 * s)],
            (0.22 * tone, 0.5 * tone, 0.2 * tone),
            rough=0.12,
            volume=0.7 * s,
        )
    c.paint(
        [
            _ring((x - 7 * s, y - 14 * s), (x + 7 * s, y - 14 * s), (x + 5 * s, y + s), (x - 5 * s, y + s)),
            _box(x - 7.6 * s, y - 15 * s, x + 7.6 * s, y - 12 * s, s),
        ],
        (0.68, 0.36, 0.22),
        rough=0.1,
        volume=1.8 * s,
    )
    c.close("potted plant")


def _chair(c: _Canvas, x: float, y: float, s: float) -> None:
    wood = _one(c, ((0.35, 0.2, 0.12), (0.6, 0.42, 0.25), (0.8, 0.78, 0.74)))
    for u in (-11, 11):
        c.paint([_limb(x + u * s, y, x + u * s * 0.95, y - 50 * s, 1.3 * s)], wood, rough=0.1, volume=0.9 * s)
    for v in (48, 38, 28):
        c.paint(
            [_limb(x - 11 * s, y - v * s, x + 11 * s, y - v * s, 1.7 * s)],
            _times(wood, 0.95),
            rough=0.1,
            volume=0.9 * s,
        )
    c.paint([_box(x - 13 * s, y - 14 * s, x + 13 * s, y - 9 * s, s)], wood, rough=0.1, volume=s)
    c.close("chair")
