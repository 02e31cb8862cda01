"""Images and their objects, as the network is trained with them: resized, with mini masks and the targets of the RPN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from segdata.core.sample import Instances, Sample
from segdata.models.matterport.config import ModelConfig
from segdata.models.matterport.model import pixel_anchors
from segdata.models.matterport.molding import extract_bboxes, minimize_mask, resize_image, resize_mask
from segdata.models.matterport.targets import objects_in, rpn_targets


@dataclass(frozen=True, eq=False)
class Example:
    """An image and its objects.

    Attributes:
        image: (H, W, 3) RGB, uint8 or float in 0 … 255.
        class_ids: (G,) from 1 on; negative for a crowd of that class.
        masks: (H, W, G) bool.
    """

    image: npt.NDArray[Any]
    class_ids: npt.NDArray[Any]
    masks: npt.NDArray[Any]

    @classmethod
    def of(cls, sample: Sample) -> Example:
        """A sample of a pack with the model's labels: its objects that have masks."""
        instances = sample.instances
        return cls.with_classes(sample, instances, instances.category + 1)

    @classmethod
    def with_classes(cls, sample: Sample, instances: Instances, classes: npt.NDArray[np.int64]) -> Example:
        """A sample with these objects.

        Args:
            classes: (N,) of each object, 0 for one to leave out, as are objects without masks.
        """
        chosen = np.flatnonzero(instances.has_mask & (classes > 0))
        objects = instances.take(chosen)
        class_ids = np.where(objects.iscrowd, -1, 1) * classes[chosen]
        return cls(sample.image, class_ids, np.moveaxis(objects.masks.dense(), 0, -1).astype(bool))


@dataclass(frozen=True, eq=False)
class Frame:
    """An example after resizing.

    Attributes:
        image: (H, W, 3), the network's input before the mean is subtracted.
        class_ids: (G,) int64 from 1 on; negative for crowds.
        boxes: (G, 4) int32 y1 x1 y2 x2 in its pixels.
        masks: (G, h, w) bool, small crops of the boxes (`use_mini_mask`), or of the whole frame.
    """

    image: npt.NDArray[Any]
    class_ids: npt.NDArray[Any]
    boxes: npt.NDArray[np.int32]
    masks: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, example: Example, config: ModelConfig, rng: np.random.Generator) -> Frame:
        """Resize an example as the settings say; objects that lose their last pixel go."""
        class_ids, masks = objects_in(np.asarray(example.class_ids), np.asarray(example.masks, bool), config, rng)
        boxed = resize_image(
            example.image,
            config.image_min_dim,
            config.image_max_dim,
            config.image_min_scale,
            config.image_resize_mode,
            rng=rng,
        )
        masks = resize_mask(masks, boxed.scale, boxed.padding, boxed.crop)
        seen = masks.any(axis=(0, 1))
        class_ids, masks = class_ids[seen], masks[:, :, seen]
        boxes = extract_bboxes(masks)
        if config.use_mini_mask:
            masks = minimize_mask(boxes, masks, (config.mini_mask_shape[0], config.mini_mask_shape[1]))
        return cls(boxed.image, class_ids, boxes, np.ascontiguousarray(np.moveaxis(masks, -1, 0)))

    @property
    def has_object(self) -> bool:
        """Whether there is an object that is no crowd; frames without one are not trained on, as in the original."""
        return bool((self.class_ids > 0).any())


@dataclass(frozen=True, eq=False)
class TrainSample:
    """A frame with the targets of the RPN.

    Attributes:
        match: (A,) int64, see `targets.rpn_targets`.
        deltas: (P, 4) float64, likewise.
        rng: what the proposals of the heads are sampled with.
    """

    frame: Frame
    match: npt.NDArray[np.int64]
    deltas: npt.NDArray[np.float64]
    rng: np.random.Generator

    @classmethod
    def of(cls, frame: Frame, config: ModelConfig, rng: np.random.Generator) -> TrainSample:
        """Sample the targets of the RPN."""
        boxes = torch.from_numpy(frame.boxes)
        anchors = pixel_anchors(config, frame.image.shape)
        match, deltas = rpn_targets(anchors, torch.from_numpy(frame.class_ids), boxes, config, rng)
        return cls(frame, match.numpy(), deltas.numpy(), rng)
