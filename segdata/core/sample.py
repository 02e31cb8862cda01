"""`Sample`: one image with its annotations; `Instances`: the objects of one image as columns.

A sample of a pack is lazy: `.image` decodes, `.semantic` decompresses, `.instances` slices columns. Ground truth and
predictions are the same type; predictions have scores.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from segdata.core import building, images
from segdata.core.arrays import BoolArray, FloatArray, IntArray
from segdata.core.labels import Category, LabelSpace
from segdata.core.masks import Masks
from segdata.core.polygons import Polygons
from segdata.core.reprs import counted, line
from segdata.errors import DamagedData, InvalidAnnotation, InvalidImage, SegdataError


@dataclass(frozen=True, eq=False)
class Records(Sequence[dict[str, Any]]):
    """N JSON objects in one buffer, parsed on access; `[i]` is a new dictionary (empty where there is no record).

    Attributes:
        blob: (B,) uint8, the JSON texts in UTF-8, concatenated.
        offset: (N + 1,) int64; record i is `blob[offset[i]:offset[i + 1]]`, of length 0 where there is none.
        source, first: for messages: what the records are read from, and the number of record 0 there.
    """

    blob: npt.NDArray[np.uint8]
    offset: IntArray
    source: str = ""
    first: int = 0

    def __len__(self) -> int:
        return len(self.offset) - 1

    def __repr__(self) -> str:
        return line(self, counted(len(self), "record"))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle only the part of the blob that these records use."""
        blob = self.blob[self.offset[0] : self.offset[-1]]
        return Records, (blob, self.offset - self.offset[0], self.source, self.first)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        index = range(len(self))[index]
        text = self.blob[self.offset[index] : self.offset[index + 1]].tobytes()
        if not text:
            return {}
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._damage(index, str(error)[:200]) from error
        if not isinstance(record, dict):
            raise self._damage(index, f"expected a JSON object, found {type(record).__name__}")
        return record

    def _damage(self, index: int, why: str) -> DamagedData:
        return DamagedData(
            "a record is damaged",
            place=f"{self.source}, record {self.first + index}",
            why=why,
            fix="restore the file, or convert the dataset again with --force",
        )


_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def record_text(record: Mapping[str, Any]) -> bytes:
    """The text of a record as `Records` reads it; an empty record takes no space."""
    return _ENCODE(record).encode("utf-8", "surrogatepass") if record else b""


