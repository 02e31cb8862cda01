"""Cityscapes' label files: read as stored, and label maps from those that are not label ids."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.catalog import manifest
from segdata.core import png
from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.errors import InvalidAnnotation, InvalidImage, SegdataError
from segdata.formats.cityscapes.frames import Frame
from segdata.formats.cityscapes.spaces import CLASSES, OFFICIAL, TRAIN_VIEW, VOID_ID
from segdata.formats.contract import Entry
from segdata.formats.shared.folder import read_bytes


def only(suffixes: Collection[str]) -> str:
    """The kind of file that a frame's label map is taken from, the most telling first; "" where there is none."""
    kinds = ("labelIds.png", "instanceIds.png", "polygons.json", "labelTrainIds.png", "color.png")
    return next((kind for kind in kinds if kind in suffixes), "")


def values(root: Path, frame: Frame, suffix: str) -> png.LabelImage | None:
    """A label file as stored; None where the frame has none."""
    if suffix not in frame.suffixes:
        return None
    file = frame.file(suffix)
    try:
        stored = png.read_labels(read_bytes(root, file, "the dataset"))
    except SegdataError as error:
        raise error.located(file=root / file) from error
    if suffix in ("labelIds.png", "instanceIds.png") and stored.mode not in ("L", "I;16", "P", "1"):
        raise _not_grey(root / file, stored)
    return stored


def _not_grey(path: Path, stored: png.LabelImage) -> InvalidImage:
    return InvalidImage(
        "label file is not grey",
        file=path,
        why=f"PNG mode {stored.mode}; ids are stored as grey values",
        fix="use the original labelIds and instanceIds files; colours are ambiguous",
    )


def other_size(path: Path, entry: Entry, stored: Sequence[int], size: Sequence[int]) -> InvalidAnnotation:
    """What is wrong with labels of another size than the image."""
    return InvalidAnnotation(
        "labels are of another size than the image",
        file=path,
        key=entry.key,
        why=f"labels {stored[1]} × {stored[0]}, image {size[1]} × {size[0]} (width × height)",
        fix="restore the original file",
    )


def unknown(
    path: Path, entry: Entry, ids: npt.NDArray[Any], wrong: npt.NDArray[np.bool_], labels: LabelSpace
) -> InvalidAnnotation:
    """What is wrong with a label file that holds ids beyond the label space."""
    row, column = np.argwhere(wrong)[0].tolist()
    return InvalidAnnotation(
        "label file holds an id that the label space does not have",
        file=path,
        key=entry.key,
        place=f"pixel row {row}, column {column}",
        why=f"id {int(ids[row, column])}; {labels.name!r} has ids up to {max(labels.index_of_id, default=0)}"
        + ("; 255 occurs in trainId files" if int(ids[row, column]) == VOID_ID else ""),
        fix=f"{CLASSES}, or give the original labelIds files",
    )


def of_other_files(
    root: Path, entry: Entry, size: tuple[int, int], labels: LabelSpace, residue: dict[str, Any], findings: Findings
) -> npt.NDArray[Any] | None:
    """(H, W) category indices from labelTrainIds or colours, where there is nothing else."""
    kind = only(entry.data.suffixes)
    stored = values(root, entry.data, kind) if kind in ("labelTrainIds.png", "color.png") else None
    if stored is None:
        return None
    path = root / entry.data.file(kind)
    if stored.values.shape[:2] != size:
        raise other_size(path, entry, stored.values.shape, size)
    residue["absent"] = ["labelIds"]
    if kind == "color.png":
        findings.remark("no labelIds file: label map taken from colours", entry.key)
        pixels = stored.values if stored.palette is None else _painted(stored)
        return of_colors(pixels, labels, path, entry.key).astype(labels.dtype)
    findings.remark("no labelIds file: label map taken from labelTrainIds", entry.key)
    if stored.values.ndim != 2:
        raise _not_grey(path, stored)
    indices = np.where(stored.values > VOID_ID, -1, of_train_ids(labels)[np.minimum(stored.values, VOID_ID)])
    if (indices < 0).any():
        raise unknown(path, entry, stored.values, indices < 0, labels)
    semantic: npt.NDArray[Any] = indices.astype(labels.dtype)
    return semantic


