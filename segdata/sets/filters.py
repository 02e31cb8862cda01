"""Filters applied during conversion: remap or select categories, remove crowds and small objects.

What they remove is reported, but is not an information loss of the format. A step is applied to the label space and to
every sample. A filtered dataset is no longer its source's: it is written as from another format, also into its own, and
what was kept only to reproduce the source's files counts as dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from segdata.core.findings import Findings
from segdata.core.labels import LabelMapping, LabelSpace
from segdata.core.sample import Instances, Sample
from segdata.errors import NotThere


class Step(Protocol):
    """One filter: a function of the label space, and one of a sample."""

    def space(self, labels: LabelSpace) -> LabelSpace:
        """The label space after this step."""

    def sample(self, sample: Sample, labels: LabelSpace, findings: Findings) -> Sample:
        """The sample after this step; `labels` is its label space before."""


@dataclass(frozen=True)
class Relabel:
    """Map categories; objects of unmapped categories are left out, their pixels in label maps become void."""

    mapping: LabelMapping

    def space(self, labels: LabelSpace) -> LabelSpace:
        """The target of the mapping."""
        return self.mapping.target

    def sample(self, sample: Sample, labels: LabelSpace, findings: Findings) -> Sample:
        """The sample in the target's label space."""
        instances = sample.instances
        category = self.mapping.indices[instances.category]
        for index in instances.category[category < 0].tolist():
            findings.remark(f"left out as asked: objects of category {labels[index].name!r}", sample.key)
        semantic = sample.semantic
        if semantic is not None:
            semantic = self.mapping.lookup(labels)[semantic]
        return _changed(sample, instances.with_category(category).take(category >= 0), semantic)


@dataclass(frozen=True)
class Filter:
    """Drop instances below `min_area`, and optionally `iscrowd`.

    Attributes:
        min_area: in pixels of the mask (of the box where there is none); smaller objects are left out.
        crowds: keep objects with `iscrowd`.
    """

    min_area: float = 0.0
    crowds: bool = True

    def space(self, labels: LabelSpace) -> LabelSpace:
        """The label space is unchanged by this filter."""
        return labels

    def sample(self, sample: Sample, labels: LabelSpace, findings: Findings) -> Sample:
        """The sample without these objects; its label map stays as it is."""
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


@dataclass(frozen=True)
class CrowdsAsObjects:
    """Make ordinary objects of those with iscrowd, one of each mask."""

    def space(self, labels: LabelSpace) -> LabelSpace:
        """The label space is unchanged."""
        return labels

    def sample(self, sample: Sample, labels: LabelSpace, findings: Findings) -> Sample:
        """The sample without crowds; its label map stays as it is."""
        instances = sample.instances
        count = int(instances.iscrowd.sum())
        if not count:
            return sample
        findings.remark("crowds made objects, as asked", sample.key, count)
        return _changed(sample, replace(instances, iscrowd=np.zeros(len(instances), bool)), sample.semantic)


def keep(labels: LabelSpace, names: Sequence[str]) -> Relabel:
    """A step that keeps only these categories, in the label space's order, with their ids.

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
    target_of = {index: target for target, index in enumerate(chosen)}
    space = LabelSpace(f"{labels.name}-part", tuple(labels[index] for index in chosen))
    return Relabel(LabelMapping(space, tuple(target_of.get(index) for index in range(len(labels)))))


def drop(labels: LabelSpace, names: Sequence[str]) -> Relabel:
    """A step that removes these categories.

    Raises:
        NotThere: the space has no such category.
    """
    keep(labels, names)
    return keep(labels, [category.name for category in labels.categories if category.name not in names])


def _changed(sample: Sample, instances: Instances, semantic: Any) -> Sample:
    return sample.with_annotations(
        instances=instances if sample.has_instances else None, semantic=semantic, extra=sample.extra
    )
