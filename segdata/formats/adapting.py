"""What the ways from one format into another share: names, layers of masks, and what is counted as lost."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.sample import Instances, Sample
from segdata.formats.contract import FORMATS, Header
from segdata.formats.shared.folder import stem
from segdata.formats.voc import image_sets as voc_lists
from segdata.formats.voc import xml as voc_xml

IMAGE_TAGS = ("filename", "size", "segmented")
OBJECT_TAGS = ("name", "pose", "truncated", "difficult", "occluded", "bndbox")
"""Nodes of VOC's XML that samples and instances have columns or places for."""

_BESIDE = {
    voc_xml.TEXT: "XML text between elements",
    voc_xml.COMMENT: "XML comments",
    voc_xml.INSTRUCTION: "XML processing instructions",
}
"""What in VOC's XML is no element, and what it is called when it is lost."""

_DATED = re.compile(r"(train|val|test|trainval|minival)20\d\d")


@dataclass(frozen=True)
class Plan:
    """How a dataset is put into another format: everything that is decided before the first sample.

    Attributes:
        source: the label space that samples come with.
        header: the target's label space, splits and documents.
        keys: every sample's key in the target.
        table: (K + 1,) int64, source category → target category, −1 where there is none; the last entry is void's.
    """

    source: LabelSpace
    header: Header
    keys: Sequence[str]
    table: npt.NDArray[np.int64]

    @cached_property
    def places(self) -> Mapping[str, Mapping[int, int]]:
        """Split → sample → its place in the split."""
        return {
            name: {int(index): place for place, index in enumerate(members)}
            for name, members in self.header.splits.items()
        }

    @property
    def void(self) -> int:
        """The value of unlabelled pixels in the target's maps."""
        return self.header.labels.void

    def relabelled(self, semantic: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A semantic map in the target's categories; categories without counterpart become void."""
        lookup = np.full(self.source.void + 1, self.void, self.header.labels.dtype)
        to = self.table[:-1]
        lookup[np.nonzero(to >= 0)[0]] = to[to >= 0]
        mapped: npt.NDArray[Any] = lookup.take(semantic)
        return mapped


class Adapter(Protocol):
    """The functions of a module that puts samples into a format."""

    def plan(self, given: Header, keys: Sequence[str], findings: Findings) -> Plan:
        """Decide names, label space and splits; count what the target has no place for in the whole dataset."""

    def adapt(self, plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
        """The sample as the target's writer wants it; count what the target cannot hold."""


# ---------------------------------------------------------------------- names


def split_names(splits: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """Split → its name as a folder or list: without year ("train2017" → "train"), without slashes; all distinct."""
    plain: dict[str, str] = {}
    for name in splits:
        dated = _DATED.fullmatch(name)
        wanted = dated[1] if dated else name.replace("/", "_")
        whole = name.replace("/", "_")
        plain[name] = wanted if wanted not in plain.values() else _free(whole, plain.values())
    return plain


def flat_splits(splits: Mapping[str, Sequence[int]], findings: Findings) -> dict[str, str]:
    """Split → its name without slashes, all distinct; changed names are remarked."""
    flat: dict[str, str] = {}
    for name in splits:
        flat[name] = _free(name.replace("/", "_"), flat.values())
        remark_split(name, flat[name], findings)
    return flat


def remark_split(name: str, new: str, findings: Findings) -> None:
    """Say that a split has another name."""
    if new != name:
        findings.remark("split has another name in the target", f"{name} → {new}")


def plain_names(names: Sequence[str], *, without: str = "") -> list[str]:
    """Category names for tables with one category a line: without line breaks, control characters, blanks at the ends.

    Args:
        without: further characters that the table gives a meaning.
    """
    plain: dict[str, None] = {}
    for name in names:
        visible = "".join(" " if character.isspace() else character for character in name)
        visible = "".join("_" if ord(character) < 32 or character in without else character for character in visible)
        plain[_free(" ".join(visible.split()) or "_", plain)] = None
    return list(plain)


def _free(wanted: str, taken: Collection[str]) -> str:
    """The name, with a number behind it where it is taken."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name


def distinct(keys: Sequence[str], findings: Findings, *, flat: bool) -> list[str]:
    """A key for every sample in the target, no two alike; changed keys are remarked.

    Args:
        flat: one file name without spaces or folders: the last part of the key where that is enough.
    """
    wanted = list(keys)
    if flat:
        last = [re.sub(r"\s+", "_", key.rpartition("/")[2]) for key in keys]
        wanted = last if len(set(last)) == len(last) else [re.sub(r"[\s/]+", "_", key) for key in keys]
    taken: set[str] = set()
    names = []
    for key, base in zip(keys, wanted, strict=True):
        name = _free(base, taken)
        taken.add(name)
        names.append(name)
        if name != key:
            findings.remark("sample has another name in the target", f"{key} → {name}")
    return names


def named(folder: str, key: str, ending: str, sample: Sample, findings: Findings) -> str:
    """Where a layout wants the image file; files are copied as they are, so the ending may not be theirs."""
    own = sample.file[len(stem(sample.file)) :].lower().replace(".jpeg", ".jpg")
    if own and own != ending:
        findings.remark(f"{own} file copied unchanged under the layout's ending {ending}", sample.key)
    return f"{folder}/{key}{ending}"


# ---------------------------------------------------------------------- masks


def layered(
    masks: Masks, iscrowd: npt.NDArray[np.bool_], order: npt.NDArray[np.int64] | None = None
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Objects painted over each other: by default crowds first, then large to small.

    Returns:
        (H, W) unsigned, the number (from 1) of the object on top of each pixel, 0 where there is none; and (N,) int64,
        the pixels of each object that stay visible.
    """
    if order is None:
        order = np.lexsort((-masks.areas, ~iscrowd))
    layer = np.zeros((masks.height, masks.width), np.min_scalar_type(len(masks)))
    masks.paint(np.arange(1, len(masks) + 1), layer, order)
    frames = [layer[y : y + height, x : x + width] for x, y, width, height in masks.boxes_xywh.tolist()]
    visible = [np.count_nonzero(frame == number) for number, frame in enumerate(frames, 1)]
    return layer, np.array(visible, np.int64)


def lose_overlaps(sample: Sample, masks: Masks, visible: npt.NDArray[np.int64], findings: Findings) -> None:
    """Count the objects of which a map of numbers holds only a part; the part is inside, so IoU is its share."""
    for place in np.nonzero(visible < masks.areas)[0].tolist():
        share = float(visible[place] / masks.areas[place])
        findings.drop("objects partly hidden by others in a map of numbers", sample.key, iou=share)


def painted(instances: Instances, background: int) -> npt.NDArray[Any]:
    """The label map that objects make alone: (H, W), their categories over `background`."""
    return instances.masks.semantic(instances.category, background=background, iscrowd=instances.iscrowd)


# ---------------------------------------------------------------------- losses


def lose_labels(source: LabelSpace, target: LabelSpace, table: npt.NDArray[np.int64], findings: Findings) -> None:
    """Count what the target's table of categories does not say any more."""
    for category, to in zip(source.categories, table[:-1].tolist(), strict=True):
        if to < 0:
            findings.remark("category without counterpart in the target", category.name)
            continue
        for what in ("name", "id", "color", "supercategory"):
            mine, theirs = getattr(category, what), getattr(target[to], what)
            if mine is not None and mine != theirs and not (what == "supercategory" and mine == category.name):
                findings.drop(f"category {what}", f"{category.name}: {mine} → {theirs}")


def lose_fields(
    sample: Sample,
    findings: Findings,
    *,
    image: Collection[str] = (),
    instance: Collection[str] = (),
    xml: bool = True,
) -> None:
    """Count by name what a sample says beside its columns and the target does not keep.

    Args:
        image, instance: the names that it keeps.
        xml: whether it drops what VOC's XML says further.
    """
    for name, value in sample.extra.items():
        if name == "captions" and name not in image:
            findings.drop("captions", sample.key, len(value))
        elif name not in FORMATS and name not in image:
            findings.drop(f"image field {name!r}", sample.key)
    for name in sample.extra.get("coco", {}).get("fields", {}):
        findings.drop(f"image field {name!r}", sample.key)
    for document in sample.extra.get("coco", {}).get("documents", {}).values():
        if not document.get("same"):
            count = len(document["annotations"])
            findings.drop("records of further documents (keypoints, captions)", sample.key, count)
    if xml:
        _lose_xml(sample, findings, instance)
    city = sample.extra.get("cityscapes", {})
    if "polygons" in city:
        findings.drop("polygon documents", sample.key)
    if "instance_map" in city:
        findings.drop("instance maps that disagree with label maps", sample.key)
    for name in ("labelTrainIds", "color"):
        if isinstance(city.get(name), dict):
            findings.drop(f"{name} files that do not follow from labelIds", sample.key)
    if "object_map" in sample.extra.get("voc", {}):
        findings.drop("object masks that do not follow from objects and class masks", sample.key)
    off_table = sample.extra.get("camvid", {}).get("off_table", ())
    findings.drop("pixels with colours off the table", sample.key, len(off_table))
    for extra in sample.instances.extra:
        for name in extra:
            if name not in FORMATS and name not in instance:
                findings.drop(f"object field {name!r}", sample.key)
        for name in extra.get("coco", {}).get("verbatim", {}).keys() & set(FORMATS):
            findings.drop(f"object field {name!r}", sample.key)
        for tag in further_nodes(extra) if xml else ():
            if tag not in instance:
                findings.drop(f"object field {tag!r}", sample.key)


def _lose_xml(sample: Sample, findings: Findings, kept: Collection[str]) -> None:
    """Count what VOC's XML holds beside the fields that every such file has, but for an object's nodes that are kept."""
    own = sample.extra.get("voc", {})
    nodes = [*own.get("before", ()), *own.get("children", ()), *own.get("after", ())]
    count = len(own.get("attributes", ()))
    for node in nodes:
        if not isinstance(node, str) and node[0] not in (*IMAGE_TAGS, *_BESIDE):
            findings.drop(f"image field {node[0]!r}", sample.key)
    for extra in sample.instances.extra:
        given = extra.get("voc", {})
        nodes += [node for node in given.get("children", ()) if isinstance(node, str) or node[0] not in kept]
        count += len(given.get("attributes", ()))
    findings.drop("XML attributes", sample.key, count + voc_xml.count_attributes(nodes))
    for tag in voc_xml.beside(nodes):
        findings.drop(_BESIDE[tag], sample.key)


def further_nodes(extra: Mapping[str, Any]) -> dict[str, list[Any]]:
    """VOC's XML nodes of an object that are no columns (parts, actions, points), by tag."""
    found: dict[str, list[Any]] = {}
    for node in extra.get("voc", {}).get("children", ()):
        if not isinstance(node, str) and node[0] not in (*OBJECT_TAGS, *_BESIDE):
            found.setdefault(node[0], []).append(node[1] if len(node) == 2 else node[1:])
    return found


def lose_columns(sample: Sample, findings: Findings, *, kept: Collection[str] = ()) -> None:
    """Count what objects say in columns that the target does not keep (the kept names are given)."""
    instances = sample.instances
    boxes = instances.masks.boxes
    from_mask = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)
    is_known = ~np.isnan(instances.bbox[:, 0])
    lost = {
        "crowd flags": instances.iscrowd,
        "difficult flags": instances.difficult,
        "truncated flags": instances.truncated,
        "occluded flags": instances.occluded,
        "scores": ~np.isnan(instances.score),
        "polygons": np.diff(instances.polygons.pointer) > 0,
        "areas as annotated": ~np.isnan(instances.area) & (instances.area != instances.masks.areas),
        "boxes as annotated": is_known & ~(np.nan_to_num(instances.bbox) == from_mask).all(1),
        "objects without mask": ~instances.has_mask,
        "objects with empty masks": instances.has_mask & (instances.masks.areas == 0),
        "object ids": np.full(len(instances), sample.id >= 0 or "cityscapes" in sample.extra),
    }
    for kind, which in lost.items():
        if kind not in kept:
            findings.drop(kind, sample.key, int(which.sum()))
    if sample.id >= 0 and "image ids" not in kept:
        findings.drop("image ids", sample.key)


def lose_unmapped(plan: Plan, sample: Sample, findings: Findings) -> None:
    """Count objects and pixels of categories that the target does not have."""
    names = [category.name for category in plan.source.categories]
    gone = np.nonzero(plan.table[:-1] < 0)[0]
    objects = np.bincount(sample.instances.category, minlength=len(names))
    for index in gone.tolist():
        findings.drop(f"objects of category {names[index]!r}", sample.key, int(objects[index]))
    if sample.semantic is not None and len(gone):
        pixels = np.bincount(sample.semantic.ravel(), minlength=plan.source.void + 1)
        for index in gone.tolist():
            findings.drop(f"pixels of category {names[index]!r}", sample.key, int(pixels[index]))


def lose_documents(given: Header, of: str, findings: Findings) -> None:
    """Count the files and header fields of the whole dataset that another format does not have."""
    for document in given.documents:
        if voc_lists.is_by_class(document):
            findings.drop("lists by class", document["file"])
        if document.get("format") == of:
            continue
        for name, value in document.get("header", {}).items():
            if value and name not in ("categories", "images", "annotations"):
                findings.drop(f"document field {name!r}", document["file"])
