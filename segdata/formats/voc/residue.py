"""What VOC keeps in `extra` so that files are written back exactly, counted when another format drops it.

Samples and objects keep their XML nodes under `extra["voc"]`: `children` in the order of the file (a tag alone stands
for a node that follows from the columns), `attributes`, and what stands `before` and `after` the root.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Kept
from segdata.formats.voc import image_sets
from segdata.formats.xml import COMMENT, INSTRUCTION, TEXT, Node

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
    """An object's XML elements without a column (parts, actions): tag → content, a list where there are several."""
    return {tag: contents[0] if len(contents) == 1 else contents for tag, contents in _further_nodes(extra).items()}


def _further_nodes(extra: Mapping[str, Any]) -> dict[str, list[Any]]:
    contents: dict[str, list[Any]] = {}
    for item in extra.get("voc", {}).get("children", ()):
        if not isinstance(item, str) and item[0] not in (*OBJECT_TAGS, *_NO_ELEMENTS):
            tag, *content = item
            contents.setdefault(tag, []).append(content[0] if len(content) == 1 else content)
    return contents


def nodes_of(items: Iterable[Any]) -> list[Node]:
    """The nodes that are stored whole, without those that stand by their tag alone."""
    return [Node.of(item) for item in items if not isinstance(item, str)]


def count_dropped(sample: Sample, findings: Findings, kept: Kept) -> None:
    """Count object masks that cannot be painted again, and XML beyond the columns (which VOC as target keeps)."""
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
    """Count XML elements, attributes, comments, instructions and text without a column, but for `kept` tags."""
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
    """Count lists by class (`Main/dog_train.txt`), which give each image a mark."""
    if image_sets.is_by_class(document):
        findings.drop("lists by class", document["file"])
