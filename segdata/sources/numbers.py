"""Whether the ids of a pack's images and objects tell them apart, for formats that need that, and others where not."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from segdata.core.sample import Sample

Integers = npt.NDArray[np.int64]


class _Columns(NamedTuple):
    images: Integers
    image_of: Integers
    objects: Integers


class Ids:
    """Numbers of images and objects.

    Args:
        images: (N,) int64, every image's id, −1 where it has none.
        image_of, objects: (M,) int64, every object's image, which never falls, and its id.
    """

    def __init__(self, images: Integers, image_of: Integers, objects: Integers) -> None:
        self._columns = _Columns(images, image_of, objects)

    def repeated_image(self, members: Integers) -> int | None:
        """The first of some images whose id one before it has, or that has none where others have one."""
        ids = self._columns.images[members]
        if (ids < 0).all():
            return None
        index = _first_repeated(ids)
        return None if index is None else int(members[index])

    def repeated_object(self, members: Integers) -> int | None:
        """The image of the first object of some images with ids whose own id one before it has."""
        images, image_of, objects = self._columns
        is_member = np.zeros(len(images), bool)
        is_member[members[images[members] >= 0]] = True
        rows = np.flatnonzero(is_member[image_of])
        index = _first_repeated(objects[rows])
        return None if index is None else int(image_of[rows[index]])

    @cached_property
    def _first_object(self) -> Integers:
        images, image_of, _ = self._columns
        return np.searchsorted(image_of, np.arange(len(images)))

    def with_other_objects(self, index: int, sample: Sample) -> Sample:
        """The sample with its objects numbered from 1 on through all samples."""
        instances = sample.instances
        number = int(self._first_object[index]) + 1 + np.arange(len(instances))
        return sample.with_annotations(
            instances=replace(instances, id=number) if sample.has_instances else None,
            semantic=sample.semantic,
            extra=sample.extra,
        )


def without_id(index: int, sample: Sample) -> Sample:
    """The sample without id, wherever it stands."""
    sample.id = -1
    return sample


def _first_repeated(values: Integers) -> int | None:
    """Index of the first value that one before it has, or that is negative; None where there is none."""
    is_first = np.zeros(len(values), bool)
    is_first[np.unique(values, return_index=True)[1]] = True
    wrong = np.flatnonzero(~is_first | (values < 0))
    return int(wrong[0]) if len(wrong) else None
