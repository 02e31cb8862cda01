"""Packs as PyTorch datasets: `Dataset` gives the images and targets that torchvision's models take.

>>> from segdata.torch import Dataset, collate
>>> data = Dataset(segdata.open("data/coco/pack", split="train2017"))                                # doctest: +SKIP
>>> loader = torch.utils.data.DataLoader(data, batch_size=8, num_workers=4, collate_fn=collate)      # doctest: +SKIP

Without a `transform`, masks leave a worker process as RLE and become tensors in the main process; so they cost a few
kilobytes of transport, with any `DataLoader`. A `collate_fn` that uses them gets tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import get_worker_info
from torch.utils.data._utils.collate import default_collate_fn_map
from torchvision import tv_tensors
from torchvision.ops import masks_to_boxes

from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.reprs import counted, line
from segdata.core.sample import Instances, Sample
from segdata.errors import UsageError
from segdata.loading.loader import Samples, locate, warn_of_boxes_alone

__all__ = ["COLUMNS", "IGNORE", "Augment", "Dataset", "Target", "collate", "columns", "object_categories"]

Target = Literal["detection", "semantic", "panoptic"]

IGNORE = 255
"""Value of unlabelled pixels in semantic targets, for `CrossEntropyLoss(ignore_index=255)` (65535 above 255 classes)."""


COLUMNS = ("labels", "area", "iscrowd", "difficult", "index")
"""What a detection target says of each object beside its box and mask."""


class Dataset(TorchDataset[tuple[Any, Any]]):
    """Items `(image, target)` of a pack; `image` is a `tv_tensors.Image`, (3, H, W) uint8 RGB.

    Targets:
        detection: `boxes` (N, 4) float32 x0 y0 x1 y1, `labels` (N,) int64 from 1 (see `classes`), `masks` (N, H, W)
            uint8 0/1, `area` (N,) float32, `iscrowd` and `difficult` (N,) int64 0/1, `index` (N,) int64 into the
            sample's instances, `image_id` int. Boxes without width or height are left out.
        semantic: a `tv_tensors.Mask` (H, W) int64 of category indices, `IGNORE` where unlabelled and for categories
            that the label space ignores.
        panoptic: `segments` (H, W) int64, 0 where unlabelled or ignored, and `info`, a list of `id`, `category`,
            `isthing`, `iscrowd` per segment: every thing one, every category of stuff one. Pixels of a thing's
            category that no object has are one segment with `iscrowd`, as in Cityscapes' panoptic files.

    Args:
        pack: the samples to load.
        target: which kind of target.
        transform: called as `transform(image, target)`, as torchvision's v2 transforms are.
        crowds: whether crowds are among the detection targets.
        without_masks: whether objects that have only a box are; their masks are empty.
        difficult: whether objects that the source calls difficult are.

    Attributes:
        classes: names by label; of detection, `classes[0]` is "background".
        indices: (len(classes),) int64, the label space's index of each label; −1 for detection's background.

    Raises:
        UsageError: an unknown target, or an option that has no effect on it; from items: the sample was not annotated in this way.
        SegdataError: from items: a damaged image or record, with its key, shard and record.
    """

    def __init__(
        self,
        pack: Samples,
        target: Target = "detection",
        transform: Callable[[Any, Any], Any] | None = None,
        *,
        crowds: bool = False,
        without_masks: bool = False,
        difficult: bool = True,
    ) -> None:
        if target not in ("detection", "semantic", "panoptic"):
            raise UsageError(f"there is no target {target!r}", why="targets are detection, semantic, panoptic")
        given = {"crowds": crowds, "without_masks": without_masks, "difficult=False": not difficult}
        if target != "detection" and any(given.values()):
            listed = ", ".join(name for name, is_given in given.items() if is_given)
            raise UsageError(
                f"{listed} has no effect on the target {target!r}", why="it chooses among objects", fix="leave it out"
            )
        if target == "detection" and not without_masks:
            warn_of_boxes_alone(
                pack,
                "they are left out; without_masks=True keeps them, and "
                "pack.select(lambda sample: sample.instances.has_mask.all()) leaves such images out",
            )
        self.pack = pack
        self.target = target
        self.transform = transform
        self.crowds = crowds
        self.without_masks = without_masks
        self.difficult = difficult
        names = [category.name for category in pack.labels.categories]
        chosen = object_categories(pack.labels)
        self.classes = ["background", *(names[index] for index in chosen)] if target == "detection" else names
        self.indices = np.array([-1, *chosen] if target == "detection" else range(len(names)), np.int64)
        self._label = np.zeros(len(names), np.int64)
        self._label[chosen] = np.arange(1, len(chosen) + 1)

    def __len__(self) -> int:
        return len(self.pack)

    def __repr__(self) -> str:
        return line(self, self.target, counted(len(self), "sample"), f"{len(self.classes)} classes")

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        sample = self.pack[index]
        try:
            image = tv_tensors.Image(torch.from_numpy(sample.image).permute(2, 0, 1))
            if self.target == "detection":
                target = self._detection(sample, index)
            elif self.target == "semantic":
                target = _semantic(sample, self.pack.labels)
            else:
                target = _panoptic(sample, self.pack.labels)
            item = (image, target) if self.transform is None else self.transform(image, target)
        except Exception as error:
            locate(error, self.pack, index)
            raise
        if get_worker_info() is not None and isinstance(item, tuple) and len(item) == 2 and type(item[1]) is dict:
            item = (item[0], _WorkerTarget(item[1]))
        return item

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return (self[index] for index in range(len(self)))

    def _detection(self, sample: Sample, index: int) -> dict[str, Any]:
        if not sample.has_instances:
            raise UsageError(
                "the objects of this sample were not annotated",
                fix="select samples: pack.select(lambda sample: sample.has_instances)",
            )
        instances = sample.instances
        boxes = instances.boxes.astype(np.float32)
        is_target = (self._label[instances.category] > 0) & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        if not self.crowds:
            is_target &= ~instances.iscrowd
        if not self.without_masks:
            is_target &= instances.has_mask
        if not self.difficult:
            is_target &= ~instances.difficult
        chosen = np.nonzero(is_target)[0]
        masks = instances.masks if len(chosen) == len(instances) else instances.masks[chosen]
        area = np.where(np.isnan(instances.area), instances.masks.areas, instances.area)[chosen]
        stays_rle = self.transform is None and get_worker_info() is not None
        return {
            "boxes": tv_tensors.BoundingBoxes(
                torch.from_numpy(boxes[chosen]), format="XYXY", canvas_size=(sample.height, sample.width)
            ),
            "labels": torch.from_numpy(self._label[instances.category[chosen]]),
            "masks": _LazyMasks(masks) if stays_rle else _dense(masks),
            "area": torch.from_numpy(area.astype(np.float32)),
            "iscrowd": torch.from_numpy(instances.iscrowd[chosen].astype(np.int64)),
            "difficult": torch.from_numpy(instances.difficult[chosen].astype(np.int64)),
            "index": torch.from_numpy(chosen.astype(np.int64)),
            "image_id": sample.id if sample.id >= 0 else index,
        }


def collate(items: Sequence[tuple[Any, Any]]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The `collate_fn` of a `DataLoader` for torchvision's detection models: B items → (B images, B targets), tuples."""
    images, targets = zip(*items, strict=True)
    return images, targets


