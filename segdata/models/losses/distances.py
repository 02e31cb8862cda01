"""Euclidean distance transforms, exact: SciPy's on a CPU, dense arithmetic in two passes on a GPU.

Maps without a pixel of one kind, empty or full, have no distances; they give 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_MOST_NUMBERS = 1 << 26
"""Of an intermediate tensor of the dense transform."""


def edt(mask: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Distance of each pixel of a mask to the nearest pixel outside of it.

    Args:
        mask: (…, H, W) bool.

    Returns:
        (…, H, W), 0 outside of the mask, and everywhere for a mask that fills its image.
    """
    if mask.device.type != "cpu":
        return edt_dense(mask, dtype)
    return _each(mask, dtype, _inside)


def signed(mask: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Signed distance to the boundary: outside of the mask the distance to it, inside 1 - the distance to the outside.

    Args:
        mask: (…, H, W) bool.

    Returns:
        (…, H, W), 0 at the inner side of the boundary, and everywhere for an empty or full mask.
    """
    if mask.device.type != "cpu":
        return signed_dense(mask, dtype)

    def distances(map_: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        return _inside(~map_) + np.where(map_, 1 - _inside(map_), 0.0)

    return _each(mask, dtype, distances)


def to_boundary(mask: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Distance of each pixel to the nearest pixel on the other side of the boundary.

    Args:
        mask: (…, H, W) bool.

    Returns:
        (…, H, W), at least 1; 0 everywhere for an empty or full mask.
    """
    if mask.device.type != "cpu":
        return edt_dense(mask, dtype) + edt_dense(~mask, dtype)
    return _each(mask, dtype, lambda map_: _inside(map_) + _inside(~map_))


def _each(
    mask: Tensor, dtype: torch.dtype, distances: Callable[[npt.NDArray[np.bool_]], npt.NDArray[np.float64]]
) -> Tensor:
    """Distances of every map that is neither empty nor full."""
    maps = mask.detach().reshape(-1, *mask.shape[-2:])
    sizes = maps.flatten(1).sum(1).tolist()
    result = torch.zeros(maps.shape, dtype=dtype)
    for map_, size, out in zip(maps.numpy(), sizes, result.numpy(), strict=True):
        if 0 < size < map_.size:
            out[...] = distances(map_)
    return result.view(mask.shape)


def _inside(map_: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """SciPy's transform of a map that is neither empty nor full; of its bounding box and a ring of one pixel, since the
    nearest pixel outside is never farther away."""
    from scipy import ndimage

    rows, columns = np.flatnonzero(map_.any(1)), np.flatnonzero(map_.any(0))
    box = (
        slice(max(rows[0] - 1, 0), rows[-1] + 2),
        slice(max(columns[0] - 1, 0), columns[-1] + 2),
    )
    result = np.zeros(map_.shape)
    result[box] = ndimage.distance_transform_edt(map_[box])
    return result


def edt_dense(mask: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """As `edt`, by additions and minima alone, in whole numbers until the root: for devices that are good at these.

    Squared distances along columns first; then for each row the least sum with the squared distance along it.
    """
    height, width = mask.shape[-2:]
    far = 2 * (height + width)
    maps = mask.reshape(-1, height, width)
    along = _along_columns(maps, far).square()
    columns = torch.arange(width, dtype=torch.int32, device=mask.device)
    apart = (columns[:, None] - columns).square()
    rows = along.reshape(-1, width)
    step = max(_MOST_NUMBERS // (width * width), 1)
    least = [(rows[begin : begin + step, None] + apart).amin(-1) for begin in range(0, len(rows), step)]
    squared = torch.cat(least).view(mask.shape) if least else along.view(mask.shape)
    return torch.where(squared < far * far, squared, 0).to(dtype).sqrt()


def signed_dense(mask: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """As `signed`, in the same way."""
    has_boundary = mask.any(-1).any(-1) & (~mask).any(-1).any(-1)
    distances = torch.where(mask, 1 - edt_dense(mask, dtype), edt_dense(~mask, dtype))
    return torch.where(has_boundary[..., None, None], distances, 0.0)


def _along_columns(maps: Tensor, far: int) -> Tensor:
    """(M, H, W) int32 distance to the nearest pixel outside of the mask in the same column; `far` where there is none."""
    height = maps.shape[1]
    rows = torch.arange(height, dtype=torch.int32, device=maps.device)[:, None]
    above = torch.where(maps, -far, rows).cummax(1).values
    below = torch.where(maps, height + far, rows).flip(1).cummin(1).values.flip(1)
    return torch.minimum(rows - above, below - rows).clamp(max=far)
