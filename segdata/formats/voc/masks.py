"""PASCAL VOC's mask PNGs ↔ maps of categories and object numbers, and how each file was stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core import png
from segdata.core.labels import Color, LabelSpace, is_background
from segdata.errors import InvalidAnnotation, InvalidImage, SegdataError
from segdata.formats.shared import binary, palettes, verbatim
from segdata.formats.shared.folder import read_bytes
from segdata.formats.shared.palettes import PALETTE

VOID = 255
"""Value of the border between objects, and of what is no class."""

_MOST_VOID = 0.05
"""Share of a mask without a class that may be void: the rim of nothing is nothing."""

_COLORS = {index: (PALETTE[3 * index], PALETTE[3 * index + 1], PALETTE[3 * index + 2]) for index in range(256)}


def are_binary(root: Path, files: Sequence[str], labels: LabelSpace) -> bool:
    """Whether the class masks are black and white, 0 and 255, and there is a background and one class for these values."""
    if len(labels) != 2 or not is_background(labels[0].name):
        return False
    return binary.are_binary(_stored(root, files), labels)


def _stored(root: Path, files: Sequence[str]) -> Iterator[png.LabelImage]:
    for file in files:
        try:
            yield png.read_labels(read_bytes(root, file, "the dataset"))
        except SegdataError:
            continue  # `load` says what is wrong with it


def read_classes(
    root: Path, file: str | None, labels: LabelSpace, *, is_binary: bool = False
) -> tuple[png.LabelImage | None, npt.NDArray[Any] | None]:
    """The class mask as read, and as map of category indices.

    Args:
        is_binary: white, 255, is the one class, where the mask holds nothing else but black.
    """
    if file is None:
        return None, None
    path = root / file
    colors = {index: category.color for index, category in enumerate(labels.categories) if category.color}
    raw = _stored_mask(root, file)
    white = binary.white(raw, labels) if is_binary else None
    values = _values(raw, {**colors, VOID: _COLORS[VOID]}, path) if white is None else white.astype(np.uint8)
    wrong = (values >= len(labels)) & (values != VOID)
    if wrong.any():
        row, column = np.argwhere(wrong)[0].tolist()
        raise InvalidAnnotation(
            "mask holds a value that is no class",
            file=path,
            place=f"pixel row {row}, column {column}",
            why=f"value {int(values[row, column])}; classes are 0 … {len(labels) - 1}, void is {VOID}",
            fix="use the label space of this dataset (labelmap.txt, or --labels)",
        )
    is_void = values == VOID
    if is_void.mean() > _MOST_VOID and not ((values > 0) & ~is_void).any():
        raise InvalidAnnotation(
            "mask has no class, and a large part of it is void",
            file=path,
            why=f"its values are 0 and {VOID}, void, at {int(is_void.sum()):,} of {values.size:,} pixels: a binary mask has 1",
            fix=f"name the background and the one class: --classes background,NAME; or write the class's number (1 …) in "
            f"place of {VOID}",
        )
    semantic = values.astype(labels.dtype)
    semantic[values == VOID] = labels.void
    return raw, semantic


def read_objects(root: Path, file: str | None) -> tuple[png.LabelImage | None, npt.NDArray[Any] | None]:
    """The object mask as read, and as map of object numbers (0 background, 255 void)."""
    if file is None:
        return None, None
    raw = _stored_mask(root, file)
    return raw, _values(raw, _COLORS, root / file)


def _stored_mask(root: Path, file: str) -> png.LabelImage:
    try:
        raw = png.read_labels(read_bytes(root, file, "the dataset"))
    except SegdataError as error:
        raise error.located(file=root / file) from error
    if raw.mode not in ("P", "L", "1", "RGB", "RGBA"):
        raise InvalidImage("mask is of a kind that VOC does not have", file=root / file, why=f"PNG mode {raw.mode}")
    return raw


def _values(raw: png.LabelImage, color_of: Mapping[int, Color], path: Path) -> npt.NDArray[Any]:
    """(H, W) values of a mask; of colours by the table."""
    pixels = raw.values if raw.values.ndim == 3 else palettes.repainted(raw, color_of) if raw.mode == "P" else None
    return raw.values if pixels is None else _by_color(pixels, color_of, path)


def _by_color(pixels: npt.NDArray[np.uint8], color_of: Mapping[int, Color], path: Path) -> npt.NDArray[np.uint8]:
    """RGB → values by a colour table; colours off the table are an error that lists them."""
    table = {color: value for value, color in reversed(list(color_of.items()))}
    code = pixels[:, :, :3].astype(np.int64) @ np.array([65536, 256, 1])
    colors, inverse, counts = np.unique(code, return_inverse=True, return_counts=True)
    values = [table.get((int(c) >> 16, (int(c) >> 8) & 255, int(c) & 255), -1) for c in colors]
    unknown = [
        f"({c >> 16}, {(c >> 8) & 255}, {c & 255}) × {count}"
        for c, count, value in zip(colors.tolist(), counts.tolist(), values, strict=True)
        if value < 0
    ]
    if unknown:
        raise InvalidAnnotation(
            "colour mask holds colours that are not in the table",
            file=path,
            why=", ".join(unknown[:10]) + (" …" if len(unknown) > 10 else ""),
            fix="use the original palette PNG, or write labelmap.txt beside the folders, a line NAME:R,G,B:: for each class, or "
            "name a table of colours (R G B NAME a line) with --classes FILE",
        )
    return np.asarray(values, np.uint8)[inverse].reshape(code.shape)


def storage_of(raw: png.LabelImage, values: npt.NDArray[Any]) -> dict[str, Any]:
    """How a mask was stored, where that was not as a PNG with VOC's palette."""
    is_white = raw.mode == "RGB" and values.max() == 1 and not np.any((raw.values > 0) & (raw.values != VOID))
    if raw.mode == "RGBA" or is_white:
        return {"mode": raw.mode, "pixels": verbatim.from_array(raw.values)}
    is_binary = raw.values.ndim == 2 and values.max() == 1 and raw.values.max() == VOID
    binary = {"binary": True} if is_binary else {}
    if raw.mode != "P":
        return {"mode": raw.mode, **binary}
    is_moved = not np.array_equal(np.where(raw.values == VOID, 0, raw.values), np.where(raw.values == VOID, 0, values))
    indices = {"indices": verbatim.from_array(raw.values)} if is_moved else {}
    is_usual = raw.palette == PALETTE and raw.alpha is None
    return {**({} if is_usual else verbatim.palette_of(raw)), **indices, **binary}


def to_png(values: npt.NDArray[np.uint8], labels: LabelSpace | None, storage: Mapping[str, Any]) -> bytes:
    """Encode a mask as it was stored; `labels` are those of a class mask."""
    mode = storage.get("mode", "P")
    if storage.get("binary"):
        values = np.where(values > 0, np.uint8(VOID), np.uint8(0))
    if "pixels" in storage:
        return png.encode_png(verbatim.to_array(storage["pixels"]))
    if mode == "1":
        return png.encode_png(values, mode="1")
    if mode == "RGB":
        table = np.frombuffer(PALETTE, np.uint8).reshape(256, 3).copy()
        for index, category in enumerate(labels.categories if labels else ()):
            if category.color is not None:
                table[index] = category.color
        return png.encode_png(table[values])
    if "indices" in storage:
        values = verbatim.to_array(storage["indices"])
    if mode == "P" and "palette" not in storage:
        return png.encode_png(values, palette=PALETTE)
    return verbatim.to_png(values, storage)
