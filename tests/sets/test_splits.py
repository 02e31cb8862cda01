"""Splits by shares: every sample once, groups whole, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import pytest

import segdata
from segdata.errors import UsageError
from segdata.sets.splits import SplitBy
from tests.helpers import made
from tests.helpers.command import run_segdata

KEYS = [f"scene{number // 10:02d}_{number:04d}" for number in range(200)]


def test_shares_are_met_and_every_sample_is_in_one_split() -> None:
    splits = SplitBy((("train", 0.8), ("val", 0.15), ("test", 0.05))).members(KEYS)
    assert {name: len(members) for name, members in splits.items()} == {"train": 160, "val": 30, "test": 10}
    assert sorted(index for members in splits.values() for index in members) == list(range(200))


def test_the_seed_decides_and_order_does_not() -> None:
    shares = (("a", 0.5), ("b", 0.5))
    first = SplitBy(shares, seed=1).members(KEYS)["a"]
    assert SplitBy(shares, seed=2).members(KEYS)["a"] != first
    again = SplitBy(shares, seed=1).members(KEYS[::-1])["a"]
    assert {KEYS[::-1][index] for index in again} == {KEYS[index] for index in first}


def test_groups_stay_together() -> None:
    splits = SplitBy((("a", 0.7), ("b", 0.3)), group=r"^(scene\d+)_").members(KEYS)
    scenes = {name: {KEYS[index][:7] for index in members} for name, members in splits.items()}
    assert not scenes["a"] & scenes["b"]
    assert len(scenes["a"]) == 14 and len(scenes["b"]) == 6


@pytest.mark.parametrize("shares", [(), (("a", 0.5),), (("a", 1.2), ("b", -0.2))])
def test_shares_that_are_not_the_whole_are_refused(shares: tuple[tuple[str, float], ...]) -> None:
    with pytest.raises(UsageError, match="whole"):
        SplitBy(shares)


@pytest.mark.parametrize("text, sizes", [("train=0.67,val=0.33", (2, 1)), ("train=80%,val=20%", (2, 1))])
def test_one_document_is_cut_into_splits(text: str, sizes: tuple[int, int], tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    outcome = run_segdata("convert", source, tmp_path / "pack", "--split-by", text)
    assert outcome.code == 0, outcome.err
    pack = segdata.open(tmp_path / "pack")
    assert {name: len(members) for name, members in pack.splits.items()} == {"train": sizes[0], "val": sizes[1]}
    done = run_segdata("convert", tmp_path / "pack", tmp_path / "coco", "--to", "coco", "--allow-loss")
    assert done.code == 0, done.err
    assert {path.name for path in (tmp_path / "coco/annotations").iterdir()} == {
        "instances_train.json",
        "instances_val.json",
    }


@pytest.mark.parametrize(
    "options, text",
    [
        (("--group", "a"), "--split-by"),
        (("--exif", "apply", "--images", "reference"), "exclude each other"),
        (("--images-dir", ".", "--images", "reference"), "exclude each other"),
        (("--no-crowds", "--crowds", "objects"), "exclude each other"),
    ],
)
def test_options_that_do_nothing_or_contradict_each_other_are_refused(
    options: tuple[str, ...], text: str, tmp_path: Path
) -> None:
    outcome = run_segdata("convert", made.coco(tmp_path / "s"), tmp_path / "pack", *options)
    assert outcome.code == 2 and text in outcome.err, outcome.err


@pytest.mark.parametrize("option", [("--classes", "a,b"), ("--images-dir", ".")])
def test_options_of_folders_have_no_effect_on_packs(option: tuple[str, str], tmp_path: Path) -> None:
    segdata.convert(made.coco(tmp_path / "s"), tmp_path / "pack", workers=1)
    outcome = run_segdata("convert", tmp_path / "pack", tmp_path / "other", *option)
    assert outcome.code == 2 and "no effect on a pack" in outcome.err, outcome.err


def test_texts_that_are_no_shares_are_refused(tmp_path: Path) -> None:
    outcome = run_segdata("convert", made.coco(tmp_path / "s"), tmp_path / "pack", "--split-by", "train,val")
    assert outcome.code == 2 and "train=0.8,val=0.2" in outcome.err
