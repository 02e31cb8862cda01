"""Probabilities of an image of any size by windows, in bands: rows that no later window touches leave the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Probabilities = Callable[[list[tuple[int, int, int, int]]], Tensor]
"""Windows of equal size, each x0 y0 x1 y1 → (N, C, h, w) float32 probabilities of their pixels."""

_AT_ONCE = 4
"""Windows per call."""


def bands(
    height: int, width: int, window: tuple[int, int], overlap: float, probabilities: Probabilities
) -> Iterator[tuple[int, Tensor]]:
    """Go over an image in rows of windows.

    Where windows overlap, their probabilities are averaged, with weights that fall towards the windows' edges. In memory
    are the rows of one row of windows: classes × window height × image width.

    Args:
        window: height and width.
        overlap: share of a window that the next one covers, too, at least.

    Yields:
        The first row, and (C, h, W) float32 probabilities of the rows from there on that are finished; valid until the
        next ones are asked for.
    """
    high, wide = min(window[0], height), min(window[1], width)
    rows, columns = _begins(height, high, overlap), _begins(width, wide, overlap)
    open_rows: Tensor | None = None  # sums of the rows from `top` on
    total: Tensor | None = None
    top = 0
    for number, y in enumerate(rows):
        windows = [(x, y, x + wide, y + high) for x in columns]
        if open_rows is not None and total is not None:
            _drop(open_rows, y - top)
            _drop(total, y - top)
        top = y
        for begin in range(0, len(windows), _AT_ONCE):
            some = windows[begin : begin + _AT_ONCE]
            values = probabilities(some)
            if open_rows is None or total is None:
                open_rows = torch.zeros(values.shape[1], high, width, device=values.device)
                total = torch.zeros(1, high, width, device=values.device)
            weight = _ramp(high, values.device)[:, None] * _ramp(wide, values.device)
            for (x, _, _, _), value in zip(some, values, strict=True):
                open_rows[:, :, x : x + wide] += value * weight
                total[:, :, x : x + wide] += weight
        assert open_rows is not None and total is not None
        ready = high if number == len(rows) - 1 else rows[number + 1] - y
        yield y, open_rows[:, :ready].div_(total[:, :ready])


def _drop(sums: Tensor, rows: int) -> None:
    """Drop the first rows, which are finished, and make room below."""
    kept = sums.shape[1] - rows
    sums[:, :kept] = sums[:, rows:].clone()
    sums[:, kept:] = 0


def _begins(length: int, window: int, overlap: float) -> list[int]:
    """Where windows begin: the least number that covers the length with this overlap, evenly spread."""
    if window >= length:
        return [0]
    step = max(1, int(window * (1 - overlap)))
    count = -(-(length - window) // step) + 1
    return [round(number * (length - window) / (count - 1)) for number in range(count)]


def _ramp(length: int, device: torch.device) -> Tensor:
    """(length,) weights, 1 in the middle and small at the ends."""
    place = torch.arange(length, device=device, dtype=torch.float32) + 0.5
    return torch.minimum(place, length - place) / (length / 2)
