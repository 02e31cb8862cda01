"""Near pairs of hashes: all of them, however they are looked for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from segdata.derivation.duplicates import neighbours
from segdata.errors import UsageError


def scattered(count: int, seed: int = 0) -> npt.NDArray[np.uint64]:
    return np.random.default_rng(seed).integers(0, 1 << 64, (count, 4), dtype=np.uint64)


def changed(hashes: npt.NDArray[np.uint64], bits: npt.NDArray[np.int64], seed: int = 1) -> npt.NDArray[np.uint64]:
    """Hashes of which so many bits are others."""
    rng = np.random.default_rng(seed)
    values = np.unpackbits(hashes.view(np.uint8), axis=1)
    for row, count in zip(values, bits.tolist(), strict=True):
        row[rng.choice(256, count, replace=False)] ^= 1
    return np.packbits(values, axis=1).view(np.uint64)


def pairs(found: neighbours.Pairs) -> list[tuple[int, int, int]]:
    return list(zip(*(part.tolist() for part in found), strict=True))


@pytest.mark.parametrize("distance", [0, 15, 16, 31, 40])
def test_planted_pairs_are_found_and_no_others(distance: int) -> None:
    """Random hashes differ in 128 bits, with a deviation of 8: none of these pairs is near by chance."""
    count = 1500  # pairs are looked up from 1,025 hashes on
    bits = np.arange(count) % 48
    hashes = scattered(count)
    both = np.concatenate([hashes, changed(hashes, bits)])
    expected = [(row, row + count, int(bits[row])) for row in range(count) if bits[row] <= distance]
    assert pairs(neighbours.near(both, None, distance)) == expected
    crossed = pairs(neighbours.near(hashes, both[count:], distance))
    assert crossed == [(row, other - count, number) for row, other, number in expected]


@pytest.mark.parametrize("distance", [15, 31])
def test_looking_up_is_comparing_all(distance: int) -> None:
    """Bands that are alike in many hashes, as those of real pictures: every pair is met once, and none is missed."""
    rng = np.random.default_rng(2)
    hashes = scattered(40)[rng.integers(0, 40, 1200)]
    hashes = changed(hashes, rng.integers(0, 24, len(hashes)))
    changes = np.array([0, *(1 << np.arange(16))][: 1 if distance < 16 else 17])
    blocks = neighbours._looked_up(hashes, hashes, changes, distance)
    looked_up = [pair for block in blocks for pair in pairs(block)]
    in_order = [pair for block in neighbours._in_order(hashes, hashes, distance) for pair in pairs(block)]
    assert sorted(looked_up) == sorted(in_order)
    assert len(in_order) > 10_000


def test_opposite_hashes_are_not_near() -> None:
    hashes = scattered(3)
    assert pairs(neighbours.near(np.concatenate([hashes, ~hashes]), None, 31)) == []
    assert pairs(neighbours.near(hashes[:0], None, 31)) == []


def test_bits_are_counted_without_numpy_2(monkeypatch: pytest.MonkeyPatch) -> None:
    values = scattered(50)
    expected = [[int(value).bit_count() for value in row] for row in values]
    assert neighbours._ones(values).tolist() == expected
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert neighbours._ones(values).tolist() == expected


def test_too_many_pairs_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "MOST_PAIRS", 1000)
    with pytest.raises(UsageError, match="more than 1,000 pairs") as error:
        neighbours.near(scattered(1).repeat(60, axis=0), None, 31)
    assert "--distance" in str(error.value)
