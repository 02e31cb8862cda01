"""Turn images upright by their EXIF orientation, with their annotations; pixels and points turned, and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core import images, png
from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.polygons import Polygons
from segdata.core.sample import Instances, Sample
from segdata.errors import SegdataError

_BACK = {6: 8, 8: 6}
_AT_ONCE = 16
"""Masks of an image that are turned at once."""


@dataclass(frozen=True)
class ApplyOrientation:
    """Turn images whose EXIF orientation is not 1; they become PNGs without EXIF.

    Masks, boxes and polygons are turned with the pixels, unless their size shows that they are of the upright image
    already, as annotation tools make them that show the image upright.
    """

    def space(self, labels: LabelSpace) -> LabelSpace:
        """The label space is unchanged."""
        return labels

    def sample(self, sample: Sample, labels: LabelSpace, findings: Findings) -> Sample:
        """The sample upright.

        Raises:
            InvalidImage: the image cannot be decoded.
        """
        encoded = sample.encoded
        if encoded is None:
            return sample
        try:
            header = images.probe(encoded, max_pixels=sample.max_pixels)
            if header.orientation == 1:
                return sample
            pixels = turned(images.decode(encoded, max_pixels=sample.max_pixels), header.orientation)
        except SegdataError as error:
            raise error.located(key=sample.key, file=sample.file or None) from error
        is_upright = (sample.height, sample.width) != (header.height, header.width)
        if is_upright:
            kind = "pixels are turned, annotations are of the upright image"
        else:
            kind = "pixels and annotations are turned"
        findings.remark(f"EXIF orientation {header.orientation} applied: {kind}", sample.key)
        upright = Sample(
            sample.key,
            *((sample.height, sample.width) if is_upright else pixels.shape[:2]),
            file=f"{sample.file.rpartition('.')[0] or sample.key}.png",
            id=sample.id,
            encoded=png.encode_png(np.ascontiguousarray(pixels)),
            max_pixels=sample.max_pixels,
        )
        instances, semantic = sample.instances if sample.has_instances else None, sample.semantic
        if not is_upright:
            size = header.height, header.width
            instances = None if instances is None else _turned_instances(instances, header.orientation, *size)
            semantic = None if semantic is None else np.ascontiguousarray(turned(semantic, header.orientation))
        return upright.with_annotations(instances=instances, semantic=semantic, extra=sample.extra)


def turned(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Stored pixels, (H, W, …), made upright by an EXIF orientation, 1 … 8."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    flips_rows, flips_columns = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return pixels[:: -1 if flips_rows else 1, :: -1 if flips_columns else 1]


def turned_points(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], orientation: int, height: int, width: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Points of the stored image, height × width, in the upright one."""
    if orientation >= 5:
        x, y, height, width = y, x, width, height
    if orientation in (3, 4, 7, 8):
        y = height - y
    return (width - x if orientation in (2, 3, 6, 7) else x), y


def back(orientation: int) -> int:
    """The orientation that turns the upright image into the stored one."""
    return _BACK.get(orientation, orientation)


def upright_size(orientation: int, height: int, width: int) -> tuple[int, int]:
    """(height, width) of the upright image of a stored one of this size; the same function leads back."""
    return (width, height) if orientation >= 5 else (height, width)


def _turned_instances(instances: Instances, orientation: int, height: int, width: int) -> Instances:
    size = (width, height) if orientation >= 5 else (height, width)
    parts = []
    for first in range(0, len(instances), _AT_ONCE):
        dense = instances.masks[first : first + _AT_ONCE].dense()
        parts.append(
            Masks.from_dense(np.ascontiguousarray(turned(dense.transpose(1, 2, 0), orientation).transpose(2, 0, 1)))
        )
    x, y, w, h = instances.bbox.T
    x0, y0 = turned_points(x, y, orientation, height, width)
    x1, y1 = turned_points(x + w, y + h, orientation, height, width)
    sides = (h, w) if orientation >= 5 else (w, h)
    bbox = np.stack([np.minimum(x0, x1), np.minimum(y0, y1), *sides], axis=1)
    polygons = instances.polygons
    values = polygons.values.copy()
    values[0::2], values[1::2] = turned_points(polygons.values[0::2], polygons.values[1::2], orientation, height, width)
    return replace(
        instances,
        masks=Masks.concatenate(parts, *size),
        bbox=bbox,
        polygons=Polygons(values, polygons.rings, polygons.pointer),
    )
