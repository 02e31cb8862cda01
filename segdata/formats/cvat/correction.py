"""A sample of CVAT that a person corrected: elements of new and redrawn objects, attributes of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Correction
from segdata.formats.correcting import ORPHANS, count_unsaid, with_residue
from segdata.formats.cvat import adapt
from segdata.formats.shapes import correcting
from segdata.formats.xml import Node

_KEPT = ("source", "z_order")
"""Attributes of a redrawn object's element that stay."""


def corrected(correction: Correction, findings: Findings) -> Sample:
    """The sample with an element of every object; CVAT has no crowds, and of flags only `occluded`."""
    after, instances = correction.after, correction.after.instances
    residue = dict(after.extra.get("cvat", {}))
    count_unsaid(correction, findings, kept={"occluded"})
    if "file" not in residue:
        findings.drop(ORPHANS, after.key, int(correction.has_other_objects))
    extra = list(instances.extra)
    place = correcting.next_place(correction, "cvat", [position for position, _ in residue.get("children", ())])
    for index in correction.changed.nonzero()[0].tolist():
        kept = correction.residue("cvat", index).get("parts", ())
        if correction.redrawn[index] or not kept:
            parts, place = _drawn(correction, index, kept, place, findings)
        else:
            parts = [[position, Node.of(item)] for position, item in kept]
        occluded = {"occluded": str(int(instances.occluded[index]))}
        was_occluded = correction.rows[index] >= 0 and correction.before.instances.occluded[correction.rows[index]]
        if bool(instances.occluded[index]) != bool(was_occluded):
            parts = [[at, replace(node, attributes={**node.attributes, **occluded})] for at, node in parts]
        extra[index] = {**extra[index], "cvat": {"parts": [[at, node.as_list()] for at, node in parts]}}
    return with_residue(correction, "cvat", residue, instances, extra)


def _drawn(
    correction: Correction, index: int, kept: Any, place: int, findings: Findings
) -> tuple[list[list[Any]], int]:
    """The elements of a new or redrawn object, and the next free place."""
    alone = correcting.adapted_alone(adapt, correction, index, findings)
    first = Node.of(kept[0][1]) if kept else None
    at = kept[0][0] if kept else place
    old: Mapping[str, str] = {} if first is None else first.attributes
    stays = {name: old[name] for name in _KEPT if name in old}
    content = "" if first is None or not first.children else list(first.children)
    parts = []
    for _, item in alone.instances.extra[0]["cvat"]["parts"]:
        node = Node.of(item)
        attributes = {name: value for name, value in {**node.attributes, **stays}.items() if name != "label"}
        parts.append([at, Node(node.tag, content, attributes)])
    return parts, place + (not kept)
