"""The scenes: a street, a laid table, a meadow."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from segdata.demo.synthetic import things
from segdata.demo.synthetic.scene import Color, Ring, Scene
from segdata.demo.synthetic.shapes import Canvas, box, limb, oval, ring
from segdata.demo.synthetic.things import BLACK, BROWN, COATS, DARK, DRAWINGS, FURS, GREEN, GREY, RED, WHITE, YELLOW

SKY, GRASS, LEAVES, WOOD = (0.62, 0.76, 0.92), (0.38, 0.5, 0.22), (0.24, 0.4, 0.16), (0.58, 0.4, 0.24)


def objects(rng: np.random.Generator, height: int, width: int) -> Scene:
    """Animals and people on a meadow, or things on a table: image (height, width, 3) and regions."""
    c = Canvas(rng, height, width)
    (_meadow if rng.random() < 0.5 else _table)(c)
    return c.finish()


def laid_table(rng: np.random.Generator, height: int, width: int) -> Scene:
    """Things on a table, chairs at it: image (height, width, 3) and regions."""
    c = Canvas(rng, height, width)
    _table(c)
    return c.finish()


def landscape(rng: np.random.Generator, height: int, width: int) -> Scene:
    """A meadow with trees and nobody on it: image (height, width, 3) and regions, none of them a thing."""
    c = Canvas(rng, height, width)
    _field(c)
    return c.finish()


def street(rng: np.random.Generator, height: int, width: int, *, ego: bool = False) -> Scene:
    """A town street seen from a car: image (height, width, 3) and regions; `ego` shows the bonnet of that car."""
    c = Canvas(rng, height, width)
    curb, wall = c.pick(3.4, 4.6), c.pick(6.5, 9.0)
    _sky(c)
    _tree(c, 0, 90, c.pick(6, 12), hedge=True)
    _houses(c, wall)
    _ground(c, curb, wall)
    items: list[tuple[float, Callable[..., None], tuple[object, ...]]] = []

    def put(z: float, draw: Callable[..., None], x: float, *more: object) -> None:
        items.append((z, draw, (c, x, z, *more)))

    rack_side = float(rng.choice([-1, 1]))
    for side in (-1, 1):
        for z in np.arange(c.pick(7, 11), 60, c.pick(12, 17)).tolist():
            put(z, _lamp, side * (curb + 0.5), side)
            put(z + 4, _tree, side * (curb + c.pick(0.9, 1.6)), c.pick(4.5, 8))
        for z in np.arange(c.pick(14, 17), 45, c.pick(6, 8)).tolist():
            if c.pick(0, 1) < 0.7:
                put(z, _vehicle, side * (curb - 1.0), "car")
        for _ in range(5):
            put(c.pick(10, 32), _walker, side * c.pick(curb + 0.5, wall - 0.5))
        put(c.pick(9, 20), _signal, side * (curb + 0.3))
        put(c.pick(6, 22), _sign, side * (curb + 0.35))
    put(c.pick(14, 24), _vehicle, c.pick(-2.0, -1.4), str(rng.choice(["bus", "truck"])))
    put(c.pick(9, 16), _vehicle, c.pick(0.9, 1.6), "car")
    put(c.pick(30, 50), _vehicle, c.pick(-1.8, 1.8), "car")
    put(c.pick(7, 13), _cyclist, c.pick(-curb + 1.5, curb - 1.6))
    put(c.pick(12, 20), _group, c.pick(-1, 1) * wall * 0.8)
    put(c.pick(11, 15), _rack, c.pick(0.62, 0.72) * wall * rack_side)
    for _, draw, arguments in sorted(items, key=lambda item: -item[0]):
        draw(*arguments)
    if ego:
        c.paint([oval(width / 2, height * 1.1, width * 0.6, height * 0.22)], BLACK)
        c.close("ego vehicle", is_thing=False)
    return c.finish()


# ---------------------------------------------------------------------- what a street is made of


Range = tuple[float, float]


def _quad(c: Canvas, x: Range, y: Range, z: Range) -> Ring:
    """A wall along the street (one x, two y) or a strip of the ground (two x, one y), from z[0] to z[1] metres ahead."""
    return ring(
        c.project(x[0], y[0], z[0]),
        c.project(x[0], y[0], z[1]),
        c.project(x[1], y[1], z[1]),
        c.project(x[1], y[1], z[0]),
    )


def _sky(c: Canvas) -> None:
    c.paint([box(0, 0, c.width, c.horizon + 0.06 * c.height)], SKY)
    clouds = c.rng.uniform((0, 0.02), (1, 0.3), (6, 2)) * (c.width, c.height)
    c.paint([oval(x, y, 0.12 * c.width, 0.02 * c.height) for x, y in clouds], WHITE)
    c.close("sky", is_thing=False)


def _houses(c: Canvas, wall: float) -> None:
    """Fronts on both sides, from far to near, with windows; here and there a fence with trees behind it."""
    for side in (-1, 1):
        ends = [75.0]
        while ends[-1] > 3:
            ends.append(max(2.2, ends[-1] - c.pick(7, 13)))
        for far, near in itertools.pairwise(ends):
            x, tall = side * wall, c.pick(7, 15)
            if c.pick(0, 1) < 0.2:
                _tree(c, 1.2 * x, far, 6.0)
                posts = [
                    limb(*c.project(x, 0, z), *c.project(x, 1.4, z), 0.04 * c.focal / z)
                    for z in np.arange(near, far, 0.5)
                ]
                c.paint([_quad(c, (x, x), (y, y + 0.1), (near, far)) for y in (0.2, 1.2)] + posts, DARK)
                c.close("fence", is_thing=False)
                continue
            color = c.one(((0.62, 0.36, 0.28), (0.78, 0.72, 0.6), (0.7, 0.68, 0.66), (0.55, 0.5, 0.47)))
            c.paint([_quad(c, (x, x), (0, tall), (near, far))], color)
            c.paint([box(*c.project(x, tall, near), *c.project(2 * x, 0, near))], color)
            windows = [
                _quad(c, (x, x), (y, y + 1.4), (z, z + 1.1))
                for y in np.arange(1.0, tall - 2, 3.1)
                for z in np.arange(near + 0.5, far - 1.2, 2.2)
            ]
            if windows:
                c.paint(windows, DARK)
            c.close("building", is_thing=False)


def _ground(c: Canvas, curb: float, wall: float) -> None:
    for side in (-1, 1):
        c.paint([_quad(c, (side * curb, side * (wall + 0.1)), (0, 0), (1.2, 110))], (0.56, 0.54, 0.5))
        c.close("sidewalk", is_thing=False)
    c.paint([_quad(c, (-curb, curb), (0, 0), (1.2, 110))], (0.38, 0.38, 0.4))
    c.close("road", is_thing=False)
    zebra = c.pick(18, 30)
    dashes = [_quad(c, (-0.07, 0.07), (0, 0), (z, z + 3)) for z in np.arange(1.5, 70, 6)]
    c.paint(
        dashes + [_quad(c, (x, x + 0.5), (0, 0), (zebra, zebra + 3)) for x in np.arange(-curb + 0.4, curb - 0.5)], WHITE
    )
    c.close("lane marking", is_thing=False)


def _tree(c: Canvas, x: float, z: float, tall: float, *, hedge: bool = False) -> None:
    """A trunk and leaves with gaps; a hedge reaches from one side of the image to the other."""
    (px, foot), s = c.project(x, 0, z), c.focal / z
    if hedge:
        across = np.linspace(0, c.width, 24)
        c.paint([oval(a, foot, c.width / 30, c.pick(0.5, 1) * tall * s) for a in across], LEAVES)
    else:
        c.paint([limb(px, foot, px, foot - 0.6 * tall * s, 0.12 * s)], BROWN)
        spread = c.rng.uniform(-1, 1, (14, 2)) * 0.24 * tall * s + (px, foot - 0.68 * tall * s)
        gaps = [oval(a, b, 0.03 * tall * s) for a, b in spread[:5] + 0.05 * tall * s]
        c.paint([oval(a, b, 0.13 * tall * s) for a, b in spread], LEAVES, cuts=gaps)
    c.close("tree", is_thing=False)


def _lamp(c: Canvas, x: float, z: float, side: int) -> None:
    (px, foot), s = c.project(x, 0, z), c.focal / z
    c.paint(
        [
            limb(px, foot, px, foot - 6 * s, 0.075 * s),
            limb(px, foot - 6 * s, px - side * 1.8 * s, foot - 6.2 * s, 0.06 * s),
        ],
        GREY,
    )
    c.close("pole", is_thing=False)


def _signal(c: Canvas, x: float, z: float) -> None:
    (px, foot), s = c.project(x, 0, z), c.focal / z
    c.paint([limb(px, foot, px, foot - 3 * s, 0.06 * s)], DARK)
    c.close("pole", is_thing=False)
    c.paint([box(px - 0.17 * s, foot - 3.8 * s, px + 0.17 * s, foot - 2.8 * s)], BLACK)
    for k, color in enumerate((RED, YELLOW, GREEN)):
        c.paint([oval(px, foot - (3.6 - 0.3 * k) * s, 0.12 * s)], color)
    c.close("traffic light")


def _sign(c: Canvas, x: float, z: float) -> None:
    (px, foot), s = c.project(x, 0, z), c.focal / z
    c.paint([limb(px, foot, px, foot - 2.2 * s, 0.035 * s)], GREY)
    c.close("pole", is_thing=False)
    corners = int(c.rng.choice([3, 8, 32]))
    turn = np.arange(corners) * 2 * np.pi / corners + (np.pi / 8 if corners == 8 else -np.pi / 2)
    shape = np.stack([np.cos(turn), np.sin(turn)], 1) * 0.38 * s
    middle = np.array([px, foot - 2.5 * s])
    c.paint([middle + shape], RED)
    c.paint([middle + shape * (0.2 if corners == 8 else 0.7)], WHITE)
    c.close("stop sign" if corners == 8 else "traffic sign")


def _vehicle(c: Canvas, x: float, z: float, kind: str) -> None:
    (px, foot), s = c.project(x, 0, z), c.focal / z
    c.draw(DRAWINGS[kind], c.one(COATS), px, foot, s)
    c.close(kind)
    if s > 10:
        c.draw(things.PLATE, WHITE, px, foot, s)
        c.close("license plate")


def _walker(c: Canvas, x: float, z: float) -> None:
    c.close("person", points=things.person(c, *c.project(x, 0, z), c.pick(1.5, 1.9) * c.focal / z))


def _group(c: Canvas, x: float, z: float) -> None:
    """People too close together to tell apart: one crowd."""
    for k in range(6):
        depth = z + 2.5 - 0.4 * k
        things.person(c, *c.project(x + c.pick(-1.2, 1.2), 0, depth), c.pick(1.5, 1.85) * c.focal / depth)
    c.close("person", is_crowd=True)


def _cyclist(c: Canvas, x: float, z: float) -> None:
    (px, foot), s = c.project(x, 0, z), c.focal / z
    c.draw(DRAWINGS["bicycle"], c.one(COATS), px, foot, s)
    c.close("bicycle")
    c.close("rider", points=things.person(c, px - 0.1 * s, foot, 1.72 * s, riding=True))


def _rack(c: Canvas, x: float, z: float) -> None:
    """Parked bicycles, one behind the other: one crowd, with holes."""
    for k in range(4):
        depth = z + 1.5 - 0.5 * k
        c.draw(DRAWINGS["bicycle"], c.one(COATS), *c.project(x + 0.25 * k, 0, depth), c.focal / depth)
    c.close("bicycle", is_crowd=True)


# ---------------------------------------------------------------------- the meadow and the table


def _field(c: Canvas) -> None:
    c.horizon = c.pick(0.3, 0.42) * c.height
    _sky(c)
    _tree(c, 0, 80, c.pick(8, 14), hedge=True)
    c.paint([box(0, c.horizon, c.width, c.height)], GRASS)
    c.close("grass", is_thing=False)
    for _ in range(2):
        _tree(c, c.pick(-16, 16), c.pick(22, 40), c.pick(6, 9))


def _animal(c: Canvas, kind: str, x: float, z: float) -> None:
    px, foot = c.project(x, 0, z)
    way = int(c.rng.choice([-1, 1]))
    c.draw(DRAWINGS[kind], c.one(FURS), px, min(foot, 0.98 * c.height), c.focal / z, way=way)


def _meadow(c: Canvas) -> None:
    """A field with animals, one person, and often a flock that is one crowd."""
    _field(c)
    kinds = c.rng.permutation(["dog", "horse", "sheep", "cow", "cat"]).tolist()
    spots: list[tuple[float, str]] = [(c.pick(4, 9), "person")]
    for k in range(6):
        kind = kinds[k % 5] if c.pick(0, 1) < 0.7 else kinds[0]
        spots.append((c.pick(2.6, 6) if kind in ("cat", "dog") else c.pick(4, 13), kind))
    if c.pick(0, 1) < 0.6:
        for k in range(7):
            _animal(c, "sheep", 5 + 1.1 * k + c.pick(-0.4, 0.4), 30 + c.pick(-2, 2))
        c.close("sheep", is_crowd=True)
    for z, kind in sorted(spots, reverse=True):
        x = c.pick(-0.5, 0.5) * z
        if kind == "person":
            _walker(c, x, z)
        else:
            _animal(c, kind, x, z)
            c.close(kind)


def _table(c: Canvas) -> None:
    s, edge = c.height / 100, c.pick(0.5, 0.6) * c.height
    paper: Color = (c.pick(0.6, 0.85), c.pick(0.62, 0.78), c.pick(0.55, 0.75))
    c.paint([box(0, 0, c.width, c.height)], paper)
    c.close("wall", is_thing=False)

    def put(name: str, x: float, y: float, scale: float, coats: tuple[Color, ...] = COATS) -> None:
        c.draw(DRAWINGS[name], c.one(coats), x, y, scale)

    put("tv", c.pick(0.2, 0.8) * c.width, 38 * s, s)
    c.close("tv")
    for share in (0.12, 0.85):
        put("chair", share * c.width + c.pick(-5, 5) * s, edge + 25 * s, s, FURS)
        c.close("chair")
    top = ring((c.width * 0.04, edge), (c.width * 0.96, edge), (c.width * 1.1, c.height), (-c.width * 0.1, c.height))
    c.paint([top], WOOD)
    c.close("table")
    names = ["bottle", "bottle", "donut", "donut", "cup", "apple", "banana", "bowl", "potted plant"]
    rows = sorted(edge + share * (c.height - edge) for share in c.rng.uniform(0.12, 0.92, len(names)).tolist())
    for number, (y, name, column) in enumerate(
        zip(rows, c.rng.permutation(names).tolist(), c.rng.permutation(len(names)).tolist(), strict=True)
    ):
        scale = s * (0.55 + 0.75 * (y - edge) / (c.height - edge))
        put(name, c.width * (0.1 + 0.8 * (column + c.pick(-0.2, 0.2)) / len(names) + 0.02), y, scale)
        c.close(name)
        if number == 2:
            put("cat", c.width * c.pick(0.3, 0.7), y + 2 * s, scale * 62, FURS)
            c.close("cat")
    if c.pick(0, 1) < 0.7:
        x, y = c.width * c.pick(0.2, 0.8), c.height * 0.95
        for u, v in sorted(c.rng.uniform(-1, 1, (14, 2)).tolist(), key=lambda spot: spot[1]):
            put("apple", x + u * 14 * s, y + v * 5 * s, s)
        c.close("apple", is_crowd=True)
