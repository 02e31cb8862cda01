"""Parts with their share of every category: against another implementation, with groups, and the same everywhere."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from segdata.derivation.stratify import Units, balanced, parts

IMAGES, CATEGORIES = 5000, 40
TENTH = [Fraction(9, 10), Fraction(1, 10)]

THEIRS = [
    *(474, 328, 229, 169, 137, 113, 97, 78, 67, 59, 54, 47, 42, 38, 37, 34, 31, 28, 28, 28),
    *(21, 22, 21, 20, 18, 17, 18, 17, 16, 14, 16, 14, 13, 15, 11, 11, 12, 12, 10, 11),
]
"""Images with each category in the tenth of `long_tailed` that iterative-stratification 0.1.9 chose, with NumPy 2.4.6:
`MultilabelStratifiedShuffleSplit(1, test_size=0.1, random_state=0)`."""


def long_tailed(images: int = IMAGES, categories: int = CATEGORIES) -> tuple[np.ndarray, np.ndarray]:
    """Image and category of every object; the numbers of categories fall by a power law, an image has 7.3 on average."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, categories + 1) ** 1.3
    image = np.repeat(np.arange(images), rng.poisson(7.3, images))
    return image, rng.choice(categories, len(image), p=share / share.sum())


def presence() -> tuple[np.ndarray, np.ndarray]:
    """The same without counts: each category of an image once, as the other implementation knows it."""
    image, category = long_tailed()
    there = np.zeros((IMAGES, CATEGORIES), bool)
    there[image, category] = True
    rows, columns = np.nonzero(there)
    return rows, columns


def names(count: int = IMAGES) -> list[str]:
    return [f"image {number}" for number in range(count)]


def require_as_even(ours: np.ndarray, theirs: np.ndarray, totals: np.ndarray) -> None:
    """No category's share is off by more than 1.5 times theirs, or by an image and a half."""
    off, off_theirs = abs(ours / totals - 0.1), abs(theirs / totals - 0.1)
    assert (off <= np.maximum(1.5 * off_theirs, 1.5 / totals)).all()
    assert off.mean() <= 1.5 * off_theirs.mean()


def test_parts_are_as_even_as_those_of_iterative_stratification() -> None:
    image, category = presence()
    totals = np.bincount(category)
    part = parts(Units.of(names(), image, category, CATEGORIES), TENTH, seed=0)
    require_as_even(np.bincount(category[part[image] == 1]), np.array(THEIRS), totals)
    chance = np.random.default_rng(0).random(IMAGES) < 0.1
    with pytest.raises(AssertionError):  # which the comparison can tell from chance
        require_as_even(np.bincount(category[chance[image]], minlength=CATEGORIES), np.array(THEIRS), totals)


@pytest.mark.parametrize("seed", range(3))
def test_parts_are_as_even_as_iterative_stratification_makes_them_here(seed: int) -> None:
    stratifiers = pytest.importorskip("iterstrat.ml_stratifiers", reason="iterative-stratification is not installed")
    image, category = presence()
    there = np.zeros((IMAGES, CATEGORIES), np.int8)
    there[image, category] = 1
    splitter = stratifiers.MultilabelStratifiedShuffleSplit(1, test_size=0.1, random_state=seed)
    ((_, test),) = splitter.split(there, there)
    part = parts(Units.of(names(), image, category, CATEGORIES), TENTH, seed=seed)
    require_as_even(np.bincount(category[part[image] == 1]), there[test].sum(0), there.sum(0))


@pytest.mark.parametrize("seed", range(5))
def test_objects_count_not_images(seed: int) -> None:
    """Six images with 4, 1, 1, 2, 2 and 2 objects: halves of both images and objects are those with 4, 1, 1 and the others."""
    image = np.repeat(np.arange(6), [4, 1, 1, 2, 2, 2])
    part = parts(Units.of(names(6), image, np.zeros(12, np.int64), 1), [Fraction(1, 2)] * 2, seed=seed)
    assert np.bincount(part[image]).tolist() == [6, 6]
    assert np.bincount(part).tolist() == [3, 3]


@pytest.mark.parametrize(
    ("images", "shares", "expected"),
    [
        (51, [0.8, 0.2], [41, 10]),  # 40.8, 10.2
        (79, [0.8, 0.1, 0.1], [63, 8, 8]),  # 63.2, 7.9, 7.9
        (10, [0.25] * 4, [3, 3, 2, 2]),  # 2.5 each: the first come first
        (3, [0.98, 0.01, 0.01], [1, 1, 1]),
        (1000, [0.5, 0.3, 0.1, 0.05, 0.05], [500, 300, 100, 50, 50]),
    ],
)
def test_parts_have_the_sizes_that_were_asked_for(images: int, shares: list[float], expected: list[int]) -> None:
    image, category = long_tailed(images)
    for seed in range(3):
        units = Units.of(names(images), image, category, CATEGORIES)
        assert np.bincount(parts(units, [Fraction(str(share)) for share in shares], seed)).tolist() == expected


