"""What the pack keeps of VIA's documents for the way back, and what of it other formats drop.

Images keep their record, and the regions that are no objects; objects keep their region.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Kept
from segdata.formats.via.regions import kind_of

_OF_THE_FILE = ("filename", "size", "fileref", "base64_img_data")


def object_fields(extra: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of an object's region beside its class, where not empty."""
    kept = extra.get("via", {})
    attributes = kept.get("region", {}).get("region_attributes", {})
    return {n: value for n, value in attributes.items() if n != kept["class"] and value not in (None, "", {}, [])}


def count_dropped(sample: Sample, findings: Findings, kept: Kept) -> None:
    """Count regions without area, attributes of images and regions, circles and ellipses."""
    residue = sample.extra.get("via", {})
    for _, region in residue.get("regions", ()):
        findings.drop(f"shapes without area: {kind_of(region)}", sample.key)
    for name, value in residue.get("record", {}).items():
        findings.drop(f"image field {name!r}", sample.key, int(name not in _OF_THE_FILE and bool(value)))
    for extra in sample.instances.extra:
        region = extra.get("via", {}).get("region")
        kind = kind_of(region) if region else ""
        findings.drop("circles: masks here", sample.key, int(kind == "circle"))
        findings.drop("ellipses: masks here", sample.key, int(kind == "ellipse"))
        for name in object_fields(extra):
            findings.drop(f"object field {name!r}", sample.key, int(name not in kept.object_fields))


def count_dropped_document(document: Mapping[str, Any], findings: Findings) -> None:
    """Count what a project says beyond its images."""
    if document.get("format") == "via":
        for name, value in document["fields"].items():
            findings.drop(f"document field {name!r}", document["file"], int(bool(value)))