def _painted(stored: png.LabelImage) -> npt.NDArray[np.uint8]:
    """(H, W, 3) colours of a palette image."""
    entries = np.zeros((256, 3), np.uint8)
    colors = np.frombuffer(stored.palette or b"", np.uint8).reshape(-1, 3)
    entries[: len(colors)] = colors
    painted: npt.NDArray[np.uint8] = entries[stored.values]
    return painted


def of_train_ids(labels: LabelSpace) -> npt.NDArray[np.int64]:
    """(256,) int64, value of a labelTrainIds file → category index, void for 255, −1 for what is none."""
    table = np.full(256, -1, np.int64)
    if labels.name in (OFFICIAL, TRAIN_VIEW):
        view = manifest.view(manifest.label_space(OFFICIAL), TRAIN_VIEW).target
        for number, category in enumerate(view.categories):
            table[number] = labels.index_of_name[category.name]
    else:
        table[:] = labels.table_from_ids(256)
    table[VOID_ID] = labels.void if table[VOID_ID] < 0 else table[VOID_ID]
    return table


def of_colors(pixels: npt.NDArray[np.uint8], labels: LabelSpace, path: Path, key: str) -> npt.NDArray[np.integer]:
    """(H, W) category indices of colours (H, W, 3 or 4); colours of ignored categories alone are void.

    Raises:
        InvalidImage: a colour that two categories have.
        InvalidAnnotation: a colour that none has.
    """
    codes = pixels[:, :, :3].astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    present, inverse = np.unique(codes, return_inverse=True)
    indices = np.array([_of_color(code, labels, path, key) for code in present.tolist()])
    semantic: npt.NDArray[np.integer] = indices[inverse].reshape(codes.shape).astype(labels.dtype)
    return semantic


def _of_color(code: int, labels: LabelSpace, path: Path, key: str) -> int:
    color = (code >> 16, code >> 8 & 255, code & 255)
    fitting = [index for index, category in enumerate(labels.categories) if category.color == color]
    counting = [index for index in fitting if not labels[index].ignore]
    if len(counting) > 1:
        raise InvalidImage(
            "a colour file does not tell two categories apart",
            file=path,
            key=key,
            why=f"{labels[counting[0]].name!r} and {labels[counting[1]].name!r} are {color}",
            fix="give the labelIds files, or a table of distinct colours with --classes FILE",
        )
    if not fitting:
        raise InvalidAnnotation(
            "a colour file holds a colour that no category has",
            file=path,
            key=key,
            why=f"colour {color} is none of {labels.name!r}",
            fix="give the labelIds files, or the table of these colours with --classes FILE",
        )
    ignored = fitting[0] if len(fitting) == 1 else labels.void
    return counting[0] if counting else ignored


def train_ids(ids: npt.NDArray[Any], labels: LabelSpace) -> npt.NDArray[np.uint8] | None:
    """(H, W) labelIds → trainIds, 255 for ignored categories; None in another label space."""
    if labels.name != OFFICIAL or ids.max(initial=0) > VOID_ID:
        return None
    view = manifest.view(labels, TRAIN_VIEW)
    table = np.full(256, 255, np.uint8)
    for index, to in enumerate(view.table):
        if to is not None and labels[index].id >= 0:
            table[labels[index].id] = to
    train_ids: npt.NDArray[np.uint8] = table[ids]
    return train_ids


def colors(ids: npt.NDArray[Any], labels: LabelSpace) -> npt.NDArray[np.uint8] | None:
    """labelIds in the categories' colours, (H, W, 4) uint8 RGBA, opaque; None where ids are no bytes."""
    if ids.max(initial=0) > VOID_ID:
        return None
    table = np.zeros((256, 4), np.uint8)
    table[:, 3] = 255
    for category in labels.categories:
        if category.color is not None and 0 <= category.id < 256:
            table[category.id, :3] = category.color
    colors: npt.NDArray[np.uint8] = table[ids]
    return colors
