"""A row of a Parquet table ↔ a sample: objects as COCO's annotation records, label maps as PNG."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core import png
from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.sample import Instances, Sample
from segdata.errors import InvalidAnnotation
from segdata.formats.coco.annotations import instances_of, records_of
from segdata.formats.coco.rules import check
from segdata.formats.parquet.columns import FLAGS, Columns

_MOST_OF_EXTRA = 1 << 20
"""Bytes of JSON that one further value of a row may take."""


# ---------------------------------------------------------------------- objects


@dataclass(frozen=True)
class Numbers:
    """What the numbers of categories in the table mean.

    Attributes:
        labels: the label space.
        number: (K,) int64, the number of each category in the table: its position, or its id.
    """

    labels: LabelSpace
    number: npt.NDArray[np.int64]

    @classmethod
    def of(cls, labels: LabelSpace, *, by_position: bool) -> Numbers:
        """Numbers that are positions among the names, as a ClassLabel has them, or ids of a declared table."""
        ids = [category.id for category in labels.categories]
        return cls(labels, np.array([*range(len(ids))] if by_position else ids, np.int64))

    @cached_property
    def index(self) -> dict[int, int]:
        """Number → index."""
        return {int(number): index for index, number in enumerate(self.number)}


def instances(
    columns: Columns, cell: Any, numbers: Numbers, size: tuple[int, int], findings: Findings, located: Mapping[str, Any]
) -> Instances:
    """The objects of a row; one that is not valid is left out.

    Args:
        size: height and width of the image.
        located: file and key, for messages.
    """
    labels = numbers.labels
    records, order = [], []
    raw = columns.records(cell)
    for position, item in enumerate(raw):
        try:
            record = _record(columns, item, numbers)
            check(record, labels, *size)
            records.append(record)
            order.append(position)
        except InvalidAnnotation as error:
            findings.skip(error.located(place=f"{columns.objects}[{position}]", **located))
    read = instances_of(records, order, labels, *size)
    score = columns.fields.get("score", "")
    known = set(columns.fields.values())

    def flag(role: str) -> npt.NDArray[np.bool_]:
        name = columns.fields.get(role, "")
        return np.array([bool(raw[k].get(name)) for k in order], bool)

    return replace(
        read,
        score=np.array([_number(raw[k].get(score)) for k in order], np.float64),
        extra=[
            {name: value for name, value in raw[k].items() if name not in known and value is not None} for k in order
        ],
        difficult=flag("difficult"),
        truncated=flag("truncated"),
        occluded=flag("occluded"),
    )


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _record(columns: Columns, item: Mapping[str, Any], numbers: Numbers) -> dict[str, Any]:
    """An object as COCO's annotation record."""
    value: dict[str, Any] = {role: item.get(name) for role, name in columns.fields.items()}
    category, labels = value.get("category"), numbers.labels
    index = labels.index_of_name.get(category) if isinstance(category, str) else numbers.index.get(category)  # type: ignore[arg-type]
    if index is None:
        raise InvalidAnnotation(
            "an object's category is not known",
            why=f"found {category!r}; there are {len(labels)} categories, {labels[0].name!r} is {numbers.number[0]}",
            fix="name all categories: --classes FILE|NAMES",
        )
    record: dict[str, Any] = {"category_id": labels[index].id, "iscrowd": int(value.get("iscrowd") or 0)}
    for role in ("id", "area", "segmentation"):
        if value.get(role) is not None:
            record[role] = value[role]
    if value.get("bbox") is not None:
        record["bbox"] = list(value["bbox"])
        if columns.has_corners and len(record["bbox"]) == 4:
            x0, y0, x1, y1 = record["bbox"]
            record["bbox"] = [x0, y0, x1 - x0, y1 - y0]
    return record


