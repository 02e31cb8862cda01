"""A frame of Cityscapes that a person corrected."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.adapting import count_hidden
from segdata.formats.contract import Correction
from segdata.formats.correcting import ORPHANS, count_unsaid, with_residue

_PER_CATEGORY = 1000


def corrected(correction: Correction, findings: Findings) -> Sample:
    """The frame, its label files written anew where they changed; its polygon document is left out then.

    Numbers of objects say their category; crowds are groups.
    """
    after = correction.after
    residue = dict(after.extra.get("cityscapes", {}))
    absent = residue.get("absent", ())
    count_unsaid(correction, findings, kept={"iscrowd"}, has_map="labelIds" not in absent)
    count_hidden(after, findings)
    if correction.has_other_objects or correction.has_other_map:
        findings.drop("polygon documents", after.key, int(residue.pop("polygons", None) is not None))
        residue.pop("instance_map", None)
    if correction.has_other_map:
        residue.pop("label_map", None)
        residue |= {name: True for name in ("labelTrainIds", "color") if name in residue}
    instances = after.instances
    if correction.has_other_objects:
        findings.drop(ORPHANS, after.key, len(instances) if "instanceIds" in absent else 0)
        instances = replace(instances, id=_numbers(correction, findings))
        _count_groups(correction, instances.id, findings)
    return with_residue(correction, "cityscapes", residue, instances)


def _numbers(correction: Correction, findings: Findings) -> npt.NDArray[np.int64]:
    """(N,) numbers of objects: category id · 1000 + n, the category id alone for groups."""
    instances, key = correction.after.instances, correction.after.key
    numbers = instances.id.copy()
    is_old = ~correction.changed
    taken = set(numbers[is_old].tolist())
    for index in np.flatnonzero(correction.changed).tolist():
        label, is_crowd = correction.labels[int(instances.category[index])].id, bool(instances.iscrowd[index])
        numbers[index] = _number(int(numbers[index]), label, is_crowd, taken, key, findings)
        taken.add(int(numbers[index]))
    return numbers


def _number(number: int, label: int, is_crowd: bool, taken: set[int], key: str, findings: Findings) -> int:
    """An object's number, the one that it has where that says its category."""
    if label < 0:
        findings.drop("objects of categories that have none here: pixels only", key)
        return 0
    if is_crowd:
        findings.drop("groups that melt into one", key, int(label in taken))
        return label
    if number // _PER_CATEGORY == label and number not in taken:
        return number
    free = (label * _PER_CATEGORY + n for n in range(_PER_CATEGORY))
    chosen = next((value for value in free if value not in taken), None)
    findings.drop(f"objects after the first {_PER_CATEGORY} of a category: pixels only", key, int(chosen is None))
    return label if chosen is None else chosen


def _count_groups(correction: Correction, numbers: Any, findings: Findings) -> None:
    """Count pixels of things that no object has any more: instanceIds has them as a group."""
    before, after = correction.before, correction.after
    if after.semantic is None:
        return
    is_thing = np.zeros(max(correction.labels.void, len(correction.labels)) + 1, bool)
    is_thing[: len(correction.labels)] = [bool(item.isthing) for item in correction.labels.categories]
    loose = [
        is_thing[sample.semantic] & ~sample.instances.masks.paint(np.ones(len(sample.instances)), np.zeros(size, bool))
        for sample in (before, after)
        if sample.semantic is not None
        for size in [(sample.height, sample.width)]
    ]
    if len(loose) == 2:
        new = int(np.count_nonzero(loose[1] & ~loose[0]))
        findings.drop("pixels without an object, of things: a group in instanceIds", after.key, new)
