"""Counts of images and of their objects: by category, size, split and flag."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray, FloatArray, IntArray
from segdata.metrics.report.outcomes import SIZES
from segdata.pack import layout

_FLAGS = {"crowds": layout.IS_CROWD, "difficult": layout.IS_DIFFICULT}
_SIZES = ("small", "medium", "large", "of_unknown_size")


class Facets:
    """What there is to be counted of N images and their M objects.

    Args:
        categories: how many there are, K.
        counts: (N,) objects of each image.
        category: (M,) of each object.
        area: (M,) pixels, NaN where they are not known.
        flags: (M,) uint8, as a pack has them.
        has: name → (N,) bool, what else is counted of images.
        in_split: split → numbers of its images.
    """

    def __init__(
        self,
        *,
        categories: int,
        counts: npt.NDArray[np.integer],
        category: npt.NDArray[np.integer],
        area: FloatArray,
        flags: npt.NDArray[np.uint8],
        has: Mapping[str, BoolArray],
        in_split: Mapping[str, IntArray],
    ) -> None:
        self._categories = categories
        self._objects = counts
        self._in_split = in_split
        image = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        per_object = {name: (flags & bit) != 0 for name, bit in _FLAGS.items()}
        per_object["box_only"] = (flags & layout.HAS_MASK) == 0
        self._has = {name: np.bincount(image[flag], minlength=len(counts)) > 0 for name, flag in per_object.items()}
        self._has |= has
        size = np.searchsorted(SIZES, area, side="right")
        size[np.isnan(area)] = 3
        self._cell = (size + 4 * category.astype(np.int64)).astype(np.min_scalar_type(4 * categories))
        pairs = image.astype(np.int64) * max(categories, 1) + category
        pairs.sort()
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]
        with_category, of_category = np.divmod(pairs, max(categories, 1))
        self._pairs = with_category.astype(np.int32), of_category.astype(np.uint16)

    def count(self, is_meant: BoolArray) -> dict[str, Any]:
        """Counts of the images that are meant, (N,) bool, and of their objects."""
        image, category = self._pairs
        by_size = np.bincount(self._cell[np.repeat(is_meant, self._objects)], minlength=4 * self._categories)
        by_size = by_size.reshape(-1, 4)
        objects = by_size.sum(axis=1)
        images = np.bincount(category[is_meant[image]], minlength=self._categories)
        return {
            "images": int(np.count_nonzero(is_meant)),
            "objects": int(objects.sum()),
            "splits": {name: int(np.count_nonzero(is_meant[members])) for name, members in self._in_split.items()},
            "categories": np.column_stack((images, objects)).tolist(),
            "sizes": dict(zip(_SIZES, by_size.sum(axis=0).tolist(), strict=True)),
            **{name: int(np.count_nonzero(flag & is_meant)) for name, flag in self._has.items()},
        }


def added(one: Any, other: Any) -> Any:
    """The counts of two sets of images together."""
    if isinstance(one, dict):
        return {name: added(value, other[name]) for name, value in one.items()}
    if isinstance(one, list):
        return [added(*pair) for pair in zip(one, other, strict=True)]
    return one + other
