"""What the scenes show, as drawings: things of a street, of a table and of a meadow, and people with body points."""

from __future__ import annotations

import numpy as np

from segdata.demo.synthetic.scene import Color
from segdata.demo.synthetic.shapes import Canvas, Layer, box, limb, oval, ring, wheel

BLACK, DARK, GREY, WHITE = (0.07, 0.07, 0.08), (0.2, 0.22, 0.25), (0.55, 0.56, 0.58), (0.9, 0.9, 0.87)
RED, YELLOW, GREEN, BROWN, PINK = (
    (0.72, 0.1, 0.1),
    (0.88, 0.74, 0.2),
    (0.25, 0.5, 0.2),
    (0.4, 0.26, 0.15),
    (0.9, 0.5, 0.6),
)
SKIN = (0.72, 0.52, 0.4)

COATS: tuple[Color, ...] = (
    (0.62, 0.12, 0.1), (0.16, 0.24, 0.5), (0.75, 0.76, 0.78), (0.14, 0.14, 0.16), (0.45, 0.5, 0.55), (0.18, 0.4, 0.28),
    (0.8, 0.6, 0.16), (0.84, 0.82, 0.76),
)  # fmt: skip
FURS: tuple[Color, ...] = ((0.55, 0.38, 0.2), (0.3, 0.17, 0.1), (0.8, 0.72, 0.6), (0.42, 0.4, 0.38), (0.9, 0.87, 0.8))


def _vehicle(half: float, tall: float, waist: float, roof: float) -> tuple[Layer, ...]:
    """A vehicle from behind, in metres: half width, height, height of the body, half width of the roof."""
    window = ring((-half * 0.85, waist), (-roof * 0.9, tall - 0.12), (roof * 0.9, tall - 0.12), (half * 0.85, waist))
    return (
        Layer(BLACK, [box(side * half * 0.9 - 0.12, 0, side * half * 0.9 + 0.12, 0.5) for side in (-1, 1)]),
        Layer(1.0, [ring((-half, waist), (-roof, tall), (roof, tall), (half, waist))]),
        Layer(0.8, [box(-half, 0.25, half, waist)]),
        Layer(DARK, [window]),
        Layer(RED, [box(side * half * 0.8 - 0.12, 0.65, side * half * 0.8 + 0.12, 0.85) for side in (-1, 1)]),
    )


PLATE = (Layer(WHITE, [box(-0.26, 0.42, 0.26, 0.55)]),)


def _animal(tall: float, legs: float, head: float, thick: float) -> tuple[Layer, ...]:
    """An animal from the side, looking to the right, in metres: height of the back, of the legs, size of the head."""
    long, back = tall * 0.6, tall - thick
    feet = (-long + thick * 0.4, -long + thick, long - thick, long - thick * 0.4)
    return (
        Layer(0.7, [limb(x, back, x + 0.03 * tall, 0, thick * 0.35, thick * 0.25) for x in feet[::2]]),
        Layer(0.9, [limb(x, back, x, 0, thick * 0.35, thick * 0.25) for x in feet[1::2]]),
        Layer(0.8, [limb(-long, back, -long - 0.35 * tall, back - 0.1 * tall, thick * 0.2, thick * 0.1)]),
        Layer(1.0, [limb(-long + thick, back, long - thick, back, thick, thick * 0.9)]),
        Layer(1.0, [limb(long - thick, back, long + head * 0.3, tall + head * 0.5, thick * 0.7, head * 0.6)]),
        Layer(
            0.75, [ring((long - head * 0.1, tall + head), (long, tall + head * 1.8), (long + head * 0.4, tall + head))]
        ),
        Layer(
            0.95, [limb(long + head * 0.3, tall + head * 0.6, long + head, tall + head * 0.2, head * 0.65, head * 0.4)]
        ),
        Layer(BLACK, [oval(long + head * 0.5, tall + head * 0.75, head * 0.1)]),
    )


