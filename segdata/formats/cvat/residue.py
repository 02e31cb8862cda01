"""What the pack keeps of CVAT's documents for the way back, and what of it other formats drop.

Images keep the attributes of their element, and the children that are no objects; objects keep the elements of their
shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Kept
from segdata.formats.cvat.shapes import WITH_AREA, WITHOUT_AREA, group_of
from segdata.formats.xml import COMMENT, Node

_SAID = ("z_order", "source", "track_id")
"""Attributes of shapes beside label, place, group and the column `occluded`."""


def object_fields(extra: Mapping[str, Any]) -> dict[str, Any]:
    """What the first shape of an object says beside label and place: its attributes, z_order where not 0, and source."""
    parts = extra.get("cvat", {}).get("parts", ())
    return _said(Node.of(parts[0][1])) if parts else {}


def _said(node: Node) -> dict[str, Any]:
    fields: dict[str, Any] = {
        child.attributes.get("name", ""): child.text or "" for child in node.children if child.tag == "attribute"
    }
    return fields | {name: node.attributes[name] for name in _SAID if node.attributes.get(name, "0") != "0"}


def count_dropped(sample: Sample, findings: Findings, kept: Kept) -> None:
    """Count shapes without area, attributes of images and shapes, numbers of groups, and ellipses."""
    residue = sample.extra.get("cvat", {})
    for _, item in residue.get("children", ()):
        tag = item[0]
        findings.drop(f"shapes without area: {tag}", sample.key, int(tag in WITHOUT_AREA))
        findings.drop("shapes without label", sample.key, int(tag in WITH_AREA))
        findings.drop("XML comments", sample.key, int(tag == COMMENT))
    for name in residue.get("attributes", {}):
        if name not in ("id", "name", "width", "height", "subset"):
            findings.drop(f"image field {name!r}", sample.key)
    for extra in sample.instances.extra:
        nodes = [Node.of(item) for _, item in extra.get("cvat", {}).get("parts", ())]
        for number, node in enumerate(nodes):
            findings.drop("ellipses: masks here", sample.key, int(node.tag == "ellipse"))
            for name in _said(node):
                if number or name not in kept.object_fields:
                    findings.drop(f"object field {name!r}", sample.key)
        findings.drop("numbers of groups", sample.key, int(bool(nodes) and bool(group_of(nodes[0].attributes))))


def count_dropped_document(document: Mapping[str, Any], findings: Findings) -> None:
    """Count what a document says of its task and its labels beyond names and colours."""
    if document.get("format") != "cvat":
        return
    for _, item in document["nodes"]:
        findings.drop("tracks of a video", document["file"], int(item[0] == "track"))
        for node in Node.of(item).walk():
            if node.tag in ("task", "project", "job"):
                for child in node.children:
                    findings.drop(
                        f"document field {child.tag!r}", document["file"], int(child.tag not in ("labels", "size"))
                    )
            if node.tag == "label":
                has_more = any(child.tag not in ("name", "color", "type") and child.content for child in node.children)
                findings.drop("document field 'label'", document["file"], int(has_more))
