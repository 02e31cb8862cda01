"""Corrected samples of formats that keep a record of every object: the records of new and redrawn objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Adapter, Correction, Header, Plan


def adapted_alone(adapter: Adapter, correction: Correction, index: int, findings: Findings) -> Sample:
    """A sample with nothing but one object of a corrected one, as the adapter of its own format writes it.

    Flags are left to `count_unsaid` of `formats.correcting`.
    """
    after, labels = correction.after, correction.labels
    count = len(after.instances)
    no, unknown = np.zeros(count, bool), np.full(count, np.nan)
    instances = replace(
        after.instances,
        iscrowd=no,
        difficult=no,
        truncated=no,
        occluded=no,
        id=np.full(count, -1),
        area=unknown,
        score=unknown,
        order=np.arange(count),
        extra=[{}] * count,
    ).take(np.arange(count) == index)
    sample = Sample(
        after.key,
        after.height,
        after.width,
        file=after.file,
        encoded=lambda: after.encoded,
        instances=instances,
        max_pixels=after.max_pixels,
    )
    table = np.array([*range(len(labels)), -1], np.int64)
    plan = Plan(labels, Header(labels, {"all": range(1)}, []), [after.key], table)
    return adapter.adapt(plan, 0, sample, findings)


def next_place(correction: Correction, format: str, places: Sequence[int]) -> int:
    """The first place in a list of records after all of these, and after the objects'.

    Args:
        places: of records that are no objects.
    """
    orders = correction.before.instances.order.tolist()
    parts = [
        position
        for extra in correction.before.instances.extra
        for position, *_ in extra.get(format, {}).get("parts", ())
    ]
    return int(max([-1, *orders, *parts, *places])) + 1
