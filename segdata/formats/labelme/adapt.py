"""Samples of other formats → Labelme: NAME.json beside each image, in a folder for each split, and labels.txt.

An object whose polygons give its mask is written as these polygons (one group, where there are several), any other as a
mask; one that has a box alone as a rectangle. A sample that has nothing but a label map gives a mask for each category;
void becomes `__ignore__`, which only label maps have.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace
from segdata.core.masks import Masks
from segdata.core.polygons import Polygons
from segdata.core.sample import Instances, Sample
from segdata.formats.adapting import (
    count_category_fields,
    count_columns,
    count_documents,
    count_fields,
    distinct_keys,
    first_split,
    folder_of,
    object_fields,
    plain_names,
)
from segdata.formats.contract import RESIDUES, Header, Kept, Plan
from segdata.formats.labelme import shapes
from segdata.formats.labelme.shapes import BACKGROUND, IGNORE
from segdata.formats.shapes import drawing, objects, pictures
from segdata.formats.shapes.drawing import Shape
from segdata.formats.shared.folder import image_ending
from segdata.sets.orientation import upright_size

VERSION = "5.7.0"
"""Of Labelme, whose documents have the same form."""

_SPLIT = "all"
_KEPT_COLUMNS = {"polygons"}
_IN_SHAPES = ("label", "points", "group_id", "shape_type", "mask")
_IN_DOCUMENTS = ("version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth")


def plan(source: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """The categories in their order; the background, where there is one, is the first, after `__ignore__`."""
    backgrounds = [] if source.labels.background is None else [source.labels.background]
    others = [index for index in range(len(source.labels)) if index not in backgrounds]
    names = plain_names([IGNORE, BACKGROUND, *(source.labels[index].name for index in others)])[2:]
    rows = [(index, BACKGROUND, 0) for index in backgrounds]
    rows += [(index, name, number) for number, (index, name) in enumerate(zip(others, names, strict=True), 1)]
    categories = tuple(Category(name, number, isthing=source.labels[index].isthing) for index, name, number in rows)
    labels = LabelSpace("custom", categories)
    table = np.full(len(source.labels) + 1, -1, np.int64)
    table[[index for index, _, _ in rows]] = np.arange(len(rows))
    count_category_fields(source.labels, labels, table, findings)
    count_documents(source, "labelme", findings)
    lines = [*([IGNORE] if backgrounds else []), *(name for _, name, _ in rows)]
    documents = [{"format": "labelme", "file": "labels.txt", "text": "".join(f"{line}\n" for line in lines)}]
    splits = first_split(source, keys, _SPLIT, findings)
    return Plan(source.labels, Header(labels, splits, documents), distinct_keys(keys, findings, flat=True), table)


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample with a document: fields beside label and place stay, flags of columns are counted."""
    key, folder = plan.keys[index], folder_of(plan, index, _SPLIT)
    image_fields, object_names = _kept_names(sample)
    count_fields(sample, findings, Kept("labelme", image_fields=image_fields, object_fields=object_names))
    count_columns(sample, findings, kept=_KEPT_COLUMNS)
    background = plan.source.background
    orientation = pictures.orientation_written(sample, findings)
    written = _Shapes(plan, sample, orientation, object_names)
    if sample.semantic is not None and not sample.has_instances:
        findings.remark("label map written as one mask for each category", sample.key)
    else:
        _add_objects(written, background, findings)
    if sample.semantic is not None:
        _add_label_map(written, sample.semantic, background, findings)
    if not sample.has_instances and sample.semantic is None:
        findings.drop("images that nobody annotated: images without shapes here", sample.key)
    file = f"{key}{image_ending(sample.file)}"
    height, width = upright_size(orientation, sample.height, sample.width)
    fields = {
        "version": VERSION,
        "flags": {},
        **{name: sample.extra[name] for name in image_fields},
        "imagePath": file,
        "imageHeight": height,
        "imageWidth": width,
    }
    residue = {"file": f"{folder}{key}.json", "fields": fields, "imageData": None, "shapes": written.others}
    return Sample(
        key,
        sample.height,
        sample.width,
        file=f"{folder}{file}",
        encoded=lambda: sample.encoded,
        instances=written.instances(),
        extra={"labelme": residue | ({"orientation": orientation} if orientation != 1 else {})},
    )


