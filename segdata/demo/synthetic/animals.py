"""Animals."""

from __future__ import annotations

import math

import numpy as np

from segdata.demo.synthetic import canvas, traffic
from segdata.demo.synthetic.canvas import Canvas
from segdata.demo.synthetic.scene import Color, Ring

_BEASTS: dict[str, tuple[float, float, float, float, tuple[Color, ...]]] = {
    # height m, leg share, neck length and slope, coats
    "dog": (0.7, 0.5, 0.22, 0.9, ((0.55, 0.38, 0.2), (0.2, 0.16, 0.13), (0.8, 0.7, 0.52))),
    "cat": (0.45, 0.42, 0.12, 0.8, ((0.78, 0.5, 0.24), (0.42, 0.4, 0.38), (0.14, 0.13, 0.13))),
    "horse": (1.6, 0.58, 0.45, 1.0, ((0.42, 0.24, 0.13), (0.3, 0.17, 0.1), (0.62, 0.55, 0.47))),
    "sheep": (0.9, 0.4, 0.15, 0.6, ((0.86, 0.83, 0.75), (0.8, 0.75, 0.66))),
    "cow": (1.5, 0.45, 0.2, 0.35, ((0.85, 0.82, 0.78), (0.48, 0.27, 0.15))),
}


def beast(c: Canvas, kind: str, x: float, foot: float, s: float, way: float) -> None:
    """An animal from the side; `s` px a metre."""
    tall, share, neck, slope, coats = _BEASTS[kind]
    t = tall * s
    coat, r = traffic.one(c, coats), (1 - share) * 0.42 * t
    long, low = 1.05 * t if kind != "cat" else 0.95 * t, foot - (share + 0.5 * (1 - share)) * t
    front, rear = x + way * 0.5 * long * 0.72, x - way * 0.5 * long * 0.72
    c.shade([canvas.oval(x - c.sun * 0.1 * t, foot, 0.75 * long, 0.09 * t)], 0.5, 0.05 * t)
    leg = 0.24 * r + 0.012 * t

    def paint(parts: list[Ring], tone: float = 1.0, rough: float = 0.13) -> None:
        c.paint(parts, traffic.times(coat, tone), rough=0.16 if kind == "sheep" else rough, volume=0.3 * r)

    for at, tone in ((0.06, 0.62), (-0.06, 0.92)):
        for base in (front - way * 0.1 * r, rear + way * 0.2 * r):
            knee, hoof = (
                base + way * (at + c.pick(-0.03, 0.03)) * t,
                base + way * (1.4 * at + c.pick(-0.05, 0.05)) * t,
            )
            paint(
                [
                    canvas.limb(base, low, knee, foot - share * 0.5 * t, leg * 1.9, leg),
                    canvas.limb(knee, foot - share * 0.5 * t, hoof, foot - 0.02 * t, leg, leg * 0.8),
                ],
                tone,
            )
            c.paint(
                [canvas.limb(hoof, foot - 0.02 * t, hoof + way * leg, foot - 0.015 * t, leg)],
                traffic.times(coat, 0.5),
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
    paint(canvas.stroke(np.array(line), (0.1 if kind == "cow" else 0.16) * r + 0.012 * t), 0.85)
    body = [
        canvas.limb(rear, low, front, low, r * 1.05, r),
        canvas.oval(front, low + 0.05 * r, r * 1.08),
        canvas.oval(rear, low, r * 1.12),
    ]
    if kind == "sheep":
        body += [
            canvas.oval(x + u * long * 0.62, low + v * r * 0.85, 0.4 * r)
            for u, v in c.rng.uniform(-1, 1, (26, 2)).tolist()
        ]
    paint(body)
    if kind == "cow":
        spots = [
            canvas.oval(x + u * 0.5 * long, low + v * 0.6 * r, c.pick(0.15, 0.4) * r, c.pick(0.15, 0.3) * r, u * 3)
            for u, v in c.rng.uniform(-0.8, 0.8, (5, 2)).tolist()
        ]
        c.paint(spots, (0.14, 0.11, 0.1), rough=0.1)
    hx, hy, hr = (
        front + way * (0.55 * r + neck * t),
        low - neck * slope * t - 0.5 * r,
        (0.36 if kind == "horse" else 0.5 if kind != "cat" else 0.75) * r + 0.015 * t,
    )
    paint([canvas.limb(front + way * 0.25 * r, low - 0.2 * r, hx, hy, 0.7 * r, 0.8 * hr)])
    for tone, off in ((0.65, 0.35), (0.8, -0.25)):
        if kind in ("cat", "dog", "horse"):
            up = 1.75 if kind != "dog" else 1.35
            paint(
                [
                    canvas.ring(
                        (hx - way * hr * (off + 0.45), hy - hr * 0.6),
                        (hx - way * hr * off, hy - up * hr),
                        (hx - way * hr * (off - 0.5), hy - hr * 0.7),
                    )
                ],
                tone,
            )
        else:
            paint([canvas.oval(hx - way * (off + 0.6) * hr, hy - 0.55 * hr, 0.6 * hr, 0.25 * hr, -0.5 * way)], tone)
    nose = (hx + way * (0.75 if kind == "cat" else 1.7) * hr, hy + (0.2 if kind == "cat" else 0.75) * hr)
    head = 0.75 if kind == "sheep" else 1.0
    paint([canvas.oval(hx, hy, hr, hr * 0.92), canvas.limb(hx, hy + 0.1 * hr, *nose, hr * 0.8, hr * 0.42)], head)
    c.paint([canvas.oval(nose[0] + way * hr * 0.3, nose[1] - hr * 0.12, hr * 0.17)], (0.08, 0.06, 0.06))
    c.paint([canvas.oval(hx + way * hr * 0.35, hy - hr * 0.25, hr * 0.13)], (0.05, 0.04, 0.03))
    c.paint([canvas.oval(hx + way * hr * 0.38, hy - hr * 0.29, hr * 0.045)], (0.95, 0.95, 0.95))
    if kind == "horse":
        c.paint(
            [
                canvas.limb(
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
