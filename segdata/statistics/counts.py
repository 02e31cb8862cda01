"""Count what a dataset holds: objects, pixels, object sizes, overlap and void, by category and by split.

Every sample is read once, its image never; memory grows with categories and splits, not with samples. `statistics.plots`
draws the counts.
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

from segdata.core.arrays import IntArray, roots
from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.reprs import counted, line
from segdata.core.rle import Spans, ranges
from segdata.core.sample import Instances, Sample
from segdata.pack import layout
from segdata.places.address import located
from segdata.sources.dataset import Dataset, Labels, open_dataset
from segdata.system.files import disk_errors

SIZES = ("small", "medium", "large", "of_unknown_size")
"""COCO's sizes: area below 32², below 96², the others; unknown where there is neither an annotated area nor a mask."""

SIZE_LIMITS = (32**2, 96**2)
"""Areas in pixels at which "medium" and "large" begin."""

AREA_BINS = 64
"""Bins of the areas' histogram; bin k begins at 2^(k / 2) pixels, the first holds everything below as well."""

GRID = 64
"""Cells along each side of the heat map of object positions."""

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
    """The counts of a dataset.

    Attributes:
        source: the pack or folder.
        format: "pack", or the folder's format.
        labels: the label space of the category columns.
        total: over all samples of the chosen splits, each counted once.
        splits: name → the counts of one split.
        shared: (split, split) → number of samples in both; pairs that share none are left out.
        problems: what was odd or left out, as the pack recorded it or as it was met while counting.
    """

    source: Path
    format: str
    labels: LabelSpace
    total: Tally
    splits: Mapping[str, Tally]
    shared: Mapping[tuple[str, str], int]
    problems: Mapping[str, Any]

    def __repr__(self) -> str:
        counts = (counted(self.total.sums[name], name.removesuffix("s")) for name in ("images", "objects"))
        return line(self, repr(str(self.source)), *counts, f"labels {self.labels.name!r}")

    def as_dict(self) -> dict[str, Any]:
        """All counts, as JSON holds them."""
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
    """The counts of a number of samples.

    Attributes:
        sums: name → count of images, objects or pixels.
        by_size: (K, 4) int64, objects of each category that are small, medium, large, of unknown size.
        images_with: (K,) int64, images in which each category occurs.
        pixels: (K,) int64, pixels of each category: in the semantic map where an image has one, else under at least one
            mask of the category.
        areas: (64,) int64, histogram of object areas; bin k begins at 2^(k / 2) pixels.
        per_image: number of objects → images with that many, of the images in which objects were annotated.
        image_sizes: (height, width) → images of that size.
        together: (K, K) int64, images in which two categories occur.
    """

    def __init__(self, categories: int) -> None:
        self.sums: Counter[str] = Counter()
        self.by_size = np.zeros((categories, len(SIZES)), np.int64)
        self.images_with = np.zeros(categories, np.int64)
        self.pixels = np.zeros(categories, np.int64)
        self.areas = np.zeros(AREA_BINS, np.int64)
        self.per_image: Counter[int] = Counter()
        self.image_sizes: Counter[tuple[int, int]] = Counter()
        self.together = np.zeros((categories, categories), np.int64)
        self._corners = np.zeros((GRID + 1, GRID + 1), np.int64)

    def add(self, image: _Image) -> None:
        """Add the counts of one image."""
        self.sums.update(image.sums)
        np.add.at(self.by_size, (image.category, image.size), 1)
        present = np.union1d(image.category, image.painted)
        self.images_with[present] += 1
        self.together[np.ix_(present, present)] += 1
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

        In a semantic map the shares of categories and void sum to one; masks overlap and leave gaps.
        """
        pixels = self.sums["pixels"]
        return self.pixels / pixels if pixels else np.full(len(self.pixels), np.nan)

    @property
    def positions(self) -> npt.NDArray[np.float64]:
        """(64, 64) float64, share of the boxes that cover each cell of the image, rows from top to bottom."""
        covering = self._corners.cumsum(axis=0).cumsum(axis=1)[:GRID, :GRID]
        return covering / max(self.sums["boxes"], 1)

    def figures(self) -> dict[str, float | None]:
        """The summary: name → number, None where the dataset does not say. Names that end in "share" are 0..1."""
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
        """All counts, as JSON holds them."""
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


@disk_errors()
def statistics(
    source: str | Path,
    *,
    source_format: str | None = None,
    splits: Sequence[str] = (),
    labels: Labels = None,
    where: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    corrected: Callable[[int, Sample], Sample] = lambda index, sample: sample,
) -> Statistics:
    """Count what a pack or a dataset folder holds.

    Args:
        source: a pack, or a dataset folder in a known layout.
        source_format: the folder's format; by default it is detected.
        splits: names of the splits to count; by default all samples.
        labels: map categories first: the name of a view or label space, a TOML file, or a mapping.
        where: count only the samples of a pack that this query means, under `labels`: "any(category == 'dog')".
        progress: called as `progress(samples done, samples in all)`.
        corrected: gives what is counted in place of each sample, which is the one at this index of those that are counted.

    Raises:
        NotThere: no such folder, split or view.
        InvalidQuery: with the column of `where` that is wrong.
        InvalidInput: the dataset is not valid.
    """
    path = located(source)
    data = open_dataset(path, format=source_format, splits=splits, labels=labels, where=where)
    is_member = np.zeros((len(data.splits), len(data)), bool)
    for row, members in zip(is_member, data.splits.values(), strict=True):
        row[members] = True
    total, parts = _count(data, is_member, progress, corrected)
    names = list(data.splits)
    shared = is_member.astype(np.int64) @ is_member.T
    return Statistics(
        source=path,
        format=data.format,
        labels=data.labels,
        total=total,
        splits=dict(zip(names, parts, strict=True)),
        shared={
            (names[one], names[other]): int(shared[one, other])
            for one, other in combinations(range(len(names)), 2)
            if shared[one, other]
        },
        problems=layout.read_index(path)["report"] if data.format == "pack" else data.findings.as_dict(),
    )


def compare(one: Statistics, other: Statistics) -> dict[str, Any]:
    """Compare two datasets; categories are matched by name.

    Returns:
        `figures`: name → {source, other, difference}; `categories`: name of a common category → the same for its
        counts; `only_in_source`, `only_in_other`: names of the categories that only one label space has. A difference
        is other − source, None where either is None.
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
    data: Dataset,
    is_member: npt.NDArray[np.bool_],
    progress: Callable[[int, int], None] | None,
    corrected: Callable[[int, Sample], Sample],
) -> tuple[Tally, list[Tally]]:
    total = Tally(len(data.labels))
    parts = [Tally(len(data.labels)) for _ in is_member]
    for index in range(len(data)):
        image = _count_image(corrected(index, data.get(index, data.findings)), data.labels)
        total.add(image)
        for split in np.flatnonzero(is_member[:, index]):
            parts[split].add(image)
        if progress is not None:
            progress(index + 1, len(data))
    return total, parts


