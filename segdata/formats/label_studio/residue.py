"""What the pack keeps of Label Studio's tasks for the way back, and what of it other formats drop.

Images keep their task and the results without area; objects keep their region.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Kept
from segdata.formats.label_studio import documents
from segdata.formats.label_studio.regions import kind_of


def object_fields(extra: Mapping[str, Any]) -> dict[str, Any]:
    """What annotators noted of an object's region, where not empty."""
    region = extra.get("label-studio", {}).get("region", {})
    return {"meta": region["meta"]} if region.get("meta") else {}


def count_dropped(sample: Sample, findings: Findings, kept: Kept) -> None:
    """Count results without area, further annotations and predictions, fields of images, further labels, ellipses."""
    residue = sample.extra.get("label-studio")
    if residue is None:
        return
    for _, result in residue.get("results", ()):
        kind = result.get("type") if isinstance(result, dict) else None
        findings.drop(f"results without area: {kind}", sample.key, int(kind != "labels"))
    task, chosen = residue["task"], residue.get("chosen", ("", 0))
    for name in ("annotations", "predictions"):
        for position, item in enumerate(task.get(name) or ()):
            kind = "cancelled annotations" if item.get("was_cancelled") else f"further {name} of an image"
            findings.drop(kind, sample.key, int([name, position] != list(chosen)))
    findings.drop("drafts of annotations", sample.key, len(task.get("drafts") or ()))
    image = documents.image_field(task)
    for name, value in task["data"].items():
        findings.drop(f"image field {name!r}", sample.key, int(name != image and bool(value)))
    for extra in sample.instances.extra:
        region = extra.get("label-studio", {}).get("region")
        if region is None:
            continue
        findings.drop("ellipses: masks here", sample.key, int(kind_of(region) == "ellipse"))
        findings.drop(
            "further labels of a region", sample.key, max(len(region["value"].get(region["type"], ())) - 1, 0)
        )
        for name in object_fields(extra):
            findings.drop(f"object field {name!r}", sample.key, int(name not in kept.object_fields))
