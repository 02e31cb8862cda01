"""Draw the annotations of a sample over its image: masks, outlines, boxes, category names and a legend.

Crowds are hatched, void is dark and dotted, objects without mask have dashed boxes, detections thin ones. Colours are
those of the label space where it has bright ones, else hues spread evenly over the categories.
"""

from __future__ import annotations

import colorsys
import contextlib
import io
import math
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import FloatArray
from segdata.core.labels import Color, LabelSpace
from segdata.core.masks import Masks
from segdata.core.sample import Sample

Picture = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

_MASK = 0.45
"""Opacity of masks."""
_SEMANTIC = 0.55
"""Opacity of semantic maps without objects over them."""
_GOLDEN = 0.61803398875
"""Steps of this part of a turn spread hues evenly."""
_MOST_PIXELS, _LONGEST = 1 << 24, 1 << 14
"""Of a picture without legend and title, and of its longer side."""
_MOST_PAINTED, _MOST_READ = 1 << 27, 1 << 32
"""Pixels of all masks within their boxes: of the picture, and of the image."""
_ROWS = 256
"""Rows of a label map that are painted at once."""
_IGNORED = (70, 70, 70)
_DARKEST = 60
"""Colours whose brightest channel is below this cannot be distinguished."""
_NOT_ASCII = 0x80
"""Letters from here on (ä, ž, я …) are not in Pillow's own font."""
_ASIAN = 0x2E80
"""Chinese, Japanese and Korean characters begin here."""
_FONTS = (
    "DejaVuSans.ttf",
    "Arial Unicode.ttf",
    "PingFang.ttc",
    "msyh.ttc",
    "wqy-microhei.ttc",
    "NotoSansCJK-Regular.ttc",
)
"""System fonts with other scripts; the last ones have Chinese, Japanese and Korean, too."""
_PANEL = (24, 26, 30)
_TEXT = (236, 238, 242)
_FAINT = (150, 156, 166)


def overlay(
    sample: Sample,
    labels: LabelSpace,
    *,
    legend: bool = True,
    title: bool = True,
    names: bool = True,
    semantic: bool = True,
    image: Picture | None = None,
) -> Picture:
    """Draw a sample's annotations over its image.

    Args:
        labels: the label space of the sample.
        legend: add a column with the categories that occur and their counts.
        title: add a line with key and size.
        names: write the category (and score) at each object.
        semantic: draw the semantic map, under the objects.
        image: (H, W, 3) uint8 RGB to draw on; by default the sample's own, dark grey where it has none.

    Returns:
        (H′, W′, 3) uint8 RGB; larger than the image by legend and title. Small images are enlarged; of images of more than
        16,777,216 pixels, or 16,384 in a row, or with very many large masks, every second, third … pixel is drawn.
    """
    if image is None:
        image = sample.image if sample.encoded is not None else _grey(sample.height, sample.width)
    scale = Scale.of(image.shape[0], image.shape[1], sample.instances.masks)
    canvas = scale.resized(image).astype(np.float32)
    instances = sample.instances
    if semantic and sample.semantic is not None:
        _paint_semantic(canvas, scale.resized(sample.semantic), labels, faint=len(instances) > 0)
    order = np.lexsort((-instances.masks.areas, ~instances.iscrowd))
    thickness = max(1, round(max(canvas.shape[:2]) / 700))
    is_painted = instances.has_mask & (_read_with_smaller_ones(instances.masks) <= _MOST_READ)
    for index in order[is_painted[order]].tolist():
        x, y = instances.masks.boxes_xywh[index, :2].tolist()
        crop, corner = scale.cropped(instances.masks[index : index + 1].crops()[0] != 0, x, y)
        color = color_of(labels, int(instances.category[index]), shift=index)
        _paint_mask(canvas, crop, corner, color, thickness, is_crowd=bool(instances.iscrowd[index]))
    picture = canvas.clip(0, 255, out=canvas).astype(np.uint8)
    picture = _with_boxes(picture, sample, labels, scale, order[::-1].tolist(), names=names)
    if legend:
        picture = np.concatenate((picture, _legend(sample, labels, picture.shape[0])), axis=1)
    if title:
        size = f"{sample.width} x {sample.height}, {len(instances)} objects"
        picture = np.concatenate((_title(sample.key, size, picture.shape), picture), axis=0)
    return picture


