"""What Cityscapes' two evaluations share: classes, groups of classes and instance ids (Cordts et al., CVPR 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.catalog import manifest
from segdata.core.labels import LabelSpace
from segdata.core.predictions import GroundTruth
from segdata.core.sample import Sample
from segdata.errors import DamagedData, InvalidAnnotation, LabelMismatch
from segdata.formats.shared import verbatim

GROUP_LIMIT = 1000
"""Instance ids from here on are single objects, label id · 1000 + n; below they are label ids."""


@dataclass(frozen=True, eq=False)
class Classes:
    """The label table as the evaluations need it; K categories that have pixels, in the order of their indices.

    Attributes:
        names: of the categories.
        index_of_id: (1000,) int64, label id → index, −1 where there is none.
        evaluated: (K,) bool, whether the category counts; ground-truth pixels of the others are void.
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
            names=tuple(category.name for category in categories),
            index_of_id=index_of_id,
            evaluated=np.array([not category.ignore for category in categories]),
            isthing=np.array([bool(category.isthing) for category in categories]),
            groups=groups,
            group=np.array([groups.index(str(category.supercategory)) for category in categories]),
            average_size=np.array([average_sizes.get(category.name, np.nan) for category in categories]),
        )

    def categories_of(self, ids: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """The category index of each instance id, −1 where there is none."""
        wide = ids.astype(np.int64)
        return self.index_of_id[np.where(wide < GROUP_LIMIT, wide, wide // GROUP_LIMIT)]


def instance_ids(
    truth: GroundTruth, index: int, table: npt.NDArray[Any], labels: LabelSpace
) -> npt.NDArray[Any] | None:
    """The instance map of an image of the ground truth (see `instance_map`); None where no objects are annotated."""
    if truth.find_instance_ids is not None:
        return truth.find_instance_ids(index)
    sample = truth.get(index)
    return instance_map(sample, table, labels) if sample.has_instances else None


def instance_map(sample: Sample, table: npt.NDArray[Any], labels: LabelSpace) -> npt.NDArray[Any]:
    """The instance map of a sample: (H, W) label id · 1000 + n for objects, label ids elsewhere (0 for void).

    Args:
        table: index in the sample's label space → index in `labels`, its void for nothing.
    """
    kept = sample.extra.get("cityscapes")
    if isinstance(kept, dict) and kept.get("instance_map") is not None:
        stored = verbatim.to_array(kept["instance_map"])
        if stored.shape != (sample.height, sample.width):
            raise DamagedData("a kept instance map is of another size than its image", key=sample.key)
        return stored
    ids = np.zeros(labels.void + 1, np.uint16)
    ids[: len(labels)] = [max(category.id, 0) for category in labels.categories]
    instances = sample.instances
    label = ids[table[instances.category]].astype(np.int64)
    order = np.argsort(label, kind="stable")
    nth = np.empty(len(label), np.int64)
    nth[order] = np.arange(len(label)) - np.searchsorted(label[order], label[order])
    numbers = np.where(instances.iscrowd, label, label * GROUP_LIMIT + nth)
    if len(nth) and nth.max() >= GROUP_LIMIT:
        raise InvalidAnnotation(
            f"an image has more than {GROUP_LIMIT} objects of one category",
            key=sample.key,
            why="Cityscapes numbers them 0…999",
        )
    canvas = np.zeros((sample.height, sample.width), np.uint16)
    if sample.semantic is not None:
        canvas[:] = ids[table[sample.semantic]]
    return instances.masks.paint(numbers, canvas)


def classes_of(truth: GroundTruth, metric: str) -> tuple[LabelSpace, Classes, npt.NDArray[np.uint8]]:
    """Cityscapes' label space, its classes, and the ground truth's place in it.

    Returns:
        The label space; its classes; (256,) uint8, index in the ground truth's label space → index in Cityscapes', 255 for
        nothing.

    Raises:
        LabelMismatch: the ground truth has categories that Cityscapes does not have.
    """
    city = manifest.shipped("cityscapes")
    table = np.arange(256, dtype=np.uint8)
    for index, category in enumerate(truth.labels.categories):
        if category.name not in city.labels.index_of_name:
            raise LabelMismatch(
                f"{metric} is defined over Cityscapes' categories alone",
                file=truth.path,
                why=f"the ground truth ({truth.labels.name!r}) has {category.name!r}",
                fix="map the ground truth with --labels cityscapes, or name another metric",
            )
        table[index] = city.labels.index_of_name[category.name]
    return city.labels, Classes.of(city.labels, city.average_sizes), table
