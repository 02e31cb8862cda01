"""What is valid in a COCO annotation record, and what is odd: one table for every reader.

A dataset's records are read one at a time (`annotations.py`) or many images at once (`batch_reader.py`); what is not
valid is left out and reported, what is odd is kept and counted. An evaluation reads ground truth (`ground_truth.py`) and
must not refuse what it can count: there, what a dataset could not have is counted, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from segdata.core.labels import LabelSpace
from segdata.core.polygons import MAX_BOUNDARY, boundary_length
from segdata.core.rle import check_strings
from segdata.errors import InvalidAnnotation, number_of
from segdata.formats.shared.detections import LARGEST

_NUMBERS = frozenset((int, float))
"""The types that JSON's numbers have; True and False are none."""


class Values(NamedTuple):
    """The numbers of annotation records: Python numbers of one record, or columns of N records.

    Attributes:
        height, width: of the image, in pixels.
        box: x, y, width, height; NaN where a record has no box.
        area: as annotated, NaN where a record has none.
        polygon_area: the area of the record's polygons, NaN where they are none or a crowd's.
        rle_area: pixels of the record's RLE, NaN where there is none or a crowd's.
        id: the annotation's id, −1 where it has none.
        lacks_iscrowd: whether the record does not say if it is a crowd.
        lacks_segmentation: whether the record has no segmentation, or an empty one.
        outline: x, y, width and height around the mask of an object that is no crowd, NaN where it has none.
        pixels: of the mask; above 0 where it is not known.
    """

    height: Any
    width: Any
    box: Any = (math.nan,) * 4
    area: Any = math.nan
    polygon_area: Any = math.nan
    rle_area: Any = math.nan
    id: Any = -1
    lacks_iscrowd: Any = False
    lacks_segmentation: Any = False
    outline: Any = (math.nan,) * 4
    pixels: Any = 1


def _has_negative_area(record: Values) -> Any:
    return record.area < 0


def _has_negative_size(record: Values) -> Any:
    _, _, width, height = record.box
    return (width < 0) | (height < 0)


def _has_no_size(record: Values) -> Any:
    _, _, width, height = record.box
    return (width == 0) | (height == 0)


def _leaves_image(record: Values, margin: int) -> Any:
    x, y, width, height = record.box
    is_before = (x < -margin) | (y < -margin)
    return is_before | (x + width > record.width + margin) | (y + height > record.height + margin)


def _has_other_area(record: Values, mask_area: Any) -> Any:
    difference = abs(mask_area - record.area)
    return (difference > 0.02 * mask_area) & (difference > 0.02 * record.area)


def _has_flat_polygon(record: Values) -> Any:
    return (record.polygon_area < 1e-6) & (record.area >= 0)


def _is_not_the_masks(record: Values) -> Any:
    x, y, width, height = record.box
    left, top, mask_width, mask_height = record.outline
    common_x = np.minimum(x + width, left + mask_width) - np.maximum(x, left)
    common_y = np.minimum(y + height, top + mask_height) - np.maximum(y, top)
    common = np.maximum(common_x, 0) * np.maximum(common_y, 0)
    union = width * height + mask_width * mask_height - common
    return (common < 0.5 * union) & ((width >= 2) & (height >= 2) | (mask_width >= 2) & (mask_height >= 2))


def _is_in_fractions(record: Values) -> Any:
    x, y, width, height = record.box
    return (x >= 0) & (y >= 0) & (width > 0) & (height > 0) & (x + width <= 1) & (y + height <= 1)


def _has_no_pixel(record: Values) -> Any:
    """Masks of nothing; of polygons that are too small for a pixel only those in fractions of the image's size."""
    left, top, width, height = record.outline
    is_in_fractions = (left >= 0) & (top >= 0) & (left + width <= 1) & (top + height <= 1)
    is_too_small = (record.polygon_area < 1) & ~np.asarray(is_in_fractions)
    return (record.pixels == 0) & ~(is_too_small & ~_is_not_the_masks(record))


@dataclass(frozen=True)
class Rule:
    """Something that an annotation record should not have.

    Attributes:
        applies: which of the records have it.
        invalid: the error where a dataset is read: the record is left out.
        odd: the remark where a dataset is read: the record is kept.
        counted: the remark where ground truth is read for an evaluation; the record is kept.
    """

    applies: Callable[[Values], Any]
    invalid: str = ""
    odd: str = ""
    counted: str = ""


