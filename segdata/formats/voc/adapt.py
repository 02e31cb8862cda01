"""Samples of other formats → PASCAL VOC: XML boxes, class and object masks, lists, `labelmap.txt`.

Category 0 is the background. Class masks come from the label map where there is one, else from the objects; object
number k belongs to the k-th object; overlapping objects are painted crowds first, then large to small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.findings import Findings
from segdata.core.masks import Masks
from segdata.core.sample import Instances, Sample
from segdata.formats.adapting import (
    count_category_fields,
    count_columns,
    count_documents,
    count_fields,
    count_overlaps,
    count_unmapped,
    distinct_keys,
    image_file,
    layered,
    remark_split,
    split_names,
)
from segdata.formats.contract import Header, Kept, Plan
from segdata.formats.voc import target
from segdata.formats.voc.masks import VOID
from segdata.formats.voc.objects import OBJECT
from segdata.formats.voc.residue import IMAGE_TAGS, OBJECT_TAGS
from segdata.formats.voc.target import MOST

_FLAGS = ("difficult", "truncated", "occluded")

_KEPT = Kept("voc", object_fields=("pose", "attributes"))

_KEPT_COLUMNS = {
    "difficult flags",
    "truncated flags",
    "occluded flags",
    "boxes as annotated",
    "objects without mask",
}


def plan(source: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """VOC's 21 categories where they include all of the source's, else the source's after a background."""
    labels, table = target.label_space(source.labels)
    count_category_fields(source.labels, labels, table, findings)
    count_documents(source, "voc", findings)
    new_keys = distinct_keys(keys, findings, flat=True)
    is_voc = any(document.get("format") == "voc" for document in source.documents)
    new_split = {name: name for name in source.splits} if is_voc else split_names(source.splits)
    splits = {}
    documents: list[dict[str, Any]] = [{"format": "voc", "file": "labelmap.txt", "text": target.labelmap(labels)}]
    for name, members in source.splits.items():
        splits[new_split[name]] = list(members)
        lines = [new_keys[index] for index in members]
        remark_split(name, new_split[name], findings)
        if "/" in new_split[name]:
            documents.append(_text(f"ImageSets/{new_split[name]}.txt", lines))
            continue
        documents.append({**_text(f"ImageSets/Segmentation/{new_split[name]}.txt", lines), "only_masked": True})
        if f"Main/{name}" not in source.splits:
            documents.append(_text(f"ImageSets/Main/{new_split[name]}.txt", lines))
    return Plan(source.labels, Header(labels, splits, documents), new_keys, table)


