"""The five losses of Matterport's training over images of one size, each as a mean and what it is the mean over.

ground truth → resized, mini masks → RPN targets        ┐
image → feature maps → proposals → targets of the heads ┴→ five losses
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from segdata.models.matterport import losses
from segdata.models.matterport.boxes import norm_boxes
from segdata.models.matterport.config import LOSSES
from segdata.models.matterport.detection import propose
from segdata.models.matterport.model import Model, roi_features
from segdata.models.matterport.targets import RegionTargets, detection_targets
from segdata.models.matterport.training.frames import TrainSample


class Objective(NamedTuple):
    """The losses of a batch by name, with gradients.

    Attributes:
        means: each () float32.
        counts: each () float32, how many numbers are in the mean.
    """

    means: dict[str, Tensor]
    counts: dict[str, Tensor]


def objective(
    model: Model,
    images: Tensor,
    samples: Sequence[TrainSample],
    active: Tensor,
    rngs: Sequence[np.random.Generator],
) -> Objective:
    """The five losses.

    Args:
        images: (N, 3, H, W) float32, the mean subtracted, on the model's device.
        samples: of these images; each has an object.
        active: (K,) whether each class occurs in the data set.
        rngs: what the proposals of each image are sampled with.
    """
    network, device, config = model.network, model.device, model.config
    shape = images.shape[2:]
    pyramid = network.pyramid(images)
    rpn_logits, rpn_deltas = network.proposals(pyramid)
    matches = torch.stack([torch.from_numpy(sample.match) for sample in samples]).to(device)
    deltas = torch.cat([torch.from_numpy(sample.deltas) for sample in samples]).to(device)
    targets = [
        _region_targets(model, sample, rpn_logits[i], rpn_deltas[i], shape, rng)
        for i, (sample, rng) in enumerate(zip(samples, rngs, strict=True))
    ]
    class_ids = torch.cat([target.class_ids for target in targets])
    rois = [target.rois.detach() for target in targets]
    logits, boxes = network.classes(roi_features(pyramid, rois, shape, config.pool_size))
    on_objects = [roi[: len(target.masks)] for roi, target in zip(rois, targets, strict=True)]
    masks = network.masks(roi_features(pyramid, on_objects, shape, config.mask_pool_size))
    active = active.to(device)
    means = (
        losses.rpn_class_loss(matches, rpn_logits),
        losses.rpn_bbox_loss(matches, deltas, rpn_deltas),
        losses.mrcnn_class_loss(class_ids, logits, active),
        losses.mrcnn_bbox_loss(class_ids, torch.cat([target.deltas for target in targets]), boxes),
        losses.mrcnn_mask_loss(class_ids[class_ids > 0], torch.cat([target.masks for target in targets]), masks),
    )
    positive = (class_ids > 0).sum()
    counts = (
        (matches != 0).sum(),
        (matches == 1).sum() * 4,
        active[logits.argmax(dim=1)].sum(),
        positive * 4,
        positive * masks.shape[-1] ** 2,
    )
    return Objective(
        dict(zip(LOSSES, means, strict=True)),
        dict(zip(LOSSES, (count.float() for count in counts), strict=True)),
    )


def _region_targets(
    model: Model,
    sample: TrainSample,
    logits: Tensor,
    deltas: Tensor,
    shape: Sequence[int],
    rng: np.random.Generator,
) -> RegionTargets:
    """Targets of one image. As in the original, their deltas have a gradient, which reaches the proposals."""
    config, frame, device = model.config, sample.frame, model.device
    scores = torch.softmax(logits, dim=1)[:, 1]
    proposals = propose(scores, deltas, model.anchors(shape), config, config.post_nms_rois_training)
    return detection_targets(
        proposals,
        torch.from_numpy(frame.class_ids).to(device),
        norm_boxes(frame.boxes, shape).to(device),
        torch.from_numpy(frame.masks).to(device),
        config,
        rng,
    )
