"""Which sample of one pack is which of the other: by split and key, else by the bytes of the image, else by key alone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

import numpy as np

from segdata.comparison.sides import Side
from segdata.core.arrays import IntArray


def matched(one: Side, other: Side) -> tuple[IntArray, IntArray]:
    """Pairs of samples, (K,) int64 indices in both packs, ordered by the first; no sample is in two pairs."""
    if _have_equal_keys(one, other):
        return np.arange(one.store.count), np.arange(other.store.count)
    partner = np.full(one.store.count, -1)
    left = set(range(other.store.count))

    def pair(names: Callable[[Side, int], Iterable[Hashable]]) -> None:
        """Pair what has a name in common and is in no pair yet."""
        by_name: dict[Hashable, list[int]] = {}
        for index in np.flatnonzero(partner < 0)[::-1].tolist():
            for name in names(one, index):
                by_name.setdefault(name, []).append(index)
        for index in sorted(left):
            for name in names(other, index):
                candidates = by_name.get(name, [])
                while candidates and partner[candidates[-1]] >= 0:
                    candidates.pop()
                if candidates:
                    partner[candidates.pop()] = index
                    left.discard(index)
                    break

    pair(lambda side, index: [(split, side.keys[index]) for split in side.splits[index] or ("",)])
    if left:
        images = {id(side): _images(side) for side in (one, other)}
        pair(lambda side, index: [(side.keys[index], image) for image in images[id(side)][index]])
        pair(lambda side, index: images[id(side)][index])
        # The same key with other bytes is another image; with bytes that are not known it may be the same.
        has_all = bool(one.has_image.all() and other.has_image.all())
        if not has_all:
            pair(lambda side, index: [side.keys[index]])
    first = np.flatnonzero(partner >= 0)
    return first, partner[first]


def _have_equal_keys(one: Side, other: Side) -> bool:
    """Whether both packs have the same keys and splits, in the same order."""
    if one.store.count != other.store.count or list(one.store.splits) != list(other.store.splits):
        return False
    same_splits = all(np.array_equal(members, other.store.splits[name]) for name, members in one.store.splits.items())
    return same_splits and one.keys == other.keys


def _images(side: Side) -> list[list[tuple[int, int]]]:
    """Checksum and size of every sample's image; nothing where they are not known."""
    columns = (side.column("image/crc32"), side.column("image/length"), side.has_image)
    return [
        [(crc, length)] if is_known else []
        for crc, length, is_known in zip(*(column.tolist() for column in columns), strict=True)
    ]
