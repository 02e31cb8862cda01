"""Ground truth and predictions, the two inputs of every metric, and one image's objects as arrays.

Masks are decoded only when a metric asks for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray, FloatArray, IntArray
from segdata.core.findings import Findings
from segdata.core.labels import LabelMapping, LabelSpace
from segdata.core.masks import Masks
from segdata.core.sample import Instances, Sample

Crop = tuple[int, int, npt.NDArray[np.bool_]]
"""x and y of the crop's top left pixel in its image, and the mask inside it, (h, w) bool."""


@dataclass(frozen=True, eq=False)
class Regions:
    """The P scored masks of one image.

    Attributes:
        height, width: of the image in pixels.
        category: (P,) int64, indices into the label space.
        score: (P,) float64.
        crops: P crops; one of size 0 for a prediction without a mask.
    """

    height: int
    width: int
    category: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    crops: Sequence[Crop]

    @classmethod
    def of(cls, instances: Instances) -> Regions:
        """From the instances of a sample."""
        masks = instances.masks
        crops = [
            (x, y, crop.view(bool)) for crop, (x, y, _, _) in zip(masks.crops(), masks.boxes_xywh.tolist(), strict=True)
        ]
        return cls(masks.height, masks.width, instances.category, instances.score, crops)


_BATCH = 255
"""pycocotools 2.0.11 cannot compute the areas of more masks than this in one call on NumPy 2."""


@dataclass(frozen=True, eq=False)
class Shapes:
    """N masks of one image: boxes and areas at hand, COCO RLE on demand.

    Attributes:
        boxes_xywh: (N, 4) float64, x y width height of each mask's tight box; all 0 for an empty mask.
        areas: (N,) float64, number of pixels of each mask.
        rle: indices, (K,) int64 → COCO RLE dictionaries of these masks, as pycocotools takes them.
    """

    boxes_xywh: FloatArray
    areas: FloatArray
    rle: Callable[[IntArray], list[dict[str, Any]]]

    @classmethod
    def of_masks(cls, masks: Masks) -> Shapes:
        """From the masks of a sample."""
        return cls(
            masks.boxes_xywh.astype(np.float64), masks.areas.astype(np.float64), lambda indices: masks[indices].rle()
        )

    @classmethod
    def of_strings(cls, strings: Sequence[bytes], height: int, width: int) -> Shapes:
        """From COCO's compressed RLE strings of the full image, which must have been checked (`rle.check_strings`)."""
        from pycocotools import mask as coco_mask

        size = [height, width]
        rles = [{"size": size, "counts": string} for string in strings]
        areas = np.zeros(len(rles))
        for begin in range(0, len(rles), _BATCH):
            areas[begin : begin + _BATCH] = coco_mask.area(rles[begin : begin + _BATCH])
        boxes = np.asarray(coco_mask.toBbox(rles), np.float64) if rles else np.zeros((0, 4))
        return cls(boxes, areas, lambda indices: [rles[index] for index in indices.tolist()])


@dataclass(frozen=True, eq=False)
class Columns:
    """N objects of one image: the columns of `Instances` that metrics of boxes and masks look at.

    Attributes:
        shapes: gives the N masks, empty where `has_mask` is False.
    """

    category: IntArray
    id: IntArray
    bbox: FloatArray
    area: FloatArray
    iscrowd: BoolArray
    difficult: BoolArray
    score: FloatArray
    has_mask: BoolArray
    shapes: Callable[[], Shapes]

    def __len__(self) -> int:
        return len(self.category)

    @classmethod
    def of(cls, instances: Instances) -> Columns:
        """From the instances of a sample; their masks are decoded when `shapes` is called."""
        return cls(
            category=instances.category,
            id=instances.id,
            bbox=instances.bbox,
            area=instances.area,
            iscrowd=instances.iscrowd,
            difficult=instances.difficult,
            score=instances.score,
            has_mask=instances.has_mask,
            shapes=lambda: Shapes.of_masks(instances.masks),
        )

    @classmethod
    def none(cls) -> Columns:
        """Columns of no object at all."""
        return cls.of(Instances.none(1, 1))


Holding = Literal["boxes", "masks", "scores", "semantic", "panoptic"]
"""What predictions may hold; it decides which metrics are computed when none is asked for."""


