"""Training targets: matching with ground truth by IoU, seeded sampling of positives and negatives, mask targets."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from segdata.models.maskrcnn.augment import TrainSample


def sample(is_positive: Tensor, is_negative: Tensor, keys: Tensor, count: int, ratio: float) -> tuple[Tensor, Tensor]:
    """Sample candidates: at most `count · ratio` positives, filled up with negatives (Girshick 2015).

    The candidates with the smallest keys are taken, so the sample depends on the keys alone, not on how many other
    candidates there are.

    Args:
        is_positive, is_negative: (N,) bool.
        keys: (N,) float, drawn at random.

    Returns:
        (S,) int64 indices, positives first; (S,) bool, false for padding. See `has_fixed_size`.
    """
    positives, is_first = _smallest(is_positive, keys, int(count * ratio))
    negatives, is_second = _smallest(is_negative, keys, count)
    is_second &= torch.arange(len(negatives), device=keys.device) < count - is_first.sum()
    indices, counts = torch.cat((positives, negatives)), torch.cat((is_first, is_second))
    order = (~counts).to(torch.uint8).argsort(stable=True)[:count]
    indices, counts = indices[order], counts[order]
    if has_fixed_size(keys.device):
        return indices, counts
    size = int(counts.sum())
    return indices[:size], counts[:size]


def has_fixed_size(device: torch.device) -> bool:
    """Whether samples are padded to a fixed size.

    Counting the valid rows forces a GPU→CPU synchronisation, which costs more than computing a few padded rows. On a GPU
    samples are therefore padded and masked; on a CPU they are trimmed.
    """
    return device.type != "cpu"


def _smallest(candidates: Tensor, keys: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Indices of the `count` candidates with the smallest keys, in order, and which of these rows are candidates."""
    smallest, indices = torch.where(candidates, keys, torch.inf).topk(min(count, len(keys)), largest=False)
    return indices, smallest < torch.inf


def match(iou: Tensor, low: float, high: float, *, keep_best: bool) -> tuple[Tensor, Tensor]:
    """Match candidates with ground truth by IoU, as torchvision's `Matcher`, without a GPU→CPU synchronisation.

    Args:
        iou: (G, N) of ground-truth boxes and candidates.
        keep_best: the best candidates of every object are positive, however low their IoU is.

    Returns:
        (N,) int64 index of the object with the highest IoU; (N,) int64: 1 (positive) from `high` on, 0 (negative) below
        `low`, −1 (ignored) between.
    """
    if not len(iou):
        nothing = torch.zeros(iou.shape[1], dtype=torch.int64, device=iou.device)
        return nothing, nothing
    best, index = iou.max(dim=0)
    verdict = (best >= high).to(torch.int64) - ((best >= low) & (best < high)).to(torch.int64)
    if keep_best:
        verdict = torch.where((iou == iou.amax(dim=1, keepdim=True)).any(dim=0), 1, verdict)
    return index, verdict


def keys_of(seed: int, count: int, device: torch.device) -> Tensor:
    """(count,) float32 random keys in 0..1 from a seed: the same on every machine with this kind of device."""
    generator = torch.Generator(device=device)
    generator.manual_seed(seed)
    return torch.rand(count, generator=generator, device=device)


