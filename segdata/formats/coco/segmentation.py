"""COCO's `segmentation` of any kind (polygons, RLE, compressed RLE) → masks, spans, or compressed RLE strings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segdata.core.arrays import IntArray
from segdata.core.masks import Masks, polygon_strings
from segdata.core.polygons import Polygons, rasterize
from segdata.core.rle import Spans, check_strings, decode_counts, pointer_of, spans_of
from segdata.errors import InvalidAnnotation
from segdata.formats.coco.rules import check_segmentation


def masks_of(segmentations: Sequence[Any], polygons: Polygons, height: int, width: int) -> Masks:
    """One mask for each segmentation, empty where there is none.

    Args:
        segmentations: checked, as the records have them.
        polygons: the same as columns, nothing where they are run lengths.
    """
    run_lengths = {
        position: _counts(item["counts"])
        for position, item in enumerate(segmentations)
        if item and isinstance(item, dict)
    }
    spans = spans_of_objects(polygons, run_lengths, height, width)
    return Masks.of_images(spans, np.array([[height, width]]), np.array([0, len(polygons)]))[0]


def _counts(counts: str | Sequence[int]) -> IntArray:
    if isinstance(counts, str):
        return decode_counts([counts.encode("utf-8", "replace")])[0]
    return np.array(counts, np.int64)


def spans_of_objects(
    polygons: Polygons, run_lengths: Mapping[int, IntArray], height: int | IntArray, width: int | IntArray
) -> Spans:
    """Spans of objects that are polygons, or checked run lengths.

    Args:
        run_lengths: by the position of the object, which has no polygons.
        height, width: as `rasterize.draw` takes them.
    """
    spans = rasterize(polygons, height, width)
    if not run_lengths:
        return spans
    pointer = pointer_of(np.array([len(counts) for counts in run_lengths.values()]))
    start, length, nth = spans_of(np.concatenate(list(run_lengths.values())), pointer)
    both = zip(spans, (start, length, np.array(list(run_lengths))[nth]), strict=True)
    start, length, owner = (np.concatenate(pair) for pair in both)
    order = owner.argsort(kind="stable")
    return start[order], length[order], owner[order]


def strings_of(segmentations: Sequence[Any], height: int, width: int) -> list[bytes]:
    """Compressed RLE strings of the objects of one image, an empty mask's where there is no segmentation.

    Polygons are rasterised as pycocotools does. Everything is checked before C code sees it.

    Raises:
        InvalidAnnotation: rings or run lengths that are not valid; `place` names the object, counted from 0.
    """
    rings: list[list[Any]] = [[]] * len(segmentations)
    compressed: list[int] = []
    for position, segmentation in enumerate(segmentations):
        if not segmentation:
            continue
        try:
            check_segmentation(segmentation, height, width)
            if isinstance(segmentation, list):
                rings[position] = segmentation
            elif isinstance(segmentation["counts"], str):
                compressed.append(position)
        except InvalidAnnotation as error:
            raise error.located(place=f"mask {position}") from error
    strings = _strings(segmentations, Polygons.of(rings), height, width)
    if compressed:
        try:
            check_strings([strings[position] for position in compressed], [height * width] * len(compressed))
        except InvalidAnnotation as error:
            number = int(str(error.place or "mask 0").split()[-1])
            error.place = f"mask {compressed[number]}"
            raise
    return strings


def _strings(segmentations: Sequence[Any], polygons: Polygons, height: int, width: int) -> list[bytes]:
    from pycocotools import mask as coco_mask

    strings = polygon_strings(polygons, height, width)
    for position, item in enumerate(segmentations):
        if item and isinstance(item, dict):
            counts = item["counts"]
            is_string = isinstance(counts, str)
            strings[position] = (
                counts.encode("utf-8", "replace") if is_string else coco_mask.frPyObjects(item, height, width)["counts"]
            )
    return strings
