"""Regions ↔ what the pack keeps of them: all but the label, the points and the stroke that its columns give back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.masks import Masks
from segdata.formats.label_studio import brush, regions
from segdata.formats.shared import verbatim
from segdata.sets.orientation import turned, turned_points, upright_size


def values(
    region: Mapping[str, Any],
    label: str,
    rings: Sequence[npt.NDArray[Any]],
    masks: Masks,
    number: int,
    *,
    orientation: int,
) -> dict[str, Any]:
    """What an object's columns give of its region's value: its label, and the points of a polygon or the stroke of a brush.

    Args:
        region: whose type counts.
        rings, masks, number: the polygon's ring, and the masks of the image as stored, of which the object has a number.
        orientation: the EXIF orientation that makes the upright picture of the stored image.
    """
    kind = regions.kind_of(region)
    given: dict[str, Any] = {region["type"]: [label]}
    if kind == "polygon" and rings:
        x, y = turned_points(rings[0][:, 0], rings[0][:, 1], orientation, masks.height, masks.width)
        height, width = upright_size(orientation, masks.height, masks.width)
        given["points"] = regions.points_of(np.stack([x, y], axis=1), height, width)
    if kind == "brush":
        given["rle"] = list(brush.encode(turned(masks[number], orientation)))
    return given


def kept(region: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A region without the values that are as given, and the names of these; a stroke that is not is one text."""
    names = [name for name, value in given.items() if region["value"].get(name) == value]
    value = {name: value for name, value in region["value"].items() if name not in names}
    if regions.kind_of(region) == "brush" and "rle" in value:
        value["rle"] = verbatim.from_bytes(bytes(value["rle"]))
    return {"region": {**region, "value": value}, "given": names}


def written(kept: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The region that was kept, with what was given."""
    region = kept["region"]
    value = {**region["value"], **{name: given[name] for name in kept["given"]}}
    if isinstance(value.get("rle"), str):
        value["rle"] = list(verbatim.to_bytes(value["rle"]))
    return {**region, "value": value}
