"""What stands along a street: sky, ground, buildings, lamps and signs."""

from __future__ import annotations

import numpy as np

from segdata.demo.synthetic import canvas, plants, traffic
from segdata.demo.synthetic.canvas import Canvas
from segdata.demo.synthetic.scene import Array, Color, Paint, Ring


def sky(c: Canvas) -> None:
    """Sky with clouds."""
    top, low = np.array([0.36, 0.55, 0.84]) * c.pick(0.9, 1.1), np.array([0.83, 0.89, 0.95])
    dark, size = c.pick(0.2, 1.1), 360 / c.h

    def fill(y: Array, x: Array) -> Array:
        t = np.clip(y / c.horizon, 0, 1)[..., None]
        u = 260 / (1.25 - t[..., 0])
        cloud = c.cloud[(u * 1.6).astype(int) % 512, ((x - c.middle) * size / (1.35 - t[..., 0])).astype(int) % 512]
        cover = np.clip(cloud * 0.7 + 0.55 - dark, 0, 1)[..., None] * (1 - 0.5 * t)
        return np.asarray((top * (1 - t) + low * t) * (1 - cover) + cover * np.array([0.97, 0.97, 0.98]))

    c.paint([canvas.box(0, 0, c.w, c.horizon + 0.06 * c.h)], fill, rough=0.004)
    c.close("sky", False)


def ground(c: Canvas, curb: float, wall: float) -> None:
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
        return canvas.ring(c.at(x0, 0, z0), c.at(x0, 0, z1), c.at(x1, 0, z1), c.at(x1, 0, z0))

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


def facade(c: Canvas, x: float, near: float, far: float, tall: float) -> None:
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
        [canvas.ring(*(c.at(*p, near) for p in gable))],
        traffic.times((float(wall[0]), float(wall[1]), float(wall[2])), 0.85),
        rough=0.05,
    )
    c.paint([canvas.ring(c.at(x, 0, near), c.at(x, tall, near), c.at(x, tall, far), c.at(x, 0, far))], fill, rough=0.01)
    over = x * 0.97
    c.paint(
        [
            canvas.ring(
                c.at(x, tall, near),
                c.at(over, tall + 0.4, near),
                c.at(over, tall + 0.4, far),
                c.at(x, tall, far),
            )
        ],
        (0.3, 0.26, 0.24),
    )
    c.close("building", False)


def park(c: Canvas, x: float, near: float, far: float) -> None:
    """Trees behind a fence, in place of a house."""
    hedge = [(x * 1.25, 1.7), (x, 1.7), (x, 0.0), (x * 1.25, 0.0)]
    front = canvas.ring(c.at(x, 0, near), c.at(x, 1.7, near), c.at(x, 1.7, far), c.at(x, 0, far))
    c.paint([canvas.ring(*(c.at(*p, near) for p in hedge)), front], (0.17, 0.25, 0.12), rough=0.3)
    for z in np.linspace(far, near + 0.5, 3).tolist():
        plants.crown(c, *c.at(x * 1.15, 2.6, z), 2.4 * c.f / z, c.at(x, 0, z)[1])
    c.close("tree", False)
    posts = np.arange(near, far, 0.35).tolist()
    bars = [
        canvas.ring(c.at(x, y, near), c.at(x, y + 0.07, near), c.at(x, y + 0.07, far), c.at(x, y, far))
        for y in (0.15, 1.2)
    ]
    bars += [canvas.limb(*c.at(x, 0, z), *c.at(x, 1.4, z), 0.025 * c.f / z) for z in posts]
    c.paint(bars, (0.16, 0.19, 0.17))
    c.close("fence", False)


def lamp(c: Canvas, x: float, z: float, side: int) -> None:
    """A street lamp."""
    px, foot = c.at(x, 0, z)
    s = c.f / z
    top = foot - 6 * s
    c.paint(
        [
            canvas.limb(px, foot, px, top, 0.075 * s, 0.045 * s),
            canvas.limb(px, top, px - side * 1.3 * s, top - 0.25 * s, 0.04 * s),
        ],
        (0.36, 0.38, 0.38),
        volume=0.05 * s,
    )
    c.paint(
        [canvas.limb(px - side * 1.3 * s, top - 0.25 * s, px - side * 1.8 * s, top - 0.28 * s, 0.1 * s, 0.06 * s)],
        (0.6, 0.6, 0.58),
        volume=0.05 * s,
    )
    c.close("pole", False)


def signal(c: Canvas, x: float, z: float) -> None:
    """A traffic light."""
    px, foot = c.at(x, 0, z)
    s = c.f / z
    c.paint([canvas.limb(px, foot, px, foot - 3.4 * s, 0.06 * s)], (0.3, 0.32, 0.32), volume=0.05 * s)
    c.close("pole", False)
    y, on = foot - 3.3 * s, int(c.rng.integers(3))
    c.paint(
        [canvas.box(px - 0.17 * s, y - 0.5 * s, px + 0.17 * s, y + 0.5 * s, 0.06 * s)],
        (0.08, 0.09, 0.09),
        volume=0.04 * s,
    )
    for k, light in enumerate(((1.1, 0.2, 0.15), (1.1, 0.75, 0.15), (0.25, 1.05, 0.5))):
        tone = 1.0 if k == on else 0.25
        c.paint(
            [canvas.oval(px, y + (k - 1) * 0.31 * s, 0.115 * s)],
            (light[0] * tone, light[1] * tone, light[2] * tone),
        )
    c.close("traffic light")


def sign(c: Canvas, x: float, z: float) -> None:
    """A traffic sign."""
    px, foot = c.at(x, 0, z)
    s, kind = c.f / z, int(c.rng.integers(3))
    c.paint([canvas.limb(px, foot, px, foot - 2.4 * s, 0.035 * s)], (0.5, 0.51, 0.52), volume=0.03 * s)
    c.close("pole", False)
    y, corners = foot - 2.5 * s, (8, 32, 3)[kind]
    angle = np.arange(corners) * 2 * np.pi / corners + (np.pi / 8 if corners == 8 else -np.pi / 2)
    shape = np.stack([np.cos(angle), np.sin(angle)], 1) * 0.38 * s
    c.paint([shape + np.array([px, y])], (0.75, 0.1, 0.11), volume=0.03 * s)
    if kind == 0:
        c.paint([canvas.box(px - 0.22 * s, y - 0.06 * s, px + 0.22 * s, y + 0.06 * s)], (0.93, 0.93, 0.92))
    else:
        c.paint([shape * 0.72 + np.array([px, y])], (0.92, 0.92, 0.9))
    c.close("stop sign" if kind == 0 else "traffic sign")
