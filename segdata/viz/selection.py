"""Which samples to look at: the first ones or some at random, of all or of those that have a category."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from segdata.core.labels import LabelSpace
from segdata.core.sample import Sample
from segdata.errors import NotThere


def select(
    samples: Sequence[Sample],
    labels: LabelSpace,
    count: int,
    *,
    seed: int | None = None,
    categories: Sequence[str] = (),
) -> list[Sample]:
    """At most `count` samples.

    Args:
        labels: of the samples.
        seed: for a choice at random; by default the first ones.
        categories: only samples with an object or a pixel of one of these.

    Raises:
        NotThere: there is no such category, or no sample has one.
    """
    for name in categories:
        if name not in labels.index_of_name:
            close = difflib.get_close_matches(name, labels.index_of_name, n=3)
            listed = ", ".join(close or list(labels.index_of_name)[:12])
            raise NotThere(f"there is no category {name!r}", why=f"{'close are' if close else 'there are'} {listed}")
    wanted = np.array([labels.index_of_name[name] for name in categories], np.int64)
    order = np.arange(len(samples)) if seed is None else np.random.default_rng(seed).permutation(len(samples))
    chosen: list[Sample] = []
    for index in order.tolist():
        if len(chosen) == count:
            break
        sample = samples[index]
        if not categories or _has_one(sample, wanted):
            chosen.append(sample)
    if categories and not chosen:
        raise NotThere(f"no sample has {' or '.join(map(repr, categories))}", fix="choose another category or split")
    return chosen


def _has_one(sample: Sample, wanted: npt.NDArray[np.int64]) -> bool:
    if np.isin(sample.instances.category, wanted).any():
        return True
    return sample.semantic is not None and bool(np.isin(sample.semantic, wanted).any())
