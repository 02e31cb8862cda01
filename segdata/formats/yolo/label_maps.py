"""Label maps of `masks_dir`: grey PNGs of class numbers in which 255 is no class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core import png
from segdata.core.labels import LabelSpace
from segdata.errors import InvalidImage, SegdataError
from segdata.formats.shared import verbatim
from segdata.formats.shared.folder import read_bytes
from segdata.sets import orientation as turning

_IGNORED = 255


def read(
    root: Path, file: str, labels: LabelSpace, mapping: Mapping[int, int], *, orientation: int, max_pixels: int
) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """A label map in the stored image's pixels, (H, W) category indices, and what `encode` takes to give the file back.

    Args:
        mapping: value of the file → class; values that it does not name are classes themselves.
        orientation: EXIF's, of the image, which label maps are not turned by.

    Raises:
        InvalidImage: damaged, in colours, or with a value that is no class.
    """
    data = read_bytes(root, file, "the dataset")
    try:
        raw = png.read_labels(data, max_pixels=max_pixels)
        values = raw.values
        if values.ndim == 3:
            raise InvalidImage(
                "label map holds colours, where class numbers are expected",
                why=f"mode {raw.mode}",
                fix="save the class of each pixel as a grey PNG, 255 for none",
            )
        lookup, names = _lookup(labels, mapping, int(values.max(initial=0)) + 1)
        semantic = lookup[values]
        wrong = np.unique(values[semantic == labels.void])
        wrong = wrong[(wrong != _IGNORED) & ~np.isin(wrong, [key for key, item in mapping.items() if item == _IGNORED])]
        if wrong.size:
            raise InvalidImage(
                "label map holds a value that is no class",
                why=f"found {', '.join(map(str, wrong[:5].tolist()))}; there are {names} and 255 for no class",
                fix="correct the label map, or add the class to names",
            )
    except SegdataError as error:
        raise error.located(file=root / file) from error
    residue: dict[str, Any] = {"file": file, "mode": raw.mode, **verbatim.palette_of(raw)}
    upright = np.ascontiguousarray(turning.turned(semantic, turning.back(orientation)))
    if raw.codec != "png" or not np.array_equal(_values(semantic, labels), values):
        residue["bytes"] = verbatim.from_bytes(data)
    return upright, residue


def _lookup(labels: LabelSpace, mapping: Mapping[int, int], count: int) -> tuple[npt.NDArray[Any], str]:
    lookup = np.full(count, labels.void, labels.dtype)
    index_of = labels.index_of_id
    for value in range(min(count, 65536)):
        index = index_of.get(mapping.get(value, value))
        if index is not None and (value != _IGNORED or value in mapping or len(labels) > _IGNORED):
            lookup[value] = index
    return lookup, f"{min(index_of, default=0)} … {max(index_of, default=0)}"


def _values(semantic: npt.NDArray[Any], labels: LabelSpace) -> npt.NDArray[Any]:
    """Class numbers of category indices, 255 where there is none."""
    numbers = np.full(labels.void + 1, _IGNORED, np.int64)
    numbers[: len(labels)] = [category.id for category in labels.categories]
    values: npt.NDArray[Any] = numbers[semantic]
    return values.astype(np.uint8 if values.max(initial=0) <= _IGNORED else np.uint16)


def encode(semantic: npt.NDArray[Any], residue: Mapping[str, Any], labels: LabelSpace, orientation: int) -> bytes:
    """The file of a label map of the stored image: its bytes as they were where they still say the same.

    Args:
        orientation: EXIF's, of the image.
    """
    values = np.ascontiguousarray(turning.turned(_values(semantic, labels), orientation))
    if "bytes" in residue:
        return verbatim.to_bytes(residue["bytes"])
    if residue["mode"] == "1" and values.max(initial=0) <= 1:
        return png.encode_png(values, mode="1")
    return verbatim.to_png(values, residue)
