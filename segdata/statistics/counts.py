"""A pack or a dataset folder → what is in it, counted: objects, pixels, sizes, overlap, void, by category and by split.

Every sample is read once, its image never; memory grows with categories and splits, not with samples. Pictures of
what was counted are drawn elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.rle import IntArray, Spans, ranges
from segdata.core.sample import Instances, Sample
from segdata.pack import layout
from segdata.sources.dataset import Dataset, Labels, open_dataset

SIZES = ("small", "medium", "large", "of_unknown_size")
"""COCO's sizes: area below 32², below 96², the others; unknown where there is neither an annotated area nor a mask."""

SIZE_LIMITS = (32**2, 96**2)
"""Areas in pixels at which "medium" and "large" begin."""

AREA_BINS = 64
"""Bins of the areas' histogram; bin k begins at 2^(k / 2) pixels, the first holds everything below as well."""

GRID = 64
"""Cells along each side of the map of object positions."""

_OF_OBJECTS = (
    "empty_images",
    "crowds",
    "box_only",
    "difficult",
    "truncated",
    "occluded",
    "masks_in_parts",
    "masks_with_holes",
)


@dataclass(frozen=True)
class Statistics:
    """What was counted in a dataset.

    Attributes:
        source: the pack or folder.
        format: "pack", or the folder's format.
        labels: what the category columns of the tallies mean.
        total: over all samples that were asked for, each counted once.
        splits: name → the same for the samples of one split.
        shared: samples that two splits have in common; pairs that share none are left out.
        problems: what was odd or left out, as the pack recorded it or as it was met now.
    """

    source: Path
    format: str
    labels: LabelSpace
    total: Tally
    splits: Mapping[str, Tally]
    shared: Mapping[tuple[str, str], int]
    problems: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Everything counted, as JSON holds it."""
        return {
            "source": str(self.source),
            "format": self.format,
            "labels": self.labels.name,
            "total": self.total.as_dict(self.labels),
            "splits": {name: tally.as_dict(self.labels) for name, tally in self.splits.items()},
            "shared": [{"splits": list(pair), "samples": count} for pair, count in self.shared.items()],
            "problems": dict(self.problems),
        }


class Tally:
    """What was counted in a number of samples.

    Attributes:
        sums: plain counts by name, of images, objects and pixels.
        by_size: (K, 4) int64, objects of each category that are small, medium, large, of unknown size.
        images_with: (K,) int64, images in which each category occurs.
        pixels: (K,) int64, pixels of each category: those of the semantic map where an image has one, else those under
            at least one of the category's masks.
        areas: (64,) int64, objects by area; bin k begins at 2^(k / 2) pixels.
        per_image: number of objects → images with so many, of the images in which objects were annotated.
        image_sizes: (height, width) → images of that size.
    """

    def __init__(self, categories: int) -> None:
        self.sums: Counter[str] = Counter()
        self.by_size = np.zeros((categories, len(SIZES)), np.int64)
        self.images_with = np.zeros(categories, np.int64)
        self.pixels = np.zeros(categories, np.int64)
        self.areas = np.zeros(AREA_BINS, np.int64)
        self.per_image: Counter[int] = Counter()
        self.image_sizes: Counter[tuple[int, int]] = Counter()
        self._corners = np.zeros((GRID + 1, GRID + 1), np.int64)

    def add(self, image: _Image) -> None:
        """Count one image."""
        self.sums.update(image.sums)
        np.add.at(self.by_size, (image.category, image.size), 1)
        self.images_with[np.union1d(image.category, image.painted)] += 1
        self.pixels[image.painted] += image.pixels
        np.add.at(self.areas, image.area_bin, 1)
        if image.sums["annotated_images"]:
            self.per_image[len(image.category)] += 1
        self.image_sizes[image.shape] += 1
        x0, y0, x1, y1 = image.cells.T
        for rows, columns, sign in ((y0, x0, 1), (y0, x1, -1), (y1, x0, -1), (y1, x1, 1)):
            np.add.at(self._corners, (rows, columns), sign)

    @property
    def instances(self) -> IntArray:
        """(K,) int64, objects of each category."""
        instances: IntArray = self.by_size.sum(axis=1)
        return instances

    @property
    def pixel_shares(self) -> npt.NDArray[np.float64]:
        """(K,) float64, share of each category in the pixels of images with a semantic map or masks; NaN without any.

        From a semantic map the shares and void's add up to one; masks overlap and leave gaps.
        """
        every = self.sums["pixels"]
        return self.pixels / every if every else np.full(len(self.pixels), np.nan)

    @property
    def positions(self) -> npt.NDArray[np.float64]:
        """(64, 64) float64, share of the objects whose box covers each cell of the image, rows top to bottom."""
        covering = self._corners.cumsum(axis=0).cumsum(axis=1)[:GRID, :GRID]
        return covering / max(self.sums["boxes"], 1)

    def figures(self) -> dict[str, float | None]:
        """The numbers that describe it at a glance; None where the dataset does not say. Names in "share" are 0..1."""
        sums = self.sums
        counts = np.repeat(list(self.per_image), list(self.per_image.values())) if self.per_image else None
        objects: dict[str, float | None] = {
            "instances": int(self.by_size.sum()),
            "instances_per_image_min": None if counts is None else int(counts.min()),
            "instances_per_image_median": None if counts is None else float(np.median(counts)),
            "instances_per_image_mean": None if counts is None else float(counts.mean()),
            "instances_per_image_max": None if counts is None else int(counts.max()),
            **dict(zip(SIZES, self.by_size.sum(axis=0).tolist(), strict=True)),
            **{name: sums[name] for name in _OF_OBJECTS},
        }
        return {
            "images": sums["images"],
            "categories_that_occur": int(np.count_nonzero(self.images_with)),
            **{name: value if sums["annotated_images"] else None for name, value in objects.items()},
            "overlap_share": _share(sums["overlapped_pixels"], sums["covered_pixels"]),
            "overlap_image_share": _share(sums["images_with_overlap"], sums["images_with_masks"]),
            "void_share": _share(sums["void_pixels"], sums["semantic_pixels"]),
        }

    def as_dict(self, labels: LabelSpace) -> dict[str, Any]:
        """Everything counted, as JSON holds it."""
        sums = self.sums
        return {
            **self.figures(),
            "annotated_images": sums["annotated_images"],
            "semantic_images": sums["semantic_images"],
            "areas_from": {"annotation": sums["annotated_areas"], "mask": sums["mask_areas"]},
            "per_image": {str(number): count for number, count in sorted(self.per_image.items())},
            "image_sizes": [
                {"height": height, "width": width, "images": count}
                for (height, width), count in sorted(self.image_sizes.items(), key=lambda item: (-item[1], item[0]))
            ],
            "categories": self.categories(labels),
        }

    def categories(self, labels: LabelSpace) -> list[dict[str, Any]]:
        """Each category's name and counts, in the label space's order."""
        return [
            {
                "name": category.name,
                "instances": sum(sizes),
                "images": images,
                "pixels": pixels,
                "pixel_share": _share(pixels, self.sums["pixels"]),
                **dict(zip(SIZES, sizes, strict=True)),
            }
            for category, sizes, images, pixels in zip(
                labels.categories,
                self.by_size.tolist(),
                self.images_with.tolist(),
                self.pixels.tolist(),
                strict=True,
            )
        ]


def statistics(
    source: str | Path,
    *,
    source_format: str | None = None,
    splits: Sequence[str] = (),
    labels: Labels = None,
    progress: Callable[[int, int], None] | None = None,
) -> Statistics:
    """Count what a pack or a dataset folder holds.

    Args:
        source: a pack, or a dataset folder in a known layout.
        source_format: a folder's format; by its layout unless given.
        splits: only the samples of these.
        labels: categories to map to first: a view's or label space's name, a TOML file, or the thing itself.
        progress: called with the samples done and all samples.

    Raises:
        NotThere: no such folder, split or view.
        InvalidInput: the dataset is not valid.
    """
    path = Path(source)
    data = open_dataset(path, format=source_format, splits=splits, labels=labels)
    is_member = np.zeros((len(data.splits), len(data)), bool)
    for row, members in zip(is_member, data.splits.values(), strict=True):
        row[members] = True
    total, parts = _count(data, is_member, progress)
    names = list(data.splits)
    shared = is_member.astype(np.int64) @ is_member.T
    return Statistics(
        path,
        data.format,
        data.labels,
        total,
        dict(zip(names, parts, strict=True)),
        {
            (names[one], names[other]): int(shared[one, other])
            for one, other in combinations(range(len(names)), 2)
            if shared[one, other]
        },
        layout.read_index(path)["report"] if data.format == "pack" else data.findings.as_dict(),
    )


def compare(one: Statistics, other: Statistics) -> dict[str, Any]:
    """Two datasets side by side, categories matched by name.

    Returns:
        `figures` and, for each common category, `categories`: name → {source, other, difference}; the names of
        categories that only one label space has: `only_in_source`, `only_in_other`. A difference is other − source,
        None where either side is.
    """
    mine, theirs = (
        {category["name"]: category for category in each.total.categories(each.labels)} for each in (one, other)
    )
    return {
        "figures": _differences(one.total.figures(), other.total.figures()),
        "categories": {
            name: _differences(*({key: side[name][key] for key in _COMPARED} for side in (mine, theirs)))
            for name in mine
            if name in theirs
        },
        "only_in_source": [name for name in mine if name not in theirs],
        "only_in_other": [name for name in theirs if name not in mine],
    }


_COMPARED = ("instances", "images", "pixel_share")


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {
            "source": value,
            "other": other[name],
            "difference": None if value is None or other[name] is None else other[name] - value,
        }
        for name, value in one.items()
    }


def _count(
    data: Dataset, is_member: npt.NDArray[np.bool_], progress: Callable[[int, int], None] | None
) -> tuple[Tally, list[Tally]]:
    total = Tally(len(data.labels))
    parts = [Tally(len(data.labels)) for _ in is_member]
    for index in range(len(data)):
        image = _look(data.get(index, data.findings), data.labels)
        total.add(image)
        for split in np.flatnonzero(is_member[:, index]):
            parts[split].add(image)
        if progress is not None:
            progress(index + 1, len(data))
    return total, parts


# ---------------------------------------------------------------------- one image


@dataclass(frozen=True, eq=False)
class _Image:
    """What one image adds to a tally; N objects, P categories with pixels, B boxes.

    Attributes:
        category, size: (N,) int64, indices into the label space and into `SIZES`.
        area_bin: (≤ N,) int64, bins of the known areas.
        painted, pixels: (P,) int64, categories and their pixels.
        cells: (B, 4) int64, x0 y0 x1 y1 of the boxes in cells of the position grid, half-open.
    """

    shape: tuple[int, int]
    sums: Counter[str]
    category: IntArray
    size: IntArray
    area_bin: IntArray
    painted: IntArray
    pixels: IntArray
    cells: IntArray


def _look(sample: Sample, labels: LabelSpace) -> _Image:
    instances, semantic = sample.instances, sample.semantic
    masks, has_mask = instances.masks, instances.has_mask
    every = sample.height * sample.width
    spans = _spans(masks)
    is_annotated = ~np.isnan(instances.area)
    area = np.where(is_annotated, instances.area, np.where(has_mask, masks.areas, np.nan))
    is_known = ~np.isnan(area)
    cells = _cells(instances)
    parts, holes = _parts_and_holes(spans, masks)
    covered, overlapped = _coverage(spans, np.zeros(len(masks), np.int64), every)
    sums = Counter(
        images=1,
        annotated_images=int(sample.has_instances),
        empty_images=int(sample.has_instances and len(instances) == 0),
        images_with_masks=int(has_mask.any()),
        images_with_overlap=int(overlapped.sum() > 0),
        covered_pixels=int(covered.sum()),
        overlapped_pixels=int(overlapped.sum()),
        crowds=int(instances.iscrowd.sum()),
        difficult=int(instances.difficult.sum()),
        truncated=int(instances.truncated.sum()),
        occluded=int(instances.occluded.sum()),
        box_only=int((~has_mask).sum()),
        masks_in_parts=int((parts > 1).sum()),
        masks_with_holes=int((holes > 0).sum()),
        annotated_areas=int(is_annotated.sum()),
        mask_areas=int((is_known & ~is_annotated).sum()),
        boxes=len(cells),
    )
    painted, own = np.unique(instances.category, return_inverse=True)
    pixels = _coverage(spans, own, every)[0]
    if semantic is not None:
        counts = np.bincount(semantic.reshape(-1), minlength=labels.void + 1)
        painted, pixels = np.arange(len(labels)), counts[: len(labels)]
        sums.update(semantic_images=1, semantic_pixels=every, void_pixels=int(counts[labels.void]))
    if semantic is not None or (sample.has_instances and (has_mask.any() or len(instances) == 0)):
        sums["pixels"] = every
    return _Image(
        (sample.height, sample.width),
        sums,
        instances.category,
        np.where(is_known, np.digitize(area, SIZE_LIMITS), SIZES.index("of_unknown_size")),
        np.clip(np.floor(2 * np.log2(np.maximum(area[is_known], 1))), 0, AREA_BINS - 1).astype(np.int64),
        painted[pixels > 0],
        pixels[pixels > 0],
        cells,
    )


def _spans(masks: Masks) -> Spans:
    """Set pixels of all masks as spans of the whole image, column by column."""
    counts, pointer = masks.counts()
    owner = np.repeat(np.arange(len(masks)), np.diff(pointer))
    ends = np.concatenate(([0], np.cumsum(counts)))
    is_inside = (np.arange(len(counts)) - pointer[owner]) % 2 == 1
    return (ends[:-1] - ends[pointer[owner]])[is_inside], counts[is_inside], owner[is_inside]


def _coverage(spans: Spans, layer: IntArray, every: int) -> tuple[IntArray, IntArray]:
    """Pixels of each layer under at least one mask, and under more than one; mask i lies in `layer[i]`."""
    start, length, owner = spans
    start = start + layer[owner] * every
    position = np.concatenate((start, start + length))
    order = np.argsort(position, kind="stable")
    position = position[order]
    depth = np.cumsum(np.where(order < len(start), 1, -1))[:-1]
    pixels = np.diff(position)
    of = position[:-1] // every
    layers = int(layer.max(initial=-1)) + 1
    covered, overlapped = (np.bincount(of, pixels * (depth > least), layers).astype(np.int64) for least in (0, 1))
    return covered[:layers], overlapped[:layers]


def _parts_and_holes(spans: Spans, masks: Masks) -> tuple[IntArray, IntArray]:
    """(N,) parts of each mask (pixels that touch at a corner are together) and (N,) holes.

    The pieces of a mask's columns are the vertices of a graph, pieces that touch in neighbouring columns its edges;
    its connected components are the parts, its independent cycles the holes.
    """
    start, length, owner = spans
    first, last = start // masks.height, (start + length - 1) // masks.height
    pieces = last - first + 1
    of = np.repeat(np.arange(len(start)), pieces)
    column = ranges(first, pieces)
    top = np.maximum(start[of], column * masks.height)
    bottom = np.minimum((start + length)[of], (column + 1) * masks.height)
    owner = owner[of]
    # One line for all: a gap of two pixels after every column and of a column after every mask keeps strangers apart.
    stride = masks.height + 2
    shift = owner * (masks.width + 1) * stride + 2 * column
    top, bottom = top + shift, bottom + shift
    low = np.searchsorted(bottom, top + stride, side="left")
    high = np.searchsorted(top, bottom + stride, side="right")
    touching = np.maximum(high - low, 0)
    one, other = np.repeat(np.arange(len(top)), touching), ranges(low, touching)
    root = _roots(len(top), one, other)
    count = len(masks)
    parts = np.bincount(owner[root == np.arange(len(root))], minlength=count)
    holes = np.bincount(owner[one], minlength=count) - np.bincount(owner, minlength=count) + parts
    return parts, holes


def _roots(count: int, one: IntArray, other: IntArray) -> IntArray:
    """(count,) int64, the smallest vertex that each vertex is connected with by the edges `one[i]` – `other[i]`."""
    root = np.arange(count)
    while True:
        lower = np.minimum(root[one], root[other])
        merged = root.copy()
        np.minimum.at(merged, root[one], lower)
        np.minimum.at(merged, root[other], lower)
        merged = merged[merged]
        if np.array_equal(merged, root):
            return root
        root = merged


def _cells(instances: Instances) -> IntArray:
    """The boxes that have an extent, in cells of the position grid."""
    masks = instances.masks
    boxes = instances.boxes
    boxes = boxes[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])]
    scaled = boxes / np.tile([masks.width, masks.height], 2) * GRID
    cells: IntArray = np.concatenate((np.floor(scaled[:, :2]), np.ceil(scaled[:, 2:])), axis=1).astype(np.int64)
    return cells.clip(0, GRID)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