NEGATIVE_AREA = Rule(
    _has_negative_area,
    invalid="area is not a number ≥ 0",
    counted="area below zero: the object is outside every range of sizes",
)
NEGATIVE_SIZE = Rule(_has_negative_size, invalid="bbox has a negative size", counted="box with a negative size")
FAR_OUTSIDE = Rule(
    lambda record: _leaves_image(record, 1),
    invalid="bbox reaches more than one pixel past the image",
    counted="box reaches more than one pixel past the image",
)
RULES = (
    NEGATIVE_AREA,
    NEGATIVE_SIZE,
    FAR_OUTSIDE,
    Rule(lambda record: record.lacks_iscrowd, odd="iscrowd missing, taken as 0"),
    Rule(lambda record: record.lacks_segmentation, odd="no segmentation: kept as a box without mask"),
    Rule(_has_no_size, odd="box without width or height"),
    Rule(lambda record: _leaves_image(record, 0), odd="box reaches up to one pixel past the image"),
    Rule(
        lambda record: _has_other_area(record, record.polygon_area),
        odd="area differs from the polygon's by more than 2 %",
    ),
    Rule(lambda record: _has_other_area(record, record.rle_area), odd="area differs from the RLE's by more than 2 %"),
    Rule(_has_flat_polygon, odd="polygon without area"),
    Rule(_is_not_the_masks, odd="box is not the mask's"),
    Rule(_is_in_fractions, odd="box within the first pixel: is it in fractions of the image's size?"),
    Rule(_has_no_pixel, odd="mask without a pixel"),
    Rule(lambda record: record.id == 0, counted="annotation number 0, whose matches COCO's evaluator never counts"),
)
_ODD = tuple(rule for rule in RULES if rule.odd)


def is_invalid(records: Values) -> npt.NDArray[np.bool_]:
    """(N,) bool, records that a dataset must not have."""
    flags: npt.NDArray[np.bool_] = np.logical_or.reduce([rule.applies(records) for rule in RULES if rule.invalid])
    return flags


def odd(records: Values) -> Iterator[tuple[str, int]]:
    """The remark on every odd record of a dataset, with the record's position."""
    for rule in _ODD:
        for position in np.flatnonzero(rule.applies(records)).tolist():
            yield rule.odd, position


def remarks_on(record: Values) -> list[str]:
    """The remarks on one record of a dataset."""
    return [rule.odd for rule in _ODD if rule.applies(record)]


def counted(records: Values) -> Iterator[tuple[str, int]]:
    """The remarks on the records of a ground truth, and the number of records that each is about."""
    for rule in RULES:
        number = int(np.count_nonzero(rule.applies(records))) if rule.counted else 0
        if number:
            yield rule.counted, number


def check(record: dict[str, Any], labels: LabelSpace, height: int, width: int) -> None:
    """Raise what is wrong with an annotation record of a dataset."""
    category = record.get("category_id")
    if type(category) is not int or category not in labels.index_of_id:
        known = sorted(labels.index_of_id)
        defined = f"{known[0] if known else 'none'} … {known[-1] if known else ''}"
        error = undefined_category(f"category_id {category!r}; it defines {defined}")
        error.fix = error.fix if known else "the document defines no category: name them with --classes FILE|NAMES"
        raise error
    if "id" in record and (type(record["id"]) is not int or not -(1 << 63) <= record["id"] < 1 << 63):
        raise InvalidAnnotation(
            "an annotation's id is not a whole number of 64 bits", why=f"found {record['id']!r}"[:200]
        )
    crowd = record.get("iscrowd", 0)
    if crowd not in (0, 1) or isinstance(crowd, float):
        raise InvalidAnnotation("iscrowd is neither 0 nor 1", why=f"found {crowd!r}")
    values = Values(height, width, box=record.get("bbox", []), area=record.get("area", 0))
    if not is_number(values.area) or NEGATIVE_AREA.applies(values):
        raise InvalidAnnotation(NEGATIVE_AREA.invalid, why=f"found {values.area!r}")
    if values.box != []:
        _check_box(values)
    segmentation = record.get("segmentation", [])
    check_segmentation(segmentation, height, width)
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], str):
        check_strings([segmentation["counts"].encode("utf-8", "replace")], [height * width])


def undefined_category(why: str) -> InvalidAnnotation:
    """The error of a category id that is not among the document's categories."""
    return InvalidAnnotation(
        "an annotation names a category that the document does not define",
        why=why,
        fix="add the category to the document, or remove the annotation",
    )


def is_number(value: Any) -> bool:
    """Whether a value of a JSON document is a number that can be computed with."""
    return type(value) in _NUMBERS and -LARGEST <= value <= LARGEST


def is_box(box: Any) -> bool:
    """Whether a value of a JSON document is a list of four numbers."""
    return isinstance(box, list) and len(box) == 4 and all(map(is_number, box))


def no_box(box: Any) -> InvalidAnnotation:
    """The error of a box that is not four numbers."""
    return InvalidAnnotation("bbox is not four numbers, up to 1e100", why=f"found {box!r}"[:200])


