"""Steps that change a dataset on its way: other categories, no crowds, no specks. Asked for, so counted, but no loss.

A step is applied to label space and samples alike. A dataset that went through a step is no longer its source's: its
own format, too, is then written as from another, and counts what was kept only to write the source's files again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from segdata.core.findings import Findings
from segdata.core.labels import LabelMapping, LabelSpace
from segdata.core.sample import Instances, Sample
from segdata.errors import NotThere


class Step(Protocol):
    """One change."""

    def space(self, labels: LabelSpace) -> LabelSpace:
        """The label space afterwards."""

    def sample(self, sample: Sample, labels: LabelSpace, findings: Findings) -> Sample:
        """The sample afterwards; `labels` is its space before."""


@dataclass(frozen=True)
class Relabel:
    """Categories by a table; objects without counterpart are left out, their pixels become void."""

    mapping: LabelMapping

    def space(self, labels: LabelSpace) -> LabelSpace:
        """The mapping's target."""
        return self.mapping.target

    def sample(self, sample: Sample, labels: LabelSpace, findings: Findings) -> Sample:
        """The sample under the target's categories."""
        table = np.array([-1 if to is None else to for to in self.mapping.table], np.int64)
        instances = sample.instances
        category = table[instances.category] if len(table) else instances.category
        for index in instances.category[category < 0].tolist():
            findings.remark(f"left out as asked: objects of category {labels[index].name!r}", sample.key)
        semantic = sample.semantic
        if semantic is not None:
            semantic = self.mapping.lookup(labels)[semantic]
        return _changed(sample, instances.with_category(category).take(category >= 0), semantic)


@dataclass(frozen=True)
class Filter:
    """Objects by their pixels (boxes where there are no masks) and by what they are.

    Attributes:
        min_area: smaller objects are left out, in pixels.
        crowds: whether crowds stay.
    """

    min_area: float = 0.0
    crowds: bool = True

    def space(self, labels: LabelSpace) -> LabelSpace:
        """The same."""
        return labels

    def sample(self, sample: Sample, labels: LabelSpace, findings: Findings) -> Sample:
        """The sample without the objects that are filtered out; label maps stay as they are."""
        instances = sample.instances
        boxes = instances.boxes
        pixels = np.where(
            instances.has_mask, instances.masks.areas, (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        )
        is_small = pixels < self.min_area
        is_crowd = instances.iscrowd & (not self.crowds)
        for kind, which in (("smaller than asked", is_small), ("crowds", is_crowd & ~is_small)):
            if which.any():
                findings.remark(f"left out as asked: objects, {kind}", sample.key, int(which.sum()))
        return _changed(sample, instances.take(~(is_small | is_crowd)), sample.semantic)


def keep(labels: LabelSpace, names: Sequence[str]) -> Relabel:
    """Only these categories, in the space's order, with their own ids.

    Raises:
        NotThere: the space has no such category.
    """
    for name in names:
        if name not in labels.index_of_name:
            raise NotThere(
                f"label space {labels.name!r} has no category {name!r}",
                why=f"it has {', '.join(category.name for category in labels.categories[:10])} …",
            )
    chosen = [index for index, category in enumerate(labels.categories) if category.name in names]
    place = {index: position for position, index in enumerate(chosen)}
    space = LabelSpace(f"{labels.name}-part", tuple(labels[index] for index in chosen))
    return Relabel(LabelMapping(space, tuple(place.get(index) for index in range(len(labels)))))


def drop(labels: LabelSpace, names: Sequence[str]) -> Relabel:
    """All categories but these.

    Raises:
        NotThere: the space has no such category.
    """
    keep(labels, names)
    return keep(labels, [category.name for category in labels.categories if category.name not in names])


def _changed(sample: Sample, instances: Instances, semantic: Any) -> Sample:
    return sample.with_annotations(
        instances=instances if sample.has_instances else None, semantic=semantic, extra=sample.extra
    )
