"""An image with masks that number objects, which a person corrected."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.adapting import count_hidden
from segdata.formats.contract import Correction
from segdata.formats.correcting import ORPHANS, count_unsaid, with_residue

_MOST = 65535
"""Objects that a 16-bit mask can number."""


def corrected(correction: Correction, findings: Findings) -> Sample:
    """The image with a number, or a file, for every object; masks have neither categories nor flags."""
    before, after = correction.before, correction.after
    residue = dict(after.extra.get("masks", {}))
    count_unsaid(correction, findings)
    categories = [
        row >= 0 and before.instances.category[row] != after.instances.category[index]
        for index, row in enumerate(correction.rows.tolist())
    ]
    findings.drop("categories of objects", after.key, sum(map(bool, categories)))
    if "folder" in residue:
        return _of_files(correction, residue)
    if "file" not in residue:
        findings.drop(ORPHANS, after.key, len(after.instances))
        return with_residue(correction, "masks", residue)
    count_hidden(after, findings)
    instances, most = after.instances, int(after.instances.id.max(initial=0))
    if most > _MOST:  # numbers say which pixels belong together, and no more
        instances = replace(instances, id=np.arange(1, len(instances) + 1))
        findings.drop("object ids", after.key, len(instances))
        most = len(instances)
    if most > 255 or (most > 1 and residue["mode"] == "1"):
        kept = {name: value for name, value in residue.items() if name not in ("palette", "alpha")}
        residue = {**kept, "mode": "I;16" if most > 255 else "L"}
    return with_residue(correction, "masks", residue, instances)


def _of_files(correction: Correction, residue: dict[str, Any]) -> Sample:
    """An image with a file for each object."""
    instances = correction.after.instances
    taken = {extra["masks"]["file"] for extra in correction.before.instances.extra}
    extra = list(instances.extra)
    for index in correction.changed.nonzero()[0].tolist():
        kept = dict(correction.residue("masks", index))
        if not kept:
            number = next(n for n in range(len(taken) + 1) if f"object_{n}.png" not in taken)
            kept = {"file": f"object_{number}.png", "value": 255, "mode": "L"}
            taken.add(kept["file"])
        extra[index] = {**extra[index], "masks": kept}
    return with_residue(correction, "masks", residue, instances, extra)
