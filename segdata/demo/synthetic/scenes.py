"""The scenes: a street, things and animals, a landscape."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from segdata.demo.synthetic import canvas, meadow, plants, roadside, still_life, traffic
from segdata.demo.synthetic.canvas import Canvas
from segdata.demo.synthetic.scene import Scene


def objects(rng: np.random.Generator, height: int, width: int) -> Scene:
    """Animals and people on a meadow, or things on a table: image (height, width, 3) and regions."""
    c = Canvas(rng, height, width)
    (meadow.meadow if rng.random() < 0.5 else still_life.table)(c)
    return c.finish()


def laid_table(rng: np.random.Generator, height: int, width: int) -> Scene:
    """Things on a table, chairs at it: image (height, width, 3) and regions."""
    c = Canvas(rng, height, width)
    still_life.table(c)
    return c.finish()


def landscape(rng: np.random.Generator, height: int, width: int) -> Scene:
    """A meadow with trees and nobody on it: image (height, width, 3) and regions, none of them a thing."""
    c = Canvas(rng, height, width)
    meadow.field(c)
    return c.finish()


def street(rng: np.random.Generator, height: int, width: int, *, ego: bool = False) -> Scene:
    """A town street seen from a car: image (height, width, 3) and regions; `ego` shows the bonnet of that car."""
    c = Canvas(rng, height, width)
    curb, wall = c.pick(3.4, 4.6), c.pick(6.5, 9.0)
    c.middle *= c.pick(0.85, 1.15)
    roadside.sky(c)
    for z, low, high in ((110.0, 4, 9), (85.0, 6, 14)):
        plants.hedge(c, -40, 40, z, c.pick(low, high))
    for side in (-1, 1):
        z = 75.0
        while z > 3:
            near = max(2.2, z - c.pick(7, 13))
            roadside.facade(c, side * wall, near, z, c.pick(7, 15)) if c.pick(0, 1) < 0.8 else roadside.park(
                c, side * wall, near, z
            )
            z = near if near > 2.5 else 0.0
    roadside.ground(c, curb, wall)
    items: list[tuple[float, Callable[[], None]]] = []

    def put(z: float, draw: Callable[..., None], *args: object) -> None:
        items.append((z, lambda: draw(c, *args)))

    rack, rack_side = c.pick(8, 13), float(c.rng.choice([-1, 1]))
    for side in (-1, 1):
        for z in np.arange(c.pick(7, 11), 60, c.pick(12, 17)).tolist():
            put(z, roadside.lamp, side * (curb + 0.5), z, side)
            if c.pick(0, 1) < 0.7:
                put(z + 4, plants.tree, side * (curb + c.pick(0.9, 1.6)), z + 4, c.pick(4.5, 8))
        for z in np.arange(c.pick(6, 9), 45, c.pick(6, 8)).tolist():
            if c.pick(0, 1) < 0.6 and (z > rack + 4 or side != rack_side):
                put(z, traffic.vehicle, "car", side * (curb - 1.0), z, 0.0 if side > 0 else math.pi)
        for _ in range(5):
            z = c.pick(10, 32)
            put(z, traffic.walker, side * c.pick(curb + 0.5, wall - 0.5), z)
        put(z := c.pick(9, 20), roadside.signal, side * (curb + 0.3), z)
        put(z := c.pick(6, 22), roadside.sign, side * (curb + 0.35), z)
    put(z := c.pick(14, 24), traffic.vehicle, str(rng.choice(["bus", "truck"])), c.pick(-2.0, -1.4), z, math.pi)
    put(z := c.pick(9, 16), traffic.vehicle, "car", c.pick(0.9, 1.6), z, 0.0)
    put(z := c.pick(30, 50), traffic.vehicle, "car", c.pick(-1.8, 1.8), z, 0.0)
    put(z := c.pick(7, 13), traffic.cyclist, c.pick(-curb + 1.5, curb - 1.6), z)
    put(z := c.pick(12, 20), traffic.group, c.pick(-1, 1) * wall * 0.8, z)
    put(rack, traffic.rack, c.pick(0.75, 0.85) * wall * rack_side, rack)
    for _, draw in sorted(items, key=lambda item: -item[0]):
        draw()
    if ego:
        hood = [canvas.oval(width / 2, height * 1.1, width * 0.6, height * 0.22)]
        c.shade(hood, 0.5, height / 60)
        c.paint(hood, (0.1, 0.105, 0.115), volume=height / 60)
        c.close("ego vehicle", False)
    return c.finish()
