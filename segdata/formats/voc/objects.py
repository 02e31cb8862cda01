"""PASCAL VOC's `<object>` nodes ↔ columns of instances, and which mask belongs to which object."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace, is_background
from segdata.core.masks import Masks
from segdata.core.polygons import MAX_BOUNDARY, Polygons, boundary_length
from segdata.core.sample import Instances
from segdata.errors import InvalidAnnotation, SegdataError, number_of
from segdata.formats.contract import Entry, Source
from segdata.formats.voc.masks import VOID
from segdata.formats.xml import Node, Tree

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

OBJECT = ["name", "pose", "truncated", "difficult", "bndbox"]
"""Children of an `<object>` in the order of VOC 2007, where nothing else is known."""


def instances_of(
    tree: Tree | None,
    entry: Entry,
    source: Source,
    findings: Findings,
    *,
    size: tuple[int, int],
    semantic: npt.NDArray[Any] | None,
    numbers: npt.NDArray[Any] | None,
) -> Instances:
    """The XML's objects in order, each with its mask, then masks without object.

    Args:
        size: (height, width) of the image.
        semantic, numbers: (H, W) the class mask and the object mask, where there are any.
    """
    labels = source.labels
    objects: list[tuple[Node, int, list[float]]] = []
    for node in tree.root.children if tree is not None else []:
        if node.tag != "object":
            continue
        try:
            category, box = _object(node, labels, size, entry.key, findings)
        except SegdataError as error:
            findings.skip(error.located(file=source.root / entry.data.xml, key=entry.key))
            continue
        objects.append((node, category, box))
    ids = [] if numbers is None else [int(v) for v in np.unique(numbers) if v not in (0, VOID)]
    masks = Masks.from_id_map(numbers, ids) if numbers is not None else Masks.empty(*size)
    claimed, loose = _match(ids, masks, objects, semantic, labels=labels, key=entry.key, findings=findings)
    order = [claimed.get(index, -1) for index in range(len(objects))] + [mask for mask, _ in loose]
    nodes = [node for node, _, _ in objects]
    polygons, outlined = _outlines(nodes, order, size)
    for node, item in zip(nodes, polygons, strict=False):
        if not item and _outline(node) is not None and numbers is None:
            findings.remark("<polygon> that cannot be read as a ring: no mask", f"{entry.key}: line {node.line}")
    if drawn := np.flatnonzero(np.diff(polygons.pointer)).tolist():
        findings.remark("mask drawn from <polygon>", entry.key, len(drawn))
    for index in drawn:
        order[index] = len(ids) + 1 + index
    with_blank = Masks.concatenate([masks, Masks.empty(*size, 1), outlined], *size)
    instances = Instances.build(
        [category for _, category, _ in objects] + [category for _, category in loose],
        with_blank[np.array([len(ids) if mask < 0 else mask for mask in order], np.int64)],
        has_mask=[mask >= 0 for mask in order],
        difficult=[_flag(node, "difficult") for node in nodes] + [False] * len(loose),
        truncated=[_flag(node, "truncated") for node in nodes] + [False] * len(loose),
        occluded=[_flag(node, "occluded") for node in nodes] + [False] * len(loose),
        id=[ids[mask] if 0 <= mask < len(ids) else index + 1 for index, mask in enumerate(order)],
        bbox=[box for _, _, box in objects] + [[np.nan] * 4] * len(loose),
        polygons=polygons,
    )
    extras: list[dict[str, Any]] = []
    for index in range(len(objects)):
        pose = nodes[index].text_of("pose")
        extra: dict[str, Any] = {} if pose in (None, "Unspecified") else {"pose": pose}
        known = object_nodes(instances, index, labels, extra)
        template = template_of(nodes[index].children, known, None)
        residue: dict[str, Any] = {} if template == OBJECT else {"children": template}
        if nodes[index].attributes:
            residue["attributes"] = nodes[index].attributes
        if residue:
            extra["voc"] = residue
        extras.append(extra)
    extras += [{"voc": {"xml": False}} for _ in loose]
    return Instances(**{**vars(instances), "extra": extras})


def _outlines(nodes: Sequence[Node], order: Sequence[int], size: tuple[int, int]) -> tuple[Polygons, Masks]:
    """The outlines of the objects that have no mask (`order` below 0), one for each object, and their masks.

    Masks without object, which follow in `order`, have no outline.
    """
    is_open = [mask < 0 for mask in order]
    rings = [
        [ring] if need and (ring := ring_of(node)) and boundary_length(ring, *size) <= MAX_BOUNDARY else []
        for node, need in zip(nodes, is_open, strict=False)
    ]
    polygons = Polygons.of([*rings, *([[]] * (len(order) - len(nodes)))])
    return polygons, Masks.from_polygons(polygons, *size) if any(rings) else Masks.empty(*size)


def _object(
    node: Node,
    labels: LabelSpace,
    size: tuple[int, int],
    key: str,
    findings: Findings,
) -> tuple[int, list[float]]:
    """Category index and box (x y width height, 0-based) of an `<object>`."""
    names = [child for child in node.children if child.tag == "name"]
    if len(names) != 1:
        raise InvalidAnnotation(
            f"an object has {len(names)} names", place=f"line {node.line}", why="expected exactly one <name>"
        )
    name = names[0].text or ""
    category = labels.index_of_name.get(name)
    if category is None:
        raise InvalidAnnotation(
            "object of a class that is not in the label space",
            place=f"line {names[0].line}",
            why=f"{name!r}; {labels.name!r} has {', '.join(item.name for item in labels.categories[:6])} …",
            fix="take the classes that the files name with --classes from-data, or declare them with --classes FILE|NAMES "
            "(or a labelmap.txt with lines NAME:R,G,B:: beside Annotations/)",
        )
    box = node.child("bndbox")
    if box is None and (ring := ring_of(node)):
        findings.remark("object without box: taken from its <polygon>", key)
        x, y = ring[0::2], ring[1::2]
        return category, [min(x), min(y), max(x) - min(x), max(y) - min(y)]
    if box is None:
        raise InvalidAnnotation(
            "an object has no box",
            place=f"line {node.line}",
            why="expected <bndbox>",
            fix="write its <bndbox> (xmin, ymin, xmax, ymax), or remove the <object>",
        )
    x0, y0, x1, y1 = corners = _corners(box)
    height, width = size
    if x1 < x0 or y1 < y0:
        raise InvalidAnnotation(
            "a box ends before it begins",
            place=f"line {box.line}",
            why=f"xmin ymin xmax ymax = {corners}",
            fix="swap the corners",
        )
    if x0 < 0 or y0 < 0 or x1 > width + 1 or y1 > height + 1:
        raise InvalidAnnotation(
            "a box reaches more than one pixel past the image",
            place=f"line {box.line}",
            why=f"xmin ymin xmax ymax = {corners}, 1-based, in an image of {width} × {height}",
            fix="correct the box",
        )
    if x0 < 1 or y0 < 1:
        findings.remark("box begins at 0: the file may count from 0, VOC counts from 1", key)
    if x1 > width or y1 > height:
        findings.remark("box reaches up to one pixel past the image", key)
    if any(value != int(value) for value in corners):
        findings.remark("box corner is not a whole number", key)
    return category, [x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1]


def _corners(box: Node) -> list[float]:
    """xmin, ymin, xmax, ymax of a `<bndbox>`, as written."""
    corners = []
    for tag in ("xmin", "ymin", "xmax", "ymax"):
        leaf = box.child(tag)
        text = box.text_of(tag)
        value = _number(text)
        if value is None:
            raise InvalidAnnotation(
                f"a box has no valid {tag}", place=f"line {(leaf or box).line}", why=f"found {text!r}"
            )
        corners.append(value)
    return corners


def _outline(node: Node) -> Node | None:
    outline = node.child("polygon") or node.child("points")
    inner = None if outline is None else outline.child("points")
    return inner or outline


def ring_of(node: Node) -> list[float]:
    """x0 y0 x1 y1 … of an object's `<polygon>`, in pixels as written; nothing where it has none that is a polygon.

    Tools write `<x1>`, `<y1>`, `<x2>` …, `<pt><x/><y/></pt>` for each point, or all numbers as the text of `<points>`.
    """
    outline = _outline(node)
    if outline is None:
        return []
    points = [child for child in outline.children if child.tag in ("pt", "point")]
    if outline.text and outline.text.strip():
        texts: list[str | None] = [*re.split(r"[\s,;]+", outline.text.strip())]
    elif points:
        texts = [point.text_of(tag) for point in points for tag in ("x", "y")]
    else:
        count = sum(child.tag.startswith("x") for child in outline.children)
        texts = [outline.text_of(f"{axis}{number}") for number in range(1, count + 1) for axis in "xy"]
    values = [_number(text) for text in texts]
    return (
        [value for value in values if value is not None]
        if len(values) >= 6 and len(values) % 2 == 0 and None not in values
        else []
    )


def _number(value: str | None) -> float | None:
    number = float(value) if value and _NUMBER.fullmatch(value) else float("inf")
    return number if abs(number) < 1e9 else None


def _flag(node: Node, tag: str) -> bool:
    return (node.text_of(tag) or "0").strip() not in ("", "0")


def _match(
    ids: Sequence[int],
    masks: Masks,
    objects: Sequence[tuple[Node, int, list[float]]],
    semantic: npt.NDArray[Any] | None,
    *,
    labels: LabelSpace,
    key: str,
    findings: Findings,
) -> tuple[dict[int, int], list[tuple[int, int]]]:
    """Match masks to objects: object → mask, and the remaining masks with their category.

    Number k belongs to the k-th object when the classes agree; else to the object of its class with the best box.
    """
    claimed: dict[int, int] = {}
    open_masks: list[tuple[int, int | None]] = []
    crops = masks.crops()
    for mask, number in enumerate(ids):
        category = None if semantic is None else _majority(semantic, masks, crops, mask, labels)
        index = number - 1
        if index < len(objects) and category in (None, objects[index][1]):
            claimed[index] = mask
            if semantic is not None and category is None:
                findings.remark("object without class in the class mask", f"{key}: object {number}")
        else:
            open_masks.append((mask, category))
    loose: list[tuple[int, int]] = []
    for mask, category in open_masks:
        free = [index for index in range(len(objects)) if index not in claimed and objects[index][1] == category]
        best = max(free, key=lambda index: _iou(masks.boxes[mask], objects[index][2]), default=None)
        if best is not None and _iou(masks.boxes[mask], objects[best][2]) > 0:
            claimed[best] = mask
            findings.remark(
                "object number does not fit its place: matched by class and box", f"{key}: object {ids[mask]}"
            )
        elif category is None:
            raise InvalidAnnotation(
                "object mask holds a number without object and without class",
                key=key,
                place=f"object {ids[mask]}",
                why=f"the annotation has {number_of(len(objects), 'object')}",
            )
        else:
            loose.append((mask, category))
            findings.remark("mask of an object that the annotation does not list: kept", f"{key}: object {ids[mask]}")
    return claimed, loose


def _majority(
    semantic: npt.NDArray[Any],
    masks: Masks,
    crops: Sequence[npt.NDArray[np.uint8]],
    mask: int,
    labels: LabelSpace,
) -> int | None:
    """The category under most of a mask's pixels; None where there is only background and void."""
    x, y, width, height = masks.boxes_xywh[mask].tolist()
    under = semantic[y : y + height, x : x + width][crops[mask] != 0]
    counts = np.bincount(under, minlength=labels.void + 1)
    counts[labels.void] = 0
    counts[[index for index, category in enumerate(labels.categories) if is_background(category.name)]] = 0
    return int(counts.argmax()) if counts.any() else None


