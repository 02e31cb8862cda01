"""COCO's annotation records ↔ the columns of instances: checks, masks, and what columns alone would not give back."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.polygons import MAX_BOUNDARY, boundary_length
from segdata.core.rle import check_strings
from segdata.core.sample import Instances
from segdata.errors import InvalidAnnotation
from segdata.formats.contract import FORMATS

_KNOWN = ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation")

_OURS = frozenset((*_KNOWN, *FORMATS))

_NUMBERS = frozenset((int, float))
"""The types that JSON's numbers have; True and False are none."""


def check(record: dict[str, Any], labels: LabelSpace, height: int, width: int) -> None:
    """Raise what is wrong with an annotation."""
    category = record.get("category_id")
    if type(category) is not int or category not in labels.index_of_id:
        known = sorted(labels.index_of_id)
        raise InvalidAnnotation(
            "an annotation names a category that the document does not define",
            why=f"category_id {category!r}; it defines {known[0] if known else 'none'} … {known[-1] if known else ''}",
            fix="add the category to the document, or remove the annotation",
        )
    if "id" in record and type(record["id"]) is not int:
        raise InvalidAnnotation("an annotation's id is not a whole number", why=f"found {record['id']!r}")
    crowd = record.get("iscrowd", 0)
    if crowd not in (0, 1) or isinstance(crowd, float):
        raise InvalidAnnotation("iscrowd is neither 0 nor 1", why=f"found {crowd!r}")
    area = record.get("area", 0)
    if type(area) not in (int, float) or area < 0:
        raise InvalidAnnotation("area is not a number ≥ 0", why=f"found {area!r}")
    _check_box(record.get("bbox", []), height, width)
    segmentation = record.get("segmentation", [])
    if isinstance(segmentation, dict):
        check_run_lengths(segmentation, height, width)
        if isinstance(segmentation["counts"], str):
            check_strings([segmentation["counts"].encode("utf-8", "replace")], [height * width])
    elif isinstance(segmentation, list):
        check_rings(segmentation, height, width)
    else:
        raise InvalidAnnotation(
            "segmentation is neither a list of rings nor run lengths", why=f"found {segmentation!r}"[:200]
        )


def _check_box(box: Any, height: int, width: int) -> None:
    if box == []:
        return
    if not isinstance(box, list) or len(box) != 4 or not _NUMBERS.issuperset(map(type, box)):
        raise InvalidAnnotation("bbox is not four numbers", why=f"found {box!r}"[:200])
    x, y, w, h = box
    if w < 0 or h < 0:
        raise InvalidAnnotation(
            "bbox has a negative size", why=f"[x, y, width, height] = {box!r}", fix="correct the box"
        )
    if x < -1 or y < -1 or x + w > width + 1 or y + h > height + 1:
        corners = x <= w <= width + 1 and y <= h <= height + 1
        raise InvalidAnnotation(
            "bbox reaches more than one pixel past the image",
            why=f"[x, y, width, height] = {box!r} in an image of {width} × {height}"
            + ("; read as [x0, y0, x1, y1] it would fit" if corners else ""),
            fix="write boxes as [x, y, width, height]" if corners else "correct the box",
        )


def check_rings(rings: list[Any], height: int, width: int) -> None:
    """Raise what is wrong with a segmentation of rings."""
    if rings and _NUMBERS.issuperset(map(type, rings)):
        raise InvalidAnnotation(
            "segmentation is a flat list",
            why=f"found {len(rings)} numbers where a list of rings is expected",
            fix="wrap the ring in a list: [[x0, y0, …]]",
        )
    for number, ring in enumerate(rings):
        if not isinstance(ring, list) or not _NUMBERS.issuperset(map(type, ring)):
            raise InvalidAnnotation("a ring is not a list of numbers", why=f"ring {number} is {ring!r}"[:200])
        if len(ring) % 2 or len(ring) < 6:
            raise InvalidAnnotation(
                "a ring has too few or an odd count of numbers",
                why=f"ring {number} has {len(ring)}; a ring needs x and y of at least three points",
                fix="write a rectangle as its four corners, or remove the ring",
            )
        low, high = min(ring), max(ring)
        if high > 1e9 or low < -1e9:
            raise InvalidAnnotation("a ring has coordinates beyond any image", why=f"ring {number}, up to {high!r}")
        if len(ring) * (high - low) > MAX_BOUNDARY and boundary_length(ring, height, width) > MAX_BOUNDARY:
            raise InvalidAnnotation(
                "a ring is longer than any outline",
                why=f"ring {number}, {len(ring) // 2} points, is more than {MAX_BOUNDARY:,} pixels long",
            )


def check_run_lengths(rle: dict[str, Any], height: int, width: int) -> None:
    """Raise what is wrong with run lengths; a compressed string's characters are looked at by `runs.check_strings`."""
    size, counts = rle.get("size"), rle.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(type(value) is int for value in size):
        raise InvalidAnnotation("run lengths have no valid size", why=f"size is {size!r}"[:200])
    if size != [height, width]:
        raise InvalidAnnotation(
            "run lengths are of another size than the image",
            why=f"size is {size}; the image is [{height}, {width}] (height, width)"
            + ("; height and width are swapped" if size == [width, height] else ""),
        )
    if isinstance(counts, list):
        if counts and (set(map(type, counts)) != {int} or min(counts) < 0 or max(counts) > height * width):
            odd = [value for value in counts if type(value) is not int or not 0 <= value <= height * width]
            raise InvalidAnnotation("run lengths hold something that is no run", why=f"{odd[0]!r}"[:200])
        if sum(counts) != height * width:
            raise InvalidAnnotation(
                "run lengths do not add up to the size of the image",
                why=f"they sum to {sum(counts)}; height {height} · width {width} = {height * width}",
            )
    elif not isinstance(counts, str):
        raise InvalidAnnotation("run lengths have no counts", why=f"counts is {counts!r}"[:200])


def remark(record: dict[str, Any], drawn: float, where: str, height: int, width: int, findings: Findings) -> None:
    """Count what is odd but legal; `drawn` is the area of the record's polygons."""
    segmentation = record.get("segmentation")
    if "iscrowd" not in record:
        findings.remark("iscrowd missing, taken as 0", where)
    if not segmentation:
        findings.remark("no segmentation: kept as a box without mask", where)
    box = record.get("bbox")
    if box:
        x, y, w, h = box
        if w == 0 or h == 0:
            findings.remark("box without width or height", where)
        if x < 0 or y < 0 or x + w > width or y + h > height:
            findings.remark("box reaches up to one pixel past the image", where)
    if isinstance(segmentation, list) and segmentation and "area" in record and not record.get("iscrowd"):
        if abs(drawn - record["area"]) > 0.02 * max(drawn, record["area"]):
            findings.remark("area differs from the polygon's by more than 2 %", where)
        if drawn < 1e-6:
            findings.remark("polygon without area", where)


def residue_of(record: Mapping[str, Any], rebuilt: Mapping[str, Any]) -> dict[str, Any]:
    """What `rebuilt` (made from the columns alone) does not give back of the source's record."""
    if (
        "image_id" in record
        and type(record.get("iscrowd")) is int
        and {**rebuilt, "image_id": record["image_id"]} == record
    ):
        return {}
    extra = {key: value for key, value in record.items() if key not in _OURS}
    verbatim = {
        key: value
        for key, value in record.items()
        if key in FORMATS or (key in _KNOWN and key != "image_id" and not _same(rebuilt.get(key), value))
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
