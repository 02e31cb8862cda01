"""CamVid's label files: colours, or values as grey, palette, one-bit or 16-bit PNG, as category indices and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core import png
from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.rle import constant_runs
from segdata.errors import InvalidAnnotation, InvalidImage, SegdataError
from segdata.formats.shared import binary, palettes, verbatim
from segdata.formats.shared.folder import read_bytes

CLASSES = "name the categories with --classes FILE|NAMES|from-data"

_MODES = ("RGB", "RGBA", "L", "P", "1", "I;16")
_COLORS = ("RGB", "RGBA")


def read(root: Path, file: str) -> tuple[png.LabelImage, bytes]:
    """A label file's values as stored, and its bytes.

    Raises:
        InvalidImage: damaged, or of a kind that changes values.
    """
    data = read_bytes(root, file, "the dataset")
    try:
        raw = png.read_labels(data)
    except SegdataError as error:
        raise error.located(file=root / file) from error
    if raw.mode not in _MODES:
        raise InvalidImage(
            "label file is of a kind that CamVid does not have", file=root / file, why=f"PNG mode {raw.mode}"
        )
    return raw, data


def present(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The values of a map (H, W) or, of colours (H, W, 3 or 4), their codes R · 65536 + G · 256 + B; sorted."""
    codes = color_codes(values) if values.ndim == 3 else values
    return np.unique(codes.ravel()[constant_runs(codes)[0]])


