"""`split` and `sample`: the same samples in other splits, and fewer samples in the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import segdata
from segdata.errors import NotThere, UsageError
from tests.derivation.contents import samples, splits
from tests.helpers.command import tree

NAMES = ["common", "rare", "never", "ignored"]
IMAGE = np.zeros((8, 10, 3), np.uint8)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred images: two objects each, on ten of them a rare one; five videos of twenty frames, and cameras."""

    def one(number: int) -> segdata.Sample:
        category = ["common", "rare" if number % 10 == 3 else "common"]
        masks = np.zeros((2, 8, 10), bool)
        masks[:, 1:4, 2:5] = True
        sample = segdata.Sample.build(
            f"video{number // 20}/frame{number:03}", IMAGE, masks=masks, category=category, labels=NAMES
        )
        return sample.with_annotations(
            instances=sample.instances, semantic=None, extra={"meta": {"camera": number % 4}, "shot": number // 50}
        )

    folder = tmp_path_factory.mktemp("split") / "pack"
    data = {"a": [one(number) for number in range(60)], "b": [one(number) for number in range(60, 100)]}
    segdata.write(data, folder, labels=NAMES)
    return folder


def rare(folder: Path) -> dict[str, int]:
    """Split → its images with a rare object."""
    whole = segdata.open(folder)
    return {name: sum(1 in sample.instances.category for sample in whole.split(name)) for name in whole.splits}


def test_every_split_has_its_share_of_every_category(pack: Path, tmp_path: Path) -> None:
    done = segdata.split(pack, tmp_path / "out", {"train": 0.8, "val": 0.1, "test": 0.1})
    assert {name: len(members) for name, members in splits(tmp_path / "out").items()} == {
        "train": 80,
        "val": 10,
        "test": 10,
    }
    assert rare(tmp_path / "out") == {"train": 8, "val": 1, "test": 1}
    assert samples(tmp_path / "out") == samples(pack)
    assert sorted(key for members in splits(tmp_path / "out").values() for key in members) == sorted(
        segdata.open(pack).keys
    )
    assert done.details["largest_deviation"] < 1e-9
    entries = segdata.open(pack).info["shards"]
    names = {entry[kind]["sha256"] for entry in entries for kind in ("images", "annotations")}
    made = segdata.open(tmp_path / "out").info["shards"]
    assert names == {entry[kind]["sha256"] for entry in made for kind in ("images", "annotations")}
    assert done.written == segdata.open(tmp_path / "out").info["dataset"]["bytes"]
    assert segdata.verify(tmp_path / "out", deep=True).is_good


@pytest.mark.parametrize("group", [r"^(video\d)/", r"^video\d", "extra.shot", "extra.meta.camera"])
def test_groups_stay_in_one_split(group: str, pack: Path, tmp_path: Path) -> None:
    done = segdata.split(pack, tmp_path / "out", {"train": 0.5, "val": 0.5}, group=group)
    whole = segdata.open(tmp_path / "out")

    def name(sample: segdata.Sample) -> object:
        if group == "extra.shot":
            return sample.extra["shot"]
        return sample.extra["meta"]["camera"] if group.startswith("extra") else sample.key.partition("/")[0]

    of_split = [{name(sample) for sample in whole.split(split)} for split in ("train", "val")]
    assert not of_split[0] & of_split[1]
    assert len(of_split[0] | of_split[1]) == done.details["groups"]
    assert all(of_split)


def test_the_seed_decides_and_images_alone_can_count(pack: Path, tmp_path: Path) -> None:
    into = {"train": 0.7, "val": 0.3}
    made = {}
    for name, options in {"0": {}, "1": {"seed": 1}, "again": {"seed": 0}, "image": {"by": "image"}}.items():
        segdata.split(pack, tmp_path / name, into, **options)  # type: ignore[arg-type]
        made[name] = splits(tmp_path / name)
        assert [len(members) for members in made[name].values()] == [70, 30]
    assert made["0"] == made["again"] != made["1"]
    assert tree(tmp_path / "0") == tree(tmp_path / "again")
    assert made["image"] != made["0"]


def test_label_maps_count_where_there_are_no_objects(tmp_path: Path) -> None:
    def one(number: int) -> segdata.Sample:
        semantic = np.full((8, 10), number % 10 == 3, np.uint8)
        return segdata.Sample.build(f"{number:03}", IMAGE, semantic=semantic)

    segdata.write([one(number) for number in range(100)], tmp_path / "pack", labels=NAMES)
    done = segdata.split(tmp_path / "pack", tmp_path / "out", {"train": 0.8, "val": 0.2})
    whole = segdata.open(tmp_path / "out")
    assert sum(bool(sample.semantic.any()) for sample in whole.split("val") if sample.semantic is not None) == 2
    assert done.details["largest_deviation"] < 0.01


@pytest.mark.parametrize(
    "into",
    [{}, {"train": 0.8, "val": 0.1}, {"train": 1.2, "val": -0.2}, {"train": float("nan")}, {"train": 0.5, "": 0.5}],
)
def test_shares_that_are_no_whole_are_refused(into: dict[str, float], pack: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="do not make up the whole"):
        segdata.split(pack, tmp_path / "out", into)
    assert not (tmp_path / "out").exists()


def test_what_else_is_refused(pack: Path, tmp_path: Path) -> None:
    six = dict.fromkeys("abcdef", 1 / 6)
    with pytest.raises(UsageError, match="more splits than groups"):
        segdata.split(pack, tmp_path / "out", six, group=r"^video\d")
    with pytest.raises(UsageError, match="no regular expression"):
        segdata.split(pack, tmp_path / "out", six, group="(")
    with pytest.raises(UsageError, match="no key matches"):
        segdata.split(pack, tmp_path / "out", six, group="zzz")
    with pytest.raises(NotThere, match=r"no sample has the field 'extra.city'"):
        segdata.split(pack, tmp_path / "out", six, group="extra.city")
    with pytest.raises(UsageError, match="by is 'objects'"):
        segdata.split(pack, tmp_path / "out", six, by="objects")  # type: ignore[arg-type]


# ---------------------------------------------------------------------- sample


def test_a_sample_has_the_shares_of_the_whole(pack: Path, tmp_path: Path) -> None:
    done = segdata.sample(pack, tmp_path / "out", 20)
    assert done.samples == 20
    assert {name: len(members) for name, members in splits(tmp_path / "out").items()} == {"a": 12, "b": 8}
    assert sum(rare(tmp_path / "out").values()) == 2
    order = {item["key"]: item for item in samples(pack)}
    assert samples(tmp_path / "out") == [
        item for key, item in order.items() if key in {item["key"] for item in samples(tmp_path / "out")}
    ]
    assert done.unused > 0 and segdata.verify(tmp_path / "out", deep=True).is_good


def test_a_balanced_sample_has_rare_categories_as_often(pack: Path, tmp_path: Path) -> None:
    segdata.sample(pack, tmp_path / "out", 20, balance=True)
    assert sum(rare(tmp_path / "out").values()) == 10  # all that there are; each has a common object, too


@pytest.mark.parametrize("number", [1, 99, 100])
def test_a_sample_of_any_number(number: int, pack: Path, tmp_path: Path) -> None:
    for balance in (False, True):
        out = tmp_path / f"{balance}"
        assert segdata.sample(pack, out, number, balance=balance).samples == number
        segdata.sample(pack, tmp_path / f"{balance} again", number, balance=balance)
        assert tree(out) == tree(tmp_path / f"{balance} again")


@pytest.mark.parametrize("number", [0, -1, 101])
def test_a_number_that_the_pack_has_not_is_refused(number: int, pack: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot give"):
        segdata.sample(pack, tmp_path / "out", number)
