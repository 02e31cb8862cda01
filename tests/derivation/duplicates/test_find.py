"""`dedupe` and `leakage`: levels, groups, what is kept, and what lies across splits and packs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import segdata
from segdata.demo import synthetic
from segdata.errors import InvalidInput, NotThere, UsageError
from tests.derivation.duplicates.conftest import Write
from tests.helpers.pictures import TURNS, VARIANTS, encoded, waves


def keys(result: segdata.Duplicates) -> list[list[str]]:
    return [[member.key for member in group.members] for group in result.groups]


def kept(result: segdata.Duplicates) -> list[list[str]]:
    return [[group.members[number].key for number in group.kept] for group in result.groups]


def pairs(result: segdata.Duplicates) -> dict[tuple[str, str], tuple[str, int]]:
    return {
        (group.members[pair.one].key, group.members[pair.other].key): (pair.level, pair.orientation)
        for group in result.groups
        for pair in group.pairs
    }


def png(pixels: np.ndarray[Any, Any], level: int) -> bytes:
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "PNG", compress_level=level)
    return target.getvalue()


@pytest.fixture
def three_levels(write: Write) -> Path:
    first = encoded(waves(1))
    return write(
        "pack",
        {
            "train": {
                "file": first,
                "pixels": png(waves(2), 1),
                "near": encoded(waves(3)),
                "other": encoded(waves(4)),
                "file again": first,
                "pixels again": png(waves(2), 9),
                "near again": VARIANTS["a quarter brighter"](Image.fromarray(waves(3))),
            }
        },
    )


def test_three_levels(three_levels: Path) -> None:
    result = segdata.dedupe(three_levels)
    assert result.images == 7 and result.dropped == 3
    assert pairs(result) == {
        ("file", "file again"): ("bytes", 1),
        ("pixels", "pixels again"): ("pixels", 1),
        ("near", "near again"): ("near", 1),
    }
    assert kept(result) == [["file"], ["pixels"], ["near"]]
    assert {pair.bits for group in result.groups[:2] for pair in group.pairs} == {0}
    assert 0 < result.groups[2].pairs[0].bits <= 31
    assert keys(segdata.dedupe(three_levels, level="bytes")) == [["file", "file again"]]
    assert len(segdata.dedupe(three_levels, level="pixels").groups) == 2
    assert len(segdata.dedupe(three_levels, distance=0).groups) == 2


def test_equal_checksums_and_lengths_alone_are_no_equal_files(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = write("pack", {"train": {"one": encoded(waves(1)), "other": encoded(waves(2))}})
    real = segdata.Pack.column

    def column(self: segdata.Pack, name: str) -> Any:
        values = real(self, name)
        return np.full_like(values, 7) if name in ("image/crc32", "image/length") else values

    monkeypatch.setattr(segdata.Pack, "column", column)
    assert segdata.dedupe(pack, level="bytes").groups == ()


def test_the_same_pixels_in_files_of_two_kinds(write: Write) -> None:
    """A JPEG is scaled while it is decoded, its pixels as a PNG are not: the hashes differ a little, the pixels do not."""
    jpeg = encoded(waves(1, 600, 800))
    pixels = np.asarray(segdata.Sample.build("x", jpeg).image)
    pack = write("pack", {"train": {"jpeg": jpeg, "png": png(pixels, 6)}})
    assert pairs(segdata.dedupe(pack)) == {("jpeg", "png"): ("pixels", 1)}


def test_turned_pictures_with_flips(write: Write) -> None:
    picture = Image.fromarray(waves(1))
    turned = {str(number): encoded(picture.transpose(turn)) for number, turn in TURNS.items()}
    pack = write("pack", {"train": {"as it is": encoded(picture), **turned, "other": encoded(waves(2))}})
    assert segdata.dedupe(pack).groups == ()
    assert pairs(segdata.dedupe(pack, flips=True)) == {
        ("as it is", str(number)): ("near", number) for number in range(2, 9)
    }
    reversed_ = write("reversed", {"train": {"8": turned["8"], "as it is": encoded(picture)}})
    assert pairs(segdata.dedupe(reversed_, flips=True)) == {("8", "as it is"): ("near", 6)}


def test_plain_pictures_are_compared_as_pixels_alone(write: Write) -> None:
    def grey(value: int, compression: int) -> bytes:
        return png(np.full((80, 90, 3), value, np.uint8), compression)

    pack = write("pack", {"train": {"a": grey(90, 0), "b": grey(91, 0), "c": grey(90, 9), "d": encoded(waves(1))}})
    result = segdata.dedupe(pack)
    assert pairs(result) == {("a", "c"): ("pixels", 1)}
    (remark,) = result.problems["remarks"].values()
    assert remark["count"] == 3 and remark["examples"] == ["a", "b", "c"]


def test_what_looks_alike_in_steps_keeps_several(write: Write) -> None:
    """Pictures that fade into another: neighbours look alike, the ends do not; every dropped one looks like a kept one."""
    one, other = waves(1).astype(float), waves(2).astype(float)
    fading = {f"{step:02}": png((one + (other - one) * step / 16).astype(np.uint8), 6) for step in range(17)}
    result = segdata.dedupe(write("pack", {"train": fading}))
    (group,) = result.groups
    assert len(group.members) == 17 and 1 < len(group.kept) < 17
    assert len(group.pairs) == 17 - len(group.kept) == result.dropped
    assert {pair.other for pair in group.pairs} | {*group.kept} == {*range(17)}
    assert {pair.one for pair in group.pairs} <= {*group.kept}
    assert all(pair.bits <= 31 for pair in group.pairs)


def test_which_one_is_kept(write: Write) -> None:
    small, large = encoded(waves(1, 240, 320)), encoded(waves(1, 480, 640))
    box = {"category": ["dog"], "bbox": [[0.0, 0.0, 5.0, 5.0]]}
    pack = write("pack", {"train": {"small": small, "large": large, "annotated": {"image": small, **box}}})
    assert kept(segdata.dedupe(pack)) == [["small"]]
    assert kept(segdata.dedupe(pack, keep="largest")) == [["large"]]
    assert kept(segdata.dedupe(pack, keep="most-annotated")) == [["annotated"]]


def test_a_pack_without_duplicates(three_levels: Path, tmp_path: Path) -> None:
    result = segdata.dedupe(three_levels, out=tmp_path / "once")
    once = segdata.open(tmp_path / "once")
    assert list(once.keys) == ["file", "pixels", "near", "other"]
    assert result.derived is not None and result.derived.samples == 4
    assert segdata.dedupe(tmp_path / "once").groups == ()
    assert segdata.verify(tmp_path / "once", deep=True).damages == []
    assert once[2].encoded == segdata.open(three_levels).find("near").encoded


def test_samples_outside_the_chosen_split_stay(write: Write, tmp_path: Path) -> None:
    file = encoded(waves(1))
    pack = write("pack", {"train": {"a": file, "b": file}, "val": {"a": file, "c": file}})
    segdata.dedupe(pack, splits=["val"], out=tmp_path / "once")
    once = segdata.open(tmp_path / "once")
    assert {name: [once.key(int(index)) for index in members] for name, members in once.splits.items()} == {
        "train": ["a", "b"],
        "val": ["a"],
    }


def test_leakage_is_across_splits(write: Write) -> None:
    picture = Image.fromarray(waves(1, 480, 640))
    file = encoded(waves(2))
    rows = {
        "train": {"a": encoded(picture), "b": file, "c": file, "x": encoded(waves(5))},
        "val": {"d": VARIANTS["grey"](picture), "y": encoded(waves(6))},
        "test": {"e": file, "f": encoded(waves(7)), "g": encoded(waves(7), quality=50)},
    }
    result = segdata.leakage(write("pack", rows))
    assert keys(result) == [["a", "d"], ["b", "c", "e"]]  # not f and g, which are both in one split
    assert pairs(result) == {("a", "d"): ("near", 1), ("b", "e"): ("bytes", 1), ("c", "e"): ("bytes", 1)}
    assert {(row.split, row.other_split): row.images for row in result.across} == {
        ("train", "val"): 1,
        ("val", "train"): 1,
        ("train", "test"): 2,
        ("test", "train"): 1,
    }
    assert [group.kept for group in result.groups] == [(), ()]
    chosen = segdata.leakage(result.packs[0], splits=["train", "val"])
    assert keys(chosen) == [["a", "d"]] and chosen.images == 6
    assert not chosen.problems["remarks"]
    (remark,) = segdata.leakage(result.packs[0], splits=["train"]).problems["remarks"]
    assert "all images are in one split" in remark
    everything = segdata.dedupe(result.packs[0])
    assert keys(everything) == [["a", "d"], ["b", "c", "e"], ["f", "g"]]
    assert [group.is_across for group in everything.groups] == [True, True, False]


def test_leakage_is_across_packs(write: Write, tmp_path: Path) -> None:
    file = encoded(waves(1))
    one = write("one", {"train": {"a": file, "b": file}})
    other = write("other", {"train": {"c": file}, "val": {"d": encoded(waves(2))}})
    result = segdata.leakage([one, other, one])
    (group,) = result.groups
    assert result.packs == (str(one), str(other)) and result.images == 4
    assert [(member.pack, member.splits, member.key) for member in group.members] == [
        (str(one), ("train",), "a"),
        (str(one), ("train",), "b"),
        (str(other), ("train",), "c"),
    ]
    with pytest.raises(UsageError, match="made of one pack"):
        segdata.dedupe([one, other], out=tmp_path / "once")


def test_splits_that_contain_one_another_are_meant_to_overlap(tmp_path: Path) -> None:
    folder = synthetic.voc.draw(tmp_path / "voc", images=9)
    sets = folder / "ImageSets/Segmentation"
    train, val = ((sets / f"{name}.txt").read_text().split() for name in ("train", "val"))
    for name in ("JPEGImages/{}.jpg", "Annotations/{}.xml", "SegmentationClass/{}.png", "SegmentationObject/{}.png"):
        text = (folder / name.format(train[0])).read_bytes()
        (folder / name.format(val[0])).write_bytes(text.replace(train[0].encode(), val[0].encode()))
    segdata.convert(folder, tmp_path / "pack", workers=1)
    result = segdata.leakage(tmp_path / "pack", splits=["train", "val", "trainval"], level="bytes")
    assert [(row.split, row.other_split, row.images) for row in result.across] == [
        ("train", "val", 1),
        ("val", "train", 1),
    ]
    assert result.shared == ()
    (sets / "quick.txt").write_text("\n".join([train[1], train[2], val[1], ""]))
    segdata.convert(folder, tmp_path / "overlap", workers=1)
    result = segdata.leakage(tmp_path / "overlap", splits=["train", "quick"], level="bytes")
    assert result.shared == ((str(tmp_path / "overlap"), "quick", "train", 2),)


def test_options_that_cannot_be_are_refused(three_levels: Path, write: Write) -> None:
    wrong: list[dict[str, Any]] = [{"level": "crops"}, {"distance": 64}, {"distance": -1}, {"keep": "last"}]
    for options in wrong:
        with pytest.raises(UsageError, match=r"out of range|keep is"):
            segdata.dedupe(three_levels, **options)
    with pytest.raises(NotThere, match="no split 'vall'"):
        segdata.leakage(three_levels, splits=["vall"])
    with pytest.raises(UsageError, match="no pack"):
        segdata.dedupe([])
    with pytest.raises(InvalidInput, match="no image to compare"):
        segdata.dedupe(write("bare", {"train": {"a": {"size": (4, 4), "category": []}}}))