# ---------------------------------------------------------------------- one image


@dataclass(frozen=True, eq=False)
class _Image:
    """The counts of one image with N objects, P categories with pixels and B boxes.

    Attributes:
        shape: height and width.
        sums: as in `Tally`.
        category, size: (N,) int64, indices into the label space and into `SIZES`.
        area_bin: (≤ N,) int64, bins of the known areas.
        painted, pixels: (P,) int64, categories that have pixels, and how many.
        cells: (B, 4) int64, x0 y0 x1 y1 of the boxes in cells of the heat map, half-open.
    """

    shape: tuple[int, int]
    sums: Counter[str]
    category: IntArray
    size: IntArray
    area_bin: IntArray
    painted: IntArray
    pixels: IntArray
    cells: IntArray


def _count_image(sample: Sample, labels: LabelSpace) -> _Image:
    instances, semantic = sample.instances, sample.semantic
    masks, has_mask = instances.masks, instances.has_mask
    image_pixels = sample.height * sample.width
    spans = masks.spans()
    is_annotated = ~np.isnan(instances.area)
    area = np.where(is_annotated, instances.area, np.where(has_mask, masks.areas, np.nan))
    is_known = ~np.isnan(area)
    cells = _cells(instances)
    parts, holes = _parts_and_holes(spans, masks)
    covered, overlapped = _coverage(spans, np.zeros(len(masks), np.int64), image_pixels)
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
    painted, layer = np.unique(instances.category, return_inverse=True)
    pixels = _coverage(spans, layer, image_pixels)[0]
    if semantic is not None:
        counts = np.bincount(semantic.reshape(-1), minlength=labels.void + 1)
        painted, pixels = np.arange(len(labels)), counts[: len(labels)]
        sums.update(semantic_images=1, semantic_pixels=image_pixels, void_pixels=int(counts[labels.void]))
    if semantic is not None or (sample.has_instances and (has_mask.any() or len(instances) == 0)):
        sums["pixels"] = image_pixels
    return _Image(
        shape=(sample.height, sample.width),
        sums=sums,
        category=instances.category,
        size=np.where(is_known, np.digitize(area, SIZE_LIMITS), SIZES.index("of_unknown_size")),
        area_bin=np.clip(np.floor(2 * np.log2(np.maximum(area[is_known], 1))), 0, AREA_BINS - 1).astype(np.int64),
        painted=painted[pixels > 0],
        pixels=pixels[pixels > 0],
        cells=cells,
    )


