"""The objects of a pack as predictions are matched with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from segdata.core.arrays import BoolArray
from segdata.core.predictions import Predictions
from segdata.core.sample import Sample
from segdata.pack import layout
from segdata.viewer.index import Index
from segdata.viewer.matching.overlaps import Truth


def covered(index: Index, predictions: Predictions) -> BoolArray:
    """(N,) bool, the images that predictions are about.

    Results files do not name images in which nothing was found: the images of every split that they name one of count.
    """
    if predictions.find_covered is None:
        return np.ones(len(index), bool)
    is_covered = np.zeros(len(index), bool)
    is_covered[np.array(predictions.find_covered(), np.int64)] = True
    if predictions.kind == "pack":
        return is_covered
    for members in index.in_split.values():
        is_covered[members] |= is_covered[members].any()
    return is_covered


def holds_objects(predictions: Predictions) -> bool:
    """Whether predictions are about objects, and not about label maps alone."""
    return bool({"boxes", "masks", "panoptic"} & predictions.holds)


def ignored(index: Index) -> BoolArray:
    """(K,) bool, categories that are ignored."""
    return np.array([category.ignore for category in index.pack.labels.categories], bool)


def truth_of(index: Index, predictions: Predictions) -> Truth:
    """All objects of a pack."""
    is_counted = (index.flags & (layout.IS_CROWD | layout.IS_DIFFICULT)) == 0
    is_about = covered(index, predictions)
    return Truth(
        pointer=index.pointer,
        image=index.image,
        category=index.category,
        is_counted=is_counted & ~ignored(index)[index.category],
        is_about=is_about,
        is_compared=is_about & index.has_instances & holds_objects(predictions),
        ignored=ignored(index),
        has_mask=(index.flags & layout.HAS_MASK) != 0,
    )


def truth_of_sample(sample: Sample, truth: Truth, number: int, *, has_objects: bool) -> Truth:
    """The objects of one image as they are now.

    Args:
        truth: all objects of the pack.
        number: the image in the pack.
        has_objects: whether predictions are about objects.
    """
    instances = sample.instances
    is_about = truth.is_about[[number]]
    return Truth(
        pointer=np.array([0, len(instances)]),
        image=np.zeros(len(instances), np.int64),
        category=instances.category,
        is_counted=~instances.iscrowd & ~instances.difficult & ~truth.ignored[instances.category],
        is_about=is_about,
        is_compared=is_about & (sample.has_instances and has_objects),
        ignored=truth.ignored,
        has_mask=instances.has_mask,
    )


def together(images: Sequence[Truth]) -> Truth:
    """The objects of at least one image each, as those of all."""
    counts = [len(truth.category) for truth in images]
    names = ("category", "is_counted", "is_about", "is_compared", "has_mask")
    columns: dict[str, Any] = {name: np.concatenate([getattr(truth, name) for truth in images]) for name in names}
    return Truth(
        pointer=np.concatenate(([0], np.cumsum(counts))),
        image=np.repeat(np.arange(len(images)), counts),
        ignored=images[0].ignored,
        **columns,
    )
