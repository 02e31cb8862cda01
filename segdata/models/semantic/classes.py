"""The classes of a network for semantic segmentation, and the pixels that they have in a pack."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct, structs

from segdata.core.labels import LabelSpace, is_background
from segdata.core.sample import Sample
from segdata.errors import SegdataError, UsageError
from segdata.models.semantic.config import SemanticConfig
from segdata.pack.read import Pack
from segdata.system import documents
from segdata.system.files import canonical_json, write_whole

FILE = "class-pixels.json"
"""Where the pixels of the classes are kept in a run's folder."""

MOST_OF_A_BYTE = 255


def categories_of(labels: LabelSpace) -> npt.NDArray[np.int64]:
    """(C,) int64 the category of each class of a network: all that are not ignored, in the order of the label space."""
    return np.flatnonzero([not category.ignore for category in labels.categories]).astype(np.int64)


def ignore_index(labels: LabelSpace) -> int:
    """The value of pixels that do not count in maps of classes: 255, or 65535 where there are more than 255 classes."""
    return 255 if len(categories_of(labels)) <= MOST_OF_A_BYTE else 65_535


def class_table(labels: LabelSpace) -> npt.NDArray[Any]:
    """A lookup table from category indices and void to classes: (256,) uint8, or (65536,) int32 for more classes."""
    ignored, chosen = ignore_index(labels), categories_of(labels)
    is_small = labels.void == ignored == 255
    table = np.full(256 if is_small else 65_536, ignored, np.uint8 if is_small else np.int32)
    table[chosen] = np.arange(len(chosen))
    return table


def label_map(sample: Sample, labels: LabelSpace, *, from_objects: bool) -> npt.NDArray[Any] | None:
    """The label map of a sample, (H, W) of category indices and void; None where there is none.

    Args:
        from_objects: where the sample has no label map, paint one from the masks of its objects, smaller ones on top.
    """
    if sample.has_semantic or not from_objects or not sample.has_instances:
        return sample.semantic
    instances = sample.instances
    names = [is_background(category.name) for category in labels.categories]
    ground = names.index(True) if any(names) else labels.void
    painted = np.full((sample.height, sample.width), ground, labels.dtype)
    masks = instances.masks
    for index in np.argsort(-masks.areas, kind="stable").tolist():
        if not instances.has_mask[index]:
            continue
        x, y, width, height = masks.boxes_xywh[index].astype(int).tolist()
        (crop,) = masks[np.array([index])].crops()
        painted[y : y + height, x : x + width][crop.astype(bool)] = instances.category[index]
    return painted


class _Kept(Struct):
    """What the file of a run holds."""

    of: str
    pixels: list[int]
    images: list[int]
    shown: list[int]
    blank: list[int]

    def fits(self, classes: int, images: int) -> bool:
        """Whether these can be the numbers of so many classes and images."""
        columns = (self.pixels, self.images, self.shown)
        is_counted = all(len(column) == classes and all(value >= 0 for value in column) for column in columns)
        return is_counted and all(0 <= index < images for index in self.blank)


