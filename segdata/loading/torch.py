"""Packs as PyTorch datasets: what torchvision's models take, in one line.

Without a `transform`, masks stay run lengths inside a worker process and become tensors when they arrive in the
consumer; so they cost a few kilobytes on the way, with any `DataLoader` and any `collate_fn`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import get_worker_info
from torchvision import tv_tensors

from segdata.errors import UsageError
from segdata.labels import LabelSpace
from segdata.loading.loader import Samples
from segdata.masks import Masks
from segdata.sample import Instances, Sample

Target = Literal["detection", "semantic", "panoptic"]
IGNORE = 255
"""Value of unlabelled pixels in semantic targets, for `CrossEntropyLoss(ignore_index=255)` (65535 above 255 classes)."""


class Dataset(TorchDataset[tuple[Any, Any]]):
    """Items `(image, target)` of a pack; `image` is a `tv_tensors.Image`, (3, H, W) uint8 RGB.

    Targets:
        detection: `boxes` (N, 4) float32 x0 y0 x1 y1, `labels` (N,) int64 from 1 (see `classes`), `masks` (N, H, W)
            uint8, `area` (N,) float32, `iscrowd` (N,) int64, `image_id` int. Boxes without width or height are left
            out.
        semantic: a `tv_tensors.Mask` (H, W) int64 of category indices, `IGNORE` where unlabelled.
        panoptic: `segments` (H, W) int64, 0 where unlabelled, and `info`, a list of `id`, `category`, `isthing`,
            `iscrowd` per segment: every thing one, every category of stuff one.

    Args:
        pack: what to load.
        target: which kind of target.
        transform: called as `transform(image, target)`, as torchvision's v2 transforms are.
        crowds: whether crowds become detection targets.
        without_masks: whether objects that were only boxed do; their masks are empty.

    Attributes:
        classes: names by label; of detection, `classes[0]` is "background".
    """

    def __init__(
        self,
        pack: Samples,
        target: Target = "detection",
        transform: Callable[[Any, Any], Any] | None = None,
        *,
        crowds: bool = False,
        without_masks: bool = False,
    ) -> None:
        if target not in ("detection", "semantic", "panoptic"):
            raise UsageError(f"there is no target {target!r}", why="targets are detection, semantic, panoptic")
        self.pack = pack
        self.target = target
        self.transform = transform
        self.crowds = crowds
        self.without_masks = without_masks
        chosen = _objects(pack.labels)
        names = [category.name for category in pack.labels.categories]
        self.classes = ["background", *(names[index] for index in chosen)] if target == "detection" else names
        self._label = np.zeros(len(names), np.int64)
        self._label[chosen] = np.arange(1, len(chosen) + 1)

    def __len__(self) -> int:
        return len(self.pack)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        sample = self.pack[index]
        image = tv_tensors.Image(torch.from_numpy(sample.image).permute(2, 0, 1))
        if self.target == "detection":
            target = self._detection(sample, index)
        elif self.target == "semantic":
            target = _semantic(sample, self.pack.labels)
        else:
            target = _panoptic(sample, self.pack.labels)
        return (image, target) if self.transform is None else self.transform(image, target)

    def _detection(self, sample: Sample, index: int) -> dict[str, Any]:
        instances = sample.instances
        boxes = instances.boxes
        keep = (self._label[instances.category] > 0) & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        if not self.crowds:
            keep &= ~instances.iscrowd
        if not self.without_masks:
            keep &= instances.has_mask
        kept = np.nonzero(keep)[0]
        masks = instances.masks if len(kept) == len(instances) else instances.masks[kept]
        area = np.where(np.isnan(instances.area), instances.masks.areas, instances.area)[kept]
        is_light = self.transform is None and get_worker_info() is not None
        return {
            "boxes": tv_tensors.BoundingBoxes(
                torch.from_numpy(boxes[kept].astype(np.float32)),
                format="XYXY",
                canvas_size=(sample.height, sample.width),
            ),
            "labels": torch.from_numpy(self._label[instances.category[kept]]),
            "masks": _Travelling(masks) if is_light else _dense(masks),
            "area": torch.from_numpy(area.astype(np.float32)),
            "iscrowd": torch.from_numpy(instances.iscrowd[kept].astype(np.int64)),
            "image_id": sample.id if sample.id >= 0 else index,
        }


def collate(items: Sequence[tuple[Any, Any]]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Items → (images, targets), as torchvision's detection models take them; give it to a `DataLoader`."""
    images, targets = zip(*items, strict=True)
    return images, targets


class _Travelling:
    """Masks on their way out of a worker: run lengths when pickled, a tensor when unpickled."""

    def __init__(self, masks: Masks) -> None:
        self.masks = masks

    def __reduce__(self) -> tuple[Any, ...]:
        masks = self.masks
        parts = (np.ascontiguousarray(masks.frames), np.ascontiguousarray(masks.runs), np.asarray(masks.pointer))
        return _arrived, (masks.height, masks.width, *parts)


def _arrived(height: int, width: int, frames: Any, runs: Any, pointer: Any) -> Any:
    return _dense(Masks(height, width, frames, runs, pointer))


def _dense(masks: Masks) -> Any:
    return tv_tensors.Mask(torch.from_numpy(masks.dense()))


def _objects(labels: LabelSpace) -> list[int]:
    """Categories that objects can have: things where the space says so, never the background or ignored ones."""
    says = any(category.isthing is not None for category in labels.categories)
    return [
        index
        for index, category in enumerate(labels.categories)
        if category.name != "background" and not category.ignore and (category.isthing or not says)
    ]


def _semantic(sample: Sample, labels: LabelSpace) -> Any:
    if sample.semantic is None:
        raise UsageError(
            "this sample has no label map",
            key=sample.key,
            fix="use target='detection', or select samples: pack.select(lambda sample: sample.has_semantic)",
        )
    return tv_tensors.Mask(torch.from_numpy(sample.semantic.astype(np.int64)))


def _panoptic(sample: Sample, labels: LabelSpace) -> dict[str, Any]:
    segments = np.zeros((sample.height, sample.width), np.int64)
    info: list[dict[str, Any]] = []

    def add(category: int, is_thing: bool, is_crowd: bool) -> int:
        info.append({"id": len(info) + 1, "category": category, "isthing": is_thing, "iscrowd": is_crowd})
        return len(info)

    if sample.semantic is not None:
        lookup = np.zeros(labels.void + 1, np.int64)
        for value in np.unique(sample.semantic).tolist():
            if value != labels.void and not labels[value].ignore:
                lookup[value] = add(value, bool(labels[value].isthing), False)
        segments = lookup[sample.semantic]
    instances: Instances = sample.instances.take(sample.instances.has_mask)
    numbers = [
        add(category, True, bool(is_crowd))
        for category, is_crowd in zip(instances.category.tolist(), instances.iscrowd.tolist(), strict=True)
    ]
    order = np.lexsort((-instances.masks.areas, ~instances.iscrowd))
    instances.masks.paint(numbers, segments, order)
    present = set(np.unique(segments).tolist())
    return {
        "segments": tv_tensors.Mask(torch.from_numpy(segments)),
        "info": [item for item in info if item["id"] in present],
    }
