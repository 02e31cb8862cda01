"""Fine-tuning as in the original: its targets, losses, L2 penalty and SGD.

ground truth → resized, mini masks → RPN targets        ┐
image → feature maps → proposals → targets of the heads ┴→ five losses + penalty → clipped gradients → weights
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from segdata.core.sample import Sample
from segdata.errors import UsageError
from segdata.models.matterport import losses
from segdata.models.matterport.boxes import norm_boxes
from segdata.models.matterport.config import LOSSES
from segdata.models.matterport.detection import propose
from segdata.models.matterport.layers import matching
from segdata.models.matterport.model import Model, roi_features
from segdata.models.matterport.molding import extract_bboxes, minimize_mask, resize_image, resize_mask
from segdata.models.matterport.targets import RegionTargets, detection_targets, objects_in, rpn_targets


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
        objects = sample.instances.take(np.flatnonzero(sample.instances.has_mask))
        class_ids = np.where(objects.iscrowd, -1, 1) * (objects.category + 1)
        return cls(sample.image, class_ids, np.moveaxis(objects.masks.dense(), 0, -1).astype(bool))


@dataclass(frozen=True, eq=False)
class _Framed:
    """An example after resizing: image (H, W, 3), boxes (G, 4) in its pixels, masks (G, h, w)."""

    image: npt.NDArray[Any]
    class_ids: Tensor
    boxes: Tensor
    masks: Tensor


class Training:
    """SGD on some layers of a model, which is changed in place, step by step.

    Args:
        model: to train.
        layers: which layers: "heads", "5+", "4+", "3+", "all", or a regular expression for whole names of Keras layers.
        learning_rate: instead of the model's setting.
        active: (K,) whether each class occurs in the data set; by default all do.
        seed: random seed of the sampling of targets.

    Raises:
        UsageError: no layer is named so.
    """

    def __init__(
        self,
        model: Model,
        layers: str = "heads",
        *,
        learning_rate: float | None = None,
        active: Sequence[bool] | None = None,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.layers = matching(model.layers, layers)
        self.active = torch.ones(model.num_classes) if active is None else torch.as_tensor(active, dtype=torch.float32)
        self.rng = np.random.default_rng(seed)
        self.weights = [weight for layer in self.layers for weight in layer.module.parameters()]
        self._penalised = [weight for layer in self.layers if not layer.is_norm for weight in layer.module.parameters()]
        config = model.config
        self.optimizer = torch.optim.SGD(
            self.weights,
            lr=config.learning_rate if learning_rate is None else learning_rate,
            momentum=config.learning_momentum,
        )

    def step(self, batch: Sequence[Example]) -> dict[str, float]:
        """One update of the weights.

        Returns:
            `loss`, the weighted sum of the five losses and the penalty, before the update, and each of them.

        Raises:
            UsageError: images of different sizes after resizing, or none with an object.
        """
        self._set_modes()
        self.optimizer.zero_grad(set_to_none=True)
        parts = self.losses(batch)
        weights = self.model.config.loss_weights
        penalty = losses.weight_penalty(self._penalised, self.model.config.weight_decay)
        total = torch.stack([weights.get(name, 1.0) * parts[name] for name in LOSSES]).sum() + penalty
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.weights, self.model.config.gradient_clip_norm)
        self.optimizer.step()
        self.model.network.eval()
        values = {"loss": total, **parts, "penalty": penalty}
        return {name: float(value.detach()) for name, value in values.items()}

    def losses(self, batch: Sequence[Example]) -> dict[str, Tensor]:
        """The five losses of a batch, with gradients; targets are sampled anew each time."""
        model, config = self.model, self.model.config
        framed = [item for item in map(self._framed, batch) if (item.class_ids > 0).any()]
        if not framed:
            raise UsageError("none of these images shows an object", fix="leave images without objects out")
        shape = framed[0].image.shape
        if any(item.image.shape != shape for item in framed):
            raise UsageError(
                "the images of a step must have one size after resizing",
                why=", ".join(sorted({f"{item.image.shape[1]} × {item.image.shape[0]}" for item in framed})),
                fix="train with image_resize_mode='square'",
            )
        network, device = model.network, model.device
        pyramid = network.pyramid(model.tensor([item.image for item in framed]))
        rpn_logits, rpn_deltas = network.proposals(pyramid)
        match, deltas = zip(*(self._anchor_targets(item, shape) for item in framed), strict=True)
        matches = torch.stack(match).to(device)
        targets = [self._region_targets(item, rpn_logits[i], rpn_deltas[i], shape) for i, item in enumerate(framed)]
        class_ids = torch.cat([target.class_ids for target in targets])
        rois = [target.rois.detach() for target in targets]
        logits, boxes = network.classes(roi_features(pyramid, rois, shape, config.pool_size))
        on_objects = [roi[: len(target.masks)] for roi, target in zip(rois, targets, strict=True)]
        masks = network.masks(roi_features(pyramid, on_objects, shape, config.mask_pool_size))
        return {
            "rpn_class_loss": losses.rpn_class_loss(matches, rpn_logits),
            "rpn_bbox_loss": losses.rpn_bbox_loss(matches, torch.cat(deltas).to(device), rpn_deltas),
            "mrcnn_class_loss": losses.mrcnn_class_loss(class_ids, logits, self.active.to(device)),
            "mrcnn_bbox_loss": losses.mrcnn_bbox_loss(
                class_ids, torch.cat([target.deltas for target in targets]), boxes
            ),
            "mrcnn_mask_loss": losses.mrcnn_mask_loss(
                class_ids[class_ids > 0], torch.cat([target.masks for target in targets]), masks
            ),
        }

    def _framed(self, example: Example) -> _Framed:
        config = self.model.config
        class_ids, masks = objects_in(np.asarray(example.class_ids), np.asarray(example.masks, bool), config, self.rng)
        boxed = resize_image(
            example.image,
            config.image_min_dim,
            config.image_max_dim,
            config.image_min_scale,
            config.image_resize_mode,
            rng=self.rng,
        )
        masks = resize_mask(masks, boxed.scale, boxed.padding, boxed.crop)
        seen = masks.any(axis=(0, 1))
        class_ids, masks = class_ids[seen], masks[:, :, seen]
        boxes = extract_bboxes(masks)
        if config.use_mini_mask:
            masks = minimize_mask(boxes, masks, (config.mini_mask_shape[0], config.mini_mask_shape[1]))
        planes = np.ascontiguousarray(np.moveaxis(masks, -1, 0))
        return _Framed(boxed.image, torch.from_numpy(class_ids), torch.from_numpy(boxes), torch.from_numpy(planes))

    def _anchor_targets(self, item: _Framed, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        return rpn_targets(self.model.pixel_anchors(shape), item.class_ids, item.boxes, self.model.config, self.rng)

    def _region_targets(self, item: _Framed, logits: Tensor, deltas: Tensor, shape: Sequence[int]) -> RegionTargets:
        """Targets of one image. As in the original, their deltas have a gradient, which reaches the proposals."""
        model, config = self.model, self.model.config
        scores = torch.softmax(logits, dim=1)[:, 1]
        proposals = propose(scores, deltas, model.anchors(shape), config, config.post_nms_rois_training)
        return detection_targets(
            proposals,
            item.class_ids.to(model.device),
            norm_boxes(item.boxes, shape).to(model.device),
            item.masks.to(model.device),
            config,
            self.rng,
        )

    def _set_modes(self) -> None:
        """Train only the chosen layers; batch norms are in training mode only if the settings say so."""
        self.model.network.eval().requires_grad_(False)
        for layer in self.layers:
            layer.module.requires_grad_(True)
            layer.module.train(self.model.config.train_bn)
