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
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from segdata.core.labels import Color, LabelSpace
from segdata.core.sample import Instances, Sample
from segdata.errors import UsageError, printable
from segdata.viz.scale import MOST_READ, Scale, fitting, read_with_smaller_ones

Picture = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

_MASK = 0.45
"""Opacity of masks."""
_SEMANTIC = 0.55
"""Opacity of semantic maps without objects over them."""
_GOLDEN = 0.61803398875
"""Steps of this part of a turn spread hues evenly."""
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
PANEL = (24, 26, 30)
"""Colour around pictures."""
_TEXT = (236, 238, 242)
_FAINT = (150, 156, 166)


ColorBy = Literal["category", "instance"]


@dataclass(frozen=True)
class Look:
    """How annotations are drawn: see `overlay`."""

    names: bool = True
    semantic: bool = True
    boxes: bool = False
    color_by: ColorBy = "category"
    opacity: float | None = None

    def __post_init__(self) -> None:
        if self.color_by not in ("category", "instance"):
            raise UsageError(f"objects cannot be coloured by {self.color_by!r}", fix="category or instance")
        if self.opacity is not None and not 0 <= self.opacity <= 1:
            raise UsageError("an opacity is a number from 0 to 1", why=f"got {self.opacity}")


@dataclass(frozen=True)
class Brush:
    """Colour of an object, thickness of its outline, opacity (None for the usual one), and whether it is hatched."""

    color: Color
    thickness: int
    opacity: float | None
    is_hatched: bool


def overlay(
    sample: Sample,
    labels: LabelSpace,
    *,
    legend: bool = True,
    title: bool = True,
    names: bool = True,
    semantic: bool = True,
    image: Picture | None = None,
    boxes: bool = False,
    color_by: ColorBy = "category",
    opacity: float | None = None,
) -> Picture:
    """Draw a sample's annotations over its image.

    Args:
        labels: the label space of the sample.
        legend: add a column with the categories that occur and their counts.
        title: add a line with key and size.
        names: write the category (and score) at each object.
        semantic: draw the semantic map, under the objects.
        image: (H, W, 3) uint8 RGB to draw on; by default the sample's own, dark grey where it has none.
        boxes: draw the box of every object, not only of those without mask and of detections.
        color_by: "category", or "instance" for a colour of its own for each object.
        opacity: of masks and label maps, 0..1; by default 0.45 and 0.55.

    Returns:
        (H′, W′, 3) uint8 RGB; larger than the image by legend and title. Small images are enlarged; of images of more than
        16,777,216 pixels, or 16,384 in a row, or with very many large masks, every second, third … pixel is drawn.

    Raises:
        UsageError: another `color_by`, or an opacity that is not 0..1.
    """
    look = Look(names=names, semantic=semantic, boxes=boxes, color_by=color_by, opacity=opacity)
    picture = overlay_of(sample, labels, look, image)
    if legend:
        rows = legend_rows([sample], labels, look)
        picture = np.concatenate((picture, _legend(rows, picture.shape[0])), axis=1)
    if title:
        size = f"{sample.width} x {sample.height}, {len(sample.instances)} objects"
        picture = np.concatenate((_title(printable(sample.key, lines=False), size, picture.shape), picture), axis=0)
    return picture


def overlay_of(sample: Sample, labels: LabelSpace, look: Look, image: Picture | None = None) -> Picture:
    """The same without legend and title."""
    picture, scale = painted(sample, labels, look, image)
    return with_boxes(picture, sample, labels, look, scale)


def painted(
    sample: Sample, labels: LabelSpace, look: Look, image: Picture | None = None, *, line: float = 1 / 700
) -> tuple[Picture, float]:
    """Label map, masks and outlines over the image, without boxes and names.

    Args:
        line: thickness of outlines, as a share of the longer side.

    Returns:
        (h, w, 3) uint8 RGB, and its pixels for a pixel of the image.
    """
    if image is None:
        image = sample.image if sample.encoded is not None else _grey(sample.height, sample.width)
    instances = sample.instances
    scale = Scale.of(image.shape[0], image.shape[1], instances.masks)
    canvas = scale.resized(image).astype(np.float32)
    if look.semantic and sample.semantic is not None:
        _paint_semantic(canvas, scale.resized(sample.semantic), labels, look, faint=len(instances) > 0)
    thickness = max(1, round(max(canvas.shape[:2]) * line))
    is_painted = instances.has_mask & (read_with_smaller_ones(instances.masks) <= MOST_READ)
    for index in drawing_order(instances):
        if is_painted[index]:
            x, y = instances.masks.boxes_xywh[index, :2].tolist()
            crop, corner = scale.cropped(instances.masks[index : index + 1].crops()[0] != 0, x, y)
            color = object_color(sample, labels, look, index)
            is_hatched = bool(instances.iscrowd[index])
            _paint_mask(canvas, crop, corner, Brush(color, thickness, look.opacity, is_hatched=is_hatched))
    return canvas.clip(0, 255, out=canvas).astype(np.uint8), scale.factor