def contact_sheet(pictures: Sequence[Picture], *, columns: int = 4, width: int = 420) -> Picture:
    """Several pictures on one sheet, row by row, each scaled to the same width and centred in its cell.

    Pictures more than four times as high as wide are scaled to that height.

    Args:
        pictures: each (H, W, 3) uint8 RGB.
        columns: cells in a row.
        width: of a cell, in pixels.

    Returns:
        (H′, W′, 3) uint8 RGB.
    """
    from PIL import Image

    cells = []
    for picture in pictures:
        size = fitting(picture.shape[0], picture.shape[1], width, enlarge=True)
        cells.append(np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)))
    gap = 10
    rows = [cells[begin : begin + columns] for begin in range(0, len(cells), columns)]
    sheet_height = sum(max(cell.shape[0] for cell in row) + gap for row in rows) + gap
    sheet_width = min(columns, len(cells)) * (width + gap) + gap
    sheet = np.full((sheet_height, sheet_width, 3), _PANEL, np.uint8)
    y = gap
    for row in rows:
        tallest = max(cell.shape[0] for cell in row)
        for column, cell in enumerate(row):
            x = gap + column * (width + gap) + (width - cell.shape[1]) // 2
            top = y + (tallest - cell.shape[0]) // 2
            sheet[top : top + cell.shape[0], x : x + width] = cell
        y += tallest + gap
    return sheet


def fitting(height: int, width: int, widest: int, *, enlarge: bool = False) -> tuple[int, int]:
    """Width and height in pixels of a picture scaled to be `widest` wide, and at most four times as high.

    Args:
        enlarge: whether smaller pictures are scaled, too.
    """
    factor = min(widest / width, 4 * widest / height)
    factor = factor if enlarge else min(factor, 1.0)
    return max(1, round(width * factor)), max(1, round(height * factor))


