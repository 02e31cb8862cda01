"""What the pack keeps of Labelme's documents for the way back, and what of it other formats drop.

Images keep their document's fields, and the shapes that are no objects; objects keep the fields of their shapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Kept
from segdata.formats.labelme.shapes import WITHOUT_AREA, kind_of

_FOLLOW = ("label", "points", "shape_type", "mask", "group_id")
"""Fields of a shape that say what and where it is."""

_OF_THE_FILE = ("version", "imagePath", "imageHeight", "imageWidth")


def object_fields(extra: Mapping[str, Any]) -> dict[str, Any]:
    """What the first shape of an object says beside label and place: flags, description and other fields, where not empty."""
    parts = extra.get("labelme", {}).get("parts", ())
    return dict(_said(parts[0][1])) if parts else {}


def _said(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if name not in _FOLLOW and value not in (None, "", {}, []):
            yield name, value


def count_dropped(sample: Sample, findings: Findings, kept: Kept) -> None:
    """Count lines and points, fields of images and shapes, numbers of groups, and outlines that are no polygons."""
    residue = sample.extra.get("labelme", {})
    for _, record in residue.get("shapes", ()):
        kind = kind_of(record)
        findings.drop(f"shapes without area: {kind}", sample.key, int(kind in WITHOUT_AREA))
    for name, value in residue.get("fields", {}).items():
        findings.drop(f"image field {name!r}", sample.key, int(name not in _OF_THE_FILE and bool(value)))
    for extra in sample.instances.extra:
        parts = [fields for _, fields in extra.get("labelme", {}).get("parts", ())]
        for number, fields in enumerate(parts):
            findings.drop("circles: masks here", sample.key, int(kind_of(fields) == "circle"))
            for name, _ in _said(fields):
                if number or name not in kept.object_fields:
                    findings.drop(f"object field {name!r}", sample.key)
        if parts and parts[0].get("group_id") is not None:
            findings.drop("numbers of groups", sample.key)