def _coverage(spans: Spans, layer: IntArray, image_pixels: int) -> tuple[IntArray, IntArray]:
    """(L,) pixels of each layer under at least one mask, and under more than one; mask i lies in layer `layer[i]`."""
    start, length, owner = spans
    start = start + layer[owner] * image_pixels
    position = np.concatenate((start, start + length))
    order = np.argsort(position, kind="stable")
    position = position[order]
    depth = np.cumsum(np.where(order < len(start), 1, -1))[:-1]
    pixels = np.diff(position)
    layer_of_piece = position[:-1] // image_pixels
    layers = int(layer.max(initial=-1)) + 1
    covered, overlapped = (
        np.bincount(layer_of_piece, pixels * (depth > least), layers).astype(np.int64) for least in (0, 1)
    )
    return covered[:layers], overlapped[:layers]


def _parts_and_holes(spans: Spans, masks: Masks) -> tuple[IntArray, IntArray]:
    """(N,) connected components of each mask (8-connected), and (N,) holes.

    The vertical pieces of a mask are the vertices of a graph, its edges connect pieces that touch in neighbouring
    columns; connected components of the graph are those of the mask, independent cycles its holes.
    """
    start, length, owner = spans
    first, last = start // masks.height, (start + length - 1) // masks.height
    pieces = last - first + 1
    span = np.repeat(np.arange(len(start)), pieces)
    column = ranges(first, pieces)
    top = np.maximum(start[span], column * masks.height)
    bottom = np.minimum((start + length)[span], (column + 1) * masks.height)
    owner = owner[span]
    # All masks on one axis: two pixels between columns and a column between masks keep pieces apart that do not touch.
    stride = masks.height + 2
    shift = owner * (masks.width + 1) * stride + 2 * column
    top, bottom = top + shift, bottom + shift
    low = np.searchsorted(bottom, top + stride, side="left")
    high = np.searchsorted(top, bottom + stride, side="right")
    touching = np.maximum(high - low, 0)
    one, other = np.repeat(np.arange(len(top)), touching), ranges(low, touching)
    root = roots(len(top), one, other)
    count = len(masks)
    parts = np.bincount(owner[root == np.arange(len(root))], minlength=count)
    holes = np.bincount(owner[one], minlength=count) - np.bincount(owner, minlength=count) + parts
    return parts, holes


def _cells(instances: Instances) -> IntArray:
    """The boxes that are not empty, x0 y0 x1 y1 in cells of the heat map."""
    masks = instances.masks
    boxes = instances.boxes
    boxes = boxes[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])]
    scaled = boxes / np.tile([masks.width, masks.height], 2) * GRID
    cells: IntArray = np.concatenate((np.floor(scaled[:, :2]), np.ceil(scaled[:, 2:])), axis=1).astype(np.int64)
    return cells.clip(0, GRID)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
