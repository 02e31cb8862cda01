"""How the numbers of label files are written: as Python writes them, many at once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from segdata.formats.yolo import numbers


@pytest.mark.parametrize("decimals", [1, 2, 5, 6, 8, 9, 12])
def test_many_numbers_are_written_as_python_writes_one(decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    values = rng.random(3000)
    values[:1000] = (rng.integers(0, 10 ** min(decimals, 8), 1000) + 0.5) / 10.0**decimals  # between two texts
    values[1000:1004] = 0, 1, 0.5, 9.4
    bounds = np.array([0, 0, 4, 1001, 3000])
    expected = [" ".join(f"{value:.{decimals}f}" for value in values[a:b]) for a, b in itertools.pairwise(bounds)]
    assert numbers.texts(values, bounds, f"f{decimals}") == expected


@pytest.mark.parametrize("odd", [-0.0, -0.004, 9.9999999, 12.5, float("nan")])
def test_numbers_of_other_widths_are_written_as_python_writes_them(odd: float) -> None:
    values = np.array([0.25, odd, 0.5])
    assert numbers.texts(values, np.array([0, 3]), "f6") == [f"0.250000 {odd:.6f} 0.500000"]