@dataclass(frozen=True, eq=False)
class ClassPixels:
    """How many pixels and images of a pack the classes have.

    Attributes:
        pixels: (C,) int64, pixels of each class.
        images: (C,) int64, images that have a pixel of it.
        shown: (C,) int64, pixels with any class in these images.
        blank: indices of the samples without a single pixel that counts.
    """

    pixels: npt.NDArray[np.int64]
    images: npt.NDArray[np.int64]
    shown: npt.NDArray[np.int64]
    blank: npt.NDArray[np.int64]

    @classmethod
    def of(cls, pack: Pack, *, from_objects: bool, cache: Path | None = None) -> ClassPixels:
        """Count them; what a file in the folder `cache` says of the same data is not counted again."""
        labels = pack.labels
        data = f"{pack.info['provenance']['fingerprint']} {zlib.crc32(pack.indices.tobytes())} {labels.digest} {from_objects}"
        file = None if cache is None else cache / FILE
        count = len(categories_of(labels))
        if file is not None and file.is_file():
            kept = _kept(file)
            if kept is not None and kept.of == data and kept.fits(count, len(pack)):
                return cls(
                    *(np.array(column, np.int64) for column in (kept.pixels, kept.images, kept.shown, kept.blank))
                )
        counted = cls._counted(pack, from_objects=from_objects)
        if file is not None:
            columns = {name: value.tolist() for name, value in vars(counted).items()}
            write_whole(file, canonical_json(structs.asdict(_Kept(data, **columns))))
        return counted

    @classmethod
    def _counted(cls, pack: Pack, *, from_objects: bool) -> ClassPixels:
        count, table = len(categories_of(pack.labels)), class_table(pack.labels)

        def of_image(index: int) -> npt.NDArray[np.int64]:
            semantic = label_map(pack[index], pack.labels, from_objects=from_objects)
            if semantic is None:
                return np.zeros(count, np.int64)
            by_category = np.bincount(semantic.reshape(-1), minlength=len(table))
            pixels = np.bincount(table, by_category, max(count, int(table.max()) + 1))[:count]
            return pixels.astype(np.int64)

        pixels, images, shown = (np.zeros(count, np.int64) for _ in range(3))
        blank = []
        with ThreadPoolExecutor(min(os.cpu_count() or 1, 16), thread_name_prefix="segdata-pixels") as threads:
            for index, row in enumerate(threads.map(of_image, range(len(pack)))):
                pixels += row
                images += row > 0
                shown += np.where(row > 0, row.sum(), 0)
                if not row.any():
                    blank.append(index)
        return cls(pixels, images, shown, np.array(blank, np.int64))

    def weights(self, settings: SemanticConfig, labels: LabelSpace) -> tuple[float, ...] | None:
        """The weight of each class in cross-entropy; None where all are 1. Classes without a pixel have 1.

        Raises:
            UsageError: the settings give another number of weights than there are classes.
        """
        given = settings.numbers_of_classes()
        if given is not None:
            if len(given) != len(self.pixels):
                names = [labels[int(category)].name for category in categories_of(labels)]
                raise UsageError(
                    f"class_weights has {len(given)} numbers, the pack has {len(self.pixels)} classes",
                    place="class_weights",
                    why=f"the classes are {', '.join(names[:12])}{' …' if len(names) > 12 else ''}",
                    fix="give one number for each, in this order",
                )
            return given
        rule = settings.class_weights
        if rule == "none":
            return None
        is_there = self.pixels > 0
        share = self.pixels / max(self.pixels.sum(), 1)
        if rule == "median":
            frequency = self.pixels / np.maximum(self.shown, 1)
            weights = np.median(frequency[is_there]) / np.where(is_there, frequency, 1)
        elif rule == "enet":
            weights = 1 / np.log(1.02 + share)
        else:
            weights = 1 / (is_there.sum() * np.where(is_there, share, 1))
        return tuple(np.where(is_there, weights, 1.0).tolist())


def _kept(file: Path) -> _Kept | None:
    """What a run's folder keeps; None where it is damaged, and is counted again."""
    try:
        return documents.read_json(file, _Kept, "the pixels of the classes")
    except SegdataError:
        return None


def remarks(counted: ClassPixels, names: Sequence[str], weights: Sequence[float] | None) -> list[str]:
    """How often each class is seen, and those that are not."""
    total = max(int(counted.pixels.sum()), 1)
    order = np.argsort(-counted.pixels, kind="stable").tolist()
    seen = [index for index in order if counted.pixels[index]]
    texts = [
        f"{names[index]} {100 * counted.pixels[index] / total:.2g} %"
        + ("" if weights is None else f" (weight {weights[index]:.3g})")
        for index in seen
    ]
    if len(texts) > _MOST_NAMED:
        half = _MOST_NAMED // 2
        texts = [*texts[:half], f"… {len(texts) - 2 * half} more …", *texts[-half:]]
    said = [f"pixels of the classes: {', '.join(texts)}"]
    absent = [names[index] for index in order if not counted.pixels[index]]
    if absent:
        listed = ", ".join(absent[:8]) + (f" … {len(absent) - 8} more" if len(absent) > 8 else "")
        said.append(f"no pixel of {listed} is in the training images: the model cannot learn what it does not see")
    return said


_MOST_NAMED = 24
