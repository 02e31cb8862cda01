"""All pairs of hashes that differ in few of their 256 bits: none is missed, and not all are compared.

A hash is cut into 16 bands of 16 bits. Where two differ in 15 bits or fewer, one of the bands is equal; where they differ
in 31 or fewer, one differs in a single bit at most. So pairs are looked up by the values of a band, once for each of the
1 or 17 ways to change it. Few hashes, and those of which most look alike, are compared in order instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import IntArray
from segdata.core.rle import ranges
from segdata.derivation.duplicates.hashes import Hashes
from segdata.errors import UsageError

BITS = 256

MOST_PAIRS = 20_000_000
"""Pairs that are kept: more of them are frames of a film, or the distance is too large."""

_BANDS, _WIDTH = 16, 16
_AT_ONCE = 1 << 20
"""Pairs that are compared at once."""

_DEARER = 24
"""How many times as long a pair takes that is looked up as one that is compared in order."""

Pairs = tuple[IntArray, IntArray, IntArray]
"""Row in one array, row in the other, and number of bits that differ, (P,) each."""


def near(one: Hashes, other: Hashes | None, distance: int) -> Pairs:
    """All pairs of rows of two arrays that differ in at most `distance` bits, in order.

    Args:
        other: None for pairs within one array, each of which is given once, with the smaller row first.

    Raises:
        UsageError: more than `MOST_PAIRS` pairs.
    """
    columns = one if other is None else other
    changes = np.array([0, *(1 << np.arange(_WIDTH))][: 1 if distance < _BANDS else 1 + _WIDTH])
    everything = len(one) * len(columns)
    is_looked_up = distance < 2 * _BANDS and everything > _AT_ONCE
    if is_looked_up and _DEARER * _expected(_bands(one), _bands(columns), changes) < everything:
        blocks = _looked_up(one, columns, changes, distance)
    else:
        blocks = _in_order(one, columns, distance)
    parts: list[Pairs] = [(np.zeros(0, np.int64),) * 3]
    total = 0
    for row, column, bits in blocks:
        chosen = row < column if other is None else np.ones(len(row), bool)
        parts.append((row[chosen], column[chosen], bits[chosen]))
        total += int(np.count_nonzero(chosen))
        if total > MOST_PAIRS:
            raise UsageError(
                f"more than {MOST_PAIRS:,} pairs of images look alike",
                why=f"they differ in at most {distance} of {BITS} bits, as neighbouring frames of a film do",
                fix="give a smaller --distance, choose a split, or look for equal images alone: --level pixels",
            )
    row, column, bits = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.lexsort((column, row))
    return row[order], column[order], bits[order]


def _in_order(rows: Hashes, columns: Hashes, distance: int) -> Iterator[Pairs]:
    """All near pairs of rows, by comparing all."""
    words = np.ascontiguousarray(columns.T)
    step = max(_AT_ONCE // max(len(columns), 1), 1)
    for begin in range(0, len(rows), step):
        block = rows[begin : begin + step]
        bits = np.zeros((len(block), len(columns)), np.uint16)
        for word, theirs in enumerate(words):
            bits += _ones(block[:, word, None] ^ theirs)
        row, column = np.nonzero(bits <= distance)
        yield row + begin, column, bits[row, column].astype(np.int64)


def _looked_up(rows: Hashes, columns: Hashes, changes: IntArray, distance: int) -> Iterator[Pairs]:
    """All near pairs of rows, by looking up those of which a band is equal but for one of the changes."""
    mine, theirs = _bands(rows), _bands(columns)
    for band in range(_BANDS):
        order = np.argsort(theirs[:, band], kind="stable")
        sizes = np.bincount(theirs[:, band], minlength=1 << _WIDTH)
        begins = np.cumsum(sizes) - sizes
        for change in changes:
            value = mine[:, band] ^ change
            ends = np.cumsum(sizes[value])
            cuts = np.searchsorted(ends, np.arange(_AT_ONCE, ends[-1], _AT_ONCE))
            for part in np.split(np.arange(len(rows)), cuts):
                row = part.repeat(sizes[value[part]])
                column = order[ranges(begins[value[part]], sizes[value[part]])]
                bits = _ones(rows[row] ^ columns[column]).sum(axis=1, dtype=np.int64)
                close = np.flatnonzero(bits <= distance)
                row, column, bits = row[close], column[close], bits[close]
                of_band = _ones(mine[row] ^ theirs[column]) <= (len(changes) > 1)
                is_first = of_band.argmax(axis=1) == band  # a pair is met in every band that qualifies
                yield row[is_first], column[is_first], bits[is_first]


def _expected(mine: IntArray, theirs: IntArray, changes: IntArray) -> int:
    """How many pairs of rows `_looked_up` compares."""
    total = 0
    for band in range(_BANDS):
        counts, others = (np.bincount(bands[:, band], minlength=1 << _WIDTH) for bands in (mine, theirs))
        total += sum(int(counts @ others[np.arange(len(others)) ^ change]) for change in changes)
    return total


def _bands(hashes: Hashes) -> IntArray:
    """(N, 16) int64, the bands of hashes."""
    return np.ascontiguousarray(hashes).view(np.uint16).astype(np.int64)


_ONES = np.array([value.bit_count() for value in range(256)], np.uint8)


def _ones(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """How many bits of each whole number are set."""
    if hasattr(np, "bitwise_count"):
        return np.asarray(np.bitwise_count(values), np.uint8)
    octets = np.ascontiguousarray(values).view(np.uint8).reshape(*values.shape, values.itemsize)  # NumPy 1
    ones: npt.NDArray[np.uint8] = _ONES[octets].sum(axis=-1, dtype=np.uint8)
    return ones