@pytest.mark.parametrize("seed", range(5))
def test_parts_of_groups_are_off_by_half_a_mean_group_at_most(seed: int) -> None:
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(60), rng.integers(1, 40, 60))
    image, category = long_tailed(len(group))
    units = Units.of([f"video {number}" for number in group], image, category, CATEGORIES)
    shares = [0.7, 0.2, 0.1]
    part = parts(units, [Fraction(str(share)) for share in shares], seed)[units.unit_of]
    assert abs(np.bincount(part) - np.array(shares) * len(group)).max() <= len(group) / 60 / 2 + 1


def test_one_large_group_alone_fills_a_part() -> None:
    group = ["long", *["long"] * 49, *(f"short {number}" for number in range(50))]
    none = np.zeros(0, np.int64)
    units = Units.of(group, none, none, 0)
    part = parts(units, [Fraction(1, 2), Fraction(1, 2)], seed=0)[units.unit_of]
    assert len(set(part[:50].tolist())) == 1 and np.bincount(part).tolist() == [50, 50]


def test_groups_stay_together_and_shares_hold_nearly() -> None:
    image, category = long_tailed()
    group = [f"video {number // 20}" for number in range(IMAGES)]
    units = Units.of(group, image, category, CATEGORIES)
    assert len(units.names) == 250 and units.sizes.tolist() == [20] * 250
    part = parts(units, TENTH, seed=0)[np.arange(IMAGES) // 20]
    totals = np.bincount(category)
    off = abs(np.bincount(category[part[image] == 1], minlength=CATEGORIES) / totals - 0.1)
    at_random = np.random.default_rng(0).random(250)[np.arange(IMAGES) // 20] < 0.1
    chance = abs(np.bincount(category[at_random[image]], minlength=CATEGORIES) / totals - 0.1)
    assert off.mean() < chance.mean() / 4


@pytest.mark.parametrize("shares", [[0.8, 0.1, 0.1], [0.25] * 4, [0.5, 0.3, 0.1, 0.05, 0.05]])
def test_several_parts(shares: list[float]) -> None:
    image, category = long_tailed()
    exact = [Fraction(str(share)) for share in shares]
    part = parts(Units.of(names(), image, category, CATEGORIES), exact, seed=1)
    counts = np.zeros((len(shares), CATEGORIES))
    np.add.at(counts, (part[image], category), 1)
    off = abs(counts / counts.sum(0) - np.array(shares)[:, None])
    assert (off <= 2 / counts.sum(0) + 0.002).all()
    assert abs(np.bincount(part) / IMAGES - shares).max() < 0.02


def test_the_same_parts_on_every_machine() -> None:
    """Recorded once; a change of them changes everybody's splits."""
    image, category = np.array([0, 0, 1, 2, 2, 3, 5, 6, 7, 8]), np.array([0, 1, 1, 0, 2, 2, 0, 1, 1, 0])
    units = Units.of(names(10), image, category, 3)
    assert parts(units, [Fraction(1, 2), Fraction(3, 10), Fraction(1, 5)], seed=0).tolist() == RECORDED
    other = Units.of(names(10), image[::-1], category[::-1], 3)
    assert parts(other, [Fraction(1, 2), Fraction(3, 10), Fraction(1, 5)], seed=0).tolist() == RECORDED
    assert parts(units, [Fraction(1, 2), Fraction(3, 10), Fraction(1, 5)], seed=1).tolist() != RECORDED


RECORDED = [2, 0, 1, 0, 2, 0, 0, 1, 0, 1]


@pytest.mark.parametrize("count", [3, 4, 7])
def test_no_part_is_empty(count: int) -> None:
    none = np.zeros(0, np.int64)
    shares = [Fraction(98, 100), Fraction(1, 100), Fraction(1, 100)]
    part = parts(Units.of(names(count), none, none, 0), shares, seed=0)
    assert set(part.tolist()) == {0, 1, 2}


@pytest.mark.parametrize("number", [1, 7, 500, 4999])
def test_exact_parts_have_the_number(number: int) -> None:
    image, category = long_tailed()
    share = Fraction(number, IMAGES)
    part = parts(Units.of(names(), image, category, CATEGORIES), [share, 1 - share], seed=0)
    assert np.count_nonzero(part == 0) == number


def test_balanced_units_have_rare_categories_as_often_as_common_ones() -> None:
    image, category = long_tailed()
    units = Units.of(names(), image, category, CATEGORIES)
    chosen = balanced(units, 800, seed=0)
    assert np.count_nonzero(chosen) == 800
    images = np.bincount(units.category[chosen[units.unit]], minlength=CATEGORIES)
    everywhere = np.bincount(units.category, minlength=CATEGORIES)
    assert images.min() >= 2.5 * everywhere.min() * 800 / IMAGES  # a sample at random has one time as many
    assert images.max() / images.min() < 0.4 * everywhere.max() / everywhere.min()


def test_balanced_units_fill_up_with_those_without_objects() -> None:
    units = Units.of(names(6), np.array([1, 4]), np.array([0, 1]), 2)
    for number in range(1, 7):
        chosen = balanced(units, number, seed=0)
        assert np.count_nonzero(chosen) == number
        assert chosen[[1, 4]].sum() == min(number, 2)
