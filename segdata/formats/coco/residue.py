"""What the pack keeps of COCO's documents for the way back, and what of it other formats drop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import RESIDUES, Correction, Kept


def count_dropped(sample: Sample, findings: Findings, kept: Kept) -> None:
    """Count fields of the names that segdata gives a meaning of its own, and what further documents say of the image."""
    residue = sample.extra.get("coco", {})
    for name in residue.get("fields", {}):
        findings.drop(f"image field {name!r}", sample.key)
    for document in residue.get("documents", {}).values():
        if not document.get("same"):
            kind = "records of further documents (keypoints, captions)"
            findings.drop(kind, sample.key, len(document["annotations"]))
    for extra in sample.instances.extra:
        for name in extra.get("coco", {}).get("verbatim", {}).keys() & RESIDUES.keys():
            findings.drop(f"object field {name!r}", sample.key)


def corrected(correction: Correction, findings: Findings) -> Sample:
    """A corrected sample: flags that a record has no key for become attributes, as those of other formats do.

    Label maps, and objects of an image that no document of objects lists, are dropped.
    """
    before, after = correction.before, correction.after
    instances = after.instances
    findings.drop("label maps", after.key, int(after.semantic is not None))
    if not before.has_instances:
        findings.drop("objects of images that no document of objects lists", after.key, len(instances))
    extra = [dict(fields) for fields in instances.extra]
    for name in ("difficult", "truncated", "occluded"):
        for row in getattr(instances, name).nonzero()[0].tolist():
            attributes = extra[row].get("attributes", {})
            if isinstance(attributes, dict):
                extra[row]["attributes"] = {**attributes, name: True}
            else:
                findings.drop(f"{name} flags", after.key)
    return after.with_annotations(
        instances=replace(instances, extra=extra) if after.has_instances else None,
        semantic=after.semantic,
        extra=after.extra,
    )


def text_id(residue: Mapping[str, Any]) -> str | None:
    """The image's id in its document, where that is a text."""
    number = residue.get("fields", {}).get("id")
    return number if isinstance(number, str) else None
