"""What the network is asked for: anchors and proposals sampled by seed, mask targets from crops of masks."""

from __future__ import annotations

import torch
from torch import Tensor

from segdata.train.views import Item


def choose(is_positive: Tensor, is_negative: Tensor, keys: Tensor, count: int, ratio: float) -> tuple[Tensor, Tensor]:
    """A sample of candidates: at most `count · ratio` positives, filled up with negatives (Girshick 2015).

    The candidates with the smallest keys are taken, so what is chosen depends on the keys alone: a candidate more or
    less elsewhere changes nothing.

    Args:
        is_positive, is_negative: (N,) bool.
        keys: (N,) float, drawn at random.

    Returns:
        Both (N,) bool.
    """
    positives = _smallest(is_positive, keys, int(count * ratio))
    return positives, _smallest(is_negative, keys, count - int(positives.sum()))


def _smallest(candidates: Tensor, keys: Tensor, count: int) -> Tensor:
    places = torch.where(candidates)[0]
    if len(places) > count:
        places = places[keys[places].topk(count, largest=False).indices]
    chosen = torch.zeros_like(candidates)
    chosen[places] = True
    return chosen


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
        owner: (P,) int64, whose mask.

    Returns:
        (P, size, size) float32 in 0..1, on the device of `boxes`.
    """
    targets = torch.zeros(len(boxes), size, size, device=boxes.device)
    if not len(boxes):
        return targets
    view = item.view
    x0, y0, x1, y1 = view.window
    frames = torch.from_numpy(item.frames).to(boxes.device)[owner]
    across = _nearest(x1 - x0, view.width, boxes.device)
    across = (x1 - 1 - across) if view.is_mirrored else (x0 + across)
    columns = _weights(boxes[:, 0], boxes[:, 2], size, across, frames[:, 0], frames[:, 2])
    down = y0 + _nearest(y1 - y0, view.height, boxes.device)
    rows = _weights(boxes[:, 1], boxes[:, 3], size, down, frames[:, 1], frames[:, 3])
    crops = torch.from_numpy(item.crops).to(boxes.device)
    begin = 0
    for number, (_, _, width, height) in enumerate(item.frames.tolist()):
        end = begin + width * height
        own = torch.where(owner == number)[0]
        if len(own):
            crop = crops[begin:end].view(height, width).to(torch.float32)
            targets[own] = rows[own, :, :height] @ crop @ columns[own, :, :width].transpose(1, 2)
        begin = end
    return targets


def _nearest(source: int, target: int, device: torch.device) -> Tensor:
    """(target,) int64: which of `source` pixels each becomes, by the rule of `interpolate(mode="nearest")`."""
    places = torch.arange(target, device=device)
    if source == target:
        return places
    scale = torch.tensor(source, dtype=torch.float32) / torch.tensor(target, dtype=torch.float32)
    return (places.to(torch.float32) * scale.item()).floor().to(torch.int64).clamp(max=source - 1)


def _weights(low: Tensor, high: Tensor, size: int, pixel_of: Tensor, begin: Tensor, length: Tensor) -> Tensor:
    """(P, size, L) weights of a crop's pixels in each cell's mean along one axis, by RoIAlign's rules.

    Args:
        low, high: (P,) edges of the boxes in pixels of the view.
        pixel_of: (limit,) the source pixel of every pixel of the view.
        begin, length: (P,) where the crop begins in the source, and its pixels; L is the longest.
    """
    limit = len(pixel_of)
    extent = (high - low).clamp(min=1.0)
    samples = (extent / size).ceil()
    step = extent / size
    most = int(samples.max())
    nth = torch.arange(most, device=low.device)
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
    weights = torch.zeros(len(low), size, int(length.max()), device=low.device)
    for pixel, weight in ((floor, (1 - fraction) * share), (ceiling, fraction * share)):
        place = pixel_of[pixel] - begin[:, None, None]
        is_in = (place >= 0) & (place < length[:, None, None])
        weights.scatter_add_(2, torch.where(is_in, place, 0), torch.where(is_in, weight, 0.0))
    return weights
