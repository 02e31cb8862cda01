"""COCO's `segmentation` of any kind → compressed run-length strings of the full frame, checked before C code sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segdata.errors import InvalidAnnotation
from segdata.formats.coco_records import check_rings, check_run_lengths
from segdata.masks import polygon_strings
from segdata.runs import check_strings, string_of_zeros


def strings_of(segmentations: Sequence[Any], height: int, width: int) -> list[bytes]:
    """One string per object of an image: polygons are drawn by pycocotools' rule; nothing gives an empty mask.

    Raises:
        InvalidAnnotation: rings or run lengths that are not valid; `place` names the object, counted from 0.
    """
    from pycocotools import mask as coco_mask

    strings = [string_of_zeros(height * width)] * len(segmentations)
    rings: dict[int, Any] = {}
    compressed: list[int] = []
    for place, segmentation in enumerate(segmentations):
        if not segmentation:
            continue
        try:
            if isinstance(segmentation, dict):
                check_run_lengths(segmentation, height, width)
            else:
                check_rings(segmentation, height, width)
        except InvalidAnnotation as error:
            raise error.located(place=f"mask {place}") from error
        if not isinstance(segmentation, dict):
            rings[place] = segmentation
        elif isinstance(segmentation["counts"], str):
            strings[place] = segmentation["counts"].encode("utf-8", "replace")
            compressed.append(place)
        else:
            strings[place] = coco_mask.frPyObjects(segmentation, height, width)["counts"]
    if compressed:
        try:
            check_strings([strings[place] for place in compressed], [height * width] * len(compressed))
        except InvalidAnnotation as error:
            number = int(str(error.place or "mask 0").split()[-1])
            error.place = f"mask {compressed[number]}"
            raise
    for place, string in zip(rings, polygon_strings(list(rings.values()), height, width), strict=True):
        strings[place] = string
    return strings
