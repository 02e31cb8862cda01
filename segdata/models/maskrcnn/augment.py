"""Samples → what a step of training takes: a uint8 photo, where to scale it, and objects as crops of their masks.

A *view* says which part of a photo is seen, at which size, and whether mirrored. Boxes go through it; masks do not: a
mask target is sampled from the crop in source pixels, through the view (`targets.at`). Photos stay uint8 until they are
on the device, where they are scaled as torchvision scales them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.labels import LabelSpace
from segdata.core.sample import Sample
from segdata.models.maskrcnn.config import Config
from segdata.torch import object_categories

_STRIDE = 32
_LARGE_JITTER = (0.1, 2.0)


@dataclass(frozen=True)
class View:
    """A window of a photo, scaled and perhaps mirrored.

    Attributes:
        window: x0 y0 x1 y1 in source pixels, whole numbers.
        height, width: what the window becomes.
        is_mirrored: left and right are exchanged.
    """

    window: tuple[int, int, int, int]
    height: int
    width: int
    is_mirrored: bool = False

    @property
    def scale(self) -> tuple[float, float]:
        """Across and down: pixels of the view for one of the source."""
        x0, y0, x1, y1 = self.window
        return self.width / (x1 - x0), self.height / (y1 - y0)

    def boxes(self, boxes: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """(N, 4) x0 y0 x1 y1 of the source as seen, clipped to the view."""
        x0, y0, x1, y1 = self.window
        seen = np.asarray(boxes, np.float64).clip((x0, y0, x0, y0), (x1, y1, x1, y1)) - (x0, y0, x0, y0)
        if self.is_mirrored:
            seen[:, [0, 2]] = (x1 - x0) - seen[:, [2, 0]]
        return seen.astype(np.float32) * np.array(self.scale * 2, np.float32)


@dataclass(frozen=True, eq=False)
class Item:
    """One training image.

    Attributes:
        pixels: (h, w, 3) uint8 RGB, the view's window.
        boxes: (N, 4) float32 in pixels of the view.
        labels: (N,) int64 from 1.
        frames: (N, 4) int64 x y width height in source pixels of each mask's crop.
        crops: (sum of h · w,) uint8 0/1, each crop row by row, one after another.
        seed: what proposals of this image are sampled with.
    """

    pixels: npt.NDArray[np.uint8]
    view: View
    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    frames: npt.NDArray[np.int64]
    crops: npt.NDArray[np.uint8]
    seed: int


def scaled_size(height: int, width: int, config: Config, min_size: int | None = None) -> tuple[int, int]:
    """Height and width of an image for the network, by torchvision's rule (and the original's least scale)."""
    least = config.min_size[-1] if min_size is None else min_size
    scale = min(least / min(height, width), config.max_size / max(height, width))
    scale = max(scale, config.min_scale)
    return max(1, int(np.floor(height * scale))), max(1, int(np.floor(width * scale)))


class Prepare:
    """The Loader's transform in training: decode, choose a view at random, bring the objects along."""

    def __init__(self, config: Config, labels: LabelSpace) -> None:
        self.config = config
        self.label = label_of_category(labels)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Item:
        config = self.config
        seed = int(rng.integers(2**62))
        view = self._view(sample, rng)
        instances = sample.instances
        boxes = view.boxes(instances.boxes)
        keep = (
            (self.label[instances.category] > 0)
            & ~instances.iscrowd
            & instances.has_mask
            & (boxes[:, 2] - boxes[:, 0] >= 1)
            & (boxes[:, 3] - boxes[:, 1] >= 1)
            & (instances.masks.areas > 0)
        )
        kept = np.nonzero(keep)[0]
        if config.max_objects and len(kept) > config.max_objects:
            largest = np.argsort(-instances.masks.areas[kept], kind="stable")[: config.max_objects]
            kept = kept[np.sort(largest)]
        masks = instances.masks[kept]
        crops = [np.ascontiguousarray(crop).reshape(-1) for crop in masks.crops()]
        x0, y0, x1, y1 = view.window
        return Item(
            pixels=np.ascontiguousarray(sample.image[y0:y1, x0:x1]),
            view=view,
            boxes=boxes[kept],
            labels=self.label[instances.category[kept]],
            frames=masks.boxes_xywh.astype(np.int64),
            crops=np.concatenate(crops) if crops else np.zeros(0, np.uint8),
            seed=seed,
        )

    def _view(self, sample: Sample, rng: np.random.Generator) -> View:
        config = self.config
        height, width = sample.height, sample.width
        mirrored = bool(rng.random() < config.flip)
        if config.large_scale_jitter:
            factor = rng.uniform(*_LARGE_JITTER) * config.max_size / max(height, width)
            return _cropped(height, width, factor, (config.max_size, config.max_size), mirrored, rng)
        size = scaled_size(height, width, config, int(rng.choice(config.min_size)))
        if config.scale_jitter == (1.0, 1.0):
            return View((0, 0, width, height), *size, mirrored)
        factor = rng.uniform(config.scale_jitter[0], config.scale_jitter[1]) * size[0] / height
        return _cropped(height, width, factor, size, mirrored, rng)


def _cropped(
    height: int, width: int, scale: float, most: tuple[int, int], mirrored: bool, rng: np.random.Generator
) -> View:
    """A photo scaled by `scale`, of which a random window of at most `most` (height, width) pixels is seen."""
    window_height = min(height, max(1, round(most[0] / scale)))
    window_width = min(width, max(1, round(most[1] / scale)))
    y0 = int(rng.integers(height - window_height + 1))
    x0 = int(rng.integers(width - window_width + 1))
    return View(
        (x0, y0, x0 + window_width, y0 + window_height),
        max(1, min(most[0], round(window_height * scale))),
        max(1, min(most[1], round(window_width * scale))),
        mirrored,
    )


def label_of_category(labels: LabelSpace) -> npt.NDArray[np.int64]:
    """(K,) the network's label of each category: from 1 in the space's order, 0 for what objects cannot be."""
    table = np.zeros(max(len(labels), 1), np.int64)
    chosen = object_categories(labels)
    table[chosen] = np.arange(1, len(chosen) + 1)
    return table


def categories_of(labels: LabelSpace) -> npt.NDArray[np.int64]:
    """The category of each of the network's labels from 1 on: those that objects can have."""
    return np.nonzero(label_of_category(labels))[0]
