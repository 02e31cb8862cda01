"""A sample of Labelme that a person corrected: records of new and redrawn objects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from segdata.core.findings import Findings
from segdata.core.polygons import Polygons
from segdata.core.sample import Sample
from segdata.formats.contract import Correction
from segdata.formats.correcting import ORPHANS, count_unsaid, with_residue
from segdata.formats.labelme import adapt
from segdata.formats.shapes import correcting

_FOLLOW = ("points", "shape_type", "mask", "group_id")
"""Fields of a shape's record that say where it is."""


def corrected(correction: Correction, findings: Findings) -> Sample:
    """The sample with records of every object; Labelme has no flags, and its label map is that of its shapes."""
    after, instances = correction.after, correction.after.instances
    residue = dict(after.extra.get("labelme", {}))
    count_unsaid(correction, findings)
    if "file" not in residue:
        findings.drop(ORPHANS, after.key, int(correction.has_other_objects))
    extra = list(instances.extra)
    rings = [[ring.reshape(-1) for ring in instances.polygons[index]] for index in range(len(instances))]
    place = correcting.next_place(correction, "labelme", [position for position, _ in residue.get("shapes", ())])
    for index in correction.changed.nonzero()[0].tolist():
        kept = correction.residue("labelme", index).get("parts", ())
        if kept and not correction.redrawn[index]:
            extra[index] = {**extra[index], "labelme": {"parts": kept}}
            continue
        alone = correcting.adapted_alone(adapt, correction, index, findings)
        at, place = (kept[0][0], place) if kept else (place, place + 1)
        stays = {name: value for name, value in kept[0][1].items() if name not in _FOLLOW} if kept else {}
        drawn = [alone.instances.extra[number]["labelme"]["parts"] for number in range(len(alone.instances))]
        parts: list[Any] = [[at, {**fields, **stays}] for records in drawn for _, fields in records]
        extra[index] = {**extra[index], "labelme": {"parts": parts}}
        rings[index] = [ring.reshape(-1) for ring in alone.instances.polygons[0]] if drawn else []
    instances = replace(instances, polygons=Polygons.of(rings))
    return with_residue(correction, "labelme", residue, instances, extra)
