"""A meadow, its trees and its flock."""

from __future__ import annotations

import numpy as np

from segdata.demo.synthetic import animals, canvas, plants, roadside, traffic
from segdata.demo.synthetic.canvas import Canvas
from segdata.demo.synthetic.scene import Array


def field(c: Canvas) -> None:
    """Sky, hills, grass and trees."""
    c.horizon = c.pick(0.3, 0.42) * c.h
    c.f *= 1.2
    roadside.sky(c)
    plants.hedge(c, -60, 60, 80, c.pick(8, 14))
    base = np.array([c.pick(0.3, 0.42), c.pick(0.42, 0.52), 0.2], np.float32)

    def grass(y: Array, x: Array) -> Array:
        z = c.f * c.eye / np.maximum(y - c.horizon, 0.5)
        u = (x - c.middle) * z / c.f
        tone = 1 + 0.10 * c.cloud[(z * 12).astype(int) % 512, (u * 12).astype(int) % 512]
        tone += 0.10 * np.clip(1.3 - z / 30, 0.2, 1) * c.fine[(z * 40).astype(int) % 512, (u * 120).astype(int) % 512]
        return np.asarray(base * tone[..., None], np.float32)

    c.paint([canvas.box(0, c.horizon, c.w, c.h)], grass, rough=0.05)
    c.close("grass", False)
    for _ in range(2):
        plants.tree(c, c.pick(-16, 16), c.pick(22, 40), c.pick(6, 9))
    for tone in (0.7, 1.0, 1.3):
        y = c.horizon + (c.h - c.horizon) * c.rng.uniform(0.1, 1.1, 450) ** 0.6
        x, s = c.rng.uniform(0, c.w, 450), (y - c.horizon) * 0.07
        bend = c.rng.uniform(-0.7, 0.7, 450)
        blades = [
            canvas.ring((a - 0.12 * k, b), (a + 0.12 * k, b), (a + v * k, b - k))
            for a, b, k, v in zip(x.tolist(), y.tolist(), s.tolist(), bend.tolist(), strict=True)
        ]
        c.paint(
            blades,
            (float(base[0] * tone), float(base[1] * tone), float(base[2] * tone)),
            part=False,
            opacity=0.7,
        )


def meadow(c: Canvas) -> None:
    """A field with animals and people."""
    field(c)
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
            traffic.walker(c, x, z)
        else:
            px, foot = c.at(x, 0, z)
            animals.beast(c, kind, px, min(foot, 0.98 * c.h), c.f / z, float(c.rng.choice([-1, 1])))


def _flock(c: Canvas, k: int) -> None:
    regions = len(c.regions)
    x, foot = c.at(6 + 1.1 * k + c.pick(-0.4, 0.4), 0, 30 + c.pick(-2, 2))
    animals.beast(c, "sheep", x - c.w * 0.1, foot, c.f / 26, 1.0)
    last = c.regions[regions:]
    del c.regions[regions:]
    c.parts += [ring for region in last for ring in region.rings]