def _iou(corners: npt.NDArray[Any], box: Sequence[float]) -> float:
    """IoU of a box given by its corners and a box (x, y, width, height)."""
    x0, y0, x1, y1 = corners.tolist()
    x, y, width, height = box
    across = min(x1, x + width) - max(x0, x)
    down = min(y1, y + height) - max(y0, y)
    if across <= 0 or down <= 0:
        return 0.0
    return float(across * down / ((x1 - x0) * (y1 - y0) + width * height - across * down))


def object_nodes(instances: Instances, index: int, labels: LabelSpace, extra: Mapping[str, Any]) -> dict[str, Node]:
    """The XML `object` of an instance, as the children of its node."""
    x, y, width, height = instances.bbox[index].tolist()
    corners = (("xmin", x + 1), ("ymin", y + 1), ("xmax", x + width), ("ymax", y + height))
    return {
        "name": Node("name", labels[int(instances.category[index])].name),
        "pose": Node("pose", extra.get("pose", "Unspecified")),
        "truncated": Node("truncated", str(int(instances.truncated[index]))),
        "difficult": Node("difficult", str(int(instances.difficult[index]))),
        "occluded": Node("occluded", str(int(instances.occluded[index]))),
        "bndbox": Node(
            "bndbox",
            [Node(tag, str(int(value)) if value == int(value) else repr(value)) for tag, value in corners],
        ),
    }


