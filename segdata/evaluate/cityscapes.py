"""What Cityscapes' two evaluations share: which classes count, and in which groups (Cordts et al., CVPR 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.labels import LabelSpace

GROUP_LIMIT = 1000
"""Numbers of an instance map from here on are single objects, label id · 1000 + n; below they are label ids."""


@dataclass(frozen=True, eq=False)
class Classes:
    """The label table as the evaluations need it; K categories that have pixels, in the order of their indices.

    Attributes:
        names: of the categories.
        index_of_id: (1000,) int64, label id → index, −1 where there is none.
        evaluated: (K,) bool, whether the category counts; truth pixels of the others are void.
        isthing: (K,) bool.
        groups: names of the groups ("human", "vehicle", …).
        group: (K,) int64, each category's group.
        average_size: (K,) float64, mean pixels of an object, NaN for stuff.
    """

    names: tuple[str, ...]
    index_of_id: npt.NDArray[np.int64]
    evaluated: npt.NDArray[np.bool_]
    isthing: npt.NDArray[np.bool_]
    groups: tuple[str, ...]
    group: npt.NDArray[np.int64]
    average_size: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of(cls, labels: LabelSpace, average_sizes: Mapping[str, float]) -> Classes:
        """From a label space; categories without a label id (−1, licence plates) have no pixels and are last in it."""
        categories = [category for category in labels.categories if category.id >= 0]
        groups = tuple(dict.fromkeys(str(category.supercategory) for category in categories))
        index_of_id = np.full(GROUP_LIMIT, -1, np.int64)
        index_of_id[[category.id for category in categories]] = np.arange(len(categories))
        return cls(
            tuple(category.name for category in categories),
            index_of_id,
            np.array([not category.ignore for category in categories]),
            np.array([bool(category.isthing) for category in categories]),
            groups,
            np.array([groups.index(str(category.supercategory)) for category in categories]),
            np.array([average_sizes.get(category.name, np.nan) for category in categories]),
        )

    def labels_of(self, numbers: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """The category of each number of an instance map, −1 where there is none."""
        wide = numbers.astype(np.int64)
        return self.index_of_id[np.where(wide < GROUP_LIMIT, wide, wide // GROUP_LIMIT)]
