"""A table with food, crockery and chairs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from segdata.demo.synthetic.scene import Scene

from . import canvas
from .canvas import Array, Canvas
from .cat import cat


def laid_table(rng: np.random.Generator, height: int, width: int) -> Scene:
    """Things on a table, chairs at it: image (height, width, 3) and regions."""
    c = Canvas(rng, height, width)
    _table(c)
    return c.finish()


def _table(c: Canvas) -> None:
    """A laid table."""
    wall, edge = (
        np.array([c.pick(0.6, 0.85), c.pick(0.62, 0.78), c.pick(0.55, 0.75)], np.float32),
        c.pick(0.5, 0.6) * c.h,
    )
    stripes = c.pick(0.0, 0.05)

    def paper(y: Array, x: Array) -> Array:
        light = 1.05 - 0.45 * np.hypot((x / c.w - 0.5 + 0.35 * c.sun), y / c.h * 0.7)
        return np.asarray(wall * (light + stripes * (np.sin(x * 60 / c.w) > 0))[..., None], np.float32)

    c.paint([canvas.box(0, 0, c.w, c.h)], paper, rough=0.015)
    c.close("wall", False)
    s = c.h / 100
    x = c.pick(0.2, 0.8) * c.w
    c.paint([canvas.box(x - 26 * s, 6 * s, x + 26 * s, 38 * s, s)], (0.06, 0.06, 0.07), volume=s)
    c.paint(
        [canvas.box(x - 24.5 * s, 7.5 * s, x + 24.5 * s, 35.5 * s)],
        lambda yy, xx: np.asarray(
            np.array([0.2, 0.35, 0.5]) * (0.5 + 0.5 * xx / c.w + 0.2 * (yy < 22 * s))[..., None], np.float32
        ),
        rough=0.1,
    )
    c.close("tv")
    for k in (0.12, 0.85):
        _chair(c, k * c.w + c.pick(-5, 5) * s, edge + 25 * s, s)
    wood = np.array(canvas.one(c, ((0.55, 0.36, 0.2), (0.7, 0.52, 0.33), (0.4, 0.26, 0.17))), np.float32)

    def boards(y: Array, x: Array) -> Array:
        depth = 60 * s / (y - edge + 25 * s)
        u = (x - c.w / 2) * depth
        grain = c.cloud[(u * 1.2).astype(int) % 512, (depth * 60 + 40 * (u // (30 * s))).astype(int) % 512]
        tone = 1 + 0.07 * grain - 0.25 * (u % (30 * s) < 0.5 * s * depth) + 0.15 * (y - edge) / c.h
        return np.asarray(wood * tone[..., None], np.float32)

    c.paint(
        [canvas.ring((c.w * 0.04, edge), (c.w * 0.96, edge), (c.w * 1.1, c.h), (-c.w * 0.1, c.h))],
        boards,
        rough=0.03,
    )
    c.close("table")
    makers: list[Callable[[Canvas, float, float, float], None]] = [
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
            cat(c, c.w * c.pick(0.3, 0.7), y + 2 * s, scale * 62, float(c.rng.choice([-1, 1])))
    if c.pick(0, 1) < 0.7:
        x, y = c.w * c.pick(0.2, 0.8), c.h * 0.9
        for u, v in sorted(c.rng.uniform(-1, 1, (14, 2)).tolist(), key=lambda item: item[1]):
            _apple(c, x + u * 14 * s, y + v * 5 * s, 4 * s)
        c.close("apple", crowd=True)


def below(c: Canvas, x: float, y: float, rx: float, s: float) -> None:
    """The shadow under a thing of half width rx."""
    c.shade([canvas.oval(x - c.sun * rx * 0.5, y, rx * 1.35, rx * 0.4)], 0.5, 1.2 * s)


def _bottle(c: Canvas, x: float, y: float, s: float) -> None:
    below(c, x, y, 5 * s, s)
    glass = canvas.one(c, ((0.1, 0.3, 0.16), (0.3, 0.17, 0.06), (0.16, 0.26, 0.38)))
    c.paint(
        [
            canvas.box(x - 5 * s, y - 24 * s, x + 5 * s, y + 1.2 * s, 3 * s),
            canvas.limb(x, y - 22 * s, x, y - 30 * s, 4.4 * s, 1.7 * s),
            canvas.box(x - 1.7 * s, y - 38 * s, x + 1.7 * s, y - 28 * s),
        ],
        glass,
        rough=0.1,
        volume=1.6 * s,
    )
    c.paint([canvas.box(x - 2 * s, y - 40 * s, x + 2 * s, y - 36 * s, 0.6 * s)], (0.62, 0.16, 0.14), volume=0.8 * s)
    c.paint(
        [canvas.box(x - 5 * s, y - 17 * s, x + 5 * s, y - 6 * s)],
        canvas.one(c, ((0.88, 0.84, 0.72), (0.8, 0.3, 0.2), (0.85, 0.75, 0.35))),
        rough=0.06,
        volume=1.6 * s,
    )
    c.paint(
        [canvas.limb(x + c.sun * 3 * s, y - 21 * s, x + c.sun * 3 * s, y - 4 * s, 0.6 * s)],
        (0.95, 0.97, 1.0),
        opacity=0.5,
    )
    c.close("bottle")


def _donut(c: Canvas, x: float, y: float, s: float) -> None:
    below(c, x, y, 8 * s, s)
    hole = [canvas.oval(x, y - 4.2 * s, 2.6 * s, 1.5 * s)]
    c.paint([canvas.oval(x, y - 3 * s, 9 * s, 5.6 * s)], (0.7, 0.46, 0.24), cuts=hole, rough=0.1, volume=1.6 * s)
    wave = canvas.oval(x, y - 4 * s, 8.3 * s, 4.5 * s) + 0.35 * s * np.sin(np.arange(32) * 2.4)[:, None]
    c.paint([wave], canvas.one(c, ((0.9, 0.5, 0.6), (0.28, 0.15, 0.1), (0.93, 0.9, 0.84))), cuts=hole, volume=1.4 * s)
    bits = [
        (x + r * 5.6 * s * math.cos(a), y - 4.2 * s + r * 3 * s * math.sin(a), a)
        for r, a in zip(c.rng.uniform(0.75, 1.15, 26).tolist(), c.rng.uniform(0, 6.3, 26).tolist(), strict=True)
    ]
    for k, (u, v, a) in enumerate(bits):
        c.paint(
            [canvas.limb(u, v, u + s * math.cos(3 * a), v + 0.6 * s * math.sin(3 * a), 0.22 * s)],
            ((0.9, 0.8, 0.2), (0.2, 0.5, 0.8), (0.95, 0.95, 0.95))[k % 3],
            part=False,
        )
    c.close("donut")


def _cup(c: Canvas, x: float, y: float, s: float) -> None:
    below(c, x, y, 6 * s, s)
    glaze = canvas.one(c, ((0.85, 0.84, 0.8), (0.25, 0.4, 0.55), (0.7, 0.3, 0.22)))
    handle = canvas.oval(x + 6.6 * s, y - 7 * s, 3 * s, 3.6 * s)
    c.paint(canvas.stroke(np.vstack([handle, handle[:1]]), 0.8 * s), glaze, volume=0.6 * s)
    c.paint(
        [
            canvas.ring(
                (x - 6 * s, y - 13 * s),
                (x + 6 * s, y - 13 * s),
                (x + 5 * s, y),
                (x + 3 * s, y + 1.2 * s),
                (x - 3 * s, y + 1.2 * s),
                (x - 5 * s, y),
            ),
            canvas.oval(x, y - 13 * s, 6 * s, 1.9 * s),
        ],
        glaze,
        volume=1.6 * s,
    )
    c.paint([canvas.oval(x, y - 13 * s, 5.4 * s, 1.5 * s)], (0.25, 0.15, 0.09))
    c.close("cup")


def _apple(c: Canvas, x: float, y: float, r: float) -> None:
    c.shade([canvas.oval(x - c.sun * r * 0.4, y + r * 0.8, r, r * 0.35)], 0.4, r * 0.2)
    c.paint(
        [canvas.oval(x - 0.12 * r, y, r * 0.9, r * 0.92), canvas.oval(x + 0.12 * r, y, r * 0.9, r * 0.92)],
        canvas.one(c, ((0.72, 0.12, 0.1), (0.55, 0.65, 0.2), (0.8, 0.4, 0.15))),
        rough=0.12,
        volume=0.4 * r,
    )
    c.paint([canvas.limb(x, y - 0.75 * r, x + 0.15 * r, y - 1.2 * r, 0.06 * r)], (0.25, 0.17, 0.1))
    c.paint([canvas.oval(x + c.sun * 0.35 * r, y - 0.4 * r, 0.2 * r, 0.13 * r)], (1, 1, 1), opacity=0.4)


def _fruit(c: Canvas, x: float, y: float, s: float) -> None:
    if c.pick(0, 1) < 0.5:
        _apple(c, x, y - 4 * s, 5 * s)
        c.close("apple")
        return
    below(c, x, y, 9 * s, s)
    bend = np.linspace(0.25, 2.8, 14)
    line = np.stack([x + 11 * s * np.cos(bend), y - 9 * s + 9 * s * np.sin(bend)], 1)
    c.paint(canvas.stroke(line, 2.0 * s), (0.88, 0.74, 0.2), rough=0.1, volume=1.2 * s)
    c.paint([canvas.oval(line[k, 0], line[k, 1], r * s) for k, r in ((0, 1.3), (-1, 1.1))], (0.3, 0.22, 0.1))
    c.close("banana")


def _bowl(c: Canvas, x: float, y: float, s: float) -> None:
    below(c, x, y, 9 * s, s)
    turn = np.linspace(0, np.pi, 20)
    side = np.stack([x + 13 * s * np.cos(turn), y - 9 * s + 10 * s * np.sin(turn)], 1)
    glaze = canvas.one(c, ((0.88, 0.87, 0.84), (0.25, 0.42, 0.5), (0.55, 0.3, 0.2)))
    c.paint([side, canvas.oval(x, y - 9 * s, 13 * s, 3.4 * s)], glaze, volume=2 * s)
    c.paint([canvas.oval(x, y - 9 * s, 12 * s, 2.8 * s)], canvas.times(glaze, 0.5))
    c.close("bowl")
    rim = np.stack([x + 13 * s * np.cos(turn), y - 9 * s + 3.4 * s * np.sin(turn)], 1)
    front = np.vstack([rim, side[::-1]])
    for u, v in ((-6, 11), (5, 11), (-0.5, 12)):
        _apple(c, x + u * s, y - v * s, 4.3 * s)
        c.cuts.append(front)
        c.close("apple")
    c.paint([front], glaze, volume=1.5 * s, part=False)


def _chair(c: Canvas, x: float, y: float, s: float) -> None:
    wood = canvas.one(c, ((0.35, 0.2, 0.12), (0.6, 0.42, 0.25), (0.8, 0.78, 0.74)))
    for u in (-11, 11):
        c.paint([canvas.limb(x + u * s, y, x + u * s * 0.95, y - 50 * s, 1.3 * s)], wood, rough=0.1, volume=0.9 * s)
    for v in (48, 38, 28):
        c.paint(
            [canvas.limb(x - 11 * s, y - v * s, x + 11 * s, y - v * s, 1.7 * s)],
            canvas.times(wood, 0.95),
            rough=0.1,
            volume=0.9 * s,
        )
    c.paint([canvas.box(x - 13 * s, y - 14 * s, x + 13 * s, y - 9 * s, s)], wood, rough=0.1, volume=s)
    c.close("chair")


def _plant(c: Canvas, x: float, y: float, s: float) -> None:
    """A potted plant; x and y are pixels, s pixels per unit."""
    below(c, x, y, 7 * s, s)
    for k in range(26):
        a, long = c.pick(-1.25, 1.25), c.pick(13, 24) * s
        tip, mid = (
            (x + long * math.sin(a), y - 13 * s - long * math.cos(a) * 0.9),
            (x + 0.5 * long * math.sin(a * 0.7), y - 13 * s - 0.6 * long * math.cos(a * 0.7)),
        )
        tone = 0.6 + 0.022 * k
        c.paint(
            [canvas.limb(x, y - 13 * s, *mid, 0.4 * s, 1.9 * s), canvas.limb(*mid, *tip, 1.9 * s, 0.3 * s)],
            (0.22 * tone, 0.5 * tone, 0.2 * tone),
            rough=0.12,
            volume=0.7 * s,
        )
    c.paint(
        [
            canvas.ring((x - 7 * s, y - 14 * s), (x + 7 * s, y - 14 * s), (x + 5 * s, y + s), (x - 5 * s, y + s)),
            canvas.box(x - 7.6 * s, y - 15 * s, x + 7.6 * s, y - 12 * s, s),
        ],
        (0.68, 0.36, 0.22),
        rough=0.1,
        volume=1.8 * s,
    )
    c.close("potted plant")