def mask_targets(sample: TrainSample, boxes: Tensor, match: Tensor, size: int) -> Tensor:
    """Mask targets of RoIs: the values of torchvision's `project_masks_on_boxes` on dense, resized masks.

    There, masks are flipped and resized with the image (nearest neighbour), and `roi_align(masks, boxes, (size, size),
    1.0)` averages ⌈side / size⌉² bilinear samples per cell. All of this is separable: here row and column weights over
    the source pixels of a mask's bounding box do the same, and no mask is ever larger than its object.

    Args:
        boxes: (P, 4) float32 x0 y0 x1 y1 in pixels after the sample's transform.
        match: (P,) int64 index of the object; one past the last stands for none, and gives zeros.

    Returns:
        (P, size, size) float32 in 0..1, on the device of `boxes`.
    """
    device = boxes.device
    targets = torch.zeros(len(boxes), size, size, device=device)
    if not len(boxes) or not len(sample.frames):
        return targets
    order = match.argsort(stable=True)
    boxes, match = boxes[order], match[order]
    objects = torch.arange(len(sample.frames), device=device)
    counts = (match[:, None] == objects).sum(dim=0)
    longest = torch.stack((boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])).amax(dim=1)
    *ends, width, height = torch.cat((counts.cumsum(0), longest)).tolist()  # one GPU→CPU synchronisation per image
    transform = sample.transform
    x0, y0, x1, y1 = transform.window
    frames = torch.from_numpy(sample.frames).to(device, non_blocking=True)
    frames = frames[match.clamp(max=len(frames) - 1)]
    across = _nearest(x1 - x0, transform.width, device)
    across = (x1 - 1 - across) if transform.is_flipped else (x0 + across)
    down = y0 + _nearest(y1 - y0, transform.height, device)
    most_wide, most_high = sample.frames[:, 2:].max(axis=0).tolist()
    columns, rows = (
        _weights(
            boxes[:, axis],
            boxes[:, axis + 2],
            size,
            longest=longest_side,
            pixel_of=pixel_of,
            begin=frames[:, axis],
            length=frames[:, axis + 2],
            most=most,
        )
        for axis, longest_side, pixel_of, most in ((0, width, across, most_wide), (1, height, down, most_high))
    )
    crops = torch.from_numpy(sample.crops).to(device, non_blocking=True)
    by_object = torch.zeros_like(targets)
    offset = first = 0
    for (_, _, wide, high), end in zip(sample.frames.tolist(), map(int, ends), strict=True):
        if end > first:
            crop = crops[offset : offset + wide * high].view(high, wide).to(torch.float32)
            by_object[first:end] = rows[first:end, :, :high] @ crop @ columns[first:end, :, :wide].transpose(1, 2)
        offset, first = offset + wide * high, end
    targets[order] = by_object
    return targets


def _nearest(source: int, target: int, device: torch.device) -> Tensor:
    """(target,) int64: the source pixel of each of `target` pixels, by the rule of `interpolate(mode="nearest")`."""
    indices = torch.arange(target, device=device)
    if source == target:
        return indices
    scale = float(np.float32(source) / np.float32(target))
    return (indices.to(torch.float32) * scale).floor().to(torch.int64).clamp(max=source - 1)


def _weights(
    low: Tensor,
    high: Tensor,
    size: int,
    *,
    longest: float,
    pixel_of: Tensor,
    begin: Tensor,
    length: Tensor,
    most: int,
) -> Tensor:
    """(P, size, most) weights of a crop's pixels in each cell's mean along one axis, by RoIAlign's rules.

    Args:
        low, high: (P,) edges of the boxes in pixels after the transform.
        longest: the greatest distance between them.
        pixel_of: (limit,) the source pixel of every pixel after the transform.
        begin, length: (P,) where the crop begins in the source, and its pixels, at most `most`.
    """
    limit = len(pixel_of)
    extent = (high - low).clamp(min=1.0)
    samples = (extent / size).ceil()
    step = extent / size
    nth = torch.arange(max(1, math.ceil(longest / size)), device=low.device)
    cell = torch.arange(size, device=low.device)
    inside = (nth[None, None, :] + 0.5) * (step / samples)[:, None, None]
    position = low[:, None, None] + cell[None, :, None] * step[:, None, None] + inside
    counts = (nth < samples[:, None])[:, None, :] & (position >= -1) & (position <= limit)
    share = counts / samples[:, None, None]
    position = position.clamp(0, limit - 1)
    floor = position.floor()
    fraction = position - floor
    floor = floor.to(torch.int64)
    ceiling = (floor + 1).clamp(max=limit - 1)
    weights = torch.zeros(len(low), size, most, device=low.device)
    for pixel, weight in ((floor, (1 - fraction) * share), (ceiling, fraction * share)):
        column = pixel_of[pixel] - begin[:, None, None]
        is_in = (column >= 0) & (column < length[:, None, None])
        weights.scatter_add_(2, torch.where(is_in, column, 0), torch.where(is_in, weight, 0.0))
    return weights