@dataclass(frozen=True, eq=False)
class Instances:
    """The N objects of one image as columns.

    Attributes:
        category: (N,) int64, index into the label space.
        masks: N masks; empty where `has_mask` is False.
        has_mask: (N,) bool, False for an object that has a box only.
        iscrowd, difficult, truncated, occluded: (N,) bool, as the source says (False where it says nothing).
        id: (N,) int64, the source's number of the object.
        bbox: (N, 4) float64, x y width height exactly as annotated, NaN where the source gives none.
        area: (N,) float64 as annotated, NaN where the source gives none.
        score: (N,) float64 in predictions, NaN in ground truth.
        order: (N,) int64, each object's position in the source's own list (sources may interleave images).
        polygons: the source's polygons of each object, possibly none.
        extra: N dictionaries, what else the source says about each object.
    """

    category: IntArray
    masks: Masks
    has_mask: BoolArray
    iscrowd: BoolArray
    difficult: BoolArray
    truncated: BoolArray
    occluded: BoolArray
    id: IntArray
    bbox: FloatArray
    area: FloatArray
    score: FloatArray
    order: IntArray
    polygons: Polygons
    extra: Sequence[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.category)

    def __repr__(self) -> str:
        categories = counted(len(np.unique(self.category)), "category")
        scores = (
            "" if np.isnan(self.score).all() else f"scores {np.nanmin(self.score):.2f} to {np.nanmax(self.score):.2f}"
        )
        return line(self, counted(len(self), "object"), categories, scores)

    @property
    def boxes(self) -> FloatArray:
        """(N, 4) float64 x0 y0 x1 y1 in pixels, half-open: from `bbox`, from the masks where no box was annotated."""
        boxes = self.bbox.copy()
        boxes[:, 2:] += boxes[:, :2]
        is_unknown = np.isnan(boxes)
        return np.where(is_unknown, self.masks.boxes, boxes) if is_unknown.any() else boxes

    @classmethod
    def build(
        cls,
        category: Sequence[int] | npt.NDArray[Any],
        masks: Masks,
        *,
        has_mask: Sequence[bool] | BoolArray | None = None,
        iscrowd: Sequence[bool] | BoolArray | None = None,
        difficult: Sequence[bool] | BoolArray | None = None,
        truncated: Sequence[bool] | BoolArray | None = None,
        occluded: Sequence[bool] | BoolArray | None = None,
        id: Sequence[int] | npt.NDArray[Any] | None = None,
        bbox: Sequence[Sequence[float]] | npt.NDArray[Any] | None = None,
        area: Sequence[float] | npt.NDArray[Any] | None = None,
        score: Sequence[float] | npt.NDArray[Any] | None = None,
        order: Sequence[int] | npt.NDArray[Any] | None = None,
        polygons: Polygons | None = None,
        extra: Sequence[dict[str, Any]] | None = None,
    ) -> Instances:
        """From some columns; every other one gets its "unknown" value (`id` and `order` count from 0).

        Args:
            category: (N,) indices into the label space.
            masks: N masks; empty ones where `has_mask` is False.

        Raises:
            ValueError: columns of different lengths.
        """
        count = len(category)

        def flags(values: Sequence[bool] | BoolArray | None, default: bool = False) -> BoolArray:
            return np.full(count, default) if values is None else np.asarray(values, bool)

        def numbers(values: Any, shape: tuple[int, ...]) -> FloatArray:
            return np.full(shape, np.nan) if values is None else np.asarray(values, np.float64).reshape(shape)

        instances = cls(
            category=np.asarray(category, np.int64),
            masks=masks,
            has_mask=flags(has_mask, True),
            iscrowd=flags(iscrowd),
            difficult=flags(difficult),
            truncated=flags(truncated),
            occluded=flags(occluded),
            id=np.arange(count, dtype=np.int64) if id is None else np.asarray(id, np.int64),
            bbox=numbers(bbox, (count, 4)),
            area=numbers(area, (count,)),
            score=numbers(score, (count,)),
            order=np.arange(count, dtype=np.int64) if order is None else np.asarray(order, np.int64),
            polygons=polygons or Polygons.of([[]] * count),
            extra=[{}] * count if extra is None else extra,
        )
        for field in fields(instances):  # bbox, area and score were brought into their shapes
            if (length := len(getattr(instances, field.name))) != count:
                raise ValueError(f"{field.name} has {length} entries for {count} instances")
        return instances

    @classmethod
    def none(cls, height: int, width: int) -> Instances:
        """No objects, in an image of this size in pixels."""
        return cls.build([], Masks.empty(height, width))

    def take(self, indices: Sequence[int] | npt.NDArray[Any]) -> Instances:
        """Select instances by indices, in their order, or by an (N,) boolean array."""
        chosen = np.arange(len(self))[np.asarray(indices)] if len(indices) else np.zeros(0, np.int64)
        columns = {name: getattr(self, name)[chosen] for name in _ARRAYS}
        masks, polygons = self.masks[chosen], self.polygons.take(chosen)
        return Instances(
            masks=replace(masks, drawn_from=polygons) if self.masks.drawn_from is self.polygons else masks,
            polygons=polygons,
            extra=[self.extra[index] for index in chosen.tolist()],
            **columns,
        )

    def with_category(self, category: IntArray) -> Instances:
        """The same instances with other category indices."""
        return replace(self, category=category)


_ARRAYS = (
    *("category", "has_mask", "iscrowd", "difficult", "truncated", "occluded"),
    *("id", "bbox", "area", "score", "order"),
)

Lazy = Callable[[], Any]
LazyMap = Callable[[npt.NDArray[Any] | None], npt.NDArray[Any]]
"""Returns a map; writes it into the array where one is passed."""


PICTURES: list[Callable[[Sample], bytes]] = []
"""What draws a sample for a notebook, as PNG; `segdata.viz.gallery` puts itself here."""