@dataclass(frozen=True)
class GroundTruth:
    """The annotated images that predictions are compared with.

    Attributes:
        path: where they came from.
        format: "pack" or the format's name.
        made_from: the format whose samples these are, also for a pack.
        labels: what category indices mean.
        splits: name → indices of its images.
        keys: every image's key (`Sample.key`), in order.
        get: image `index` with its annotations, read anew each time.
        find_images: (N, 3) int64, the source's number of every image (−1 where it has none), its height and width.
        findings: what was odd in it.
        find_columns: the objects of image `index`, where they can be had without reading the whole sample.
        find_semantic, find_instance_ids: the same for label maps and Cityscapes' instance maps; they may give None.
        progress: called as `progress(images done, images in all)` by every walk over the images.
        find_text_ids: the source's ids of images that are text, each with the image's index.
        may_lack: whether predictions may leave annotated images out.
        mapped_from: the categories that the source has, and their mapping to `labels`, where these are a view of them.
    """

    path: Path
    format: str
    made_from: str
    labels: LabelSpace
    splits: Mapping[str, Sequence[int]]
    keys: Sequence[str]
    get: Callable[[int], Sample]
    find_images: Callable[[], npt.NDArray[np.int64]]
    findings: Findings = field(default_factory=Findings)
    find_columns: Callable[[int], Columns] | None = None
    find_semantic: Callable[[int], npt.NDArray[Any] | None] | None = None
    find_instance_ids: Callable[[int], npt.NDArray[Any] | None] | None = None
    progress: Callable[[int, int], None] | None = None
    find_text_ids: Callable[[], Mapping[str, int]] | None = None
    may_lack: bool = False
    mapped_from: tuple[LabelSpace, LabelMapping] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def walk(self, indices: Sequence[int] | None = None) -> Iterator[int]:
        """Yield the indices of the images, all by default, and report progress after each."""
        indices = range(len(self)) if indices is None else indices
        for done, index in enumerate(indices, 1):
            yield index
            if self.progress is not None:
                self.progress(done, len(indices))

    def columns(self, index: int) -> Columns:
        """The objects of image `index`."""
        return Columns.of(self.get(index).instances) if self.find_columns is None else self.find_columns(index)

    def semantic(self, index: int) -> npt.NDArray[Any] | None:
        """(H, W) label map of image `index`, None where it has none."""
        label_map = None if self.find_semantic is None else self.find_semantic(index)
        return self.get(index).semantic if label_map is None else label_map

    @cached_property
    def image_table(self) -> npt.NDArray[np.int64]:
        """(N, 3) int64, what `find_images` gives."""
        return self.find_images()

    @property
    def ids(self) -> npt.NDArray[np.int64]:
        """(N,) int64, the source's number of every image, −1 where it has none."""
        return self.image_table[:, 0]

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """(N, 2) int64, height and width of every image in pixels."""
        return self.image_table[:, 1:]

    @cached_property
    def index_of_id(self) -> dict[int, int]:
        """The source's number of an image → its index."""
        return {number: index for index, number in enumerate(self.ids.tolist()) if number >= 0}

    @cached_property
    def index_of_text(self) -> dict[str, int]:
        """Text → the image that it means: the source's id where that is a text, the key, or the key's last part."""
        ends = [key.rpartition("/")[2] for key in self.keys]
        counts = Counter(ends)
        by_end = {end: index for index, end in enumerate(ends) if counts[end] == 1}
        return by_end | self.index_of_key | dict({} if self.find_text_ids is None else self.find_text_ids())

    @cached_property
    def index_of_key(self) -> dict[str, int]:
        """Key → index; of several images with one key, the first."""
        return {key: len(self.keys) - 1 - index for index, key in enumerate(reversed(self.keys))}


@dataclass(frozen=True)
class Predictions:
    """What was predicted for the images of a ground truth.

    Attributes:
        path: where they came from.
        kind: "pack" or the name of the results' kind.
        holds: what is in them.
        get: the predictions for image `index` of the ground truth, under its label space; None where there are none
            for this image.
        findings: what was odd in them; metrics add to it.
        find_columns: the detections of an image, where they can be had without making a sample.
        find_regions: the same for scored masks.
        find_covered: indices of the images that they speak of, ascending; all where it is None.
    """

    path: Path
    kind: str
    holds: frozenset[Holding]
    get: Callable[[int], Sample | None]
    findings: Findings = field(default_factory=Findings)
    find_columns: Callable[[int], Columns] | None = None
    find_regions: Callable[[int], Regions | None] | None = None
    find_covered: Callable[[], Sequence[int]] | None = None

    def regions(self, index: int) -> Regions | None:
        """The scored masks of image `index` of the ground truth; None where the predictions leave it out."""
        if self.find_regions is not None:
            return self.find_regions(index)
        sample = self.get(index)
        return None if sample is None else Regions.of(sample.instances)

    def columns(self, index: int) -> Columns:
        """The detections of image `index` of the ground truth; none where the predictions leave it out."""
        if self.find_columns is not None:
            return self.find_columns(index)
        sample = self.get(index)
        return Columns.none() if sample is None else Columns.of(sample.instances)
