"""A sample of VIA that a person corrected: regions of new and redrawn objects, classes of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Correction
from segdata.formats.correcting import ORPHANS, count_unsaid, with_residue
from segdata.formats.shapes import correcting
from segdata.formats.via import adapt
from segdata.formats.via.regions import CLASS


def corrected(correction: Correction, findings: Findings) -> Sample:
    """The sample with a region of every object; VIA has no flags, and one outline for each object."""
    after, instances = correction.after, correction.after.instances
    residue = dict(after.extra.get("via", {}))
    count_unsaid(correction, findings)
    if "file" not in residue:
        findings.drop(ORPHANS, after.key, int(correction.has_other_objects))
    attribute = next((item["via"]["class"] for item in correction.before.instances.extra if "via" in item), CLASS)
    extra = list(instances.extra)
    place = correcting.next_place(correction, "via", [position for position, _ in residue.get("regions", ())])
    keys = list(residue.get("keys", ()))
    for index in correction.changed.nonzero()[0].tolist():
        kept = correction.residue("via", index)
        region: Mapping[str, Any] = kept.get("region", {"region_attributes": {}})
        position, place = (kept["position"], place) if kept else (place, place + 1)
        if correction.redrawn[index] or not kept:
            alone = correcting.adapted_alone(adapt, correction, index, findings)
            drawn = alone.instances.extra[0]["via"]["region"]
            region = {**region, "shape_attributes": drawn["shape_attributes"]}
        said = _with_class(region["region_attributes"], attribute, correction, index)
        extra[index] = {
            **extra[index],
            "via": {"position": position, "region": {**region, "region_attributes": said}, "class": attribute},
        }
    if keys and place > len(keys):
        taken = set(keys)
        free = (str(number) for number in range(len(keys) + place + 1) if str(number) not in taken)
        residue["keys"] = [*keys, *(next(free) for _ in range(place - len(keys)))]
    return with_residue(correction, "via", residue, instances, extra)


def _with_class(attributes: Mapping[str, Any], name: str, correction: Correction, index: int) -> Mapping[str, Any]:
    """A region's attributes with the class of its object, as a text or the one box that is checked."""
    row, category = int(correction.rows[index]), int(correction.after.instances.category[index])
    is_same = row >= 0 and category == int(correction.before.instances.category[row])
    if is_same or not name:
        return attributes
    label = correction.labels[category].name
    return {**attributes, name: {label: True} if isinstance(attributes.get(name), dict) else label}