class Sample:
    """One image and its annotations; image, masks and maps are read when they are asked for.

    Attributes:
        key: the image's path under its split's image folder, without extension; with the split, it identifies the image
            in any pack.
        height, width: in pixels, as stored (EXIF orientation is never applied).
        file: the image's path under the dataset's root, with extension; "" when unknown.
        id: the source's number of the image, −1 when it has none.
        has_instances, has_semantic: whether instances or a semantic map were annotated here at all.
        encoded: the image file's bytes, unchanged; None in packs that hold no images.
        instances: the objects; none where `has_instances` is False.
        semantic: (H, W) uint8 or uint16 map of category indices, the label space's void where unlabelled, or None.
        extra: what else the source says about the image.
        labels: what its categories mean, in samples of a pack or folder; None elsewhere.
        max_pixels: `image` refuses to decode more pixels than this.
    """

    def __init__(
        self,
        key: str,
        height: int,
        width: int,
        *,
        file: str | Callable[[], str] = "",
        id: int = -1,
        encoded: bytes | Lazy | None = None,
        instances: Instances | Lazy | None = None,
        semantic: npt.NDArray[Any] | LazyMap | None = None,
        extra: Mapping[str, Any] | Lazy | None = None,
        max_pixels: int = images.MAX_PIXELS,
    ) -> None:
        self.key = key
        self.height = height
        self.width = width
        self.id = id
        self.has_instances = instances is not None
        self.has_semantic = semantic is not None
        self._file = file
        self._encoded = encoded
        self._instances = instances
        self._semantic = semantic
        self._extra = extra
        self.max_pixels = max_pixels
        self.labels: LabelSpace | None = None

    @classmethod
    def build(
        cls,
        key: str,
        image: Any = None,
        *,
        size: tuple[int, int] | None = None,
        masks: Any = None,
        category: Sequence[int] | Sequence[str] | npt.NDArray[Any] | None = None,
        labels: LabelSpace | Iterable[str | Category] | None = None,
        semantic: Any = None,
        id: int = -1,
        extra: Mapping[str, Any] | None = None,
        max_pixels: int = images.MAX_PIXELS,
        **columns: Any,
    ) -> Sample:
        """From what is in memory, such as arrays.

        Args:
            key: the image's name without extension, unique in its split; "/" makes folders.
            image: an array, (H, W, 3) uint8 RGB or (H, W) uint8 grey; a picture of Pillow; the bytes of an image file; or
                a path. None where there is none, with `size`.
            size: (height, width) in pixels, where there is no image.
            masks: an array (N, H, W) of 0 and 1, or N items: arrays (H, W), COCO RLE, polygons as lists of rings
                x0 y0 x1 y1 …, or None for an object without mask.
            category: (N,) of each object: indices, or names of `labels`; without objects, [] says that there are none.
            labels: the categories, where `category` has names.
            semantic: (H, W) map of category indices, 255 (65535 with more than 255 categories) where there is none.
            columns: other columns of `Instances.build`: `bbox` (N, 4) x y width height, `iscrowd`, `score`, `area` ….

        Raises:
            InvalidInput: the parts do not fit together; the message says which, and the key.
            NotThere, DiskError: the image file does not exist, or cannot be read.
        """
        try:
            if not isinstance(key, str) or type(id) is bool or not isinstance(id, (int, np.integer)):
                raise InvalidAnnotation("key is a text, and id a whole number", why=f"found {key!r} and {id!r}")
            file = building.image_file(image, size, max_pixels=max_pixels)
            has_objects = masks is not None or category is not None or bool(columns)
            return cls(
                key,
                file.height,
                file.width,
                file=f"{key}{file.ending}" if file.ending else "",
                id=id,
                encoded=file.encoded,
                instances=_built(masks, category, labels, columns, file.height, file.width) if has_objects else None,
                semantic=None if semantic is None else building.label_map(semantic, file.height, file.width),
                extra=extra,
                max_pixels=max_pixels,
            )
        except SegdataError as error:
            raise error.located(key=str(key)) from error

    def _repr_png_(self) -> bytes | None:
        """Its picture, which notebooks show."""
        return PICTURES[-1](self) if PICTURES else None

    def __repr__(self) -> str:
        return f"Sample({self.key!r}, {self.height}×{self.width})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what is read: the encoded image, the instances, the semantic map."""
        values: dict[str, Any] = {
            "file": self.file,
            "id": self.id,
            "encoded": self.encoded,
            "instances": self.instances if self.has_instances else None,
            "semantic": self.semantic,
            "extra": self.extra,
            "max_pixels": self.max_pixels,
        }
        return partial(Sample, self.key, self.height, self.width, **values), ()

    @property
    def file(self) -> str:
        """The image's path under the dataset's root, with extension; "" when unknown."""
        return self._file() if callable(self._file) else self._file

    @property
    def encoded(self) -> bytes | None:
        """The image file's bytes, read anew each time; None where the sample has no image."""
        encoded = self._encoded() if callable(self._encoded) else self._encoded
        return None if encoded is None else bytes(encoded)

    @property
    def image(self) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, decoded anew each time.

        Raises:
            InvalidImage: the sample has no image, or it cannot be decoded.
            Unsafe: it has more than `max_pixels` pixels.
        """
        return self.decode()

    def decode(self, out: npt.NDArray[np.uint8] | None = None) -> npt.NDArray[np.uint8]:
        """`image`, decoded into `out`, (H, W, 3) uint8 in C order, which is returned."""
        encoded = self._encoded() if callable(self._encoded) else self._encoded
        if encoded is None:
            raise InvalidImage(
                "this sample has no image",
                key=self.key,
                why="the pack was made without images",
                fix="convert again with --images embed or --images reference",
            )
        try:
            return images.decode(encoded, max_pixels=self.max_pixels, out=out)
        except SegdataError as error:
            raise error.located(key=self.key, file=self.file or None) from error

    @cached_property
    def instances(self) -> Instances:
        """The objects of this image."""
        if callable(self._instances):
            instances: Instances = self._instances()
            return instances
        return Instances.none(self.height, self.width) if self._instances is None else self._instances

    @cached_property
    def semantic(self) -> npt.NDArray[Any] | None:
        """(H, W) uint8 or uint16 map of category indices, or None."""
        return self._semantic(None) if callable(self._semantic) else self._semantic

    def read_semantic(self, out: npt.NDArray[Any]) -> None:
        """Write `semantic`, which must not be None, into `out`, (H, W) of its dtype."""
        if callable(self._semantic) and "semantic" not in self.__dict__:
            self._semantic(out)
        else:
            out[...] = self.semantic

    @cached_property
    def extra(self) -> Mapping[str, Any]:
        """What else the source says about the image."""
        return (self._extra() if callable(self._extra) else self._extra) or {}

    @property
    def captions(self) -> tuple[str, ...]:
        """Captions of the image, where the source has any."""
        captions = self.extra.get("captions", ())
        if not isinstance(captions, (list, tuple)) or not all(isinstance(caption, str) for caption in captions):
            raise DamagedData("captions are no list of sentences", key=self.key, why=f"found {captions!r}"[:200])
        return tuple(captions)

    @property
    def has_image(self) -> bool:
        """Whether there is an image; nothing is read."""
        return self._encoded is not None

    def with_encoded(self, encoded: bytes | Callable[[], bytes | memoryview | None]) -> Sample:
        """The same sample with other bytes of the image file, or a function that gives them."""
        sample = Sample.__new__(Sample)
        vars(sample).update(vars(self), _encoded=encoded)
        return sample

    def with_annotations(
        self,
        *,
        instances: Instances | None,
        semantic: npt.NDArray[Any] | None,
        extra: Mapping[str, Any] | None,
    ) -> Sample:
        """The same image with other annotations."""
        return Sample(
            self.key,
            self.height,
            self.width,
            file=self._file,
            id=self.id,
            encoded=self._encoded,
            instances=instances,
            semantic=semantic,
            extra=extra,
            max_pixels=self.max_pixels,
        )


def _built(
    masks: Any,
    category: Any,
    labels: LabelSpace | Iterable[str | Category] | None,
    columns: Mapping[str, Any],
    height: int,
    width: int,
) -> Instances:
    """Instances of what `Sample.build` gets."""
    if category is None:
        raise InvalidAnnotation("the objects have no category", fix="give category=[…], an index or a name for each")
    space = LabelSpace.of(labels) if labels is not None and not isinstance(labels, LabelSpace) else labels
    indices = building.category_indices(category, space)
    built = building.built_masks([None] * len(indices) if masks is None else masks, height, width)
    try:
        # Counted from 1: a match with an object of id 0 never counts in COCO's metrics.
        known = {"has_mask": built.has_mask, "polygons": built.polygons, "id": np.arange(1, len(indices) + 1)}
        instances = Instances.build(indices, built.masks, **{**known, **columns})
    except ValueError as error:
        raise InvalidAnnotation(
            "the columns of the objects do not fit together", why=str(error), fix="give one entry for each object"
        ) from error
    bbox = columns.get("bbox")
    if bbox is not None and len(indices) and np.shape(bbox) != (len(indices), 4):
        raise InvalidAnnotation("bbox is of another shape", why=f"expected (N, 4), found {np.shape(bbox)}")
    x, y, w, h = instances.bbox.T
    wrong = np.flatnonzero((w < 0) | (h < 0) | (x < -1) | (y < -1) | (x + w > width + 1) | (y + h > height + 1))
    if wrong.size:
        raise InvalidAnnotation(
            "a box has a negative size, or leaves the image",
            place=f"bbox[{wrong[0]}]",
            why=f"[x, y, width, height] = {instances.bbox[wrong[0]].tolist()}, the image has {width} × {height} pixels",
            fix="boxes are x, y, width, height in pixels, not two corners",
        )
    return instances
