"""How well the annotations of two images agree that look alike: where they do not, one of them is wrong."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from segdata.core.arrays import BoolArray
from segdata.core.labels import LabelSpace
from segdata.core.sample import Sample
from segdata.sets.orientation import turned

LONGEST = 1024
"""Pixels of the longer side of the grid on which masks are compared."""


def agreement(one: Sample, other: Sample, labels: tuple[LabelSpace, LabelSpace], orientation: int = 1) -> float | None:
    """The IoU of what two images have annotated, over all categories that both label spaces have by name.

    The pixels in which both images have a category, divided by those in which either has it, each summed over the
    categories. An object without mask fills its box. Masks are compared on the pixels of the smaller image, of at most
    1024 × 1024; label maps where neither is void.

    Args:
        labels: the label spaces of both.
        orientation: EXIF's number of how the one has to be turned to look like the other.

    Returns:
        0 … 1, where 1 is also that both say that there is nothing; None where not both have objects or not both a
        label map, or no category of one name.
    """
    names = [name for name in labels[0].index_of_name if name in labels[1].index_of_name]
    if not names or not ((one.has_instances and other.has_instances) or (one.has_semantic and other.has_semantic)):
        return None
    is_map = not (one.has_instances and other.has_instances)
    is_swapped = orientation >= 5
    height = min(other.height, one.width if is_swapped else one.height)
    width = min(other.width, one.height if is_swapped else one.width)
    shrink = min(1.0, LONGEST / max(height, width))
    height, width = max(round(height * shrink), 1), max(round(width * shrink), 1)
    mine, my_void = _layers(one, labels[0], (width, height) if is_swapped else (height, width), is_map=is_map)
    theirs, their_void = _layers(other, labels[1], (height, width), is_map=is_map)
    known = ~(turned(my_void, orientation) | their_void)
    blank = np.zeros_like(known)
    both = either = 0
    for name in names:
        first = turned(mine[name], orientation) if name in mine else blank
        second = theirs.get(name, blank)
        both += int(np.count_nonzero(first & second & known))
        either += int(np.count_nonzero((first | second) & known))
    return both / either if either else 1.0


def _layers(
    sample: Sample, labels: LabelSpace, size: tuple[int, int], *, is_map: bool
) -> tuple[Mapping[str, BoolArray], BoolArray]:
    """Where a sample has each category that it has, by name, and where it is void: (h, w) bool each, on a grid."""
    rows, columns = (
        ((np.arange(cells) + 0.5) * (pixels / cells)).astype(np.int64)
        for cells, pixels in zip(size, (sample.height, sample.width), strict=True)
    )
    if is_map:
        semantic = sample.semantic
        assert semantic is not None
        values = semantic[np.ix_(rows, columns)]
        layers = {labels[index].name: values == index for index in np.unique(values).tolist() if index < len(labels)}
        return layers, values >= len(labels)
    instances = sample.instances
    layers = {}
    for category in np.unique(instances.category).tolist():
        layer = np.zeros(size, bool)
        for index in np.flatnonzero(instances.category == category).tolist():
            if instances.has_mask[index]:
                layer |= instances.masks[index][np.ix_(rows, columns)] != 0
            else:
                x0, y0, x1, y1 = instances.boxes[index].tolist()
                layer |= np.outer((rows + 0.5 >= y0) & (rows + 0.5 < y1), (columns + 0.5 >= x0) & (columns + 0.5 < x1))
        layers[labels[category].name] = layer
    return layers, np.zeros(size, bool)
