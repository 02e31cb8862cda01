"""The two structures of SBD, GTcls and GTinst: pixels and numbers, and what else they hold, for the way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core import images
from segdata.errors import InvalidAnnotation
from segdata.formats.sbd import matlab
from segdata.formats.shared import verbatim

PIXELS = "Segmentation"
_MOST = 65535


@dataclass(frozen=True)
class Kind:
    """One of the two: its folder, the name of its structure, and the field of its categories' numbers."""

    folder: str
    name: str
    numbers: str


CLASSES = Kind("cls", "GTcls", "CategoriesPresent")
OBJECTS = Kind("inst", "GTinst", "Categories")


@dataclass(frozen=True)
class Structure:
    """A structure that was read.

    Attributes:
        pixels: (H, W) uint16.
        numbers: of categories.
        fields: everything as it was read.
    """

    pixels: npt.NDArray[np.uint16]
    numbers: Sequence[int]
    fields: Mapping[str, Any]


def read(data: bytes, kind: Kind, max_pixels: int) -> Structure:
    """The structure of a file.

    Raises:
        InvalidAnnotation: see `matlab.read`; or pixels or numbers that are none.
    """
    fields = matlab.read(data, kind.name)
    pixels, numbers = (_whole(fields, kind, name) for name in (PIXELS, kind.numbers))
    if pixels.ndim != 2 or not pixels.size:
        raise InvalidAnnotation(f"{kind.name}.{PIXELS} is no image", why=f"its shape is {pixels.shape}")
    images.require_size(pixels.shape[0], pixels.shape[1], max_pixels)
    return Structure(pixels, numbers.ravel().tolist(), fields)


def _whole(fields: Mapping[str, Any], kind: Kind, name: str) -> npt.NDArray[np.uint16]:
    values = fields.get(name, np.zeros((0, 1)) if name == kind.numbers else None)
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "buif":
        raise InvalidAnnotation(f"{kind.name}.{name} is no array of numbers", why=f"found {type(values).__name__}")
    if values.size and not ((values >= 0) & (values <= _MOST) & (values == np.floor(values))).all():
        raise InvalidAnnotation(
            f"{kind.name}.{name} holds numbers that are none of classes or objects",
            why=f"from {values.min()} to {values.max()}; expected whole numbers from 0 to {_MOST}",
        )
    return values.astype(np.uint16)


def kept(structure: Structure, kind: Kind, pixels: npt.NDArray[Any], numbers: Sequence[int]) -> dict[str, Any]:
    """What a structure says that `written` would not write for these pixels and numbers: fields, as a MATLAB file in base64."""
    given = {PIXELS: _smallest(pixels), kind.numbers: _column(numbers)}
    fields = sorted(structure.fields.items())
    rest = {name: value for name, value in fields if name not in given or _differ(value, given[name])}
    dtype = {}
    if PIXELS in rest and np.array_equal(structure.pixels, pixels):
        dtype = {"dtype": str(rest.pop(PIXELS).dtype)}
    return {"fields": verbatim.from_bytes(matlab.write(kind.name, rest)) if rest else "", **dtype}


def _differ(value: Any, other: npt.NDArray[Any]) -> bool:
    return value.dtype != other.dtype or not np.array_equal(value, other)


def written(kind: Kind, pixels: npt.NDArray[Any], numbers: Sequence[int], kept: Mapping[str, Any]) -> bytes:
    """A file of these pixels and numbers, with what was kept."""
    rest = matlab.read(verbatim.to_bytes(kept["fields"]), kind.name) if kept["fields"] else {}
    image = pixels.astype(kept["dtype"]) if "dtype" in kept else _smallest(pixels)
    return matlab.write(kind.name, {PIXELS: image, kind.numbers: _column(numbers), **rest})


def _smallest(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return pixels.astype(np.uint8 if pixels.max(initial=0) < 256 else np.uint16)


def _column(numbers: Sequence[int]) -> npt.NDArray[Any]:
    return _smallest(np.array(numbers, np.uint16).reshape(-1, 1))


def boundaries(masks: Sequence[npt.NDArray[np.bool_]]) -> npt.NDArray[Any]:
    """A column of sparse matrices: where a mask (H, W) differs from its neighbour to the right, below, or right below."""
    column = []
    for mask in masks:
        edge = np.zeros(mask.shape, bool)
        edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
        edge[:-1] |= mask[:-1] != mask[1:]
        edge[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
        column.append(matlab.sparse(edge))
    return matlab.cells(column)
