"""What the pack keeps of VOC's files for the way back, and what of it other formats drop.

Samples and objects keep their XML nodes under `extra["voc"]`: `children` in the order of the file (a tag alone stands for
a node that follows from the columns), `attributes`, and what stands `before` and `after` the root.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Kept
from segdata.formats.voc import image_sets
from segdata.formats.voc.xml import COMMENT, INSTRUCTION, TEXT, Node

IMAGE_TAGS = ("filename", "size", "segmented")
OBJECT_TAGS = ("name", "pose", "truncated", "difficult", "occluded", "bndbox")
"""XML nodes that follow from the columns of samples and instances."""

_NO_ELEMENTS = {
    TEXT: "XML text between elements",
    COMMENT: "XML comments",
    INSTRUCTION: "XML processing instructions",
}
"""What in XML is no element, and what it is called when it is dropped."""


def object_fields(extra: Mapping[str, Any]) -> dict[str, Any]:
    """An object's XML nodes that are no columns (parts, actions, points): tag → content, a list where there are several."""
    return {tag: contents[0] if len(contents) == 1 else contents for tag, contents in _further_nodes(extra).items()}


def _further_nodes(extra: Mapping[str, Any]) -> dict[str, list[Any]]:
    contents: dict[str, list[Any]] = {}
    for item in extra.get("voc", {}).get("children", ()):
        if not isinstance(item, str) and item[0] not in (*OBJECT_TAGS, *_NO_ELEMENTS):
            tag, *content = item
            contents.setdefault(tag, []).append(content[0] if len(content) == 1 else content)
    return contents


def nodes_of(items: Iterable[Any]) -> list[Node]:
    """The nodes that a residue holds whole; tags alone are left out."""
    return [Node.of(item) for item in items if not isinstance(item, str)]


def count_dropped(sample: Sample, findings: Findings, kept: Kept) -> None:
    """Count object masks that follow from nothing else, and, but for VOC itself, what the XML says beyond the columns."""
    if "object_map" in sample.extra.get("voc", {}):
        findings.drop("object masks that do not follow from objects and class masks", sample.key)
    if kept.format == "voc":
        return
    _count_xml(sample, findings, kept.object_fields)
    for extra in sample.instances.extra:
        for tag in _further_nodes(extra):
            if tag not in kept.object_fields:
                findings.drop(f"object field {tag!r}", sample.key)


def _count_xml(sample: Sample, findings: Findings, kept: Collection[str]) -> None:
    """Count what the XML holds beside the fields that every such file has, but for an object's nodes that are kept."""
    residue = sample.extra.get("voc", {})
    nodes = nodes_of(item for name in ("before", "children", "after") for item in residue.get(name, ()))
    attributes = len(residue.get("attributes", ()))
    for node in nodes:
        if node.is_element and node.tag not in IMAGE_TAGS:
            findings.drop(f"image field {node.tag!r}", sample.key)
    for extra in sample.instances.extra:
        residue = extra.get("voc", {})
        nodes += [node for node in nodes_of(residue.get("children", ())) if node.tag not in kept]
        attributes += len(residue.get("attributes", ()))
    below = [node for top in nodes for node in top.walk()]
    findings.drop("XML attributes", sample.key, attributes + sum(len(node.attributes) for node in below))
    for node in below:
        if not node.is_element:
            findings.drop(_NO_ELEMENTS[node.tag], sample.key)


def count_dropped_document(document: Mapping[str, Any], findings: Findings) -> None:
    """Count lists with a mark for each image, one of every class."""
    if image_sets.is_by_class(document):
        findings.drop("lists by class", document["file"])
