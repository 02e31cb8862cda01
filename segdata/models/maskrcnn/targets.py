"""What the network is asked for: anchors and proposals sampled by seed, mask targets from crops of masks."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from segdata.models.maskrcnn.augment import Item


def choose(is_positive: Tensor, is_negative: Tensor, keys: Tensor, count: int, ratio: float) -> tuple[Tensor, Tensor]:
    """A sample of candidates: at most `count · ratio` positives, filled up with negatives (Girshick 2015).

    The candidates with the smallest keys are taken, so what is chosen depends on the keys alone: a candidate more or
    less elsewhere changes nothing.

    Args:
        is_positive, is_negative: (N,) bool.
        keys: (N,) float, drawn at random.

    Returns:
        (S,) int64 which, positives first; (S,) bool whether a row counts. See `has_fixed_size`.
    """
    positives, is_first = _smallest(is_positive, keys, int(count * ratio))
    negatives, is_second = _smallest(is_negative, keys, count)
    is_second &= torch.arange(len(negatives), device=keys.device) < count - is_first.sum()
    places, counts = torch.cat((positives, negatives)), torch.cat((is_first, is_second))
    order = (~counts).to(torch.uint8).argsort(stable=True)[:count]
    places, counts = places[order], counts[order]
    if has_fixed_size(keys.device):
        return places, counts
    size = int(counts.sum())
    return places[:size], counts[:size]


def has_fixed_size(device: torch.device) -> bool:
    """Whether samples are filled up with rows that do not count.

    To know how many rows there are, the processor must wait until the device has come so far; a GPU that waits for work
    in turn costs more than the rows. On a CPU only the rows cost.
    """
    return device.type != "cpu"


def _smallest(candidates: Tensor, keys: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` candidates with the smallest keys, in order, and which of these rows are candidates at all."""
    found, places = torch.where(candidates, keys, torch.inf).topk(min(count, len(keys)), largest=False)
    return places, found < torch.inf


def match(quality: Tensor, low: float, high: float, *, keep_best: bool) -> tuple[Tensor, Tensor]:
    """Which object each candidate is matched with, as torchvision's `Matcher`, without waiting for the device.

    Args:
        quality: (G, N) overlaps of objects and candidates.
        keep_best: every object's best candidates are positive, however little they overlap.

    Returns:
        (N,) int64 the object that it overlaps most; (N,) int64: 1 from `high` on, 0 below `low`, −1 between.
    """
    if not len(quality):
        nothing = torch.zeros(quality.shape[1], dtype=torch.int64, device=quality.device)
        return nothing, nothing
    best, owner = quality.max(dim=0)
    verdict = (best >= high).to(torch.int64) - ((best >= low) & (best < high)).to(torch.int64)
    if keep_best:
        verdict = torch.where((quality == quality.amax(dim=1, keepdim=True)).any(dim=0), 1, verdict)
    return owner, verdict


def keys_of(seed: int, count: int, device: torch.device) -> Tensor:
    """(count,) float32 drawn from a seed: the same on every machine with this kind of device."""
    generator = torch.Generator(device=device)
    generator.manual_seed(seed)
    return torch.rand(count, generator=generator, device=device)


def at(item: Item, boxes: Tensor, owner: Tensor, size: int) -> Tensor:
    """Masks sampled inside boxes: the values of torchvision's `project_masks_on_boxes` on dense, scaled masks.

    There, masks are mirrored and scaled with the photo (nearest neighbour), and `roi_align(masks, boxes, (size, size),
    1.0)` takes in each cell the mean of ⌈side / size⌉² bilinear samples. All of it is separable: here rows and columns
    of weights over the source pixels of a crop do the same, and no mask is ever larger than its object.

    Args:
        boxes: (P, 4) float32 x0 y0 x1 y1 in pixels of the item's view.
        owner: (P,) int64, whose mask; one past the last is nobody's, and gives zeros.

    Returns:
        (P, size, size) float32 in 0..1, on the device of `boxes`.
    """
    device = boxes.device
    targets = torch.zeros(len(boxes), size, size, device=device)
    if not len(boxes) or not len(item.frames):
        return targets
    order = owner.argsort(stable=True)
    boxes, owner = boxes[order], owner[order]
    objects = torch.arange(len(item.frames), device=device)
    counts = (owner[:, None] == objects).sum(dim=0)
    longest = torch.stack((boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])).amax(dim=1)
    *ends, width, height = torch.cat((counts.cumsum(0), longest)).tolist()  # waits for the device, once an image
    view = item.view
    x0, y0, x1, y1 = view.window
    frames = torch.from_numpy(item.frames).to(device, non_blocking=True)
    frames = frames[owner.clamp(max=len(frames) - 1)]
    across = _nearest(x1 - x0, view.width, device)
    across = (x1 - 1 - across) if view.is_mirrored else (x0 + across)
    down = y0 + _nearest(y1 - y0, view.height, device)
    most_wide, most_high = item.frames[:, 2:].max(axis=0).tolist()
    columns = _weights(boxes[:, 0], boxes[:, 2], size, width, across, frames[:, 0], frames[:, 2], most_wide)
    rows = _weights(boxes[:, 1], boxes[:, 3], size, height, down, frames[:, 1], frames[:, 3], most_high)
    crops = torch.from_numpy(item.crops).to(device, non_blocking=True)
    found = torch.zeros_like(targets)
    place = first = 0
    for (_, _, wide, high), end in zip(item.frames.tolist(), map(int, ends), strict=True):
        if end > first:
            crop = crops[place : place + wide * high].view(high, wide).to(torch.float32)
            found[first:end] = rows[first:end, :, :high] @ crop @ columns[first:end, :, :wide].transpose(1, 2)
        place, first = place + wide * high, end
    targets[order] = found
    return targets


def _nearest(source: int, target: int, device: torch.device) -> Tensor:
    """(target,) int64: which of `source` pixels each becomes, by the rule of `interpolate(mode="nearest")`."""
    places = torch.arange(target, device=device)
    if source == target:
        return places
    scale = float(np.float32(source) / np.float32(target))
    return (places.to(torch.float32) * scale).floor().to(torch.int64).clamp(max=source - 1)


def _weights(
    low: Tensor,
    high: Tensor,
    size: int,
    longest: float,
    pixel_of: Tensor,
    begin: Tensor,
    length: Tensor,
    most: int,
) -> Tensor:
    """(P, size, most) weights of a crop's pixels in each cell's mean along one axis, by RoIAlign's rules.

    Args:
        low, high: (P,) edges of the boxes in pixels of the view.
        longest: the greatest distance between them.
        pixel_of: (limit,) the source pixel of every pixel of the view.
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
        place = pixel_of[pixel] - begin[:, None, None]
        is_in = (place >= 0) & (place < length[:, None, None])
        weights.scatter_add_(2, torch.where(is_in, place, 0), torch.where(is_in, weight, 0.0))
    return weights
