"""Several samples on one sheet: pictures of one width, letters of one size, one legend for all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from segdata.core.labels import LabelSpace
from segdata.core.sample import Sample
from segdata.errors import printable
from segdata.viz import overlay as draw
from segdata.viz.overlay import Look, Picture
from segdata.viz.scale import fitting

WIDTH = 1600
"""Of a sheet, in pixels."""
_TEXT = 15
_GAP = 12
_LEGEND = 250
"""Width of a column of the legend."""


def sheet(
    samples: Sequence[Sample],
    labels: LabelSpace,
    *,
    columns: int = 3,
    width: int = WIDTH,
    look: Look | None = None,
) -> Picture:
    """Draw samples row by row, with key and size under each, and one legend with the counts of all below.

    Args:
        labels: of the samples.
        columns: pictures in a row.
        width: of the sheet in pixels; letters have 15 at any width.
        look: how annotations are drawn.

    Returns:
        (H, width, 3) uint8 RGB.
    """
    from PIL import Image, ImageDraw

    look = look or Look()
    columns = max(1, min(columns, len(samples)))
    cell = (width - _GAP) // columns - _GAP
    pictures = [_cell(sample, labels, look, cell) for sample in samples]
    rows = [range(begin, min(begin + columns, len(samples))) for begin in range(0, len(samples), columns)]
    heights = [max(len(pictures[index]) for index in row) + 2 * _TEXT + _GAP for row in rows]
    legend = draw.legend_rows(samples, labels, look)
    across = max(1, (width - _GAP) // _LEGEND)
    lines = math.ceil(len(legend) / across)
    bottom = _GAP + sum(heights)
    image = Image.new("RGB", (width, bottom + round(lines * 1.6 * _TEXT) + _GAP), draw.PANEL)
    drawing = ImageDraw.Draw(image)
    y = _GAP
    for row, height in zip(rows, heights, strict=True):
        for column, index in enumerate(row):
            x = _GAP + column * (cell + _GAP)
            image.paste(Image.fromarray(pictures[index]), (x, y))
            _caption(drawing, samples[index], (x, y + len(pictures[index]) + _TEXT // 3), cell)
        y += height
    for number, entry in enumerate(legend):
        corner = (number // lines * _LEGEND, bottom + round(number % lines * 1.6 * _TEXT))
        draw.draw_row(drawing, entry, _TEXT, corner, _LEGEND - _TEXT)
    return np.asarray(image)


def _cell(sample: Sample, labels: LabelSpace, look: Look, width: int) -> Picture:
    """A sample, `width` pixels wide (less where it is more than four times as high), with outlines of two pixels."""
    from PIL import Image

    picture, scale = draw.painted(sample, labels, look, line=1.6 / width)
    size = fitting(picture.shape[0], picture.shape[1], width, enlarge=True)
    resized = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
    return draw.with_boxes(resized, sample, labels, look, scale * size[0] / picture.shape[1], _TEXT - 2)


def _caption(drawing: Any, sample: Sample, corner: tuple[int, int], width: int) -> None:
    x, y = corner
    count = len(sample.instances)
    size = f"  {sample.width} x {sample.height}, {count} object{'' if count == 1 else 's'}"
    room = width - draw.text_width(drawing, size, _TEXT)
    key = printable(sample.key, lines=False)
    while key and draw.text_width(drawing, key, _TEXT) > room:
        key = f"…{key[2:]}" if len(key) > 2 else ""
    draw.write(drawing, (x, y), key, _TEXT)
    draw.write(drawing, (x + draw.text_width(drawing, key, _TEXT), y), size, _TEXT, is_faint=True)
