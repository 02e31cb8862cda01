"""The document of an image ↔ `Instances`: annotation records as COCO's, without category, crowds and polygons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from segdata.core.labels import Category, LabelSpace
from segdata.core.sample import Instances
from segdata.errors import InvalidAnnotation
from segdata.formats.coco import annotations as coco_annotations
from segdata.formats.coco.rules import check

LABELS = LabelSpace("sa1b", (Category("object", 1, isthing=True),))
"""SA-1B names no categories: all objects have one."""

KNOWN = ("id", "segmentation", "bbox", "area")
"""Keys of an annotation record that columns hold; others are kept as further fields."""

KNOWN_OF_IMAGES = ("image_id", "width", "height", "file_name")
"""Keys of the document's `image` that a sample holds; others are kept as further fields."""

_NOT_WRITTEN = ("category_id", "iscrowd")


def checked(record: Any, height: int, width: int) -> dict[str, Any]:
    """An annotation record whose known keys are valid.

    Raises:
        InvalidAnnotation: they are not.
    """
    if not isinstance(record, dict):
        raise InvalidAnnotation("an annotation is no JSON object", why=f"found {record!r}"[:200])
    if not isinstance(record.get("segmentation"), dict):
        raise InvalidAnnotation(
            "an annotation has no run lengths",
            why=f'expected "segmentation": {{"size": [height, width], "counts": …}}, found {record.get("segmentation")!r}'[
                :200
            ],
        )
    check({**record, "category_id": LABELS[0].id, "iscrowd": 0}, LABELS, height, width)
    return record


def instances_of(records: Sequence[dict[str, Any]], order: Sequence[int], height: int, width: int) -> Instances:
    """The objects of checked records, with what the columns do not give back in `extra`."""
    with_category = [{**record, "category_id": LABELS[0].id, "iscrowd": 0} for record in records]
    instances = coco_annotations.instances_of(with_category, order, LABELS, height, width)
    extra = [_extra(record, again) for record, again in zip(records, records_of(instances), strict=True)]
    return replace(instances, extra=extra)


def _extra(record: Mapping[str, Any], rebuilt: Mapping[str, Any]) -> dict[str, Any]:
    """Further fields of a record, and below "sa1b" the known ones that `rebuilt` does not give back."""
    extra = {name: value for name, value in record.items() if name not in (*KNOWN, "sa1b")}
    verbatim = {
        name: value
        for name, value in record.items()
        if name == "sa1b" or (name in KNOWN and rebuilt.get(name, ...) != value)
    }
    absent = [name for name in rebuilt if name not in record]
    residue = {name: value for name, value in (("verbatim", verbatim), ("absent", absent)) if value}
    return {**extra, "sa1b": residue} if residue else extra


def records_of(instances: Instances) -> list[dict[str, Any]]:
    """Annotation records from the columns and what was kept beside them."""
    records = []
    for record, extra in zip(coco_annotations.records_of(instances, LABELS), instances.extra, strict=True):
        residue = extra.get("sa1b", {})
        record = {name: value for name, value in record.items() if name not in _NOT_WRITTEN}
        record |= {name: value for name, value in extra.items() if name != "sa1b"} | residue.get("verbatim", {})
        records.append({name: value for name, value in record.items() if name not in residue.get("absent", ())})
    return records
