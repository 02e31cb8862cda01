"""COCO's regular annotation records → instances, many images at once.

A record is *regular* when its keys, types and values are those of the official documents, so that columns alone give it
back. One image has about ten objects: taken alone, it costs more in calls than in arithmetic. Images with any other
record are left to the general way, which takes a record at a time and can say what is wrong with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.polygons import MAX_BOUNDARY, Polygons
from segdata.core.rle import pointer_of
from segdata.core.sample import Instances
from segdata.errors import SegdataError
from segdata.formats.coco.annotations import check_run_lengths
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
        odd: the records that deserve a remark, with the area of their polygons.
    """

    instances: Instances
    odd: Sequence[tuple[dict[str, Any], float]]


def read(
    records: Sequence[Sequence[msgspec.Raw]],
    places: Sequence[Sequence[int]],
    sizes: Sequence[tuple[int, int]],
    labels: LabelSpace,
) -> list[Regular | None]:
    """Instances of each image, None where a record of the image is not regular.

    Args:
        records, places: the annotation records of each image, and their places in the document.
        sizes: height and width of each image.
    """
    decoded = _decode(records)
    while True:
        chosen = [image for image, found in enumerate(decoded) if found is not None]
        if not chosen:
            return [None] * len(decoded)
        block = _Block(
            [found for found in decoded if found is not None],
            [places[image] for image in chosen],
            np.array([sizes[image] for image in chosen], np.int64),
            labels,
        )
        irregular = block.irregular()
        if not irregular:
            answer: list[Regular | None] = [None] * len(decoded)
            for image, regular in zip(chosen, block.instances(), strict=True):
                answer[image] = regular
            return answer
        for number in irregular:
            decoded[chosen[number]] = None


def _decode(records: Sequence[Sequence[msgspec.Raw]]) -> list[list[_Record] | None]:
    is_small = [sum(map(len, own)) <= _MOST for own in records]
    flat = list(itertools.chain.from_iterable(itertools.compress(records, is_small)))
    try:
        found: Iterator[_Record | None] = iter(_MANY.decode(b"[" + b",".join(flat) + b"]"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = map(_decode_one, flat)
    decoded: list[list[_Record] | None] = []
    for own, is_read in zip(records, is_small, strict=True):
        part = [record for record in itertools.islice(found, len(own) if is_read else 0) if record is not None]
        decoded.append(part if len(part) == len(own) else None)
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
        places: Sequence[Sequence[int]],
        sizes: npt.NDArray[np.int64],
        labels: LabelSpace,
    ) -> None:
        self.records = list(itertools.chain.from_iterable(images))
        records, count = self.records, len(self.records)
        self.sizes = sizes
        self.images = pointer_of(np.array([len(own) for own in images], np.int64))
        self.owner = np.arange(len(images)).repeat(np.diff(self.images))
        self.height, self.width = sizes[self.owner].T
        index_of = labels.index_of_id
        self.order = np.array(list(itertools.chain.from_iterable(places)), np.int64)
        self.id = np.array([record.id for record in records], np.int64)
        self.category = np.array([index_of.get(record.category_id, -1) for record in records], np.int64)
        self.bbox = np.array([record.bbox for record in records], np.float64).reshape(count, 4)
        self.area = np.array([record.area for record in records], np.float64)
        self.iscrowd = np.array([record.iscrowd for record in records], bool)
        self.run_lengths = {
            place: {"size": record.segmentation.size, "counts": record.segmentation.counts}
            for place, record in enumerate(records)
            if isinstance(record.segmentation, _RunLengths)
        }
        rings = [record.segmentation if isinstance(record.segmentation, list) else [] for record in records]
        self.polygons = Polygons.of(rings)
        self.has_mask = np.diff(self.polygons.pointer) > 0
        self.has_mask[list(self.run_lengths)] = True

    def irregular(self) -> list[int]:
        """Images with a record that the general way must look at."""
        x, y, w, h = self.bbox.T
        is_odd = (self.category < 0) | (w < 0) | (h < 0) | (x < -1) | (y < -1)
        is_odd |= (x + w > self.width + 1) | (y + h > self.height + 1)
        rings, values = self.polygons.rings, self.polygons.values
        if len(values):
            low, high = np.minimum.reduceat(values, rings[:-1]), np.maximum.reduceat(values, rings[:-1])
            length = np.diff(rings)
            is_long = (low < -1e9) | (high > 1e9) | (length % 2 == 1) | (length * (high - low) > MAX_BOUNDARY)
            is_odd[np.arange(len(is_odd)).repeat(np.diff(self.polygons.pointer))[is_long]] = True
        for place, rle in self.run_lengths.items():
            try:
                check_run_lengths(rle, int(self.height[place]), int(self.width[place]))
            except SegdataError:
                is_odd[place] = True
            # Only crowds have counts in the columns' own way of writing, which has no empty run within.
            is_odd[place] |= not self.iscrowd[place] or 0 in rle["counts"][1:] or not rle["counts"][1:]
        return sorted(set(self.owner[is_odd].tolist()))

    def instances(self) -> list[Regular]:
        """The columns, cut at the images."""
        bounds = self.images.tolist()
        polygons = self.polygons.cut(self.images)
        counts = {place: np.array(rle["counts"], np.int64) for place, rle in self.run_lengths.items()}
        spans = spans_of_objects(self.polygons, counts, self.height, self.width)
        masks = Masks.of_images(spans, self.sizes, self.images)
        odd = self._odd()
        unknown = np.full(len(self.records), np.nan)
        no = np.zeros(len(self.records), bool)
        found = []
        for number, (begin, end) in enumerate(itertools.pairwise(bounds)):
            own = slice(begin, end)
            instances = Instances(
                category=self.category[own],
                masks=masks[number],
                has_mask=self.has_mask[own],
                iscrowd=self.iscrowd[own],
                difficult=no[own],
                truncated=no[own],
                occluded=no[own],
                id=self.id[own],
                bbox=self.bbox[own],
                area=self.area[own],
                score=unknown[own],
                order=self.order[own],
                polygons=polygons[number],
                extra=[{}] * (end - begin),
            )
            remarkable = [
                (msgspec.structs.asdict(self.records[place]), area) for place, area in odd if begin <= place < end
            ]
            found.append(Regular(instances, remarkable))
        return found

    def _odd(self) -> list[tuple[int, float]]:
        x, y, w, h = self.bbox.T
        drawn = self.polygons.areas
        is_odd = ~self.has_mask | (w == 0) | (h == 0) | (x < 0) | (y < 0)
        is_odd |= (x + w > self.width) | (y + h > self.height)
        has_rings = np.diff(self.polygons.pointer) > 0
        differs = np.abs(drawn - self.area) > 0.02 * np.maximum(drawn, self.area)
        is_odd |= has_rings & ~self.iscrowd & (differs | (drawn < 1e-6))
        places = is_odd.nonzero()[0].tolist()
        return list(zip(places, drawn[places].tolist(), strict=True))