def color_codes(pixels: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """(H, W) int32, R · 65536 + G · 256 + B."""
    codes: npt.NDArray[np.int32] = pixels[:, :, :3].astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    return codes


def decode(
    raw: png.LabelImage, labels: LabelSpace, path: Path, key: str, findings: Findings, *, is_binary: bool
) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """The label map of a file, and what a writer needs to give the file back.

    Args:
        is_binary: whether the dataset's files are black and white, 0 and 255, which are two categories.

    Returns:
        (H, W) category indices, dtype of the label space; and what `encode` takes.
    """
    residue: dict[str, Any] = {"mode": raw.mode, **verbatim.palette_of(raw)}
    values = raw.values
    white = binary.white(raw, labels) if is_binary else None
    if raw.mode in _COLORS and white is not None:
        residue["pixels"] = verbatim.from_array(values)
    elif raw.mode in _COLORS:
        grey = _grey(raw, labels)
        if grey is None:
            semantic, off_table = _by_color(values, labels, path, key)
            if off_table:
                findings.remark("pixels with colours off the table, taken as void", key, len(off_table))
                residue["off_table"] = off_table
            if raw.mode == "RGBA" and np.any(values[:, :, 3] != 255):
                residue["opacity"] = verbatim.from_array(values[:, :, 3])
            return semantic, residue
        findings.remark("colour file with three equal channels: taken as values", key)
        residue["pixels"], values = verbatim.from_array(values), grey
    elif raw.mode == "P":
        colors = {category.id: category.color for category in labels.categories if category.color is not None}
        pixels = palettes.repainted(raw, colors)
        if pixels is not None:
            findings.remark("palette in an order of its own: categories taken from its colours", key)
            semantic, _ = _by_color(pixels, labels, path, key)
            return semantic, {**residue, "indices": verbatim.from_array(values)}
    if white is None:
        semantic = _by_value(values, labels, path, key, findings)
    else:
        semantic = np.where(white, labels.index_of_id[1], labels.index_of_id[0]).astype(labels.dtype)
        if binary.is_odd(raw):
            findings.remark(binary.REMARK, key)
    if "pixels" not in residue and not np.array_equal(_values_of(labels)[semantic], values):
        residue["indices"] = verbatim.from_array(values)
    return semantic, residue


def _grey(raw: png.LabelImage, labels: LabelSpace) -> npt.NDArray[Any] | None:
    """(H, W) values of a colour file that can only hold values, else None.

    Its channels are equal everywhere, none of its colours but black is a category's, and all are values of categories.
    """
    known = {r << 16 | g << 8 | b for r, g, b in (item.color for item in labels.categories if item.color is not None)}
    first = raw.values[:1, :, :3]  # as a rule, its first row tells
    if any((known - {0}).intersection(present(part).tolist()) for part in (first, raw.values)):
        return None
    red, green, blue = (raw.values[:, :, channel] for channel in range(3))
    if not np.array_equal(red, green) or not np.array_equal(green, blue):
        return None
    numbers = set(present(red).tolist())
    are_ids = numbers <= {*labels.index_of_id, 255} and (not known or bool(numbers - {0, 255}))
    return red if are_ids else None


def _values_of(labels: LabelSpace) -> npt.NDArray[np.int64]:
    """(void + 1,) int64, category index → value in files of grey; void keeps its own."""
    table = np.full(labels.void + 1, labels.void, np.int64)
    table[: len(labels)] = [max(category.id, 0) for category in labels.categories]
    return table


def void_of(labels: LabelSpace) -> int:
    """The index of the category Void or Unlabelled; the label space's void value where there is none."""
    return next((index for index, category in enumerate(labels.categories) if category.ignore), labels.void)


def _by_color(
    pixels: npt.NDArray[np.uint8], labels: LabelSpace, path: Path, key: str
) -> tuple[npt.NDArray[Any], list[list[int]]]:
    """RGB → indices, and `[row, column, r, g, b]` of every pixel whose colour is not in the table."""
    table = np.full(1 << 24, -1, np.int32)
    twice: dict[int, tuple[int, int]] = {}
    for index, category in enumerate(labels.categories):
        if category.color is not None:
            r, g, b = category.color
            code = r << 16 | g << 8 | b
            if table[code] >= 0:
                twice[code] = (int(table[code]), index)
            table[code] = index
    codes = color_codes(pixels)
    if all(category.color is None for category in labels.categories):
        raise InvalidAnnotation(
            "label file holds colours, and no category has one",
            file=path,
            key=key,
            why=f"{labels.name!r} has names alone: {', '.join(item.name for item in labels.categories[:5])}",
            fix="name a table of colours (R G B NAME a line) with --classes FILE, or add --classes from-data",
        )
    if twice:
        _require_unique(twice, codes, labels, path, key)
    indices = table[codes]
    off = np.argwhere(indices < 0)
    if len(off) > palettes.OFF_TABLE_LIMIT * indices.size:
        colors, counts = np.unique(codes[indices < 0], return_counts=True)
        first = np.argsort(-counts, kind="stable")[:8]
        raise InvalidAnnotation(
            "label file holds too many colours off the table",
            file=path,
            key=key,
            why=f"{len(off)} of {indices.size} pixels ({len(off) / indices.size:.2%}, limit {palettes.OFF_TABLE_LIMIT:.1%}): "
            + ", ".join(
                f"({c >> 16}, {(c >> 8) & 255}, {c & 255}) × {n}"
                for c, n in zip(colors[first].tolist(), counts[first].tolist(), strict=True)
            ),
            fix="use the original PNG (resizing or JPEG changes colours), or give the right table in label_colors.txt, "
            "or with --classes FILE",
        )
    semantic = np.where(indices < 0, void_of(labels), indices).astype(labels.dtype)
    return semantic, [[*position, *pixels[position[0], position[1], :3].tolist()] for position in off.tolist()]


def _require_unique(
    twice: Mapping[int, tuple[int, int]], codes: npt.NDArray[np.int32], labels: LabelSpace, path: Path, key: str
) -> None:
    for code, (first, second) in twice.items():
        if (codes == code).any():
            raise InvalidAnnotation(
                "label file holds a colour that two categories have",
                file=path,
                key=key,
                why=f"({code >> 16}, {(code >> 8) & 255}, {code & 255}) is {labels[first].name!r} and "
                f"{labels[second].name!r}",
                fix="give every category a colour of its own in the table, or name another table with --classes FILE",
            )


def _by_value(
    values: npt.NDArray[Any], labels: LabelSpace, path: Path, key: str, findings: Findings
) -> npt.NDArray[Any]:
    """Values → indices; 255 (and 65535 in 16-bit files) is void where no category has this value."""
    table = labels.table_from_ids(65536)
    numbers = present(values)
    voids = [value for value in {255, labels.void, 65535} if table[value] < 0 and value in numbers]
    table[voids] = labels.void
    wrong = [value for value in numbers.tolist() if table[value] < 0]
    if wrong:
        row, column = np.argwhere(np.isin(values, wrong))[0].tolist()
        value = int(values[row, column])
        raise InvalidAnnotation(
            "label file holds an index that the label space does not have",
            file=path,
            key=key,
            place=f"pixel row {row}, column {column}",
            why=f"value {value}; {labels.name!r} has 0 … {max(labels.index_of_id, default=0)}",
            fix=f"{CLASSES}; a FILE may say which value is which: a CSV that begins with the row 'Pixel Value, Class' and "
            f"has a row '{value}, NAME' for each value",
        )
    if voids and not any(category.ignore for category in labels.categories):
        for value in sorted(voids):
            findings.remark(f"pixels of value {value}, read as void", key, int((values == value).sum()))
    semantic: npt.NDArray[Any] = table[values].astype(labels.dtype)
    return semantic


# ---------------------------------------------------------------------- write


def encode(semantic: npt.NDArray[Any], residue: Mapping[str, Any], labels: LabelSpace) -> bytes:
    """A label map as the PNG that it was read from."""
    mode = residue["mode"]
    if "bytes" in residue:
        return verbatim.to_bytes(residue["bytes"])
    if "pixels" in residue:
        return png.encode_png(verbatim.to_array(residue["pixels"]))
    if mode not in _COLORS:
        stored = residue.get("indices")
        values = _values_of(labels)[semantic] if stored is None else verbatim.to_array(stored)
        if mode == "1":
            return png.encode_png(values.astype(np.uint8), mode="1")
        return verbatim.to_png(values.astype(np.uint16 if mode == "I;16" else np.uint8), residue)
    colors = np.zeros((labels.void + 1, 3), np.uint8)
    for index, category in enumerate(labels.categories):
        colors[index] = category.color or (0, 0, 0)
    pixels = colors[semantic]
    for row, column, *color in residue.get("off_table", ()):
        pixels[row, column] = color
    if mode == "RGBA":
        alpha = np.full(semantic.shape, 255, np.uint8)
        if "opacity" in residue:
            alpha = verbatim.to_array(residue["opacity"])
        pixels = np.dstack((pixels, alpha))
    return png.encode_png(pixels)
