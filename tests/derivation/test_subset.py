"""A subset of a pack: the same samples, in files that are the parent's own wherever they can be."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

import segdata
from segdata.conversion.repair import repair
from segdata.derivation.subset import subset
from segdata.errors import DamagedData, InvalidInput, NotThere, UsageError
from tests.derivation.contents import columns, samples, splits
from tests.helpers import made, made_results
from tests.helpers.command import tree

DATASETS = {**made.ALL, "coco-panoptic": made_results.panoptic}


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """Ten images of COCO in shards of two, in two splits of which one lies within the other."""
    source = made.coco(tmp_path / "source", made.coco_document(images=10))
    segdata.convert(source, tmp_path / "parent", shard_samples=2)
    return tmp_path / "parent"


def inodes(folder: Path) -> set[int]:
    return {path.stat().st_ino for path in folder.glob("*.h5")}


def booleans(text: str) -> np.ndarray:
    """One for each digit."""
    return np.array([digit == "1" for digit in text])


def test_whole_shards_are_linked_and_parts_written_anew(parent: Path, tmp_path: Path) -> None:
    keep = booleans("1100101111")
    made_pack = subset(parent, keep, tmp_path / "out")
    assert samples(tmp_path / "out") == [item for item, kept in zip(samples(parent), keep, strict=True) if kept]
    assert segdata.verify(tmp_path / "out", deep=True).is_good
    pack, before = segdata.open(tmp_path / "out"), segdata.open(parent)
    assert [shard["samples"] for shard in pack.info["shards"]] == [2, 1, 2, 2]
    (partly,) = [shard for shard in pack.info["shards"] if shard["samples"] == 1]
    shared = inodes(tmp_path / "out") & inodes(parent)
    assert len(shared) == 4 + 3  # all files of images, and the tables of the shards that are whole
    images = {shard["images"]["sha256"] for shard in pack.info["shards"]}
    assert images == {before.info["shards"][number]["images"]["sha256"] for number in (0, 2, 3, 4)}
    assert made_pack.copied == 0
    assert made_pack.written == partly["annotations"]["bytes"] + pack.info["dataset"]["bytes"]
    sizes = [entry["bytes"] for shard in pack.info["shards"] for entry in (shard["images"], shard["annotations"])]
    assert made_pack.linked == sum(sizes) - partly["annotations"]["bytes"]


def test_what_no_sample_has_any_more_is_told_and_goes_when_the_pack_is_converted(parent: Path, tmp_path: Path) -> None:
    done = subset(parent, booleans("1000000000"), tmp_path / "out")
    assert done.unused == segdata.open(parent).image_bytes(1) > 0
    segdata.convert(tmp_path / "out", tmp_path / "compact")
    assert segdata.open(tmp_path / "compact").unused_image_bytes() == 0
    assert samples(tmp_path / "compact") == samples(tmp_path / "out") == samples(parent)[:1]
    assert segdata.open(parent).unused_image_bytes() == 0


@pytest.mark.parametrize("name", DATASETS)
def test_a_part_of_any_dataset_has_the_columns_that_converting_it_gives(name: str, tmp_path: Path) -> None:
    source = DATASETS[name](tmp_path / "source")
    kind = name.split("_")[0]
    segdata.convert(source, tmp_path / "parent", images="none", source_format=kind)
    count = len(segdata.open(tmp_path / "parent"))
    segdata.convert(source, tmp_path / "expected", images="none", source_format=kind, limit=max(count - 1, 1))
    keep = np.arange(count) < max(count - 1, 1)
    subset(tmp_path / "parent", keep, tmp_path / "out")
    assert samples(tmp_path / "out") == samples(tmp_path / "expected")
    assert columns(tmp_path / "out") == columns(tmp_path / "expected")
    assert {path.name for path in (tmp_path / "out").glob("annotations*")} == {
        path.name for path in (tmp_path / "expected").glob("annotations*")
    }  # whose names hold their digests


def test_objects_can_be_left_out_alone(parent: Path, tmp_path: Path) -> None:
    pack = segdata.open(parent)
    image, _ = pack.object_categories()
    objects = np.arange(len(image)) % 3 != 0
    subset(parent, np.ones(10, bool), tmp_path / "out", objects=objects)
    left = segdata.open(tmp_path / "out")
    assert segdata.verify(tmp_path / "out", deep=True).is_good
    for index in range(10):
        before, after = pack[index].instances, left[index].instances
        kept = objects[image == index]
        assert after.id.tolist() == before.id[kept].tolist()
        assert after.masks.dense().tolist() == before.masks.dense()[kept].tolist()
        assert list(after.extra) == [item for item, is_kept in zip(before.extra, kept, strict=True) if is_kept]
    assert left.info["instances"] == objects.sum()
    assert left.info["provenance"]["format"] == "changed"
    assert pack.info["provenance"]["format"] == "coco"


def test_splits_follow_their_samples(tmp_path: Path) -> None:
    source = made.voc(tmp_path / "source")
    segdata.convert(source, tmp_path / "parent", shard_samples=1)
    before = splits(tmp_path / "parent")
    keys = [item["key"] for item in samples(tmp_path / "parent")]
    keep = np.array([key != keys[0] for key in keys])
    subset(tmp_path / "parent", keep, tmp_path / "out")
    assert len(before) > 1
    assert splits(tmp_path / "out") == {
        name: [key for key in members if key != keys[0]] for name, members in before.items()
    }


def test_the_parent_is_named_by_its_digest(parent: Path, tmp_path: Path) -> None:
    subset(parent, booleans("1111100000"), tmp_path / "out", verb="filter", options={"where": "count(dog) > 2"})
    made_of = segdata.open(tmp_path / "out").info["provenance"]
    digest = hashlib.sha256((parent / "pack.json").read_bytes()).hexdigest()
    assert made_of["parents"] == [{"name": "parent", "sha256": digest}]
    assert made_of["options"]["verb"] == "filter" and made_of["options"]["where"] == "count(dog) > 2"


def test_the_same_call_does_nothing_and_another_is_refused(parent: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert not subset(parent, booleans("1111100000"), out).was_done
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    again = subset(parent, booleans("1111100000"), out)
    assert again.was_done and again.samples == 5
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    with pytest.raises(UsageError, match="holds something else"):
        subset(parent, booleans("0000011111"), out)
    subset(parent, booleans("0000011111"), out, force=True)
    assert samples(out) == samples(parent)[5:]
    named = {
        entry["file"] for shard in segdata.open(out).info["shards"] for entry in (shard["images"], shard["annotations"])
    }
    assert {path.name for path in out.iterdir()} == named | {
        "pack.json",
        "pack-copy.json",
        segdata.open(out).info["dataset"]["file"],
    }


def test_a_parent_outlives_its_children_and_the_other_way_round(parent: Path, tmp_path: Path) -> None:
    before, expected = tree(parent), samples(parent)[:5]
    out = tmp_path / "out"
    subset(parent, booleans("1111100000"), out)
    subset(parent, booleans("1111111111"), tmp_path / "all")
    subset(parent, booleans("0000011111"), out, force=True)
    assert tree(parent) == before
    subset(parent, booleans("1111100000"), out, force=True)
    segdata.convert(tmp_path / "source", parent, images="none", force=True, clean=True)
    assert samples(out) == expected
    assert segdata.verify(out, deep=True).is_good and segdata.verify(tmp_path / "all", deep=True).is_good


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP])
def test_where_links_are_refused_files_are_copied(
    number: int, parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subset(parent, booleans("1100101111"), tmp_path / "linked")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    done = subset(parent, booleans("1100101111"), tmp_path / "out")
    assert tree(tmp_path / "out") == tree(tmp_path / "linked")
    assert not inodes(tmp_path / "out") & inodes(parent)
    assert done.linked == 0 and done.copied > 0
    monkeypatch.setattr(os, "copy_file_range", refuse)
    subset(parent, booleans("1100101111"), tmp_path / "slow")
    assert tree(tmp_path / "slow") == tree(tmp_path / "linked")


def test_another_file_system_gets_copies(parent: Path, tmp_path: Path) -> None:
    other = Path("/dev/shm")
    if not os.access(other, os.W_OK) or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system to write to")
    out = other / f"segdata-test-{os.getpid()}"
    try:
        done = subset(parent, booleans("1100101111"), out)
        subset(parent, booleans("1100101111"), tmp_path / "out")
        assert done.linked == 0 and done.copied > 0
        assert tree(out) == tree(tmp_path / "out")
    finally:
        for path in out.iterdir():
            path.unlink()
        out.rmdir()


def test_what_is_refused(parent: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InvalidInput, match="no sample is left"):
        subset(parent, np.zeros(10, bool), out)
    with pytest.raises(UsageError, match="one boolean for each sample"):
        subset(parent, np.ones(9, bool), out)
    with pytest.raises(UsageError, match="one boolean for each sample"):
        subset(parent, np.arange(10), out)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="one boolean for each object"):
        subset(parent, np.ones(10, bool), out, objects=np.ones(1, bool))
    with pytest.raises(NotThere):
        subset(tmp_path / "nowhere", np.ones(10, bool), out)
    with pytest.raises(UsageError, match="made of itself"):
        subset(parent, np.ones(10, bool), parent, force=True)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="a file of that name exists"):
        subset(parent, np.ones(10, bool), tmp_path / "file")
    assert not out.exists()


def test_a_damaged_table_is_not_written_anew(parent: Path, tmp_path: Path) -> None:
    entry = segdata.open(parent).info["shards"][0]["annotations"]
    path = parent / entry["file"]
    data = bytearray(path.read_bytes())
    data[entry["arrays"]["instance/id"]["offset"]] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedData, match="instance/id"):
        subset(parent, booleans("1011111111"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    subset(parent, booleans("0011111111"), tmp_path / "out")  # without that shard
    assert segdata.verify(tmp_path / "out", deep=True).is_good


def test_a_part_of_coco_is_written_as_coco(parent: Path, tmp_path: Path) -> None:
    keep = booleans("1100101111")
    subset(parent, keep, tmp_path / "out")
    segdata.convert(tmp_path / "out", tmp_path / "coco", to="coco")
    again = segdata.read(tmp_path / "coco")
    keys = [item["key"] for item, kept in zip(samples(parent), keep, strict=True) if kept]
    assert sorted(sample.key for sample in again) == sorted(keys)


def test_missing_files_are_linked_again_from_a_pack_that_has_them(parent: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    subset(parent, booleans("1100101111"), out)
    whole = tree(out)
    shared = sorted(path for path in out.glob("*.h5") if path.stat().st_nlink > 1)
    alone = next(path for path in out.glob("annotations*") if path.stat().st_nlink == 1)
    shared[0].unlink()
    shared[1].rename(tmp_path / "elsewhere")
    shared[1].write_bytes((tmp_path / "elsewhere").read_bytes()[:-1] + b"x")
    before = tree(parent)
    assert repair(out, parent) == sorted(path.name for path in shared[:2])
    assert tree(out) == whole and tree(parent) == before
    assert shared[0].stat().st_nlink > 1
    assert repair(out, parent) == []
    shared[2].unlink()
    alone.unlink()
    with pytest.raises(DamagedData, match="does not have all damaged files") as error:
        repair(out, parent)
    assert alone.name in str(error.value) and "segdata subset" in str(error.value.fix)
    assert shared[2].read_bytes() == whole[shared[2].name]
    subset(parent, booleans("1100101111"), out, force=True)
    assert tree(out) == whole
