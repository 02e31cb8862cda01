"""Trees and hedges."""

from __future__ import annotations

import numpy as np

from segdata.demo.synthetic import canvas
from segdata.demo.synthetic.canvas import Canvas


def hedge(c: Canvas, x0: float, x1: float, z: float, tall: float) -> None:
    """A hedge from x0 to x1 metres at distance z."""
    s = c.f / z
    ovals = [
        canvas.oval(*c.at(x, c.pick(0.2, 0.7) * tall, z), tall * c.pick(0.4, 0.7) * s)
        for x in np.linspace(x0, x1, 36).tolist()
    ]
    tone = c.pick(0.3, 0.4)
    c.paint(
        [*ovals, canvas.box(0, c.at(0, tall * 0.4, z)[1], c.w, c.at(0, 0, z)[1] + 2)],
        (tone * 0.95, tone * 1.15, tone),
        rough=0.2,
        volume=0.02 * c.h,
    )
    c.close("tree", False)


def crown(c: Canvas, x: float, y: float, r: float, foot: float) -> None:
    """A tree's trunk and leaves of radius r px, with gaps that show what is behind."""
    c.paint(
        [canvas.limb(x, foot, x, y, r * 0.11, r * 0.07), canvas.limb(x, y + r * 0.6, x + r * 0.4, y, r * 0.05)],
        (0.3, 0.23, 0.17),
        rough=0.15,
        volume=r * 0.06,
    )
    count = int(np.clip(r * 1.5, 24, 170))
    spread = c.rng.standard_normal((count, 2)) * 0.42
    spread *= np.minimum(1, 0.85 / np.maximum(np.hypot(*spread.T), 1e-6))[:, None]
    green = np.array([c.pick(0.24, 0.42), c.pick(0.38, 0.5), c.pick(0.14, 0.22)])
    size = c.rng.uniform(0.05, 0.16, count) * r * (170 / count) ** 0.25
    gaps = [
        canvas.oval(x + u * r, y + v * r, r * 0.05, r * 0.035, u) for u, v in c.rng.uniform(-0.6, 0.6, (12, 2)).tolist()
    ]
    for level, (tone, share) in enumerate(((0.55, 1.0), (0.85, 0.75), (1.2, 0.5), (1.5, 0.3))):
        move = np.array([c.sun, -1.0]) * 0.07 * level
        blobs = [
            canvas.oval(
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


def tree(c: Canvas, x: float, z: float, tall: float) -> None:
    """A tree at x and z metres."""
    px, foot = c.at(x, 0, z)
    s = c.f / z
    c.shade([canvas.oval(px - c.sun * s, foot, 1.6 * s, 0.28 * s)], 0.4, 0.12 * s)
    crown(c, px, foot - tall * 0.66 * s, tall * 0.33 * s, foot)
    c.close("tree", False)
