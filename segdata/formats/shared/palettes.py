"""Palettes of label PNGs: VOC's, and palettes whose order is not that of the label table.

Programs that make PNGs smaller reorder palettes: the colours then tell the categories, and the indices mean nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from segdata.core.labels import Color
from segdata.core.png import LabelImage


def _palette() -> bytes:
    """VOC's 256 colours (VOClabelcolormap): bits of the index become high bits of red, green and blue in turn."""
    entries = bytearray()
    for index in range(256):
        color = [0, 0, 0]
        for bit in range(8):
            color[bit % 3] |= ((index >> bit) & 1) << (7 - bit // 3)
        entries += bytes(color)
    return bytes(entries)


PALETTE = _palette()
"""768 bytes R G B of VOC's 256 colours, which label images of other datasets use as well."""

OFF_TABLE_LIMIT = 0.001
"""Share of a file's pixels that may have colours off the table; more means that its colours are not the table's."""


def repainted(raw: LabelImage, color_of: Mapping[int, Color]) -> npt.NDArray[np.uint8] | None:
    """(H, W, 3) uint8 colours of an image whose palette is reordered (its colours are the table's), else None.

    Args:
        raw: a palette image.
        color_of: value → the colour that it should have.
    """
    counts = np.bincount(raw.values.ravel(), minlength=256)
    entries = np.zeros((256, 3), np.uint8)
    stored = np.frombuffer(raw.palette or b"", np.uint8).reshape(-1, 3)
    entries[: len(stored)] = stored
    table = set(color_of.values())
    # A palette that is filled up, with black as a rule, has some colours twice: at their own index they are in order.
    in_order = {color for index, color in color_of.items() if tuple(entries[index].tolist()) == color}
    is_moved, off = False, 0
    for index in np.nonzero(counts[: len(stored)])[0].tolist():  # what lies beyond the palette has no colour
        red, green, blue = entries[index].tolist()
        color = (red, green, blue)
        is_moved |= color in table and color_of.get(index) != color and color not in in_order
        off += 0 if color in table else int(counts[index])
    return entries[raw.values] if is_moved and off <= OFF_TABLE_LIMIT * raw.values.size else None


def from_hex(text: str | None) -> Color | None:
    """A colour "#rrggbb"; None for anything else."""
    try:
        red, green, blue = bytes.fromhex((text or "").removeprefix("#"))
    except ValueError:
        return None
    return red, green, blue


def to_hex(color: Color) -> str:
    """A colour as "#rrggbb"."""
    return f"#{bytes(color).hex()}"
