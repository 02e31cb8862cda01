"""COCO annotation records → `Instances` of 32 images at once, where every record of an image is regular.

A record is *regular* when its keys, types and values are those of the official documents, so that columns alone give it
back. One image has about ten objects: read alone, it costs more in calls than in arithmetic. Images with any other
record are left to `annotations.py`, which takes a record at a time, and to `rules.check`, which says what is wrong.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt

from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.polygons import Polygons
from segdata.core.rle import pointer_of
from segdata.core.sample import Instances
from segdata.errors import SegdataError
from segdata.formats.coco.rules import (
    Values,
    check_run_lengths,
    is_beyond_images,
    is_invalid,
    is_ragged,
    may_be_too_long,
    odd,
)
from segdata.formats.coco.segmentation import spans_of_objects

AT_ONCE = 32
"""Images of a block."""

_MOST = 1 << 20
"""Bytes of JSON of one image; more would make a block too large for memory."""

_EXACT = 1 << 53
"""Whole numbers below it are exact as float64."""


class _RunLengths(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    size: list[int]
    counts: list[int]


class _Record(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    id: Annotated[int, msgspec.Meta(ge=0)]
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: Annotated[float, msgspec.Meta(ge=0, lt=_EXACT)]
    iscrowd: Annotated[int, msgspec.Meta(ge=0, le=1)]
    segmentation: list[Annotated[list[float], msgspec.Meta(min_length=6)]] | _RunLengths


_ONE, _MANY = msgspec.json.Decoder(_Record), msgspec.json.Decoder(list[_Record])


@dataclass(frozen=True)
class Regular:
    """The instances of an image of regular records.

    Attributes:
        odd: remarks, each with the id of the annotation that it is about.
    """

    instances: Instances
    odd: Sequence[tuple[str, int]]


def read(
    records: Sequence[Sequence[msgspec.Raw]],
    order: Sequence[Sequence[int]],
    sizes: Sequence[tuple[int, int]],
    labels: LabelSpace,
) -> list[Regular | None]:
    """Instances of each image, None where a record of the image is not regular.

    Args:
        records, order: the annotation records of each image, and their positions in the document.
        sizes: height and width of each image.
    """
    decoded = _decode(records)
    while True:
        chosen = [image for image, part in enumerate(decoded) if part is not None]
        if not chosen:
            return [None] * len(decoded)
        block = _Block(
            [part for part in decoded if part is not None],
            [order[image] for image in chosen],
            np.array([sizes[image] for image in chosen], np.int64),
            labels,
        )
        irregular = block.irregular()
        if not irregular:
            images: list[Regular | None] = [None] * len(decoded)
            for image, regular in zip(chosen, block.instances(), strict=True):
                images[image] = regular
            return images
        for number in irregular:
            decoded[chosen[number]] = None


def _is_in_corners(boxes: npt.NDArray[np.float64], around: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """(N,) bool, boxes that look like x0, y0, x1, y1 of their polygons."""
    corners = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)
    is_near: npt.NDArray[np.bool_] = (abs(corners - around) <= 0.05 * around[:, 2:].max(1, keepdims=True) + 1).all(1)
    return np.asarray(is_near & (abs(boxes - around).max(1) > 2))


def _decode(records: Sequence[Sequence[msgspec.Raw]]) -> list[list[_Record] | None]:
    is_small = [sum(map(len, image)) <= _MOST for image in records]
    flat = list(itertools.chain.from_iterable(itertools.compress(records, is_small)))
    try:
        stream: Iterator[_Record | None] = iter(_MANY.decode(b"[" + b",".join(flat) + b"]"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        stream = map(_decode_one, flat)
    decoded: list[list[_Record] | None] = []
    for image, is_read in zip(records, is_small, strict=True):
        part = [record for record in itertools.islice(stream, len(image) if is_read else 0) if record is not None]
        decoded.append(part if len(part) == len(image) else None)
    return decoded


def _decode_one(record: msgspec.Raw) -> _Record | None:
    try:
        return _ONE.decode(record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class _Block:
    """Records of several images as columns."""

    def __init__(
        self,
        images: Sequence[Sequence[_Record]],
        order: Sequence[Sequence[int]],
        sizes: npt.NDArray[np.int64],
        labels: LabelSpace,
    ) -> None:
        self.records = list(itertools.chain.from_iterable(images))
        records, count = self.records, len(self.records)
        self.sizes = sizes
        self.pointer = pointer_of(np.array([len(image) for image in images], np.int64))
        self.image = np.arange(len(images)).repeat(np.diff(self.pointer))
        self.height, self.width = sizes[self.image].T
        index_of = labels.index_of_id
        self.order = np.array(list(itertools.chain.from_iterable(order)), np.int64)
        self.id = np.array([record.id for record in records], np.int64)
        self.category = np.array([index_of.get(record.category_id, -1) for record in records], np.int64)
        self.bbox = np.array([record.bbox for record in records], np.float64).reshape(count, 4)
        self.area = np.array([record.area for record in records], np.float64)
        self.values = Values(self.height, self.width, box=self.bbox.T, area=self.area)
        self.iscrowd = np.array([record.iscrowd for record in records], bool)
        self.run_lengths = {
            position: {"size": record.segmentation.size, "counts": record.segmentation.counts}
            for position, record in enumerate(records)
            if isinstance(record.segmentation, _RunLengths)
        }
        rings = [record.segmentation if isinstance(record.segmentation, list) else [] for record in records]
        self.polygons = Polygons.of(rings)
        self.has_mask = np.diff(self.polygons.pointer) > 0
        self.has_mask[list(self.run_lengths)] = True
        self.outlines = self.polygons.boxes_xywh

    def irregular(self) -> list[int]:
        """Images with a record that must be read on its own."""
        is_irregular = (self.category < 0) | is_invalid(self.values)
        has_no_size = (self.bbox[:, 2] == 0) | (self.bbox[:, 3] == 0)
        is_irregular |= has_no_size & (self.outlines[:, 2] >= 2) & (self.outlines[:, 3] >= 2)
        is_irregular[list(self.run_lengths)] |= has_no_size[list(self.run_lengths)]
        is_irregular |= _is_in_corners(self.bbox, self.outlines)
        rings, coordinates = self.polygons.rings, self.polygons.values
        if len(coordinates):
            count = np.diff(rings)
            low = np.minimum.reduceat(coordinates, rings[:-1])
            high = np.maximum.reduceat(coordinates, rings[:-1])
            is_wrong = is_ragged(count) | is_beyond_images(low, high) | may_be_too_long(count, low, high)
            is_irregular[np.arange(len(self.records)).repeat(np.diff(self.polygons.pointer))[is_wrong]] = True
        for position, rle in self.run_lengths.items():
            try:
                check_run_lengths(rle, int(self.height[position]), int(self.width[position]))
            except SegdataError:
                is_irregular[position] = True
            # Only crowds have counts in the columns' own way of writing, which has no empty run within.
            is_irregular[position] |= not self.iscrowd[position] or 0 in rle["counts"][1:] or not rle["counts"][1:]
        return sorted(set(self.image[is_irregular].tolist()))

    def instances(self) -> list[Regular]:
        """The columns, cut at the images."""
        polygons = self.polygons.cut(self.pointer)
        counts = {position: np.array(rle["counts"], np.int64) for position, rle in self.run_lengths.items()}
        spans = spans_of_objects(self.polygons, counts, self.height, self.width)
        masks = Masks.of_images(spans, self.sizes, self.pointer)
        remarks: list[list[tuple[str, int]]] = [[] for _ in masks]
        is_outlined = ~self.iscrowd & (np.diff(self.polygons.pointer) > 0)
        pixels = np.bincount(spans[2], spans[1], len(self.records))
        values = self.values._replace(
            polygon_area=np.where(is_outlined, self.polygons.areas, np.nan),
            lacks_segmentation=~self.has_mask,
            outline=np.where(is_outlined, self.outlines.T, np.nan),
            pixels=np.where(is_outlined, pixels, 1),
        )
        for remark, position in odd(values):
            remarks[self.image[position]].append((remark, int(self.id[position])))
        unknown = np.full(len(self.records), np.nan)
        no = np.zeros(len(self.records), bool)
        regular = []
        for number, (begin, end) in enumerate(itertools.pairwise(self.pointer.tolist())):
            rows = slice(begin, end)
            instances = Instances(
                category=self.category[rows],
                masks=replace(masks[number], drawn_from=polygons[number]),
                has_mask=self.has_mask[rows],
                iscrowd=self.iscrowd[rows],
                difficult=no[rows],
                truncated=no[rows],
                occluded=no[rows],
                id=self.id[rows],
                bbox=self.bbox[rows],
                area=self.area[rows],
                score=unknown[rows],
                order=self.order[rows],
                polygons=polygons[number],
                extra=[{}] * (end - begin),
            )
            regular.append(Regular(instances, remarks[number]))
        return regular