def objects(columns: Columns, sample: Sample, numbers: Numbers) -> Any:
    """The cell of a sample's objects, from the columns of the sample alone; the inverse of `instances`."""
    read, labels = sample.instances, numbers.labels
    cells = []
    for index, record in enumerate(records_of(read, labels)):
        category = int(read.category[index])
        values: dict[str, Any] = {
            **record,
            "category": labels[category].name if columns.has_category_names else int(numbers.number[category]),
        }
        if columns.has_corners and "bbox" in record:
            x, y, width, height = record["bbox"]
            values["bbox"] = [x, y, x + width, y + height]
        values["segmentation"] = _segmentation(record["segmentation"], read, index)
        values["score"] = None if math.isnan(read.score[index]) else float(read.score[index])
        for role in ("iscrowd", *FLAGS):
            is_boolean = columns.fields.get(role) in columns.booleans
            values[role] = (bool if is_boolean else int)(getattr(read, role)[index])
        item = {name: read.extra[index].get(name) for name in columns.names}
        cells.append({**item, **{name: values.get(role) for role, name in columns.fields.items()}})
    return columns.cell(cells)


def _segmentation(value: Any, read: Instances, index: int) -> Any:
    """Polygons, or compressed run lengths, of crowds, too; None for an object without mask."""
    if isinstance(value, dict) and not isinstance(value["counts"], str):
        return {"size": value["size"], "counts": read.masks[index : index + 1].rle()[0]["counts"].decode("ascii")}
    return value or None


# ---------------------------------------------------------------------- label maps


def label_map(data: bytes, numbers: Numbers, size: tuple[int, int], max_pixels: int) -> npt.NDArray[Any]:
    """(H, W) category indices of a PNG of category numbers; 255, or the greatest value of 16 bits, is void.

    Raises:
        InvalidImage: no PNG, or one of another kind.
        InvalidAnnotation: of another size, in colours, or with numbers that are no category.
    """
    raw = png.read_labels(data, max_pixels=max_pixels)
    values = raw.values
    if values.ndim == 3:
        if (values[..., :1] != values[..., :3]).any():
            raise InvalidAnnotation(
                "label map is in colours", why=f"its mode is {raw.mode}", fix="save category numbers, in one channel"
            )
        values = values[..., 0]
    if values.shape != size:
        raise InvalidAnnotation(
            "label map is of another size than the image",
            why=f"label map {values.shape[1]} × {values.shape[0]}, image {size[1]} × {size[0]} (width × height)",
        )
    labels = numbers.labels
    table = np.full(1 << 16, -1, np.int64)
    table[[255, 65535]] = labels.void
    for index, number in enumerate(numbers.number.tolist()):
        if 0 <= number < len(table):
            table[number] = index
    mapped = table[values]
    if (mapped < 0).any():
        unknown = np.unique(values[mapped < 0])
        raise InvalidAnnotation(
            "label map holds numbers that are no category",
            why=f"found {', '.join(map(str, unknown[:10]))}; there are {len(labels)} categories",
            fix="name all categories: --classes FILE|NAMES",
        )
    semantic: npt.NDArray[Any] = mapped.astype(labels.dtype)
    return semantic


def map_png(semantic: npt.NDArray[Any], numbers: Numbers) -> bytes:
    """The PNG of a label map: category numbers in one channel, void as 255 or, in 16 bits, 65535."""
    void = 255 if numbers.number.max(initial=0) < 255 else 65535
    lookup = np.full(numbers.labels.void + 1, void, np.uint8 if void == 255 else np.uint16)
    lookup[: len(numbers.number)] = numbers.number
    return png.encode_png(lookup[semantic])


# ---------------------------------------------------------------------- what is beside them


def further(row: Mapping[str, Any], names: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Values of further columns that JSON can hold, and the names of those that it cannot."""
    kept, others = {}, []
    for name in names:
        value = row.get(name)
        if value is None:
            continue
        try:
            is_held = len(json.dumps(value, allow_nan=False)) <= _MOST_OF_EXTRA
        except (TypeError, ValueError, RecursionError):
            is_held = False
        if is_held:
            kept[name] = value
        else:
            others.append(name)
    return kept, others
