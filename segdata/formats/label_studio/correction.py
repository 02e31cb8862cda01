"""A sample of Label Studio that a person corrected: regions of new and redrawn objects, labels of others."""

from __future__ import annotations

from typing import Any

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Correction
from segdata.formats.correcting import ORPHANS, count_unsaid, with_residue
from segdata.formats.label_studio import adapt
from segdata.formats.shapes import correcting

_NAME = "label-studio"


def corrected(correction: Correction, findings: Findings) -> Sample:
    """The sample with a region of every object; Label Studio has no flags."""
    after, instances = correction.after, correction.after.instances
    residue = dict(after.extra.get(_NAME, {}))
    count_unsaid(correction, findings)
    if "file" not in residue:
        findings.drop(ORPHANS, after.key, int(correction.has_other_objects))
    elif "chosen" not in residue and len(instances):
        task = residue["task"]
        annotations = [*(task.get("annotations") or ()), {"result": [], "was_cancelled": False, "ground_truth": False}]
        residue |= {"task": {**task, "annotations": annotations}, "chosen": ["annotations", len(annotations) - 1]}
    extra = list(instances.extra)
    place = correcting.next_place(correction, _NAME, [position for position, _ in residue.get("results", ())])
    for index in correction.changed.nonzero()[0].tolist():
        kept: dict[str, Any] = dict(correction.residue(_NAME, index))
        if correction.redrawn[index] or not kept:
            position, place = (kept["position"], place) if kept else (place, place + 1)
            kept = {"position": position, **_drawn(correction, index, kept.get("region", {}), findings)}
        else:
            kept = _relabelled(kept)
        extra[index] = {**extra[index], _NAME: kept}
    return with_residue(correction, _NAME, residue, instances, extra)


def _drawn(correction: Correction, index: int, old: dict[str, Any], findings: Findings) -> dict[str, Any]:
    """The region of a new or redrawn object, whose label its column gives."""
    alone = correcting.adapted_alone(adapt, correction, index, findings)
    (region,) = alone.extra[_NAME]["task"]["annotations"][0]["result"]
    stays = {name: value for name, value in old.items() if name not in (*region, "value")}
    stays |= {name: old[name] for name in ("id", "to_name") if name in old}
    kept = _relabelled({"region": {**region, **stays}, "given": []})
    return kept if old else {**kept, "region": {**kept["region"], "id": _free(correction, index)}}


def _free(correction: Correction, index: int) -> str:
    """An id that no region of the image has."""
    taken = {extra.get(_NAME, {}).get("region", {}).get("id") for extra in correction.before.instances.extra}
    number = int(correction.after.instances.order[index]) + 1
    while f"{number:08x}" in taken:
        number += 1
    return f"{number:08x}"


def _relabelled(kept: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a region, with the label of its column."""
    region = kept["region"]
    value = {name: item for name, item in region["value"].items() if name != region["type"]}
    given = [*(name for name in kept["given"] if name != region["type"]), region["type"]]
    return {**kept, "region": {**region, "value": value}, "given": given}