def columns(inputs: tuple[Any, dict[str, Any]]) -> tuple[Any, ...]:
    """For `v2.SanitizeBoundingBoxes(labels_getter=columns)`: `labels`, `area`, `iscrowd`, `difficult`, `index`, (N,) each.

    They are filtered along with the boxes; masks are filtered by themselves.
    """
    return tuple(inputs[1][name] for name in COLUMNS)


class Augment:
    """Torchvision's v2 transforms for detection targets: objects that were cropped or moved out leave every column.

    An object stays while its mask has a pixel, or its box an area where it has no mask; `target["index"]` says which
    objects of the sample stayed. Boxes are those of the transformed masks, `area` is their pixels.

    >>> Dataset(pack, transform=Augment(v2.RandomCrop((256, 256))))                                    # doctest: +SKIP

    Args:
        transform: called as `transform(image, target)`.
        min_pixels: fewest pixels of a mask that keeps its object.
    """

    def __init__(self, transform: Callable[[Any, Any], Any], *, min_pixels: int = 1) -> None:
        self.transform = transform
        self.min_pixels = min_pixels

    def __call__(self, image: Any, target: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The image and target after the transform."""
        had_mask = dict(zip(target["index"].tolist(), target["masks"].flatten(1).any(1).tolist(), strict=True))
        image, target = self.transform(image, target)
        masks, boxes = target["masks"], target["boxes"]
        pixels = masks.flatten(1).sum(1, dtype=torch.int64)
        is_masked = torch.tensor([had_mask[index] for index in target["index"].tolist()], dtype=torch.bool)
        has_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        keep = torch.where(is_masked, pixels >= self.min_pixels, has_area)
        kept = {name: target[name][keep] for name in COLUMNS}
        chosen = boxes[keep].clone()
        with_mask = is_masked[keep]
        tight = masks_to_boxes(masks[keep][with_mask])
        chosen[with_mask] = torch.cat((tight[:, :2], tight[:, 2:] + 1), dim=1).to(chosen.dtype)
        kept["area"] = torch.where(with_mask, pixels[keep].to(torch.float32), kept["area"])
        return image, target | kept | {
            "boxes": tv_tensors.wrap(chosen, like=boxes),
            "masks": tv_tensors.wrap(masks[keep], like=masks),
        }


class _LazyMasks:
    """Masks in a worker process that are pickled as RLE, unless they were used as the (N, H, W) tensor that they are."""

    def __init__(self, masks: Masks) -> None:
        self._masks = masks
        self._tensor: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        masks = self._masks
        if self._tensor is not None:
            return _itself, (self._tensor,)
        parts = (np.ascontiguousarray(masks.boxes_xywh), np.ascontiguousarray(masks.runs), np.asarray(masks.pointer))
        return _decoded, (masks.height, masks.width, *parts)

    def tensor(self) -> Any:
        """The masks, (N, H, W) uint8."""
        if self._tensor is None:
            self._tensor = _dense(self._masks)
        return self._tensor

    def __len__(self) -> int:
        return len(self._masks)

    def __getitem__(self, item: Any) -> Any:
        return self.tensor()[item]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tensor(), name)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return function(*_as_tensors(args), **_as_tensors(kwargs or {}))


def _as_tensors(value: Any) -> Any:
    """The same value with lazy masks replaced by tensors."""
    if isinstance(value, _LazyMasks):
        return value.tensor()
    if isinstance(value, (list, tuple)):
        return type(value)(_as_tensors(item) for item in value)
    return {name: _as_tensors(item) for name, item in value.items()} if isinstance(value, dict) else value


def _stacked(batch: Sequence[_LazyMasks], *, collate_fn_map: Any = None) -> Any:
    return torch.stack([masks.tensor() for masks in batch])


default_collate_fn_map[_LazyMasks] = _stacked


class _WorkerTarget(dict[str, Any]):
    """A target in a worker process; its small tensors are pickled by value instead of each through shared memory."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpacked, ({name: _packed(value) for name, value in self.items()},)


@dataclass(frozen=True)
class _SmallTensor:
    """A small tensor as it is pickled; bounding boxes where it has a canvas size (height, width)."""

    values: np.ndarray
    canvas_size: tuple[int, int] | None = None


_LARGE_BYTES = 1 << 16


def _packed(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.nbytes < _LARGE_BYTES and value.device.type == "cpu":
        if type(value) is torch.Tensor and not value.requires_grad:
            return _SmallTensor(value.numpy())
        boxes: Any = value
        if type(value) is tv_tensors.BoundingBoxes and boxes.format == tv_tensors.BoundingBoxFormat.XYXY:
            return _SmallTensor(value.numpy(), boxes.canvas_size)
    return value


def _unpacked(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _tensor(value) if isinstance(value, _SmallTensor) else value for name, value in values.items()}


def _tensor(small: _SmallTensor) -> Any:
    values = torch.from_numpy(small.values)
    if small.canvas_size is None:
        return values
    return tv_tensors.BoundingBoxes(values, format="XYXY", canvas_size=small.canvas_size)


def _itself(tensor: Any) -> Any:
    return tensor


def _decoded(height: int, width: int, boxes_xywh: Any, runs: Any, pointer: Any) -> Any:
    return _dense(Masks(height, width, boxes_xywh, runs, pointer))


def _dense(masks: Masks) -> Any:
    return tv_tensors.Mask(torch.from_numpy(masks.dense()))


def object_categories(labels: LabelSpace) -> list[int]:
    """Indices of the categories that objects can have: things, where the label space tells things from stuff.

    Neither the background nor ignored categories are among them.
    """
    tells_things = any(category.isthing is not None for category in labels.categories)
    return [
        index
        for index, category in enumerate(labels.categories)
        if category.name != "background" and not category.ignore and (category.isthing or not tells_things)
    ]


def _semantic(sample: Sample, labels: LabelSpace) -> Any:
    semantic = sample.semantic
    if semantic is None:
        raise UsageError(
            "this sample has no label map",
            fix="use target='detection', or select samples: pack.select(lambda sample: sample.has_semantic)",
        )
    table = np.arange(labels.void + 1)
    table[[index for index, category in enumerate(labels.categories) if category.ignore]] = labels.void
    return tv_tensors.Mask(torch.from_numpy(table[semantic]))


def _panoptic(sample: Sample, labels: LabelSpace) -> dict[str, Any]:
    segments = np.zeros((sample.height, sample.width), np.int64)
    info: list[dict[str, Any]] = []

    def add(category: int, is_thing: bool, is_crowd: bool) -> int:
        info.append({"id": len(info) + 1, "category": category, "isthing": is_thing, "iscrowd": is_crowd})
        return len(info)

    if not sample.has_instances and not sample.has_semantic:
        raise UsageError(
            "this sample was not annotated",
            fix="select samples: pack.select(lambda sample: sample.has_instances or sample.has_semantic)",
        )
    if sample.semantic is not None:
        lookup = np.zeros(labels.void + 1, np.int64)
        for value in np.unique(sample.semantic).tolist():
            if value != labels.void and not labels[value].ignore:
                is_thing = bool(labels[value].isthing)
                lookup[value] = add(value, is_thing, is_thing)
        segments = lookup[sample.semantic]
    is_ignored = np.array([category.ignore for category in labels.categories], bool)
    instances: Instances = sample.instances
    instances = instances.take(instances.has_mask & ~is_ignored[instances.category])
    numbers = [
        add(category, labels[category].isthing is not False, bool(is_crowd))
        for category, is_crowd in zip(instances.category.tolist(), instances.iscrowd.tolist(), strict=True)
    ]
    order = np.lexsort((-instances.masks.areas, ~instances.iscrowd))
    instances.masks.paint(numbers, segments, order)
    present = set(np.unique(segments).tolist())
    return {
        "segments": tv_tensors.Mask(torch.from_numpy(segments)),
        "info": [item for item in info if item["id"] in present],
    }
