"""Whether the values of masks number the objects of each image, or are classes that all images share."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum
from math import prod

LOOKED_AT = 24
"""Masks whose values are enough to tell."""

_CHANCE = 0.05
_FEWEST = 3
_MANY = 20


class Evidence(Enum):
    """What values look like."""

    NUMBERS = "numbers of objects"
    EITHER = "numbers of objects, or classes"
    CLASSES = "classes"


def evidence(masks: Sequence[Collection[int]]) -> Evidence:
    """What the values of some masks look like.

    Numbers count from 1 without gaps, up to as many objects as the image has. Classes do so by chance alone: of K classes,
    2 ** K − 2 sets are some and not all, and K − 1 of these have no gap.

    Args:
        masks: the values of each, without 0.

    >>> evidence([{1, 2}, {1}, {1, 2, 3, 4, 5}, {1, 2, 3}])
    <Evidence.NUMBERS: 'numbers of objects'>
    >>> evidence([{1}, {1, 2}])
    <Evidence.EITHER: 'numbers of objects, or classes'>
    >>> evidence([{255}, set(), {255}])
    <Evidence.CLASSES: 'classes'>
    """
    sets = [set(values) for values in masks if values]
    every = set().union(*sets)
    if len(every) < 2 or all(values == every for values in sets):
        return Evidence.CLASSES
    most = max(every)
    if any(len(values) != max(values) for values in sets):
        return Evidence.EITHER if len(every) > _MANY else Evidence.CLASSES
    smaller = [values for values in sets if len(values) < most]
    chance = prod([(most - 1) / (2.0 ** min(most, 60) - 2)] * len(smaller))
    return Evidence.NUMBERS if most >= _FEWEST and chance < _CHANCE else Evidence.EITHER


def spread(count: int) -> list[int]:
    """Positions of the masks to look at among `count`, evenly spread."""
    return sorted({round(k * (count - 1) / (LOOKED_AT - 1)) for k in range(LOOKED_AT)}) if count else []