DRAWINGS: dict[str, tuple[Layer, ...]] = {
    # from behind and from the side, in metres
    "car": _vehicle(0.88, 1.5, 0.95, 0.62),
    "bus": _vehicle(1.25, 3.1, 1.4, 1.22),
    "truck": _vehicle(1.2, 3.2, 2.9, 1.2),
    "bicycle": (
        Layer(BLACK, [*wheel(-0.52, 0.34, 0.32, 0.03), *wheel(0.52, 0.34, 0.32, 0.03)]),
        Layer(1.0, [limb(*a, *b, 0.03) for a, b in (
            ((-0.52, 0.34), (-0.06, 0.3)), ((-0.06, 0.3), (-0.2, 0.88)), ((-0.2, 0.88), (-0.52, 0.34)),
            ((-0.06, 0.3), (0.36, 0.95)), ((0.36, 0.95), (0.52, 0.34)), ((-0.17, 0.8), (0.36, 0.86)),
        )]),
        Layer(BLACK, [limb(-0.3, 0.92, -0.1, 0.92, 0.04), limb(0.36, 0.95, 0.42, 1.03, 0.03)]),
    ),
    "dog": _animal(0.6, 0.3, 0.14, 0.13),
    "cat": _animal(0.32, 0.15, 0.11, 0.08),
    "horse": _animal(1.5, 0.8, 0.24, 0.28),
    "sheep": _animal(0.8, 0.35, 0.14, 0.26),
    "cow": _animal(1.4, 0.65, 0.26, 0.34),
    # of a table, in hundredths of the image's height
    "bottle": (
        Layer(1.0, [box(-5, 0, 5, 22), limb(0, 21, 0, 30, 4.8, 1.7), box(-1.7, 28, 1.7, 38)]),
        Layer(RED, [box(-2, 36, 2, 40)]),
        Layer(WHITE, [box(-5, 6, 5, 17)]),
    ),
    "donut": (
        Layer(BROWN, [oval(0, 3, 9, 5.6)], [oval(0, 4.2, 2.6, 1.5)]),
        Layer(PINK, [oval(0, 4, 8.2, 4.5)], [oval(0, 4.2, 2.6, 1.5)]),
    ),
    "cup": (
        Layer(0.8, wheel(6.6, 7, 3, 0.8)),
        Layer(1.0, [ring((-6, 13), (6, 13), (5, 0), (3, -1), (-3, -1), (-5, 0)), oval(0, 13, 6, 1.9)]),
        Layer(BROWN, [oval(0, 13, 5.4, 1.5)]),
    ),
    "apple": (Layer(RED, [oval(-0.6, 4, 4.4, 4.5), oval(0.6, 4, 4.4, 4.5)]), Layer(BROWN, [limb(0, 8, 0.8, 10, 0.4)])),
    "banana": (
        Layer(YELLOW, [limb(-9, 6, -5, 2, 1.2, 2), limb(-5, 2, 4, 2, 2), limb(4, 2, 9, 7, 2, 1.2)]),
        Layer(BROWN, [oval(9.3, 7.3, 1.2), oval(-9.3, 6.3, 1)]),
    ),
    "bowl": (
        Layer(1.0, [ring((-13, 9), (-10, 2), (-5, -1), (5, -1), (10, 2), (13, 9)), oval(0, 9, 13, 3.4)]),
        Layer(0.5, [oval(0, 9, 12, 2.8)]),
    ),
    "potted plant": (
        Layer(GREEN, [limb(0, 12, 16 * np.sin(a), 12 + 17 * np.cos(a), 0.5, 2.2) for a in np.linspace(-1.3, 1.3, 9)]),
        Layer(BROWN, [ring((-7, 14), (7, 14), (5, 0), (-5, 0))]),
    ),
    "chair": (
        Layer(0.9, [limb(side * 11, 0, side * 10.5, 50, 1.4) for side in (-1, 1)]),
        Layer(0.8, [limb(-11, y, 11, y, 1.8) for y in (28, 38, 48)]),
        Layer(1.0, [box(-13, 9, 13, 14)]),
    ),
    "tv": (Layer(BLACK, [box(-26, 0, 26, 32)]), Layer((0.3, 0.45, 0.6), [box(-24.5, 1.5, 24.5, 30)])),
}  # fmt: skip
"""Thing → its drawing."""

KEYPOINTS = (
    "nose",
    *(
        f"{side}_{part}"
        for part in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
        for side in ("left", "right")
    ),
)
"""COCO's seventeen body points, in its order."""

_JOINTS = {"shoulder": (0.0, 0.82), "hip": (0.0, 0.52), "knee": (0.05, 0.28), "ankle": (0.1, 0.04), "elbow": (-0.08, 0.66), "wrist": (-0.06, 0.5)}  # fmt: skip
_RIDING = {"knee": (0.15, 0.38), "ankle": (0.05, 0.17), "elbow": (0.17, 0.68), "wrist": (0.29, 0.62)}


def person(c: Canvas, x: float, foot: float, tall: float, *, riding: bool = False) -> list[tuple[str, float, float]]:
    """Paint somebody `tall` px high who looks left or right; gives the body points (name, x, y)."""
    way = float(c.rng.choice([-1, 1]))
    stride = c.pick(0.3, 1.0)

    def joint(name: str, side: int) -> tuple[float, float]:
        """In units of the height; left and right swing in opposite directions."""
        right, up = _RIDING[name] if riding and name in _RIDING else _JOINTS[name]
        swing = right if riding or name in ("shoulder", "hip") else side * stride * right
        return swing + (0.1 if riding and name == "shoulder" else 0.0), up + 0.012 * side * riding

    def limbs(side: int, names: tuple[str, str, str], half: float) -> list[np.ndarray]:
        a, b, end = (joint(name, side) for name in names)
        return [limb(*a, *b, half, half * 0.8), limb(*b, *end, half * 0.8, half * 0.6)]

    top, trousers = c.one(COATS), c.one(COATS)
    head = (joint("shoulder", 1)[0] + 0.02, 0.92)
    dark, light = (tuple(0.7 * value for value in trousers), trousers)
    layers = [
        Layer((dark[0], dark[1], dark[2]), limbs(-1, ("hip", "knee", "ankle"), 0.055)),
        Layer(light, limbs(1, ("hip", "knee", "ankle"), 0.055)),
        Layer(0.7, limbs(-1, ("shoulder", "elbow", "wrist"), 0.035)),
        Layer(1.0, [limb(*joint("shoulder", 1), *joint("hip", 1), 0.085, 0.075)]),
        Layer(0.85, limbs(1, ("shoulder", "elbow", "wrist"), 0.035)),
        Layer(SKIN, [limb(*joint("shoulder", 1), *head, 0.03), oval(*head, 0.05, 0.064)]),
        Layer(BROWN, [oval(head[0] - 0.015, head[1] + 0.03, 0.054, 0.045)]),
    ]
    c.draw(layers, top, x, foot, tall, way=int(way))
    places = {"nose": (head[0] + 0.055, head[1] - 0.005)}
    for name, side in (("left", 1), ("right", -1)):
        places[f"{name}_eye"] = (head[0] + 0.035 + 0.008 * side, head[1] + 0.012)
        places[f"{name}_ear"] = (head[0] - 0.01 * side, head[1])
        for part in _JOINTS:
            right, up = joint(part, side)
            places[f"{name}_{part}"] = (right + 0.02 * side * (part in ("shoulder", "hip")), up)
    return [(name, x + way * places[name][0] * tall, foot - places[name][1] * tall) for name in KEYPOINTS]
