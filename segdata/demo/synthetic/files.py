"""Writing pictures and lists, and who owns each pixel of a scene."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from segdata.demo.synthetic.scene import Scene

Owner = npt.NDArray[np.int32]

SMALLEST = 40


def rng(seed: int, *where: int) -> np.random.Generator:
    """The generator of one place of one seed: what is drawn there depends on nothing else."""
    return np.random.default_rng([seed, *where])


def owner(scene: Scene) -> Owner:
    """For every pixel the number of the region in front, counted from 1; 0 where there is none: (H, W) int32.

    Licence plates are part of what they are fixed to.
    """
    height, width = scene.image.shape[:2]
    owner = np.zeros((height, width), np.int32)
    for number, region in enumerate(scene.regions, 1):
        if region.name != "license plate":
            owner[region.mask(height, width)] = number
    return owner


def picture(scene: Scene, file: Path) -> None:
    """Write the photo: JPEG where the name says so, else PNG."""
    file.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(scene.image)
    if file.suffix == ".jpg":
        picture.save(file, quality=90, subsampling="4:2:0")
    else:
        picture.save(file, compress_level=4)


def png(pixels: npt.NDArray[Any], file: Path, palette: bytes | None = None) -> None:
    """Write (H, W) or (H, W, 3) uint8 values as PNG, with a palette of 768 bytes if given."""
    file.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    if palette is not None:
        picture.putpalette(palette)
    picture.save(file)


def text(file: Path, lines: Iterable[str]) -> None:
    """Write lines, each with its newline."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="\n")