def _grey(height: int, width: int) -> Picture:
    """What is drawn on where there is no image; it takes no memory."""
    return np.broadcast_to(np.uint8(60), (height, width, 3))


def drawing_order(instances: Instances) -> list[int]:
    """Indices of the objects: crowds first, then the largest first."""
    order: list[int] = np.lexsort((-instances.masks.areas, ~instances.iscrowd)).tolist()
    return order


def object_color(sample: Sample, labels: LabelSpace, look: Look, index: int) -> Color:
    """The colour of an object."""
    if look.color_by == "instance":
        return _hue(index)
    return color_of(labels, int(sample.instances.category[index]), shift=index)


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
    sheet = np.full((sheet_height, sheet_width, 3), PANEL, np.uint8)
    y = gap
    for row in rows:
        tallest = max(cell.shape[0] for cell in row)
        for column, cell in enumerate(row):
            x = gap + column * (width + gap) + (width - cell.shape[1]) // 2
            top = y + (tallest - cell.shape[0]) // 2
            sheet[top : top + cell.shape[0], x : x + width] = cell
        y += tallest + gap
    return sheet


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
        red, green, blue = _hue(index)
    factor = (1.0, 0.82, 1.15, 0.7)[shift % 4]
    return tuple(min(255, round(v * factor)) for v in (red, green, blue))  # type: ignore[return-value]


def _hue(number: int) -> Color:
    """A bright colour; those of neighbouring numbers are far from each other."""
    return tuple(round(255 * v) for v in colorsys.hsv_to_rgb((number * _GOLDEN) % 1, 0.75, 0.95))  # type: ignore[return-value]


