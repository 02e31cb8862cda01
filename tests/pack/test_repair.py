"""Damaged packs made whole again: shards from the source, the index from its copy; nothing else is touched."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import segdata
from tests.helpers.command import run_segdata, tree


@pytest.fixture
def source(drawing: Callable[[str], Path], tmp_path: Path) -> Path:
    return shutil.copytree(drawing("coco"), tmp_path / "source")


@pytest.fixture
def pack(source: Path, tmp_path: Path) -> Path:
    segdata.convert(source, tmp_path / "pack", shard_samples=2, workers=1)
    return tmp_path / "pack"


def file(pack: Path, pattern: str) -> Path:
    (path,) = pack.glob(pattern)
    return path


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


DAMAGE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a flipped bit of an image": ("images-00001-*", flip),
    "a flipped bit of a table": ("annotations-00002-*", flip),
    "a table cut short": ("annotations-00000-*", cut),
    "images of 0 bytes": ("images-00002-*", lambda path: os.truncate(path, 0)),
    "a missing shard": ("annotations-00001-*", Path.unlink),
    "splits cut short": ("dataset-*", cut),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_only_what_is_damaged_is_made_anew(name: str, source: Path, pack: Path) -> None:
    before = tree(pack)
    files = {path.name: path.stat().st_ino for path in pack.iterdir()}
    pattern, damage = DAMAGE[name]
    path = file(pack, pattern)
    damage(path)
    outcome = run_segdata("verify", pack, "--deep")
    assert outcome.code == 8 and path.name in outcome.err and "--repair --source" in outcome.err
    outcome = run_segdata("verify", pack, "--repair")
    assert outcome.code == 2 and f"segdata verify {pack} --repair --source FOLDER" in outcome.err
    outcome = run_segdata("verify", pack, "--deep", "--repair", "--source", source, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.document["good"] and path.name in outcome.err
    assert tree(pack) == before
    number = path.name.split("-")[1]
    assert {other.name.split("-")[1] for other in pack.iterdir() if other.stat().st_ino != files[other.name]} <= {
        number
    }
    assert "every file is intact" in run_segdata("verify", pack, "--repair", "--source", source).err


def test_the_command_that_made_a_pack_mends_it_with_force(source: Path, tmp_path: Path) -> None:
    command = ("convert", source, tmp_path / "pack", "--drop", "person", "--shard-samples", 2)
    assert run_segdata(*command).code == 0
    before = tree(tmp_path / "pack")
    image = file(tmp_path / "pack", "images-00001-*")
    untouched = file(tmp_path / "pack", "images-00000-*").stat().st_mtime_ns
    flip(image)
    outcome = run_segdata("verify", tmp_path / "pack", "--repair", "--source", source)
    assert outcome.code == 4 and "--force" in outcome.err
    assert run_segdata(*command, "--force").code == 0
    assert tree(tmp_path / "pack") == before
    assert file(tmp_path / "pack", "images-00000-*").stat().st_mtime_ns == untouched


def test_a_source_that_gives_other_bytes_mends_nothing(source: Path, pack: Path, tmp_path: Path) -> None:
    flip(file(pack, "images-00001-*"))
    before = tree(pack)
    for path in source.rglob("*.jpg"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1  # of the same size, and its structure is right
        path.write_bytes(data)
    outcome = run_segdata("verify", pack, "--repair", "--source", source)
    assert outcome.code == 8 and "images-00001-" in outcome.err and "the pack is as it was" in outcome.err
    assert tree(pack) == before
    assert run_segdata("convert", source, pack, "--shard-samples", 2, "--force").code == 0
    assert run_segdata("verify", pack).code == 0
    segdata.convert(source, tmp_path / "other", shard_samples=2)
    assert {name: data for name, data in tree(pack).items() if name in tree(tmp_path / "other")} == tree(
        tmp_path / "other"
    )


@pytest.mark.parametrize(
    "damage",
    [flip, cut, lambda path: os.truncate(path, 0), Path.unlink],
    ids=["flipped", "cut", "empty", "gone"],
)
@pytest.mark.parametrize("name", ["pack.json", "pack-copy.json"])
def test_a_damaged_index_is_rebuilt_from_its_copy_and_the_other_way_round(
    name: str, damage: Callable[[Path], None], pack: Path
) -> None:
    before = tree(pack)
    damage(pack / name)
    is_gone = not (pack / name).exists()
    outcome = run_segdata("verify", pack)
    assert outcome.code == ((10 if name == "pack.json" else 0) if is_gone else 8)
    assert f"segdata verify {pack} --rebuild" in outcome.err or outcome.code == 0
    outcome = run_segdata("verify", pack, "--rebuild", "--deep")
    assert outcome.code == 0 and "restored" in outcome.err
    assert tree(pack) == before
    assert "intact" in run_segdata("verify", pack, "--rebuild").err


def test_an_index_without_a_whole_copy_is_not_invented(source: Path, pack: Path) -> None:
    before = tree(pack)
    cut(pack / "pack.json")
    cut(pack / "pack-copy.json")
    damaged = tree(pack)
    outcome = run_segdata("verify", pack, "--rebuild", "--json")
    assert outcome.code == 8 and outcome.document["error"]["fix"].endswith(f"segdata convert SOURCE {pack} --force")
    assert tree(pack) == damaged
    assert run_segdata("convert", source, pack, "--shard-samples", 2, "--force").code == 0
    assert tree(pack) == before


def test_a_rebuilt_index_of_a_damaged_pack_says_what_is_missing(source: Path, pack: Path) -> None:
    before = tree(pack)
    cut(pack / "pack.json")
    file(pack, "images-00000-*").unlink()
    outcome = run_segdata("verify", pack, "--rebuild")
    assert outcome.code == 8 and "images-00000-" in outcome.err
    assert run_segdata("verify", pack, "--rebuild", "--repair", "--source", source).code == 0
    assert tree(pack) == before


LOST = {name: item for name, item in DAMAGE.items() if item[0].startswith(("annotations", "images-00002"))}


@pytest.mark.parametrize("name", LOST)
def test_the_other_shards_can_be_saved_when_the_source_is_gone(name: str, pack: Path, tmp_path: Path) -> None:
    whole = segdata.open(pack)
    pattern, damage = LOST[name]
    path = file(pack, pattern)
    number = int(path.name.split("-")[1])
    damage(path)
    outcome = run_segdata("convert", pack, tmp_path / "rest")
    assert outcome.code == 8 and path.name in outcome.err and not (tmp_path / "rest").exists()
    command = ("convert", pack, tmp_path / "rest", "--on-error", "skip")
    outcome = run_segdata(*command, "--json")
    assert outcome.code == 3 and path.name in outcome.out and f"shard {number}" in outcome.out
    assert outcome.document["samples"] == 4
    assert [item["count"] for item in outcome.document["problems"]["skipped"]] == [2]
    rest, saved = segdata.open(tmp_path / "rest"), [0, 1, 2, 3, 4, 5]
    del saved[2 * number : 2 * number + 2]
    assert list(rest.keys) == [whole.key(index) for index in saved]
    for split, members in whole.splits.items():
        expected = [whole.key(index) for index in members.tolist() if index in saved]
        assert list(rest.split(split).keys) == expected
    for mine, index in zip(rest, saved, strict=True):
        assert mine.image.tobytes() == whole[index].image.tobytes()
        assert mine.instances.id.tolist() == whole[index].instances.id.tolist()
    assert run_segdata("verify", tmp_path / "rest", "--deep").code == 0
    assert run_segdata(*command).code == 3  # done already, and still not everything


def test_a_pack_opens_without_its_missing_shards(pack: Path) -> None:
    keys = list(segdata.open(pack).keys)
    file(pack, "images-00001-*").unlink()
    with pytest.raises(segdata.SegdataError, match="missing"):
        segdata.open(pack)
    with pytest.warns(UserWarning, match="shard 1 with 2 samples is left out: a file of the pack is missing"):
        rest = segdata.open(pack, allow_missing_shards=True)
    assert list(rest.keys) == keys[:2] + keys[4:]
    assert sorted(index for members in rest.splits.values() for index in members.tolist()) == [0, 1, 2, 3]
    assert "shard 2 " in rest.place(2)
    again = pickle.loads(pickle.dumps(rest[1:]))
    assert [sample.key for sample in again] == keys[1:2] + keys[4:]


def test_repair_and_rebuild_are_for_packs(source: Path) -> None:
    outcome = run_segdata("verify", "voc", "--repair")
    assert outcome.code == 2 and "segdata prepare voc --force" in outcome.err
    outcome = run_segdata("verify", source, "--rebuild")
    assert outcome.code == 10 and "there is no pack" in outcome.err
