"""`Loss`: a loss that can be called, and the functions behind the names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from segdata.models.losses import boundaries, boxes, edges, lovasz, pixelwise, regions
from segdata.models.losses.options import Options

_FUNCTIONS: Mapping[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "ce": pixelwise.ce,
    "focal": pixelwise.focal,
    "topk": pixelwise.topk,
    "ohem": pixelwise.ohem,
    "dice": regions.dice,
    "sensitivity_specificity": regions.sensitivity_specificity,
    "lovasz": lovasz.lovasz,
    "boundary": boundaries.boundary,
    "hausdorff": boundaries.hausdorff,
    "distance_penalised_ce": boundaries.distance_penalised_ce,
    "dual_task": edges.dual_task,
    "edge": edges.edge,
    "edge_attention": edges.edge_attention,
    "iou_balanced": boxes.iou_balanced,
}
"""(logits, labels, options, …) → sum and count."""


@dataclass(frozen=True)
class Loss:
    """A loss with its options.

    Numbers of 16 bits become float32, also inside autocast. Whether its sums and counts add up to those of a larger
    batch says `options.is_sum`.
    """

    name: str
    options: Options

    def sums(self, logits: Tensor, target: Tensor, *more: Tensor, **named: Any) -> tuple[Tensor, Tensor]:
        """The loss as a sum and what it is divided by.

        Args:
            logits: (N, C, H, W), one channel for foreground against background; (K, C) for boxes.
            target: (N, H, W) integers, class or `options.ignore_index`; (K,) for boxes.
            more, named: what some losses need beside them.

        Returns:
            Two 0-dim tensors, float32 or float64; the sum has the gradient. Where all is ignored, the sum is 0 with
            gradient 0, and the count is 0 unless it is one of images.
        """
        with torch.autocast(logits.device.type, enabled=False):
            return _FUNCTIONS[self.name](logits, target, self.options, *more, **named)

    def __call__(self, logits: Tensor, target: Tensor, *more: Tensor, **named: Any) -> Tensor:
        """The loss, () float32 or float64; arguments as for `sums`."""
        total, count = self.sums(logits, target, *more, **named)
        return total / torch.where(count > 0, count, 1.0)