def _paint_semantic(
    canvas: npt.NDArray[np.float32], semantic: npt.NDArray[Any], labels: LabelSpace, look: Look, *, faint: bool
) -> None:
    usual = 0.3 if faint else _SEMANTIC if look.opacity is None else look.opacity
    colors = np.zeros((labels.void + 1, 3), np.float32)
    share = np.zeros(labels.void + 1, np.float32)
    for index, category in enumerate(labels.categories):
        is_background = index == 0 and category.name == "background"
        colors[index] = color_of(labels, index)
        share[index] = 0.0 if is_background else usual
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
    brush: Brush,
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
    if brush.is_hatched:
        rows, columns = np.ogrid[y : y + height, x : x + width]
        inside = mask & ((rows + columns) // (4 * brush.thickness) % 3 == 0)
    color, opacity = np.array(brush.color, np.float32), _MASK if brush.opacity is None else brush.opacity
    window[inside] = window[inside] * (1 - opacity) + color * opacity
    line = _border(mask, brush.thickness)
    window[line] = color * 0.35 + 165


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


def with_boxes(
    picture: Picture,
    sample: Sample,
    labels: LabelSpace,
    look: Look,
    scale: float,
    size: int | None = None,
) -> Picture:
    """Draw boxes of objects without mask and of detections, and the names that do not cover each other.

    Args:
        scale: pixels of the picture for a pixel of the image.
        size: of letters, in pixels; by default by the picture's size.
    """
    from PIL import Image, ImageDraw

    image = Image.fromarray(picture)
    drawing = ImageDraw.Draw(image, "RGBA")
    size = size or max(11, round(max(picture.shape[:2]) / 58))
    instances = sample.instances
    height, width = picture.shape[:2]
    limit = 4 * max(height, width)  # far outside the picture, where nothing is drawn
    boxes = np.clip(instances.boxes * scale, -limit, limit)
    boxes = np.concatenate((np.fmin(boxes[:, :2], boxes[:, 2:]), np.fmax(boxes[:, :2], boxes[:, 2:])), axis=1)
    drawn: list[tuple[float, float, float, float]] = []
    for index in drawing_order(instances):
        x0, y0, x1, y1 = boxes[index].tolist()
        if math.isnan(x0 + y0 + x1 + y1):
            continue
        color = object_color(sample, labels, look, index)
        if not instances.has_mask[index]:
            _draw_dashed_box(drawing, (x0, y0, x1, y1), color, max(1, size // 8))
        elif look.boxes or not math.isnan(instances.score[index]):  # a detection is a box as well as a mask
            drawing.rectangle((x0, y0, x1, y1), outline=(*color, 255 if look.boxes else 200), width=1 + look.boxes)
        if not look.names:
            continue
        text = _name(instances, labels, index)
        width = drawing.textlength(text, font=_font(size, text))
        left = min(max(x0, 0), max(picture.shape[1] - width - 6, 0))
        top = max(y0 - size - 5, 0)
        label = (left, top, left + width + 6, top + size + 5)
        if any(label[0] < b[2] and b[0] < label[2] and label[1] < b[3] and b[1] < label[3] for b in drawn):
            continue
        drawn.append(label)
        drawing.rectangle(label, fill=(*PANEL, 190))
        drawing.rectangle((label[0], label[1], label[0] + 2, label[3]), fill=color)
        drawing.text((left + 5, top + 1), text, fill=_TEXT, font=_font(size, text))
    return np.asarray(image)


def _name(instances: Instances, labels: LabelSpace, index: int) -> str:
    """Category and score of an object, and what is special about it."""
    score = float(instances.score[index])
    text = printable(labels[int(instances.category[index])].name, lines=False)
    text += "" if math.isnan(score) else f" {score:.2f}"
    return text + (" (crowd)" if instances.iscrowd[index] else " (difficult)" if instances.difficult[index] else "")


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


Row = tuple[Color | None, str, str]
"""Of a legend: a colour (None for a heading), a name, and a number."""


def legend_rows(samples: Sequence[Sample], labels: LabelSpace, look: Look) -> list[Row]:
    """The categories of some samples with their colours: of the objects with counts, of the label maps with shares."""
    rows: list[Row] = []
    counts = np.zeros(len(labels), np.int64)
    pixels = np.zeros(labels.void + 1, np.int64)
    crowds = boxed = 0
    for sample in samples:
        instances = sample.instances
        counts += np.bincount(instances.category, minlength=len(labels))
        crowds, boxed = crowds + int(instances.iscrowd.sum()), boxed + int((~instances.has_mask).sum())
        if look.semantic and sample.semantic is not None:
            pixels += np.bincount(sample.semantic.reshape(-1), minlength=labels.void + 1)
    if counts.any():
        rows.append((None, "objects", ""))
    for index in np.argsort(-counts, kind="stable").tolist():
        if counts[index]:
            color = color_of(labels, index) if look.color_by == "category" else None
            rows.append((color, printable(labels[index].name, lines=False), f"{counts[index]:,}"))
    rows += [(None, "hatched: crowd", f"{crowds:,}")] if crowds else []
    rows += [(None, "dashed: box only", f"{boxed:,}")] if boxed else []
    if pixels.any():
        rows.append((None, "pixels", ""))
        for index in np.argsort(-pixels, kind="stable").tolist():
            if pixels[index]:
                name = printable(labels[index].name, lines=False) if index < len(labels) else "void (dotted)"
                swatch = color_of(labels, index) if index < len(labels) else _IGNORED
                rows.append((swatch, name, f"{pixels[index] / pixels.sum():.1%}"))
    return rows


def _legend(rows: Sequence[Row], height: int) -> Picture:
    """A column of a legend's rows, as many as fit."""
    from PIL import Image, ImageDraw

    size = max(12, min(36, round(height / 34)))
    line = round(size * 1.6)
    lines = max(1, (height - size) // line)
    if len(rows) > lines:
        rows = [*rows[: lines - 1], (None, f"… {len(rows) - lines + 1} more", "")]
    image = Image.new("RGB", (17 * size, height), PANEL)
    drawing = ImageDraw.Draw(image)
    for number, row in enumerate(rows):
        draw_row(drawing, row, size, (0, size // 2 + number * line), 16 * size)
    return np.asarray(image)


def write(drawing: Any, corner: tuple[float, float], text: str, size: int, *, is_faint: bool = False) -> None:
    """Write a text at (x, y)."""
    drawing.text(corner, text, fill=_FAINT if is_faint else _TEXT, font=_font(size, text))


def text_width(drawing: Any, text: str, size: int) -> float:
    """Pixels that a text takes."""
    return float(drawing.textlength(text, font=_font(size, text)))


def draw_row(drawing: Any, row: Row, size: int, corner: tuple[int, int], width: int) -> None:
    """A row of a legend at (x, y), `width` pixels wide."""
    (color, name, value), (left, y) = row, corner
    if color is not None:
        drawing.rectangle((left + size, y + 2, left + 2 * size, y + size), fill=color)
    x = left + (2.6 * size if color is not None else size)
    drawing.text((x, y), name[:24], fill=_TEXT if color is not None or value else _FAINT, font=_font(size, name))
    right = left + width - drawing.textlength(value, font=_font(size, value))
    drawing.text((right, y), value, fill=_FAINT, font=_font(size, value))


def _title(key: str, size: str, shape: tuple[int, ...]) -> Picture:
    from PIL import Image, ImageDraw

    font = max(14, min(34, round(shape[0] / 36)))
    image = Image.new("RGB", (shape[1], 2 * font), PANEL)
    drawing = ImageDraw.Draw(image)
    drawing.text((font, font // 2), key, fill=_TEXT, font=_font(font, key))
    right = 2 * font + drawing.textlength(key, font=_font(font, key))
    drawing.text((right, font // 2 + 1), size, fill=_FAINT, font=_font(font - 2, size))
    return np.asarray(image)