def png(picture: Picture) -> bytes:
    """A picture, (H, W, 3) uint8 RGB, as a PNG file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=2)  # three times as fast as 6, a tenth larger
    return buffer.getvalue()


def color_of(labels: LabelSpace, index: int, *, shift: int = 0) -> Color:
    """RGB colour of a category; `shift` changes its brightness, to distinguish neighbours of one category."""
    color = labels[index].color
    if labels[index].ignore or labels[index].name == "background":
        return _IGNORED
    if color is not None and max(color) >= _DARKEST:
        red, green, blue = color
    else:
        red, green, blue = (round(255 * v) for v in colorsys.hsv_to_rgb((index * _GOLDEN) % 1, 0.75, 0.95))
    factor = (1.0, 0.82, 1.15, 0.7)[shift % 4]
    return tuple(min(255, round(v * factor)) for v in (red, green, blue))  # type: ignore[return-value]


class Scale(NamedTuple):
    """How an image is resized to be drawn: each pixel is repeated `times` times, of `step` pixels in a row one is drawn."""

    times: int
    step: int

    @classmethod
    def of(cls, height: int, width: int, masks: Masks | None = None) -> Scale:
        """Of an image of this size in pixels, on which these masks are painted."""
        longest = max(height, width)
        painted = 0.0 if masks is None else float(_read_with_smaller_ones(masks).max(initial=0))
        room = math.sqrt(_MOST_PAINTED / max(min(painted, _MOST_READ), 1))
        step = max(1, math.ceil(math.sqrt(height * width / _MOST_PIXELS)), math.ceil(longest / _LONGEST))
        times = max(1, min(16, round(480 / longest), int(room)))
        return cls(times, max(step, math.ceil(1 / room)))

    @property
    def factor(self) -> float:
        """Pixels of the picture for a pixel of the image."""
        return self.times / self.step

    def resized(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(H, W, …) as it is drawn."""
        array = array[:: self.step, :: self.step]
        return array if self.times == 1 else array.repeat(self.times, axis=0).repeat(self.times, axis=1)

    def cropped(self, crop: npt.NDArray[np.bool_], x: int, y: int) -> tuple[npt.NDArray[np.bool_], tuple[int, int]]:
        """A crop whose top left pixel is x, y of the image, as it is drawn, and its corner in the picture."""
        left, top = -x % self.step, -y % self.step
        corner = (self.times * (x + left) // self.step, self.times * (y + top) // self.step)
        return self.resized(crop[top:, left:]), corner


def _grey(height: int, width: int) -> Picture:
    """What is drawn on where there is no image; it takes no memory."""
    return np.broadcast_to(np.uint8(60), (height, width, 3))


def _read_with_smaller_ones(masks: Masks) -> FloatArray:
    """(N,) pixels in the box of each mask, and in those of all that are smaller."""
    pixels = masks.boxes_xywh[:, 2:].astype(np.float64).prod(axis=1)
    order = pixels.argsort(kind="stable")
    together = np.empty(len(pixels))
    together[order] = pixels[order].cumsum()
    return together


def _paint_semantic(
    canvas: npt.NDArray[np.float32], semantic: npt.NDArray[Any], labels: LabelSpace, *, faint: bool
) -> None:
    colors = np.zeros((labels.void + 1, 3), np.float32)
    share = np.zeros(labels.void + 1, np.float32)
    for index, category in enumerate(labels.categories):
        is_background = index == 0 and category.name == "background"
        colors[index] = color_of(labels, index)
        share[index] = 0.0 if is_background else (0.3 if faint else _SEMANTIC)
        if category.ignore:
            share[index] = 0.45
    colors[labels.void], share[labels.void] = _IGNORED[0], 0.55
    for begin in range(0, len(canvas), _ROWS):
        band = slice(begin, begin + _ROWS)
        alpha = share[semantic[band]][:, :, None]
        canvas[band] = canvas[band] * (1 - alpha) + colors[semantic[band]] * alpha
    edge = np.zeros(semantic.shape, bool)
    edge[:, 1:] |= semantic[:, 1:] != semantic[:, :-1]
    edge[1:] |= semantic[1:] != semantic[:-1]
    canvas[edge] = canvas[edge] * 0.5 + 110
    rows, columns = np.ogrid[: semantic.shape[0], : semantic.shape[1]]
    dots = (semantic == labels.void) & ((rows + columns) % 8 == 0) & ((rows - columns) % 8 == 0)
    canvas[dots] = 230


def _paint_mask(
    canvas: npt.NDArray[np.float32],
    mask: npt.NDArray[np.bool_],
    corner: tuple[int, int],
    color: Color,
    thickness: int,
    *,
    is_crowd: bool,
) -> None:
    """Paint an object and its outline.

    Args:
        canvas: (H, W, 3) float32, changed in place, nowhere outside the object's tight box.
        mask: (h, w), the object within that box.
        corner: x and y of the box's top left pixel.
    """
    x, y = corner
    height, width = mask.shape
    window = canvas[y : y + height, x : x + width]
    inside = mask
    if is_crowd:
        rows, columns = np.ogrid[y : y + height, x : x + width]
        inside = mask & ((rows + columns) // (4 * thickness) % 3 == 0)
    window[inside] = window[inside] * (1 - _MASK) + np.array(color, np.float32) * _MASK
    line = _border(mask, thickness)
    window[line] = np.array(color, np.float32) * 0.35 + 165


def _border(mask: npt.NDArray[np.bool_], thickness: int) -> npt.NDArray[np.bool_]:
    padded = np.pad(mask, 1)
    inner = padded[1:-1, 1:-1]
    for _ in range(thickness):
        inner[:] = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _font(size: int, text: str) -> Any:
    """A font that has the letters of a text, if the system has one; Pillow's own has ASCII letters only."""
    highest = max((ord(letter) for letter in text if letter.isalpha()), default=0)
    return _load_font(size, () if highest < _NOT_ASCII else _FONTS if highest < _ASIAN else _FONTS[::-1])


@cache
def _load_font(size: int, names: tuple[str, ...]) -> Any:
    """The first of these fonts that the system has, then matplotlib's, then Pillow's own."""
    from PIL import ImageFont

    matplotlib = find_spec("matplotlib") if names else None
    bundled = [] if matplotlib is None else [Path(str(matplotlib.origin)).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"]
    for font in (*names, *bundled):
        with contextlib.suppress(OSError):
            return ImageFont.truetype(str(font), size)
    return ImageFont.load_default(size)


def _with_boxes(
    picture: Picture, sample: Sample, labels: LabelSpace, scale: Scale, order: Sequence[int], *, names: bool
) -> Picture:
    """Draw boxes of objects without mask and of detections, and the names that do not cover each other."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(picture)
    drawing = ImageDraw.Draw(image, "RGBA")
    size = max(11, round(max(picture.shape[:2]) / 58))
    instances = sample.instances
    boxes = _in_reach(instances.boxes * scale.factor, picture.shape)
    drawn: list[tuple[float, float, float, float]] = []
    for index in reversed(order):
        x0, y0, x1, y1 = boxes[index].tolist()
        if math.isnan(x0 + y0 + x1 + y1):
            continue
        color = color_of(labels, int(instances.category[index]), shift=index)
        score = float(instances.score[index])
        if not instances.has_mask[index]:
            _draw_dashed_box(drawing, (x0, y0, x1, y1), color, max(1, size // 8))
        elif not math.isnan(score):  # a detection is a box as well as a mask
            drawing.rectangle((x0, y0, x1, y1), outline=(*color, 200))
        if not names:
            continue
        text = labels[int(instances.category[index])].name
        text += "" if math.isnan(score) else f" {score:.2f}"
        text += " (crowd)" if instances.iscrowd[index] else " (difficult)" if instances.difficult[index] else ""
        width = drawing.textlength(text, font=_font(size, text))
        left = min(max(x0, 0), max(picture.shape[1] - width - 6, 0))
        top = max(y0 - size - 5, 0)
        label = (left, top, left + width + 6, top + size + 5)
        if any(label[0] < b[2] and b[0] < label[2] and label[1] < b[3] and b[1] < label[3] for b in drawn):
            continue
        drawn.append(label)
        drawing.rectangle(label, fill=(*_PANEL, 190))
        drawing.rectangle((label[0], label[1], label[0] + 2, label[3]), fill=color)
        drawing.text((left + 5, top + 1), text, fill=_TEXT, font=_font(size, text))
    return np.asarray(image)


def _in_reach(boxes: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """(N, 4) x0 y0 x1 y1 with x0 ≤ x1 and y0 ≤ y1, none farther outside of a picture than its longer side.

    What predictions say may be any number, and drawing takes time and memory with its size.
    """
    first, second = boxes[:, :2], boxes[:, 2:]
    longer = max(shape[:2])
    limits = np.array((shape[1], shape[0])) + longer
    ordered = np.concatenate((np.minimum(first, second), np.maximum(first, second)), axis=1)
    return ordered.clip(-longer, np.tile(limits, 2))


def _draw_dashed_box(drawing: Any, box: tuple[float, float, float, float], color: Color, width: int) -> None:
    x0, y0, x1, y1 = box
    dash = 5 * width
    for (ax, ay), (bx, by) in (
        ((x0, y0), (x1, y0)),
        ((x1, y0), (x1, y1)),
        ((x1, y1), (x0, y1)),
        ((x0, y1), (x0, y0)),
    ):
        length = max(abs(bx - ax), abs(by - ay), 1e-6)
        begin = 0.0
        while begin < length:
            end = min(begin + dash, length)
            drawing.line(
                (
                    ax + (bx - ax) * begin / length,
                    ay + (by - ay) * begin / length,
                    ax + (bx - ax) * end / length,
                    ay + (by - ay) * end / length,
                ),
                fill=color,
                width=width,
            )
            begin += 2 * dash


def _legend(sample: Sample, labels: LabelSpace, height: int) -> Picture:
    """A column of the categories with their colours: of the objects with counts, of the semantic map with shares."""
    from PIL import Image, ImageDraw

    size = max(12, min(36, round(height / 34)))
    line = round(size * 1.6)
    instances = sample.instances
    rows: list[tuple[Color | None, str, str]] = []
    counts = np.bincount(instances.category, minlength=len(labels)) if len(instances) else np.zeros(0, np.int64)
    if counts.any():
        rows.append((None, "objects", ""))
    for index in np.argsort(-counts, kind="stable").tolist():
        if counts[index]:
            rows.append((color_of(labels, index), labels[index].name, str(counts[index])))
    if instances.iscrowd.any():
        rows.append((None, "hatched: crowd", str(int(instances.iscrowd.sum()))))
    if not instances.has_mask.all():
        rows.append((None, "dashed: box only", str(int((~instances.has_mask).sum()))))
    if sample.semantic is not None:
        rows.append((None, "pixels", ""))
        shares = np.bincount(sample.semantic.reshape(-1), minlength=labels.void + 1) / sample.semantic.size
        for index in np.argsort(-shares, kind="stable").tolist():
            if shares[index] > 0:
                name = labels[index].name if index < len(labels) else "void (dotted)"
                swatch = color_of(labels, index) if index < len(labels) else _IGNORED
                rows.append((swatch, name, f"{shares[index]:.1%}"))
    lines = max(1, (height - size) // line)
    if len(rows) > lines:
        rows = [*rows[: lines - 1], (None, f"… {len(rows) - lines + 1} more", "")]
    image = Image.new("RGB", (17 * size, height), _PANEL)
    drawing = ImageDraw.Draw(image)
    for number, (color, name, value) in enumerate(rows):
        y = size // 2 + number * line
        if color is not None:
            drawing.rectangle((size, y + 2, 2 * size, y + size), fill=color)
        x = 2.6 * size if color is not None else size
        drawing.text((x, y), name[:24], fill=_TEXT if color is not None else _FAINT, font=_font(size, name))
        right = 16 * size - drawing.textlength(value, font=_font(size, value))
        drawing.text((right, y), value, fill=_FAINT, font=_font(size, value))
    return np.asarray(image)


def _title(key: str, size: str, shape: tuple[int, ...]) -> Picture:
    from PIL import Image, ImageDraw

    font = max(14, min(34, round(shape[0] / 36)))
    image = Image.new("RGB", (shape[1], 2 * font), _PANEL)
    drawing = ImageDraw.Draw(image)
    drawing.text((font, font // 2), key, fill=_TEXT, font=_font(font, key))
    right = 2 * font + drawing.textlength(key, font=_font(font, key))
    drawing.text((right, font // 2 + 1), size, fill=_FAINT, font=_font(font - 2, size))
    return np.asarray(image)
