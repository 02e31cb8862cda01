"""Vehicles and people."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np

from segdata.demo.synthetic import canvas, outlines
from segdata.demo.synthetic.canvas import Canvas
from segdata.demo.synthetic.scene import Color, Ring

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


def one(c: Canvas, colors: Sequence[Color]) -> Color:
    """One of the colours."""
    return colors[int(c.rng.integers(len(colors)))]


def times(color: Color, tone: float) -> Color:
    """The colour, lighter or darker."""
    return color[0] * tone, color[1] * tone, color[2] * tone


def vehicle(c: Canvas, kind: str, x: float, z: float, yaw: float) -> None:
    """A car, bus or truck as a solid: faces turned to the camera, from far to near."""
    half, profile, glassy, windows, wheels, radius = _PROFILES[kind]
    z, yaw = z + profile[-1][0], yaw + c.pick(-0.05, 0.05)
    body = one(c, _PAINTS) if kind != "bus" else one(c, _PAINTS[:1] + _PAINTS[5:])
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
        return canvas.ring(*(c.at(*p) for p in corners)), float(np.mean([math.hypot(p[0], p[2]) for p in corners]))

    ground, _ = face([(u * 1.03, v * 1.08, 0) for u, v in ((-2.1, -half), (-2.1, half), (2.1, half), (2.1, -half))] if kind == "car"
                     else [(profile[k][0], v * half, 0) for k, v in ((0, -1), (0, 1), (-1, 1), (-1, -1))])  # fmt: skip
    c.shade([ground + np.array([-c.sun * 0.15 * s, 0.0])], 0.6, 0.1 * s)
    faces: list[tuple[float, Ring, Color, str, int]] = []
    for k, ((u0, y0), (u1, y1)) in enumerate(itertools.pairwise(profile)):
        ring, depth = face([(u0, -half, y0), (u1, -half, y1), (u1, half, y1), (u0, half, y0)])
        flat = abs(u1 - u0) / math.hypot(u1 - u0, y1 - y0)
        faces.append((depth, ring, times(body, 0.72 + 0.5 * flat), "glass" if k in glassy else "strip", k))
    for side in (-1, 1):
        ring, depth = face([(u, side * half, y) for u, y in profile])
        lit = 1.0 if side * c.sun * math.cos(yaw) > 0 else 0.8
        faces.append((depth, ring, times(body, 0.85 * lit), "side", side))
    toward = z * math.sin(yaw) - x * math.cos(yaw)
    seen = [
        item
        for item in sorted(faces, key=lambda item: -item[0])
        if (item[4] * toward > half if item[3] == "side" else outlines.shoelace(item[1]) > 0)
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
                times(color, 0.6),
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
        times(body, 0.4),
        volume=0.03 * s,
    )
    c.close(kind)
    if sign and s > 10:
        plates.append(face([(end, -0.26, 0.52), (end, 0.26, 0.52), (end, 0.26, 0.64), (end, -0.26, 0.64)])[0])
        c.paint(plates, (0.93, 0.92, 0.86))
        c.close("license plate")


Joints = dict[str, tuple[float, float]]


def _body(
    c: Canvas, x: float, foot: float, tall: float, way: float, ride: bool = False
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
        one(c, _SKINS),
        one(c, _CLOTHES),
        one(c, _CLOTHES[:1] + _CLOTHES[4:5] + _CLOTHES[6:]),
        one(c, ((0.1, 0.08, 0.07), (0.3, 0.2, 0.12), (0.6, 0.47, 0.28), (0.5, 0.5, 0.5))),
    )
    v, t = 0.018 * tall, tall
    for name, dim in (("r", 0.75), ("l", 1.0)):
        if name == "l":
            c.paint(
                [
                    canvas.limb(*p["neck"], *p["hip"], 0.078 * t, 0.07 * t),
                    canvas.limb(
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
                canvas.limb(*p["hip"], *p[name + "knee"], 0.062 * t, 0.046 * t),
                canvas.limb(*p[name + "knee"], *p[name + "ankle"], 0.044 * t, 0.03 * t),
            ],
            times(legs, dim),
            rough=0.1,
            volume=v,
        )
        a = p[name + "ankle"]
        c.paint(
            [
                canvas.limb(
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
                canvas.limb(*shoulder, *p[name + "elbow"], 0.036 * t, 0.03 * t),
                canvas.limb(*p[name + "elbow"], *p[name + "wrist"], 0.03 * t, 0.022 * t),
            ],
            times(top, dim * 0.92),
            rough=0.1,
            volume=v,
        )
        c.paint([canvas.oval(*p[name + "wrist"], 0.026 * t)], skin, volume=v)
    h = p["head"]
    c.paint(
        [
            canvas.limb(*p["neck"], *h, 0.03 * t),
            canvas.oval(h[0], h[1], 0.05 * t, 0.064 * t),
            canvas.oval(h[0] + way * 0.05 * t, h[1] + 0.008 * t, 0.012 * t),
        ],
        skin,
        volume=v,
    )
    c.paint(
        [
            canvas.oval(h[0] - way * 0.016 * t, h[1] - 0.025 * t, 0.054 * t, 0.048 * t),
            canvas.oval(h[0] - way * 0.035 * t, h[1] + 0.005 * t, 0.034 * t, 0.05 * t),
        ],
        one(c, _PAINTS) if ride else hair,
        rough=0.15,
        volume=v,
    )
    if not ride and c.pick(0, 1) < 0.4:
        c.paint(
            [
                canvas.box(
                    p["hip"][0] - way * 0.14 * t,
                    p["hip"][1] - 0.28 * t,
                    p["hip"][0] - way * 0.06 * t,
                    p["hip"][1] - 0.06 * t,
                    0.03 * t,
                )
            ],
            one(c, _CLOTHES),
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


def walker(c: Canvas, x: float, z: float) -> None:
    """Somebody on foot."""
    px, foot = c.at(x, 0, z)
    s = c.f / z
    c.shade([canvas.oval(px - c.sun * 0.3 * s, foot, 0.5 * s, 0.09 * s)], 0.5, 0.05 * s)
    c.close("person", points=_body(c, px, foot, c.pick(1.5, 1.9) * s, float(c.rng.choice([-1, 1]))))


def group(c: Canvas, x: float, z: float) -> None:
    """People too close together to tell apart: one crowd."""
    for k in range(6):
        zk = z + 2.5 - 0.4 * k
        px, foot = c.at(x + c.pick(-1.2, 1.2), 0, zk)
        _body(c, px, foot, c.pick(1.5, 1.85) * c.f / zk, float(c.rng.choice([-1, 1])))
    c.close("person", crowd=True)


def _bicycle(c: Canvas, x: float, foot: float, s: float, way: float) -> None:
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
        c.paint(canvas.wheel(*wheel, 0.32 * s, 0.03 * s), (0.08, 0.08, 0.09), volume=0.02 * s)
        c.paint([canvas.oval(*wheel, 0.05 * s)], (0.4, 0.4, 0.42))
    c.paint(
        [
            canvas.limb(*a, *b, 0.024 * s)
            for a, b in (
                (rear, pedal),
                (pedal, seat),
                (seat, rear),
                (pedal, bar),
                (bar, front),
                (at(-0.17, 0.8), at(0.38, 0.86)),
            )
        ],
        one(c, _PAINTS),
        volume=0.02 * s,
    )
    c.paint(
        [
            canvas.limb(*at(-0.3, 0.92), *at(-0.1, 0.92), 0.04 * s, 0.025 * s),
            canvas.limb(*bar, *at(0.42, 1.03), 0.025 * s),
            canvas.oval(*pedal, 0.07 * s),
        ],
        (0.1, 0.09, 0.09),
    )


def cyclist(c: Canvas, x: float, z: float) -> None:
    """Somebody on a bicycle."""
    px, foot = c.at(x, 0, z)
    s, way = c.f / z, float(c.rng.choice([-1, 1]))
    c.shade([canvas.oval(px, foot, 0.95 * s, 0.07 * s)], 0.5, 0.05 * s)
    _bicycle(c, px, foot, s, way)
    c.close("bicycle")
    c.close("rider", points=_body(c, px - way * 0.2 * s, foot - 0.02 * s, 1.72 * s, way, ride=True))


def rack(c: Canvas, x: float, z: float) -> None:
    """Parked bicycles, one behind the other: one crowd."""
    for k in range(4):
        zk = z + 1.5 - 0.5 * k
        px, foot = c.at(x + 0.25 * k, 0, zk)
        c.shade([canvas.oval(px, foot, 0.9 * c.f / zk, 0.06 * c.f / zk)], 0.35, 0.05 * c.f / zk)
        _bicycle(c, px, foot, c.f / zk, 1.0)
    c.close("bicycle", crowd=True)