def template_of(nodes: Sequence[Node], known: Mapping[str, Node], repeated: str | None) -> list[Any]:
    """Children in order, as JSON: a tag where `known` gives the same node, the node itself otherwise.

    `repeated` is a tag that stands once for all its nodes where these follow each other, else once for each.
    """
    template: list[Any] = []
    used: set[str] = set()
    positions = [position for position, node in enumerate(nodes) if node.tag == repeated]
    is_one_run = not positions or positions[-1] - positions[0] + 1 == len(positions)
    for node in nodes:
        tag = node.tag
        if tag == repeated:
            if not (is_one_run and tag in used):
                template.append(tag)
        elif tag not in used and known.get(tag) == node:
            template.append(tag)
        else:
            template.append(node.as_list())
        used.add(tag)
    return template


def fill(template: Sequence[Any], known: Mapping[str, Node], repeated: str, nodes: Sequence[Node]) -> list[Node]:
    """The inverse of `template_of`; the last `repeated` takes all remaining `nodes`."""
    filled: list[Node] = []
    left = list(nodes)
    times = template.count(repeated)
    for item in template:
        if item == repeated:
            times -= 1
            taken = len(left) if times == 0 else min(1, len(left))
            filled += left[:taken]
            del left[:taken]
        elif isinstance(item, str):
            filled.append(known[item])
        else:
            filled.append(Node.of(item))
    return filled