def _text(file: str, lines: Sequence[str]) -> dict[str, Any]:
    return {"format": "voc", "file": file, "text": "".join(f"{line}\n" for line in lines)}


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample with objects numbered from 1, the object mask, and the class mask."""
    key = plan.keys[index]
    count_unmapped(plan, sample, findings)
    count_fields(sample, findings, _KEPT)
    count_columns(sample, findings, kept=_KEPT_COLUMNS)
    is_nowhere = np.isnan(sample.instances.bbox[:, 0]) & (sample.instances.masks.areas == 0)
    findings.drop("objects with neither box nor pixels", sample.key, int(is_nowhere.sum()))
    instances = sample.instances.take(~is_nowhere) if is_nowhere.any() else sample.instances
    instances = _with_attributes(sample, instances, findings)
    count = len(instances)
    findings.drop(f"masks of objects after the first {MOST}", sample.key, int(instances.has_mask[MOST:].sum()))
    masks = instances.masks if count <= MOST else instances.masks[:MOST]
    numbers, visible = layered(masks, instances.iscrowd[:MOST])
    count_overlaps(sample, masks, visible, findings, gone="masks of objects")
    category = plan.table[instances.category]
    adapted = replace(
        instances,
        category=category,
        has_mask=np.append(visible > 0, np.zeros(max(count - MOST, 0), bool)),
        id=np.arange(1, count + 1),
        bbox=_boxes(sample, instances, findings),
        extra=[_extra(instances, number) for number in range(count)],
    )
    semantic = None
    if sample.semantic is not None:
        semantic = plan.relabelled(sample.semantic)
        _count_contradictions(sample, masks, category, numbers, semantic, findings)
        numbers[(numbers == 0) & (semantic == plan.void)] = VOID
    elif sample.has_instances and (instances.has_mask[:MOST].any() or (not count and "voc" not in sample.extra)):
        semantic = masks.semantic(category[:MOST], background=0, iscrowd=instances.iscrowd[:MOST])
    return Sample(
        key,
        sample.height,
        sample.width,
        file=image_file("JPEGImages", key, ".jpg", sample, findings),
        encoded=lambda: sample.encoded,
        instances=adapted if sample.has_instances else None,
        semantic=semantic,
        extra={
            "voc": {
                **_xml(sample.extra.get("voc", {}), IMAGE_TAGS),
                "object": sample.has_instances and semantic is not None,
                "object_numbers": numbers,
            }
        },
    )


def _with_attributes(sample: Sample, instances: Instances, findings: Findings) -> Instances:
    """Attributes difficult, truncated, occluded and pose as columns; objects with other attributes are counted."""
    if not any("attributes" in fields for fields in instances.extra):
        return instances
    flags = {name: getattr(instances, name).copy() for name in _FLAGS}
    extra = [dict(fields) for fields in instances.extra]
    dropped = 0
    for index, fields in enumerate(extra):
        attributes = fields.pop("attributes", {})
        others = attributes if isinstance(attributes, dict) else {"": attributes}
        for name in _FLAGS:
            if isinstance(others.get(name), bool):
                flags[name][index] |= others[name]
        if isinstance(others.get("pose"), str):
            fields.setdefault("pose", others["pose"])
        held = {name for name, value in others.items() if name in _FLAGS and isinstance(value, bool)}
        held |= {"pose"} if fields.get("pose") == others.get("pose") else set()
        dropped += bool(others.keys() - held)
    findings.drop("object field 'attributes'", sample.key, dropped)
    return replace(instances, **flags, extra=extra)


def _extra(instances: Instances, index: int) -> dict[str, Any]:
    """An object's pose and the rest of its XML, with an `<occluded>` for occluded objects."""
    source = instances.extra[index]
    residue = _xml(source.get("voc", {}), OBJECT_TAGS)
    children = residue.get("children", OBJECT)
    if instances.occluded[index] and "occluded" not in children:
        residue["children"] = [*children, "occluded"]
    return {**({"voc": residue} if residue else {}), **({"pose": source["pose"]} if "pose" in source else {})}


def _xml(residue: Mapping[str, Any], tags: Sequence[str]) -> dict[str, Any]:
    """The XML residue without the content of these tags, which is written anew where they stand."""
    others = {name: residue[name] for name in ("attributes", "before", "after", "xml") if name in residue}
    if "children" not in residue:
        return others
    children: list[Any] = []
    for item in residue["children"]:
        item = item[0] if not isinstance(item, str) and item[0] in tags else item
        if not isinstance(item, str) or item == "object" or item not in children:
            children.append(item)
    return {**others, "children": children}


def _boxes(sample: Sample, instances: Instances, findings: Findings) -> npt.NDArray[np.float64]:
    """Annotated boxes, else those of the masks; at least a pixel wide and high, as inclusive corners are."""
    corners = instances.masks.boxes
    from_masks = np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), axis=1)
    boxes = np.where(np.isnan(instances.bbox), from_masks, instances.bbox)
    begin, extent = boxes[:, :2], boxes[:, 2:]
    is_thin = extent < 1
    findings.drop("boxes thinner than a pixel: one pixel here", sample.key, int(is_thin.any(1).sum()))
    begin = np.where(is_thin, np.clip(begin, 0, (sample.width - 1, sample.height - 1)), begin)
    extent = np.where(is_thin, 1, extent)
    first, last = begin + 1, begin + extent
    is_rounded = ((first - 1 != begin) | (last - first + 1 != extent)).any(1)
    findings.drop("boxes rounded in their last digits", sample.key, int(is_rounded.sum()))
    return np.concatenate((begin, extent), axis=1)


def _count_contradictions(
    sample: Sample,
    masks: Masks,
    category: npt.NDArray[np.int64],
    numbers: npt.NDArray[Any],
    semantic: npt.NDArray[Any],
    findings: Findings,
) -> None:
    """Count objects that the class mask gives mostly to another class: readers match them to objects of that class."""
    dropped = 0
    for index, (x, y, width, height) in enumerate(masks.boxes_xywh.tolist()):
        frame = (slice(y, y + height), slice(x, x + width))
        under = np.bincount(semantic[frame][numbers[frame] == index + 1], minlength=VOID + 1)
        under[0] = under[VOID] = 0
        dropped += bool(under.any() and under.argmax() != category[index])
    findings.drop("objects whose pixels the label map gives to another category", sample.key, dropped)