def _check_box(values: Values) -> None:
    height, width, box, *_ = values
    if not is_box(box):
        raise no_box(box)
    if NEGATIVE_SIZE.applies(values):
        raise InvalidAnnotation(NEGATIVE_SIZE.invalid, why=f"[x, y, width, height] = {box!r}", fix="correct the box")
    if FAR_OUTSIDE.applies(values):
        x, y, w, h = box
        is_corners = x <= w <= width + 1 and y <= h <= height + 1
        raise InvalidAnnotation(
            FAR_OUTSIDE.invalid,
            why=f"[x, y, width, height] = {box!r} in an image of {width} × {height}"
            + ("; read as [x0, y0, x1, y1] it would fit" if is_corners else ""),
            fix="write boxes as [x, y, width, height]" if is_corners else "correct the box",
        )


# ---------------------------------------------------------------------- segmentation


def is_ragged(count: Any) -> Any:
    """Whether a ring of so many numbers (or each of N rings) has no x and y of at least three points."""
    return (count % 2 == 1) | (count < 6)


def is_beyond_images(low: Any, high: Any) -> Any:
    """Whether a polygon with these min/max coordinates (or each of N polygons) lies outside of any image."""
    return (low < -1e9) | (high > 1e9)


def may_be_too_long(count: Any, low: Any, high: Any) -> Any:
    """Whether a ring's outline (or each of N) may have more pixels than an outline can have; False proves it has not."""
    return count * (high - low) > MAX_BOUNDARY


def check_segmentation(segmentation: Any, height: int, width: int) -> None:
    """Raise what is wrong with a segmentation; compressed strings are left to `core.rle.check_strings`."""
    if isinstance(segmentation, dict):
        check_run_lengths(segmentation, height, width)
    elif isinstance(segmentation, list):
        check_polygons(segmentation, height, width)
    else:
        raise InvalidAnnotation(
            "segmentation is neither a list of rings nor run lengths", why=f"found {segmentation!r}"[:200]
        )


def check_polygons(rings: list[Any], height: int, width: int) -> None:
    """Raise what is wrong with a segmentation of polygons: a list of rings [x0, y0, x1, y1, …]."""
    if rings and _NUMBERS.issuperset(map(type, rings)):
        raise InvalidAnnotation(
            "segmentation is a flat list",
            why=f"found {number_of(len(rings), 'number')} where a list of rings is expected",
            fix="wrap the ring in a list: [[x0, y0, …]]",
        )
    for number, ring in enumerate(rings):
        if not isinstance(ring, list) or not _NUMBERS.issuperset(map(type, ring)):
            raise InvalidAnnotation(
                "a ring is not a list of numbers",
                why=f"ring {number} is {ring!r}"[:200],
                fix="write a ring as [x, y, x, y, …]",
            )
        if is_ragged(len(ring)):
            raise InvalidAnnotation(
                "a ring has too few or an odd count of numbers",
                why=f"ring {number} has {len(ring)}; a ring needs x and y of at least three points",
                fix="write a rectangle as its four corners, or remove the ring",
            )
        low, high = min(ring), max(ring)
        if is_beyond_images(low, high):
            raise InvalidAnnotation("a ring has coordinates beyond any image", why=f"ring {number}, up to {high!r}")
        if may_be_too_long(len(ring), low, high) and boundary_length(ring, height, width) > MAX_BOUNDARY:
            raise InvalidAnnotation(
                "a ring is longer than any outline",
                why=f"ring {number}, {len(ring) // 2} points, is more than {MAX_BOUNDARY:,} pixels long",
            )


def check_run_lengths(rle: dict[str, Any], height: int, width: int) -> None:
    """Raise what is wrong with an RLE; the characters of a compressed string are left to `core.rle.check_strings`."""
    size, counts = rle.get("size"), rle.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(type(value) is int for value in size):
        raise InvalidAnnotation("run lengths have no valid size", why=f"size is {size!r}"[:200])
    check_size(size, height, width)
    if isinstance(counts, list):
        if counts and (set(map(type, counts)) != {int} or min(counts) < 0 or max(counts) > height * width):
            wrong = [value for value in counts if type(value) is not int or not 0 <= value <= height * width]
            raise InvalidAnnotation("run lengths hold something that is no run", why=f"{wrong[0]!r}"[:200])
        if sum(counts) != height * width:
            raise InvalidAnnotation(
                "run lengths do not add up to the size of the image",
                why=f"they sum to {sum(counts)}; height {height} · width {width} = {height * width}",
            )
    elif not isinstance(counts, str):
        raise InvalidAnnotation("run lengths have no counts", why=f"counts is {counts!r}"[:200])


def check_size(size: list[int], height: int, width: int) -> None:
    """Raise unless an RLE's size is that of the image."""
    if size != [height, width]:
        raise InvalidAnnotation(
            "run lengths are of another size than the image",
            why=f"size is {size}; the image is [{height}, {width}] (height, width)"
            + ("; height and width are swapped" if size == [width, height] else ""),
        )
