"""COCO's `segmentation` of any kind → masks, or compressed run-length strings of the full frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segdata.errors import InvalidAnnotation
from segdata.formats.coco_records import check_rings, check_run_lengths
from segdata.masks import Masks, polygon_strings
from segdata.rings import Polygons
from segdata.runs import check_strings, decode_counts


def masks_of(segmentations: Sequence[Any], polygons: Polygons, height: int, width: int) -> Masks:
    """Masks of polygons, run lengths of either kind, and (empty) of nothing, in order.

    Args:
        segmentations: checked, as the records have them.
        polygons: the same as columns, nothing where they are run lengths.
    """
    if not any(isinstance(item, dict) for item in segmentations):
        return Masks.from_polygons(polygons, height, width)
    return Masks.from_counts(*decode_counts(_strings(segmentations, polygons, height, width)), height, width)


def strings_of(segmentations: Sequence[Any], height: int, width: int) -> list[bytes]:
    """One string per object of an image: polygons are drawn by pycocotools' rule; nothing gives an empty mask.

    Everything is checked before C code sees it.

    Raises:
        InvalidAnnotation: rings or run lengths that are not valid; `place` names the object, counted from 0.
    """
    rings: list[list[Any]] = [[]] * len(segmentations)
    compressed: list[int] = []
    for place, segmentation in enumerate(segmentations):
        if not segmentation:
            continue
        try:
            if isinstance(segmentation, dict):
                check_run_lengths(segmentation, height, width)
                if isinstance(segmentation["counts"], str):
                    compressed.append(place)
            else:
                check_rings(segmentation, height, width)
                rings[place] = segmentation
        except InvalidAnnotation as error:
            raise error.located(place=f"mask {place}") from error
    strings = _strings(segmentations, Polygons.of(rings), height, width)
    if compressed:
        try:
            check_strings([strings[place] for place in compressed], [height * width] * len(compressed))
        except InvalidAnnotation as error:
            number = int(str(error.place or "mask 0").split()[-1])
            error.place = f"mask {compressed[number]}"
            raise
    return strings


def _strings(segmentations: Sequence[Any], polygons: Polygons, height: int, width: int) -> list[bytes]:
    from pycocotools import mask as coco_mask

    strings = polygon_strings(polygons, height, width)
    for place, item in enumerate(segmentations):
        if item and isinstance(item, dict):
            counts = item["counts"]
            is_string = isinstance(counts, str)
            strings[place] = (
                counts.encode("utf-8", "replace") if is_string else coco_mask.frPyObjects(item, height, width)["counts"]
            )
    return strings
