"""RoIs of feature maps at a fixed size: TensorFlow's `crop_and_resize`, by FPN level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

LEVELS = 4
"""FPN levels that RoIs are cropped from: P2 … P5."""

_ROUNDING = 1e-4
"""Tolerance in cells: far more than rounding errors, far less than a cell."""


def levels_of(boxes: Tensor, shape: Sequence[int]) -> Tensor:
    """(R,) FPN level, 0 (P2) … 3 (P5), of normalised boxes (R, 4) in an image of `shape` (H, W), by their size."""
    size = boxes[:, 2:] - boxes[:, :2]
    area = torch.tensor(float(shape[0] * shape[1]), dtype=boxes.dtype)
    ratio = torch.sqrt(size[:, 0] * size[:, 1]) / (224.0 / torch.sqrt(area))
    level = torch.round(torch.log(ratio) / torch.log(torch.tensor(2.0, dtype=boxes.dtype)))
    return (level.clamp(-2, 1) + 2).to(torch.int64)


def crop_and_resize(maps: Sequence[Tensor], boxes: Tensor, image: Tensor, level: Tensor, size: int) -> Tensor:
    """Sample `size` × `size` points of each box, bilinear, the first and last on the box's edges.

    A point outside the map is zero. In the original, a point on the far edge that is rounded to slightly behind it also
    counts as outside, for about one box in fourteen at the far border; for which ones depends on the last bit of the box
    and differs between machines. Here such a point is on the edge.

    Args:
        maps: FPN levels, each (N, C, h, w).
        boxes: (R, 4) normalised.
        image: (R,) index of the image of each box.
        level: (R,) index of the FPN level of each box.

    Returns:
        (R, C, size, size)
    """
    if not len(boxes):
        return maps[0].new_zeros((0, maps[0].shape[1], size, size))
    heights, widths = (torch.tensor([m.shape[axis] for m in maps], device=boxes.device) for axis in (2, 3))
    counts = torch.tensor([m.shape[0] * m.shape[2] * m.shape[3] for m in maps], device=boxes.device)
    begin = (torch.cumsum(counts, 0) - counts)[level] + image * heights[level] * widths[level]
    y0, y1, down, inside_y = _points(boxes[:, 0], boxes[:, 2], heights[level], size)
    x0, x1, right, inside_x = _points(boxes[:, 1], boxes[:, 3], widths[level], size)
    y0, y1 = ((begin[:, None] + y * widths[level][:, None])[:, :, None] for y in (y0, y1))
    x0, x1 = x0[:, None, :], x1[:, None, :]
    indices = torch.stack((y0 + x0, y0 + x1, y1 + x0, y1 + x1), dim=-1)
    down, right = down[:, :, None], right[:, None, :]
    weights = torch.stack(((1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right), dim=-1)
    weights = weights * (inside_y[:, :, None] & inside_x[:, None, :])[..., None]
    rows = torch.cat([m.permute(0, 2, 3, 1).reshape(-1, m.shape[1]) for m in maps])
    sampled = functional.embedding_bag(
        indices.reshape(-1, 4), rows, mode="sum", per_sample_weights=weights.reshape(-1, 4).to(rows.dtype)
    )
    return sampled.reshape(len(boxes), size, size, -1).permute(0, 3, 1, 2)


def _points(low: Tensor, high: Tensor, sides: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Along one axis, (R, size) each: cells before and after each point, fraction between them, whether it is on the map."""
    last = (sides - 1).to(low.dtype)
    if size > 1:
        step = (high - low) * last / (size - 1)
        position = (low * last)[:, None] + torch.arange(size, dtype=low.dtype, device=low.device) * step[:, None]
    else:
        position = (0.5 * (low + high) * last)[:, None]
    inside = (position >= -_ROUNDING) & (position <= last[:, None] + _ROUNDING)
    position = torch.minimum(position.clamp(min=0), last[:, None])
    before = torch.floor(position)
    return before.to(torch.int64), torch.ceil(position).to(torch.int64), position - before, inside
