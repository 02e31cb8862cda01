"""`repeat_factors` and `Loader(repeat=…)`: rare categories are seen more often."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdata
from segdata.core.labels import Category, LabelMapping, LabelSpace
from segdata.core.sample import Sample
from segdata.demo import synthetic
from segdata.errors import UsageError
from segdata.loading import Loader, repeat_factors
from tests.helpers.packs import pack_of

LABELS = LabelSpace.of([Category("a", 1), Category("b", 2), Category("c", 3), Category("border", 9, ignore=True)])


def sample(key: str, *categories: str) -> Sample:
    """An image of 2 × 2 pixels with an object of each of these categories, which fills it."""
    masks = [np.ones((2, 2), bool)] * len(categories)
    return Sample.build(key, size=(2, 2), masks=masks, category=list(categories), labels=LABELS)


def mapped(key: str, values: list[list[int]]) -> Sample:
    """An image of 2 × 2 pixels with this label map and no objects."""
    return Sample.build(key, size=(2, 2), semantic=np.array(values, np.uint8))


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> segdata.Pack:
    """Eight images: a is in all, b in two (twice in one of them), c in one, the ignored border in one."""
    samples = [
        sample("0", "a"),
        sample("1", "a", "b", "b"),
        sample("2", "a", "b", "c"),
        sample("3", "a", "border"),
        *(sample(str(number), "a") for number in (4, 5, 6, 7)),
    ]
    return segdata.open(pack_of(samples, LABELS, tmp_path_factory.mktemp("balance") / "pack"))


def test_the_rule_by_hand(pack: segdata.Pack) -> None:
    # √(0.5 / (2/8)) = √2 for b, √(0.5 / (1/8)) = 2 for c; a is in every image.
    assert repeat_factors(pack, 0.5) == pytest.approx([1, math.sqrt(2), 2, 1, 1, 1, 1, 1], abs=1e-15)
    assert repeat_factors(pack).tolist() == [1.0] * 8  # one of eight is not below one of a thousand


def test_a_selection_counts_its_images_alone(pack: segdata.Pack) -> None:
    # Of three images a is in 3, b in 2, c in 1.
    chosen = pack.select([2, 0, 1])
    assert repeat_factors(chosen, 1.0) == pytest.approx([math.sqrt(3), 1, math.sqrt(3 / 2)])
    assert len(repeat_factors(pack.select([]))) == 0


def test_categories_of_a_view_count(pack: segdata.Pack) -> None:
    both = LabelMapping(LabelSpace.of(["rare"]), (None, 0, 0, None))
    # b and c are one category, in two of eight; a and the border are none.
    assert repeat_factors(pack.viewed(both), 1.0) == pytest.approx([1, 2, 2, 1, 1, 1, 1, 1])


def test_label_maps_count_where_there_are_no_objects(tmp_path: Path) -> None:
    void = LABELS.void
    samples = [
        mapped("0", [[0, 0], [0, void]]),
        mapped("1", [[0, 2], [3, 3]]),
        sample("2", "a"),
        mapped("3", [[void, void], [void, void]]),
    ]
    pack = segdata.open(pack_of(samples, LABELS, tmp_path / "pack"))
    # a is in three of four, c in one.
    assert repeat_factors(pack, 1.0) == pytest.approx([math.sqrt(4 / 3), 2, math.sqrt(4 / 3), 1])


@pytest.mark.parametrize("threshold", [0.05, 0.3, 1.0])
def test_the_published_rule_on_a_drawn_dataset(tmp_path: Path, threshold: float) -> None:
    """Gupta, Dollár, Girshick, "LVIS", appendix B: r_c = max(1, √(t / f_c)), r_i = max of r_c over the categories in i."""
    segdata.convert(synthetic.coco.draw(tmp_path / "coco", images=20), tmp_path / "pack")
    pack = segdata.open(tmp_path / "pack")
    of_image = [set(sample.instances.category.tolist()) for sample in pack]
    images = Counter(category for categories in of_image for category in categories)
    r = {category: max(1.0, math.sqrt(threshold / (count / len(pack)))) for category, count in images.items()}
    expected = [max((r[category] for category in categories), default=1.0) for categories in of_image]
    assert repeat_factors(pack, threshold) == pytest.approx(expected)
    assert repeat_factors(InMemory(pack), threshold) == pytest.approx(expected)


class InMemory:
    """A dataset that is no pack."""

    def __init__(self, pack: segdata.Pack) -> None:
        self.labels = pack.labels
        self._samples = list(pack)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]


@pytest.mark.parametrize("threshold", [0, -1, 1.5, math.nan])
def test_a_threshold_that_is_no_share_is_refused(pack: segdata.Pack, threshold: float) -> None:
    with pytest.raises(UsageError, match="threshold"):
        repeat_factors(pack, threshold)


def drawn(loader: Loader) -> list[int]:
    return [index for batch in loader for index in batch.indices.tolist()]


@pytest.mark.parametrize("shuffle", [False, True])
def test_an_epoch_has_each_image_as_often_as_its_factor_says(pack: segdata.Pack, shuffle: bool) -> None:
    factors = [1, 2.25, 2, 0, 1, 1, 1, 0.5]
    loader = Loader(pack, 3, shuffle=shuffle, repeat=factors, images=False)
    times = []
    for epoch in range(400):
        loader.set_epoch(epoch)
        indices = drawn(loader)
        assert -(-len(indices) // 3) == len(loader)
        assert shuffle or indices == sorted(indices)
        times.append(np.bincount(indices, minlength=8))
    counts = np.array(times)
    assert (counts[:, [0, 2, 3, 4, 5, 6]] == [1, 2, 0, 1, 1, 1]).all()
    assert {*counts[:, 1].tolist()} == {2, 3} and {*counts[:, 7].tolist()} == {0, 1}
    # Of 400 draws with p = 0.25 and 0.5, the mean's deviation is 0.022 and 0.025.
    assert counts[:, 1].mean() == pytest.approx(2.25, abs=0.1)
    assert counts[:, 7].mean() == pytest.approx(0.5, abs=0.1)


def random_number(sample: Sample, rng: np.random.Generator) -> tuple[str, float]:
    return sample.key, float(rng.random())


def test_a_repeated_image_is_augmented_otherwise_each_time(pack: segdata.Pack) -> None:
    once = {item[0]: item[1] for batch in Loader(pack, 4, transform=random_number, seed=5) for item in batch.items}

    def items(rank: int, world: int, workers: int) -> list[Any]:
        loader = Loader(
            pack, 4, shuffle=True, seed=5, repeat=[3] * 8, transform=random_number, rank=rank, world=world, workers=workers
        )  # fmt: skip
        return [item for batch in loader for item in batch.items]

    alone = items(0, 1, 0)
    assert len(alone) == len(set(alone)) == 24
    assert set(once.items()) < set(alone)  # the first time is as without repeat
    assert items(0, 1, 3) == alone
    assert sorted(items(0, 2, 0) + items(1, 2, 2)) == sorted(alone)


def test_factors_that_do_not_fit_are_refused(pack: segdata.Pack) -> None:
    for factors in ([1.0] * 7, [1.0] * 7 + [-1.0], [1.0] * 7 + [math.inf], 2.0):
        with pytest.raises(UsageError, match="not one number for each sample"):
            Loader(pack, repeat=factors)
    with pytest.raises(UsageError, match="does not go with batches"):
        Loader(pack, batches=[[0]], repeat=[1.0] * 8)
    with pytest.raises(UsageError, match="crc32"):
        Loader(pack, repeat=[2.0] * 8).load_state_dict(Loader(pack).state_dict())
