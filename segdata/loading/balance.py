"""How often to load each image so that rare categories are seen more: `repeat_factors`, for `Loader(repeat=…)`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from segdata.core.sample import Sample
from segdata.errors import UsageError
from segdata.loading.loader import Samples
from segdata.pack import layout
from segdata.pack.read import Pack


def repeat_factors(pack: Samples, threshold: float = 0.001) -> npt.NDArray[np.float64]:
    """How often an epoch should have each image so that rare categories are seen more: the rule of the LVIS paper.

    A category in the share f of all images gets max(1, √(threshold / f)), an image the largest of its categories',
    and 1 where it has none. What is counted are the categories of an image's objects, crowds included; those of its
    label map where it has no annotation of objects. Categories to be ignored do not count.

    Args:
        pack: a pack, a split, or any dataset that `Loader` takes. A pack's objects are counted from its columns; its
            label maps have to be decompressed.
        threshold: the share of the images below which a category is rare, above 0 and at most 1.

    Returns:
        (N,) float64, each at least 1, in the order of the samples: `Loader(pack, repeat=repeat_factors(pack))`.

    Raises:
        UsageError: the threshold is out of its range.

    >>> factors = segdata.loading.repeat_factors(pack)                                                 # doctest: +SKIP
    >>> loader = segdata.Loader(pack, batch_size=16, shuffle=True, repeat=factors)                     # doctest: +SKIP
    """
    if not 0 < threshold <= 1:
        raise UsageError(f"the threshold of repeat factors is {threshold}", why="expected a share, above 0 and up to 1")
    image, category = _pairs(pack)
    factors = np.ones(len(pack))
    if len(category):
        share = np.bincount(category) / len(pack)
        np.maximum.at(factors, image, np.sqrt(threshold / share[category]))
    return factors


def _pairs(pack: Samples) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Index of an image and index of a category that it has, (P,) int64 each; every pair once."""
    image, category = occurrences(pack)
    count = max(len(pack.labels), 1)
    pairs = np.unique(image * count + category)
    return pairs // count, pairs % count


def occurrences(
    pack: Samples, progress: Callable[[int, int], None] | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Image and category of every object, (M,) int64 each; for images without annotation of objects one entry for each
    category of their label maps. Categories to be ignored are left out.

    Args:
        progress: called with (samples done, samples in all) of those whose label maps are read.
    """
    labels = pack.labels
    image = category = np.zeros(0, np.int64)
    others: Sequence[int] = range(len(pack))
    if isinstance(pack, Pack):
        image, category = pack.object_categories()
        others = np.flatnonzero((pack.column("image/flags") & layout.INSTANCES_ANNOTATED) == 0).tolist()
    rows = []
    for done, index in enumerate(others, 1):
        rows.append((index, _categories(pack[index], len(labels))))
        if progress is not None:
            progress(done, len(others))
    if rows:
        image = np.concatenate([image, *(np.full(len(values), index) for index, values in rows)])
        category = np.concatenate([category, *(values for _, values in rows)])
    if not any(row.ignore for row in labels.categories):
        return image, category
    counts = np.array([not row.ignore for row in labels.categories], bool)[category]
    return image[counts], category[counts]


def _categories(sample: Sample, count: int) -> npt.NDArray[np.int64]:
    """The categories, of so many, that one sample has."""
    if sample.has_instances:
        return sample.instances.category
    semantic = sample.semantic
    if semantic is None:
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.bincount(semantic.reshape(-1), minlength=count)[:count])
