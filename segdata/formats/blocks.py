"""The objects of several images as one list: what is computed for each object is computed for all of them at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from segdata.core.arrays import BoolArray, IntArray
from segdata.core.findings import Findings
from segdata.core.masks import Masks
from segdata.core.polygons import Polygons
from segdata.core.rle import pointer_of
from segdata.core.sample import Instances, Sample

_ARRAYS = tuple(field.name for field in fields(Instances) if field.name not in ("masks", "polygons", "extra"))


@dataclass(frozen=True)
class Block:
    """The samples of a block, with their N objects as one list, those of one sample after those of another.

    Attributes:
        samples: I samples.
        image: (N,) int64, the position of each object's sample.
        objects: of all samples. Their masks are those of one image as large as the largest, all at its top left.
        is_drawn: (N,) bool, whether it is known that the mask was drawn from the object's polygons, if it has some.
    """

    samples: Sequence[Sample]
    image: IntArray
    objects: Instances
    is_drawn: BoolArray

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Block:
        """The block of some samples."""
        parts = [sample.instances for sample in samples]
        image = np.arange(len(parts)).repeat([len(part) for part in parts])
        is_drawn = np.array([part.masks.drawn_from is part.polygons for part in parts], bool)[image]
        return cls(samples, image, parts[0] if len(parts) == 1 else _concatenated(parts), is_drawn)

    def take(self, chosen: BoolArray) -> Block:
        """The block without objects that are not `chosen`, (N,)."""
        if chosen.all():
            return self
        return Block(self.samples, self.image[chosen], self.objects.take(chosen), self.is_drawn[chosen])

    @cached_property
    def sizes(self) -> IntArray:
        """(N, 2) int64, height and width of each object's image."""
        return np.array([(sample.height, sample.width) for sample in self.samples], np.int64).reshape(-1, 2)[self.image]

    @cached_property
    def pointer(self) -> IntArray:
        """(I + 1,) int64; sample i has the objects `pointer[i] … pointer[i + 1] − 1`."""
        return pointer_of(np.bincount(self.image, minlength=len(self.samples)))

    def masks_of(self, index: int) -> tuple[Masks, int]:
        """The masks of an object's image, in its own size, and the object's place among them."""
        image = int(self.image[index])
        begin, end = self.pointer[image : image + 2].tolist()
        sample = self.samples[image]
        return replace(self.objects.masks[begin:end], height=sample.height, width=sample.width), index - begin

    def masks(self) -> list[Masks]:
        """The masks of every sample, in the size of its image."""
        bounds = zip(self.samples, itertools.pairwise(self.pointer.tolist()), strict=True)
        return [
            sample.instances.masks
            if end - begin == len(sample.instances)
            else replace(self.objects.masks[begin:end], height=sample.height, width=sample.width)
            for sample, (begin, end) in bounds
        ]

    def drop(self, findings: Findings, kind: str, is_dropped: BoolArray) -> None:
        """Count the objects that are dropped, (N,) bool, sample by sample."""
        if is_dropped.any():
            counts = np.bincount(self.image[is_dropped], minlength=len(self.samples))
            for sample, count in zip(self.samples, counts.tolist(), strict=True):
                findings.drop(kind, sample.key, count)


def _concatenated(parts: Sequence[Instances]) -> Instances:
    height, width = (max((getattr(part.masks, name) for part in parts), default=0) for name in ("height", "width"))
    none = Instances.none(height, width)
    return Instances(
        masks=Masks.concatenate([part.masks for part in parts], height, width),
        polygons=Polygons.concatenate([part.polygons for part in parts]),
        extra=[extra for part in parts for extra in part.extra],
        **{name: np.concatenate([getattr(part, name) for part in (none, *parts)]) for name in _ARRAYS},
    )


def cut(objects: Instances, pointer: IntArray, masks: Sequence[Masks]) -> list[Instances]:
    """Split after the objects `pointer`: part i has the objects `pointer[i] … pointer[i + 1] − 1`, and `masks[i]`."""
    columns = {name: getattr(objects, name) for name in _ARRAYS}
    bounds = zip(itertools.pairwise(pointer.tolist()), objects.polygons.cut(pointer), masks, strict=True)
    return [
        Instances(
            masks=mask,
            polygons=polygons,
            extra=objects.extra[begin:end],
            **{name: column[begin:end] for name, column in columns.items()},
        )
        for (begin, end), polygons, mask in bounds
    ]
