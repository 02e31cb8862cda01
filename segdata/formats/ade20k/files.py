"""Files of an image in ADE20K: the document, the map of classes and object numbers, and a PNG for each object."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from segdata.core import png
from segdata.core.masks import Masks
from segdata.errors import InvalidAnnotation, SegdataError
from segdata.formats.shared import json_text
from segdata.formats.shared.folder import read_bytes, stem

HIDDEN = 128
"""Value of an object's PNG where others hide it."""

VISIBLE = 255

MOST_CLASSES = 25 * 256 + 255
"""The greatest number of a class that a map can hold."""


class Named(Struct):
    """What the scan reads of an object; whether it is valid is said when the object is loaded."""

    name: Any = None
    name_ndx: Any = None
    parts: Any = None

    @property
    def is_whole(self) -> bool:
        """Whether it is an object of a class, not a part of one."""
        level = self.parts.get("part_level", 0) if isinstance(self.parts, dict) else 0
        is_class = type(self.name_ndx) is int and 0 < self.name_ndx <= MOST_CLASSES
        return is_class and isinstance(self.name, str) and level == 0


class _Annotation(Struct):
    object: list[Named]


class _Document(Struct):
    annotation: _Annotation


def names_of(root: Path, file: str) -> list[Named]:
    """The names and numbers of a document's objects."""
    document: _Document = _decoded(root, file, _Document)
    return document.annotation.object


def document_of(root: Path, file: str) -> dict[str, Any]:
    """A document; its objects are a list of records.

    Raises:
        InvalidAnnotation: of another shape.
    """
    document: dict[str, Any] = _decoded(root, file, dict[str, Any])
    annotation = document.get("annotation")
    objects = annotation.get("object") if isinstance(annotation, dict) else None
    if not isinstance(objects, list) or not all(isinstance(item, dict) for item in objects):
        raise InvalidAnnotation(
            "the document has no list of objects",
            file=root / file,
            place="$.annotation.object",
            why=f"found {objects!r}"[:200],
        )
    return document


def _decoded(root: Path, file: str, kind: Any) -> Any:
    """A document in UTF-8, or in Latin-1, as some are."""
    data = read_bytes(root, file, "the dataset")
    try:
        data.decode()
    except UnicodeDecodeError:
        data = data.decode("latin-1").encode()
    return json_text.decode(data, kind, root / file)


def folder_of(file: str) -> str:
    """The folder of a file under the root, with a slash at the end; "" for the root."""
    return file[: file.rfind("/") + 1]


def map_file(file: str) -> str:
    """The map of an image."""
    return f"{stem(file)}_seg.png"


def read_map(root: Path, file: str, size: tuple[int, int], max_pixels: int) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8 of a map of classes (red and green) and object numbers (blue)."""
    values = _png(root, file, size, max_pixels)
    if values.ndim != 3 or values.shape[2] != 3:
        raise InvalidAnnotation("the map is no RGB file", file=root / file, why=f"it has {values.ndim} dimensions")
    return values


def read_object(root: Path, file: str, size: tuple[int, int], max_pixels: int) -> npt.NDArray[np.uint8]:
    """(H, W) uint8 of an object: 0 outside, 128 hidden, another value visible."""
    values = _png(root, file, size, max_pixels)
    if values.ndim != 2 or values.dtype != np.uint8 or len(set(np.unique(values).tolist()) - {0, HIDDEN}) > 1:
        raise InvalidAnnotation(
            "the mask of an object is no grey file of 0, 128 and one more value",
            file=root / file,
            why=f"values are {', '.join(map(str, np.unique(values)[:8].tolist()))}",
        )
    return values


def _png(root: Path, file: str, size: tuple[int, int], max_pixels: int) -> npt.NDArray[Any]:
    try:
        values = png.read_labels(read_bytes(root, file, "the dataset"), max_pixels=max_pixels).values
    except SegdataError as error:
        raise error.located(file=root / file) from error
    if values.shape[:2] != size:
        raise InvalidAnnotation(
            "a label file is of another size than the image",
            file=root / file,
            why=f"it has {values.shape[1]} × {values.shape[0]}, the image {size[1]} × {size[0]} (width × height)",
        )
    return values


def classes(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """(H, W) numbers of classes in a map; 0 is unlabelled."""
    return (pixels[..., 0] // 10).astype(np.int64) * 256 + pixels[..., 1]


def map_pixels(numbers: npt.NDArray[np.integer], blue: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The inverse of `classes`, with numbers of objects."""
    pixels = np.empty((*numbers.shape, 3), np.uint8)
    pixels[..., 0], pixels[..., 1], pixels[..., 2] = numbers // 256 * 10, numbers % 256, blue
    return pixels


def counts(mask: npt.NDArray[np.bool_]) -> str:
    """COCO's compressed run lengths of a mask."""
    text: bytes = Masks.from_dense(mask[None]).rle()[0]["counts"]
    return text.decode("ascii")


def mask_of(text: str, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The inverse of `counts`."""
    mask: npt.NDArray[np.bool_] = Masks.from_rle([{"size": list(size), "counts": text}], *size)[0] != 0
    return mask


def object_png(visible: npt.NDArray[Any], kept: Mapping[str, Any], size: tuple[int, int]) -> bytes:
    """The PNG of an object from its visible pixels and what was kept of the source's."""
    values = np.where(visible, kept.get("value", VISIBLE), 0).astype(np.uint8)
    if "hidden" in kept:
        values[mask_of(kept["hidden"], size) & (values == 0)] = HIDDEN
    return png.encode_png(values)
