"""An image of SBD that a person corrected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.adapting import count_hidden
from segdata.formats.contract import Correction
from segdata.formats.correcting import ORPHANS, count_unsaid, with_residue
from segdata.formats.sbd import matlab, structures
from segdata.formats.sbd.structures import CLASSES, OBJECTS, PIXELS, Kind
from segdata.formats.shared import verbatim


def corrected(correction: Correction, findings: Findings) -> Sample:
    """The image with numbers 1 … N of its objects, and boundaries of what changed; SBD has no flags."""
    after, labels = correction.after, correction.labels
    residue, instances = dict(after.extra.get("sbd", {})), after.instances
    count_unsaid(correction, findings, has_map=CLASSES.folder in residue)
    if correction.has_other_map and CLASSES.folder in residue and after.semantic is not None:
        shown = [after.semantic == index for index in range(len(labels)) if index != labels.background]
        residue[CLASSES.folder] = _with_boundaries(CLASSES, residue[CLASSES.folder], shown)
    if correction.has_other_objects:
        findings.drop(ORPHANS, after.key, len(instances) if OBJECTS.folder not in residue else 0)
        count_hidden(after, findings)
        instances = replace(instances, id=np.arange(1, len(instances) + 1))
        if OBJECTS.folder in residue:
            shown = [instances.masks[number] != 0 for number in range(len(instances))]
            residue[OBJECTS.folder] = _with_boundaries(OBJECTS, residue[OBJECTS.folder], shown)
    return with_residue(correction, "sbd", residue, instances)


def _with_boundaries(kind: Kind, kept: Mapping[str, Any], masks: list[npt.NDArray[np.bool_]]) -> dict[str, Any]:
    """What is kept of a structure without pixels and numbers, and with the boundaries of these masks."""
    rest = matlab.read(verbatim.to_bytes(kept["fields"]), kind.name) if kept["fields"] else {}
    rest = {name: value for name, value in rest.items() if name not in (PIXELS, kind.numbers)}
    if "Boundaries" in rest:
        rest["Boundaries"] = structures.boundaries(masks)
    return {"fields": verbatim.from_bytes(matlab.write(kind.name, rest)) if rest else ""}
