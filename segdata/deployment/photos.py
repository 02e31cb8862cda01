"""The photos on which an exported network is compared with the trained one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.demo.synthetic import scenes
from segdata.errors import SegdataError, UsageError
from segdata.models.contract import Image
from segdata.pack.layout import is_pack
from segdata.pack.read import Pack, open_pack
from segdata.sources.image_folder import image_samples

COUNT = 3
LARGEST_SIDE = 1024
"""Pixels; of larger photos the centre is taken."""

_DRAWN = ((240, 320), (240, 320), (173, 251))


class Photos(NamedTuple):
    """Images that may be written to, as PyTorch wants them, and in words where they come from."""

    images: tuple[Image, ...]
    origin: str


def photos(source: str | Path | Pack | None) -> Photos:
    """The photos to compare on.

    Args:
        source: a pack or a folder of images; None for drawn photos.

    Raises:
        NotThere: there are no images.
        InvalidImage, DamagedData: an image that cannot be read.
        UsageError: fewer images than are needed.
    """
    if source is None:
        return Photos(tuple(map(np.array, _drawn())), "drawn ones")
    if isinstance(source, Pack) or is_pack(Path(source)):
        pack = source if isinstance(source, Pack) else open_pack(source)
        spread = np.linspace(0, max(len(pack) - 1, 0), min(COUNT, len(pack))).round().astype(int).tolist()
        samples: list[Sample] = [pack[index] for index in spread]
        origin = f"the pack {pack.path.name}"
    else:
        samples = image_samples(Path(source), Findings(), _raise)[:COUNT]
        origin = f"the folder {Path(source).name}"
    if len(samples) < COUNT:
        raise UsageError(
            f"an export is compared on {COUNT} photos",
            why=f"{origin} has {len(samples)}",
            fix="give a pack or a folder with more (--photos), or none: then photos are drawn",
        )
    return Photos(tuple(map(np.array, _images(samples))), origin)


def _images(samples: Iterable[Sample]) -> Iterable[Image]:
    for sample in samples:
        try:
            image = sample.image
        except SegdataError as error:
            raise error.located(key=sample.key) from error
        top, left = (max(0, (size - LARGEST_SIDE) // 2) for size in image.shape[:2])
        yield image[top : top + LARGEST_SIDE, left : left + LARGEST_SIDE]


def _drawn() -> Iterable[Image]:
    draw = (scenes.street, scenes.landscape, scenes.street)
    for number, (height, width) in enumerate(_DRAWN):
        yield draw[number](np.random.default_rng(number), height, width).image


def _raise(error: SegdataError) -> None:
    raise error
