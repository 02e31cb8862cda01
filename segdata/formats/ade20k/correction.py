"""An image of ADE20K that a person corrected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.adapting import layered
from segdata.formats.ade20k import adapt
from segdata.formats.contract import Correction
from segdata.formats.correcting import count_unsaid, with_residue
from segdata.formats.shapes.correcting import adapted_alone
from segdata.formats.shared import verbatim
from segdata.formats.shared.folder import stem

_OUTLINE: Mapping[str, Any] = {"x": [], "y": [], "click_date": []}


def corrected(correction: Correction, findings: Findings) -> Sample:
    """The image with a record of every object; of flags, ADE20K has `occluded` and `truncated`."""
    after, instances = correction.after, correction.after.instances
    residue = dict(after.extra.get("ade20k", {}))
    count_unsaid(correction, findings, kept={"occluded", "truncated"}, has_map=True)
    if correction.has_other_map:
        residue.pop("red", None)
    if correction.has_other_objects and "blue" in residue:
        layer, _ = layered(instances.masks, np.zeros(len(instances), bool))
        residue["blue"] = verbatim.from_array(np.where(layer <= 255, layer, 0).astype(np.uint8))
    extra, ids = list(instances.extra), instances.id.copy()
    parts = [part["record"] for part in residue.get("parts", ())]
    records = [item.get("ade20k", {}).get("record", {}) for item in correction.before.instances.extra]
    highest = max([0, *ids.tolist(), *(record.get("id", 0) for record in parts)])
    names = {record.get("instance_mask") for record in (*records, *parts)}
    for index in correction.changed.nonzero()[0].tolist():
        kept: Mapping[str, Any] = correction.residue("ade20k", index)
        if not kept:
            highest += 1
            ids[index] = highest
            (alone,) = adapted_alone(adapt, correction, index, findings).instances.extra
            kept = {"record": {**alone["ade20k"]["record"], "instance_mask": _name(after, names)}}
            names.add(kept["record"]["instance_mask"])
        extra[index] = {**extra[index], "ade20k": {**kept, "record": _record(correction, index, kept["record"])}}
    return with_residue(correction, "ade20k", residue, replace(instances, id=ids), extra)


def _name(sample: Sample, taken: set[Any]) -> str:
    """A name for an object's PNG that none has."""
    base = stem(sample.file).rpartition("/")[2]
    return next(name for n in range(len(taken) + 1) if (name := f"{base}/instance_{n:03d}_{base}.png") not in taken)


def _record(correction: Correction, index: int, record: Mapping[str, Any]) -> dict[str, Any]:
    """An object's record with its category, flags and outline as they are now."""
    instances, row = correction.after.instances, int(correction.rows[index])
    before = correction.before.instances
    changed = dict(record)
    if row >= 0 and instances.category[index] != before.category[row]:
        name = correction.labels[int(instances.category[index])].name
        changed.pop("name", None)
        changed |= {what: value for what, value in (("hypernym", [name]), ("raw_name", name)) if what in changed}
    if row >= 0 and instances.occluded[index] != before.occluded[row]:
        changed["occluded"] = "yes" if instances.occluded[index] else "no"
    if row >= 0 and instances.truncated[index] != before.truncated[row]:
        changed["crop"] = int(instances.truncated[index])
    if row >= 0 and correction.redrawn[index] and "polygon" in changed:
        changed["polygon"] = _OUTLINE
    return changed
