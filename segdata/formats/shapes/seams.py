"""One outline of an object with parts and holes, for formats that have one: they are joined by seams where they are nearest.

A seam is walked twice, there and back. By pycocotools' rule, by which segdata draws outlines, the two cancel: parts stay
apart and holes stay open. OpenCV fills every pixel that an outline touches, seams included. The border of a mask therefore
runs a quarter of a pixel inside of its pixels: both rules then give the same mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from segdata.core.masks import Masks

Points = npt.NDArray[np.float64]

_INSET = 0.25
"""Of outlines along pixels: any number below 0.5 that pycocotools' fifths of a pixel do not round across a centre."""

_AT_ONCE = 1 << 22
"""Pairs of points whose distance is computed at once."""

_FEW = 32
"""Rings of which the nearest is always joined next; more are joined in their order."""


def joined(rings: Sequence[Points]) -> Points:
    """One closed outline of several rings, each (K, 2), with a seam to each further ring where it is nearest.

    Returns:
        (P, 2); the points at both ends of a seam are there twice.
    """
    path = rings[0]
    remaining = list(rings[1:])
    are_few = len(rings) <= _FEW and sum(map(len, rings)) ** 2 <= _AT_ONCE
    while remaining:
        seams = [_nearest(path, ring) for ring in (remaining if are_few else remaining[:1])]
        chosen = min(range(len(seams)), key=lambda number: seams[number][0])
        ring, (_, here, there) = remaining.pop(chosen), seams[chosen]
        around = np.roll(ring, -there, axis=0)
        path = np.concatenate([path[: here + 1], around, around[:1], path[here:]])
    return path


def _nearest(path: Points, ring: Points) -> tuple[float, int, int]:
    """Squared distance and indices of the two points that are nearest to each other; of a very long path its end counts."""
    first = max(len(path) - max(_AT_ONCE // len(ring), 1), 0)
    distances = ((path[first:, None] - ring[None, :]) ** 2).sum(axis=2)
    best = int(distances.argmin())
    here, there = divmod(best, len(ring))
    return float(distances.flat[best]), first + here, there


def border(masks: Masks, index: int) -> Points:
    """(P, 2) one outline of a mask that has pixels, a quarter of a pixel inside of it."""
    rings = []
    for ring in masks.outlines(index):
        before = np.sign(ring - np.roll(ring, 1, axis=0))
        after = np.sign(np.roll(ring, -1, axis=0) - ring)
        along = (before + after).astype(np.float64)
        inward = np.stack([-along[:, 1], along[:, 0]], axis=1)  # the mask lies to the right of its border
        rings.append(ring + _INSET * inward)
    return joined(rings)
