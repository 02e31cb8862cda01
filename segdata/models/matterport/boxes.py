"""Boxes and anchors as Matterport's model has them: tensors (y1, x1, y2, x2).

In pixels, y2 and x2 are exclusive. Normalised, a box is (box − (0, 0, 1, 1)) / (H − 1, W − 1, H − 1, W − 1), so that its
far edge is the centre of the last pixel. Boxes inside the network are normalised.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision import ops

Boxes = Tensor
"""(N, 4), y1 x1 y2 x2."""


def norm_boxes(boxes: Any, shape: Sequence[int]) -> Tensor:
    """Pixel boxes of an image of `shape` (H, W, …) → normalised, float32."""
    scale, shift = _frame(shape)
    return ((torch.as_tensor(boxes).to(torch.float64) - shift) / scale).to(torch.float32)


def denorm_boxes(boxes: Any, shape: Sequence[int]) -> Tensor:
    """Normalised boxes → whole pixels, int32 (halves to even)."""
    scale, shift = _frame(shape)
    return torch.round(torch.as_tensor(boxes).to(torch.float64) * scale + shift).to(torch.int32)


def _frame(shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    height, width = shape[:2]
    scale = torch.tensor([height, width, height, width], dtype=torch.float64) - 1
    return scale, torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)


def apply_box_deltas(boxes: Tensor, deltas: Tensor) -> Tensor:
    """Apply box deltas (dy, dx, log dh, log dw), relative to the size of each box, without clipping."""
    size = boxes[..., 2:] - boxes[..., :2]
    center = boxes[..., :2] + 0.5 * size + deltas[..., :2] * size
    size = size * torch.exp(deltas[..., 2:])
    corner = center - 0.5 * size
    return torch.cat((corner, corner + size), dim=-1)


def box_refinement(boxes: Tensor, truth: Tensor) -> Tensor:
    """The box deltas from `boxes` to `truth`, the inverse of `apply_box_deltas`. Integer boxes give float64."""
    kind = torch.promote_types(boxes.dtype, truth.dtype)
    kind = kind if kind.is_floating_point else torch.float64
    boxes, truth = boxes.to(kind), truth.to(kind)
    size, wanted = boxes[..., 2:] - boxes[..., :2], truth[..., 2:] - truth[..., :2]
    center, goal = boxes[..., :2] + 0.5 * size, truth[..., :2] + 0.5 * wanted
    return torch.cat(((goal - center) / size, torch.log(wanted / size)), dim=-1)


def clip_boxes(boxes: Tensor, window: Sequence[float] | Tensor) -> Tensor:
    """Boxes clipped to a window (y1, x1, y2, x2)."""
    y1, x1, y2, x2 = torch.as_tensor(window, dtype=boxes.dtype, device=boxes.device).unbind()
    low, high = torch.stack((y1, x1, y1, x1)), torch.stack((y2, x2, y2, x2))
    return torch.minimum(torch.maximum(boxes, low), high)


def compute_overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """(N, M) IoU."""
    if not boxes.is_floating_point() or not others.is_floating_point():
        boxes, others = boxes.to(torch.float64), others.to(torch.float64)
    kind = torch.promote_types(boxes.dtype, others.dtype)
    iou: Tensor = ops.box_iou(boxes.to(kind), others.to(kind))
    return iou


def non_max_suppression(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """NMS: indices of the remaining boxes, highest scores first; of equal scores, the earlier.

    Args:
        threshold: IoU with a remaining box above which a box is removed.
    """
    remaining: Tensor = ops.nms(boxes, scores, threshold)
    return remaining


def generate_pyramid_anchors(
    scales: Sequence[float],
    ratios: Sequence[float],
    strides: Sequence[int],
    anchor_stride: int,
    shape: Sequence[int],
) -> Tensor:
    """Anchors of all FPN levels in pixels, (A, 4) float64, not rounded.

    Ordered by level, row, column, ratio (width / height). They are centred on the corners of the cells, (i · stride,
    j · stride), not on their centres.

    Args:
        scales: side of the square anchor of each level.
        strides: stride of each level, in pixels.
        anchor_stride: cells between anchors.
        shape: (H, W, …) of the network's input.
    """
    root = torch.sqrt(torch.as_tensor(ratios, dtype=torch.float64))
    levels = []
    for scale, stride in zip(scales, strides, strict=True):
        y, x = (torch.arange(0, -(-side // stride), anchor_stride, dtype=torch.float64) * stride for side in shape[:2])
        half = torch.stack((scale / root, scale * root), dim=1) / 2
        center = torch.cartesian_prod(y, x)[:, None]
        levels.append(torch.cat((center - half, center + half), dim=2).reshape(-1, 4))
    return torch.cat(levels)
