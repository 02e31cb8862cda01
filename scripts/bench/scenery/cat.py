"""A cat from the side."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from . import canvas
from .canvas import Canvas, Color, Ring

_COATS: tuple[Color, ...] = ((0.78, 0.5, 0.24), (0.42, 0.4, 0.38), (0.14, 0.13, 0.13))
_LEGS = 0.42
"""Share of the height."""


def cat(c: Canvas, x: float, foot: float, s: float, way: float) -> None:
    """A cat that stands at (x, foot) and looks to the left (way −1) or right; `s` pixels a metre."""
    t = 0.45 * s
    coat, r = canvas.one(c, _COATS), (1 - _LEGS) * 0.42 * t
    long, low = 0.95 * t, foot - (_LEGS + 0.5 * (1 - _LEGS)) * t
    front, rear = x + way * 0.5 * long * 0.72, x - way * 0.5 * long * 0.72
    c.shade([canvas.oval(x - c.sun * 0.1 * t, foot, 0.75 * long, 0.09 * t)], 0.5, 0.05 * t)

    def paint(parts: list[Ring], tone: float = 1.0) -> None:
        c.paint(parts, canvas.times(coat, tone), rough=0.13, volume=0.3 * r)

    leg = 0.24 * r + 0.012 * t
    for at, tone in ((0.06, 0.62), (-0.06, 0.92)):
        for base in (front - way * 0.1 * r, rear + way * 0.2 * r):
            knee = base + way * (at + c.pick(-0.03, 0.03)) * t
            paw = base + way * (1.4 * at + c.pick(-0.05, 0.05)) * t
            upper = canvas.limb(base, low, knee, foot - _LEGS * 0.5 * t, leg * 1.9, leg)
            paint([upper, canvas.limb(knee, foot - _LEGS * 0.5 * t, paw, foot - 0.02 * t, leg, leg * 0.8)], tone)
            under = canvas.limb(paw, foot - 0.02 * t, paw + way * leg, foot - 0.015 * t, leg)
            c.paint([under], canvas.times(coat, 0.5), volume=leg / 2)
    tip = (rear - way * 0.5 * t, low - 0.5 * t * 0.9)
    tail = [
        (
            (1 - q) * (rear - way * 0.6 * r) + q * tip[0],
            (1 - q) * (low - 0.5 * r) + q * tip[1] + 0.15 * t * math.sin(3 * q) * 1,
        )
        for q in np.linspace(0, 1, 8).tolist()
    ]
    paint(canvas.stroke(np.array(tail), 0.16 * r + 0.012 * t), 0.85)
    body = canvas.limb(rear, low, front, low, r * 1.05, r)
    paint([body, canvas.oval(front, low + 0.05 * r, r * 1.08), canvas.oval(rear, low, r * 1.12)])
    _head(c, paint, (front, low), (t, r), way)
    c.close("cat")


def _head(
    c: Canvas, paint: Callable[..., None], chest: tuple[float, float], size: tuple[float, float], way: float
) -> None:
    (front, low), (t, r) = chest, size
    hx, hy, hr = front + way * (0.55 * r + 0.12 * t), low - 0.12 * 0.8 * t - 0.5 * r, 0.75 * r + 0.015 * t
    paint([canvas.limb(front + way * 0.25 * r, low - 0.2 * r, hx, hy, 0.7 * r, 0.8 * hr)])
    for tone, off in ((0.65, 0.35), (0.8, -0.25)):
        ear = (
            (hx - way * hr * (off + 0.45), hy - hr * 0.6),
            (hx - way * hr * off, hy - 1.75 * hr),
            (hx - way * hr * (off - 0.5), hy - hr * 0.7),
        )
        paint([canvas.ring(*ear)], tone)
    nose = (hx + way * 0.75 * hr, hy + 0.2 * hr)
    paint([canvas.oval(hx, hy, hr, hr * 0.92), canvas.limb(hx, hy + 0.1 * hr, *nose, hr * 0.8, hr * 0.42)])
    c.paint([canvas.oval(nose[0] + way * hr * 0.3, nose[1] - hr * 0.12, hr * 0.17)], (0.08, 0.06, 0.06))
    c.paint([canvas.oval(hx + way * hr * 0.35, hy - hr * 0.25, hr * 0.13)], (0.05, 0.04, 0.03))
    c.paint([canvas.oval(hx + way * hr * 0.38, hy - hr * 0.29, hr * 0.045)], (0.95, 0.95, 0.95))
