"""A sample of VOC that a person corrected, as VOC's writer takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.adapting import count_hidden, count_other_classes
from segdata.formats.contract import Correction
from segdata.formats.voc.masks import VOID
from segdata.formats.voc.objects import OBJECT
from segdata.formats.voc.target import MOST


def corrected(correction: Correction, findings: Findings) -> Sample:
    """The sample, its mask files written anew where their pixels changed.

    VOC cannot say crowds, flags of objects that the XML does not list, pixels that several objects have, and objects that
    the class mask gives to another class.
    """
    after = correction.after
    instances = after.instances
    is_unlisted = np.isnan(instances.bbox[:, 0])
    findings.drop("crowd flags", after.key, int(instances.iscrowd.sum()))
    for name in ("difficult", "truncated", "occluded"):
        findings.drop(f"{name} flags", after.key, int((is_unlisted & getattr(instances, name)).sum()))
    numbers, has_mask = instances.id, instances.has_mask
    is_numbered = has_mask & (numbers >= 1) & (numbers <= MOST)
    findings.drop(f"masks of objects after the first {MOST}", after.key, int((has_mask & ~is_numbered).sum()))
    count_hidden(after, findings, gone="masks of objects")
    if after.semantic is not None:
        count_other_classes(after, {0, VOID}, findings)
    extra = []
    for row, fields in enumerate(instances.extra):
        residue = fields.get("voc", {})
        if is_unlisted[row]:
            residue = {**residue, "xml": False}
        elif instances.occluded[row] and "children" not in residue:
            residue = {**residue, "children": [*OBJECT, "occluded"]}
        others = {name: value for name, value in fields.items() if name != "voc"}
        extra.append({**others, **({"voc": residue} if residue else {})})
    residue = dict(after.extra.get("voc", {}))
    if correction.redrawn.any() or len(correction.rows) != len(correction.before.instances):
        residue = _without(residue, "object")
    if correction.has_other_map:
        residue = _without(residue, "class")
    return after.with_annotations(
        instances=replace(instances, extra=extra) if after.has_instances else None,
        semantic=after.semantic,
        extra={**after.extra, "voc": residue},
    )


def _without(residue: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The residue without what is kept of a mask file."""
    return {what: value for what, value in residue.items() if what != name and not what.startswith(f"{name}_")}
