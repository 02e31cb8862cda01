"""COCO annotation records ↔ `Instances`, one image at a time, with what the columns alone would not give back."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.polygons import Polygons
from segdata.core.sample import Instances
from segdata.formats.coco.rules import Values, remarks_on
from segdata.formats.coco.segmentation import masks_of
from segdata.formats.contract import RESIDUES

_KNOWN = frozenset(("id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation"))

_NO_BOX = (math.nan,) * 4


def instances_of(
    records: Sequence[dict[str, Any]], order: Sequence[int], labels: LabelSpace, height: int, width: int
) -> Instances:
    """The columns of an image's records, without what these do not hold.

    Args:
        records: checked by `rules.check`.
        order: each record's position in the document.
    """
    segmentations = [record.get("segmentation") for record in records]
    polygons = Polygons.of([item if isinstance(item, list) else [] for item in segmentations])
    return Instances.build(
        [labels.index_of_id[record["category_id"]] for record in records],
        masks_of(segmentations, polygons, height, width),
        has_mask=[bool(item) for item in segmentations],
        iscrowd=[bool(record.get("iscrowd", 0)) for record in records],
        id=[record.get("id", -1) for record in records],
        bbox=[record.get("bbox") or _NO_BOX for record in records],
        area=[record.get("area", math.nan) for record in records],
        order=order,
        polygons=polygons,
    )


def with_residues(instances: Instances, records: Sequence[dict[str, Any]], labels: LabelSpace) -> Instances:
    """The instances with what their columns do not give back of the source's records."""
    rebuilt = records_of(instances, labels)
    residues = [residue_of(record, again) for record, again in zip(records, rebuilt, strict=True)]
    return replace(instances, extra=residues)


def remarks_of(records: Sequence[dict[str, Any]], instances: Instances) -> Iterator[tuple[str, Any]]:
    """What is odd in the records that the instances were made of: remarks, with the annotation's id."""
    height, width = instances.masks.height, instances.masks.width
    polygons, masks = instances.polygons, instances.masks
    around = polygons.boxes_xywh
    is_rle = instances.has_mask & (np.diff(polygons.pointer) == 0)
    around[is_rle] = np.concatenate((masks.boxes[:, :2], masks.boxes[:, 2:] - masks.boxes[:, :2]), axis=1)[is_rle]
    around[instances.iscrowd] = math.nan
    pixels = np.where(instances.has_mask & ~instances.iscrowd, masks.areas, 1)
    columns = (polygons.areas.tolist(), around, pixels.tolist())
    for record, area, outline, count in zip(records, *columns, strict=True):
        segmentation = record.get("segmentation")
        is_outlined = isinstance(segmentation, list) and not record.get("iscrowd")
        values = Values(
            height,
            width,
            box=record.get("bbox") or _NO_BOX,
            area=record.get("area", math.nan),
            polygon_area=area if is_outlined and segmentation else math.nan,
            rle_area=count if isinstance(segmentation, dict) and not record.get("iscrowd") else math.nan,
            lacks_iscrowd="iscrowd" not in record,
            lacks_segmentation=not segmentation,
            outline=outline,
            pixels=count,
        )
        for remark in remarks_on(values):
            yield remark, record.get("id")


def residue_of(record: Mapping[str, Any], rebuilt: Mapping[str, Any]) -> dict[str, Any]:
    """What `rebuilt` (made from the columns alone) does not give back of the source's record."""
    if (
        "image_id" in record
        and type(record.get("iscrowd")) is int
        and {**rebuilt, "image_id": record["image_id"]} == record
    ):
        return {}
    extra = {key: value for key, value in record.items() if key not in _KNOWN and key not in RESIDUES}
    verbatim = {
        key: value
        for key, value in record.items()
        if key in RESIDUES
        or (key in _KNOWN and key != "image_id" and not (key in rebuilt and _same(rebuilt[key], value)))
    }
    absent = [key for key in rebuilt if key not in record]
    residue: dict[str, Any] = {}
    segmentation = verbatim.get("segmentation")
    if isinstance(segmentation, dict):
        other = _other_rle(rebuilt.get("segmentation"), segmentation)
        if other == segmentation:
            residue["segmentation"] = "string" if isinstance(segmentation["counts"], str) else "counts"
            del verbatim["segmentation"]
    if verbatim:
        residue["verbatim"] = verbatim
    if absent:
        residue["absent"] = absent
    if residue:
        extra["coco"] = residue
    return extra


def _same(mine: Any, theirs: Any) -> bool:
    return mine == theirs and isinstance(mine, bool) == isinstance(theirs, bool)


def _other_rle(mine: Any, theirs: dict[str, Any]) -> Any:
    """The same run lengths in the source's way of writing them."""
    if not isinstance(mine, dict) or isinstance(mine["counts"], str) == isinstance(theirs["counts"], str):
        return mine
    masks = Masks.from_rle([mine], *mine["size"])
    return _rle(masks, 0, as_string=isinstance(theirs["counts"], str))


def records_of(instances: Instances, labels: LabelSpace) -> list[dict[str, Any]]:
    """Annotation records from the columns; `image_id` is added by the caller."""
    ids, category = instances.id.tolist(), instances.category.tolist()
    boxes, areas = instances.bbox.tolist(), instances.area.tolist()
    crowd, has_mask = instances.iscrowd.tolist(), instances.has_mask.tolist()
    pointer, rings = instances.polygons.pointer.tolist(), instances.polygons.rings.tolist()
    values = instances.polygons.values.tolist()
    outlines = [values[begin:end] for begin, end in itertools.pairwise(rings)]
    records = []
    for i in range(len(instances)):
        segmentation: Any = outlines[pointer[i] : pointer[i + 1]]
        if has_mask[i] and not segmentation:
            segmentation = _rle(instances.masks, i, as_string=not crowd[i])
        record: dict[str, Any] = {
            "id": ids[i],
            "category_id": labels[category[i]].id,
            "iscrowd": int(crowd[i]),
            "segmentation": segmentation,
        }
        if not math.isnan(boxes[i][0]):
            record["bbox"] = boxes[i]
        if not math.isnan(areas[i]):
            record["area"] = areas[i]
        records.append(record)
    return records


def _rle(masks: Masks, index: int, *, as_string: bool) -> dict[str, Any]:
    size = [masks.height, masks.width]
    one = masks[index : index + 1]
    if as_string:
        return {"size": size, "counts": one.rle()[0]["counts"].decode("ascii")}
    return {"size": size, "counts": one.counts()[0].tolist()}


def with_residue(record: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """The source's record: the columns' part corrected by what was kept beside them."""
    residue = extra.get("coco", {})
    kind = residue.get("segmentation")
    if kind and isinstance(record["segmentation"], dict):
        masks = Masks.from_rle([record["segmentation"]], *record["segmentation"]["size"])
        record["segmentation"] = _rle(masks, 0, as_string=kind == "string")
    record.update((key, value) for key, value in extra.items() if key != "coco")
    record.update(residue.get("verbatim", {}))
    for key in residue.get("absent", ()):
        del record[key]
    return record
