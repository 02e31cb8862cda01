"""Pictures with structure, drawn by formula, and variants of pictures as people make them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance

Pixels = npt.NDArray[np.uint8]


def waves(seed: int, height: int = 240, width: int = 320) -> Pixels:
    """Forty waves of random direction, length and colour, (H, W, 3) uint8; one picture for a seed, in any size."""
    rng = np.random.default_rng(seed)
    y = (np.arange(height) + 0.5)[:, None, None] / height
    x = (np.arange(width) + 0.5)[None, :, None] / width
    total = np.zeros((height, width, 3))
    for _ in range(40):
        along, across = rng.uniform(-9, 9, 2)
        strength = rng.normal(size=3) * 0.3 + rng.normal()
        total += strength * np.sin(2 * np.pi * (along * x + across * y + rng.random()))
    return np.clip(128 + 14 * total, 0, 255).astype(np.uint8)


def encoded(picture: Pixels | Image.Image, kind: str = "JPEG", quality: int = 92) -> bytes:
    """A picture as the bytes of a file."""
    target = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(target, kind, **({"quality": quality} if kind == "JPEG" else {}))
    return target.getvalue()


VARIANTS: Mapping[str, Callable[[Image.Image], bytes]] = {
    "JPEG of quality 50": lambda image: encoded(image, quality=50),
    "half size": lambda image: encoded(image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)),
    "a quarter brighter": lambda image: encoded(ImageEnhance.Brightness(image).enhance(1.25)),
    "grey": lambda image: encoded(image.convert("L")),
}
"""What becomes of an image on its way → the bytes of the variant."""

TURNS: Mapping[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF's orientation → Pillow's name of it (ImageOps.exif_transpose)."""