def _kept_names(sample: Sample) -> tuple[list[str], set[str]]:
    """Fields of the image and of objects that a document holds beside its own."""
    image_fields = [name for name in sample.extra if name not in (*RESIDUES, *_IN_DOCUMENTS)]
    names: set[str] = set()
    for extra in sample.instances.extra:
        names.update(name for name in (*extra, *object_fields(extra)) if name not in (*RESIDUES, *_IN_SHAPES))
    for extra in sample.instances.extra:
        fields = {**extra, **object_fields(extra)}
        names -= {
            name
            for name, kind in (("flags", dict), ("description", str))
            if not isinstance(fields.get(name, kind()), kind)
        }
    return image_fields, names


class _Shapes:
    """The shapes of a document: objects, and those that are none.

    Attributes:
        others: position and record of the shapes that are no objects.
    """

    def __init__(self, plan: Plan, sample: Sample, orientation: int, names: Collection[str]) -> None:
        self.plan, self.sample = plan, sample
        self.others: list[tuple[int, dict[str, Any]]] = []
        self._orientation = orientation
        self._names = names
        self._drawn: list[tuple[int, Shape]] = []
        self._count = 0
        self._groups = 0
        self._objects: list[tuple[int, list[Any], list[Any]]] = []

    def add(self, category: int, parts: Sequence[Shape], extra: Mapping[str, Any]) -> None:
        """Add an object.

        Args:
            category: index in the source's label space.
            parts: of the image as stored.
        """
        height, width = self.sample.height, self.sample.width
        fields = {**extra, **object_fields(extra)}
        fields = {name: value for name, value in fields.items() if name in self._names}
        group = self._groups if len(parts) > 1 else None
        self._groups += len(parts) > 1
        records = []
        for part in parts:
            record = shapes.record_of(drawing.turned_shape(part, self._orientation, height, width))
            records.append([self._count, {**record, "group_id": group, **fields}])
            self._count += 1
        self._drawn += [(category, part) for part in parts]
        rings = [part.ring for part in parts if part.crop is None]
        self._objects.append((int(self.plan.table[category]), records, rings))

    def add_other(self, label: str, part: Shape) -> None:
        """Add a shape that is no object."""
        upright = drawing.turned_shape(part, self._orientation, self.sample.height, self.sample.width)
        self.others.append((self._count, {"label": label, **shapes.record_of(upright)}))
        self._count += 1

    def label_map(self, background: int) -> npt.NDArray[Any]:
        """(H, W) indices in the source's label space that the objects give, in their order, over a background."""
        height, width = self.sample.height, self.sample.width
        canvas = np.full((height, width), background, np.uint16)
        masks = drawing.masks_of([part for _, part in self._drawn], height, width)
        return masks.paint([category for category, _ in self._drawn], canvas, range(len(masks)))

    def instances(self) -> Instances:
        """The objects; the document's records stand for their masks."""
        return Instances.build(
            [category for category, _, _ in self._objects],
            Masks.empty(self.sample.height, self.sample.width, len(self._objects)),
            polygons=Polygons.of([rings for _, _, rings in self._objects]),
            extra=[{"labelme": {"parts": records}} for _, records, _ in self._objects],
        )


def _add_objects(written: _Shapes, background: int | None, findings: Findings) -> None:
    instances = written.sample.instances
    for item in objects.drawn(written.sample, findings):
        category = int(instances.category[item.index])
        if category == background:
            findings.drop("objects of the background", written.sample.key)
        else:
            written.add(category, item.parts, instances.extra[item.index])


def _add_label_map(written: _Shapes, semantic: npt.NDArray[Any], background: int | None, findings: Findings) -> None:
    """Add what the objects do not say of a label map: all of it where there are none, else void and background over them."""
    sample, void = written.sample, written.plan.source.void
    if not sample.has_instances:
        segments = objects.of_label_map(semantic, void, background)
        for number, category in enumerate(segments.category.tolist()):
            written.add(category, [drawing.shape_of(segments.masks, number)], {})
    differs = semantic != written.label_map(void if background is None else background)
    if background is not None:
        for label, value in ((BACKGROUND, background), (IGNORE, void)):
            region = differs & (semantic == value)
            if region.any():
                written.add_other(label, drawing.shape_of(Masks.from_dense(region[None]), 0))
            differs &= ~region
    findings.drop("void pixels", sample.key, int((differs & (semantic == void)).sum()))
    findings.drop("label map pixels that no object explains", sample.key, int((differs & (semantic != void)).sum()))
