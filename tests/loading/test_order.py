"""The order of an epoch: every sample once, whoever takes it, also when the number of ranks changes on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdata
from segdata.errors import UsageError
from segdata.loading import Loader
from segdata.loading.order import Order, Run
from tests.helpers import made
from tests.helpers.bucket import Bucket, bucket

__all__ = ["bucket"]

SHARDS = np.arange(32).repeat(30)
"""32 shards of 30 samples."""


def order(rank: int, world: int, **options: Any) -> Order:
    given: dict[str, Any] = {"shuffle": True, "seed": 3, "drop_last": False, "batches": None, "shards": SHARDS}
    return Order(len(SHARDS), 10, rank=rank, world=world, **{**given, **options})


def taken(of: Order, epoch: int = 0, before: tuple[Run, ...] = (), most: int | None = None) -> list[int]:
    return [int(index) for draws in list(of.batches(epoch, before))[:most] for index in draws.indices]


@pytest.mark.parametrize("is_dropping", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shuffle": False},
        {"shuffle": "blocks", "window": 3},
        {"repeat": np.arange(len(SHARDS)) % 3},
        {"shuffle": "blocks", "repeat": np.arange(len(SHARDS)) % 3},
        {"batches": np.arange(len(SHARDS)).reshape(-1, 10)},
    ],
    ids=["shuffled", "in order", "blocks", "repeated", "blocks repeated", "batches"],
)
def test_eight_ranks_then_three_then_five_take_every_sample_once(options: dict[str, Any], is_dropping: bool) -> None:
    if "batches" in options and is_dropping:
        return
    options = {**options, "drop_last": is_dropping}
    all_of_one = sorted(taken(order(0, 1, **{**options, "drop_last": False})))
    before: tuple[Run, ...] = ()
    seen: list[int] = []
    for world, batches in ((8, 3), (3, 4), (5, None)):  # 600 samples or 60 batches are left to five
        lengths = {order(rank, world, **options).length(0, before) for rank in range(world)}
        assert len(lengths) == 1
        for rank in range(world):
            seen += taken(order(rank, world, **options), 0, before, batches)
        before = (*before, Run(world, batches or 0))
    if is_dropping:
        assert len(all_of_one) - 10 * 5 < len(seen) <= len(all_of_one)
        assert not (np.bincount(seen, minlength=960) > np.bincount(all_of_one, minlength=960)).any()
    else:
        assert sorted(seen) == all_of_one


def test_blocks_keep_a_rank_on_few_shards_and_the_order_depends_on_seed_and_epoch_alone() -> None:
    of_one = taken(order(0, 1, shuffle="blocks", window=2))
    for world in (1, 2, 4, 16):
        parts = [taken(order(rank, world, shuffle="blocks", window=2)) for rank in range(world)]
        assert [index for part in parts for index in part] == of_one
        assert [len(set(SHARDS[part])) for part in parts] == [32 // world] * world
    assert sorted(of_one) == list(range(960))
    windows = [set(SHARDS[of_one[begin : begin + 60]]) for begin in range(0, 960, 60)]
    assert [len(shards) for shards in windows] == [2] * 16
    assert max(len(set(SHARDS[of_one[begin : begin + 10]])) for begin in range(0, 960, 10)) == 2
    other = taken(order(0, 1, shuffle="blocks", window=2), epoch=1)
    assert sorted(other) == sorted(of_one)
    assert [{*SHARDS[other[begin : begin + 60]]} for begin in range(0, 960, 60)] != windows
    assert other == taken(order(0, 1, shuffle="blocks", window=2), epoch=1)
    assert taken(order(0, 1, shuffle="blocks", window=2, seed=4)) != of_one


def test_blocks_need_shards() -> None:
    wrong: list[dict[str, Any]] = [{"shards": None}, {"batches": [[1], [2]]}]
    for options in wrong:
        with pytest.raises(UsageError, match="'blocks' needs the samples of a pack"):
            order(0, 1, shuffle="blocks", **options)
    for options in ({"shuffle": "block"}, {"window": 0}):
        with pytest.raises(UsageError, match="out of range"):
            order(0, 1, **options)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards of eight photos."""
    folder = tmp_path_factory.mktemp("order")
    segdata.convert(made.coco(folder / "source", made.coco_document(24)), folder / "pack", shard_samples=8)
    return folder / "pack"


@pytest.mark.parametrize("shuffle", [True, "blocks"])
@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_a_loader_goes_on_with_another_number_of_ranks(
    pack: Path, bucket: Bucket, place: str, shuffle: bool | str
) -> None:
    bucket.add(pack)
    opened = segdata.open(pack) if place == "folder" else segdata.open("s3://data/pack", allow_http=True)

    def loader(rank: int, world: int) -> Loader:
        return Loader(opened, 1, shuffle=shuffle, window=2, seed=1, workers=1, rank=rank, world=world)  # type: ignore[arg-type]

    state: dict[str, Any] | None = None
    keys: list[str] = []
    for world, batches in ((8, 1), (3, 2), (5, 2)):
        loaders = [loader(rank, world) for rank in range(world)]
        for one in loaders:
            if state is not None:
                one.load_state_dict(state)
            iteration = iter(one)
            keys += [key for _ in range(batches) for key in next(iteration).keys]
            assert len(one) == {8: 3, 3: 6, 5: 2}[world]
        assert all(one.state_dict() == loaders[0].state_dict() for one in loaders)
        state = loaders[0].state_dict()
    assert sorted(keys) == sorted(opened.keys)
    again = loader(2, 5)
    again.load_state_dict(state or {})
    assert (again.epoch, len(again)) == (1, 5)
    again.load_state_dict({**(state or {}), "position": 1})
    assert len(list(again)) == 1
