"""The commands: what they print, their exit codes, and that they end at any kill with nothing half done."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import segdata
from tests.derivation.contents import splits
from tests.derivation.test_merge import coco, pack
from tests.helpers.command import Here, tree


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    a = pack(tmp_path / "a", coco(tmp_path / "one", 1, "train", images=10), shard_samples=4)
    b = pack(tmp_path / "b", coco(tmp_path / "two", 100, "val", images=10), shard_samples=4)
    return a, b


def test_merge(two: tuple[Path, Path], tmp_path: Path, here: Here) -> None:
    done = here("merge", *two, "-o", tmp_path / "out")
    assert done.code == 0 and done.err == ""
    assert re.search(
        r"pack +\S+out \(written\)\nsamples +20\ninstances +30\nsplits +train 10, val 10\nlinked ", done.out
    )
    again = here("merge", *two, "-o", tmp_path / "out", "--json")
    assert again.document["was_done"] is True and again.document["splits"] == {"train": 10, "val": 10}
    wrong = here("merge", two[0], "-o", tmp_path / "other", "--json")
    assert wrong.code == 2 and wrong.document["error"]["id"] == "UsageError"


def test_merge_names_both_packs_of_a_key_and_the_difference_of_labels(
    two: tuple[Path, Path], tmp_path: Path, here: Here
) -> None:
    c = pack(tmp_path / "c", coco(tmp_path / "three", 1, "train"))
    done = here("merge", two[0], c, "-o", tmp_path / "out", "--json")
    assert done.code == 4 and done.document["error"]["key"] == "000001"
    d = pack(tmp_path / "d", coco(tmp_path / "four", 200, "test", categories=("crowd", "dog")))
    done = here("merge", two[0], d, "-o", tmp_path / "out")
    assert done.code == 4 and "0: 'dog' (id 1) ≠ 'crowd' (id 1)" in done.err
    done = here("merge", two[0], d, "-o", tmp_path / "out", "--labels", two[0])
    assert done.code == 0 and "written" in done.out
    assert here("merge", two[0], c, "-o", tmp_path / "keys", "--prefix-keys", "--prefix").code == 0
    assert list(splits(tmp_path / "keys")) == ["a/train", "c/train"]


def test_documents_that_go_are_told(tmp_path: Path, here: Here) -> None:
    a = pack(tmp_path / "a", coco(tmp_path / "one", 1))
    b = pack(tmp_path / "b", coco(tmp_path / "two", 100))
    done = here("merge", a, b, "-o", tmp_path / "out")
    assert done.code == 0
    assert "documents of the sources' files" in done.err and "book-keeping" in done.err
    assert here("merge", a, b, "-o", tmp_path / "quiet", "-q").err == ""


def test_split(two: tuple[Path, Path], tmp_path: Path, here: Here) -> None:
    done = here("split", two[0], "-o", tmp_path / "out", "--into", "train=80%,val=20%", "--seed", "3")
    assert done.code == 0 and "train 8, val 2" in done.out and "% of a category at most (" in done.out
    done = here("split", two[0], "-o", tmp_path / "groups", "--into", "a=0.5,b=0.5", "--group", "(.)$", "--json")
    assert done.document["details"]["groups"] == 10
    for into in ("train=0.8,val=0.1", "train=0.8,val=0.9", "train", "train=0.5,train=0.5", "a=1,b=-0", "a=nan,b=0.5"):
        assert here("split", two[0], "-o", tmp_path / "wrong", "--into", into).code == 2, into
    many = ",".join(f"s{number}={1 / 11}" for number in range(11))
    done = here("split", two[0], "-o", tmp_path / "wrong", "--into", many)
    assert done.code == 2 and "10 samples, 11 splits" in done.err
    assert not (tmp_path / "wrong").exists()


def test_sample_and_what_info_says_of_it(two: tuple[Path, Path], tmp_path: Path, here: Here) -> None:
    done = here("sample", two[0], "-o", tmp_path / "out", "--number", "5")
    assert done.code == 0 and re.search(r"unused +[\d.]+ \w+ of images that no sample has", done.out)
    info = here("info", tmp_path / "out")
    digest = json.loads(here("info", tmp_path / "out", "--json").out)["parents"][0]["sha256"]
    assert re.search(rf"derived +sample of a \({digest[:12]}\)", info.out)
    assert re.search(r"unused +[\d.]+ \w+ of images that no sample has; segdata convert leaves them out", info.out)
    assert here("convert", tmp_path / "out", tmp_path / "compact").code == 0
    compact = here("info", tmp_path / "compact")
    assert "unused" not in compact.out and "derived" not in compact.out
    assert here("sample", two[0], "-o", tmp_path / "more", "--number", "11").code == 2
    assert here("sample", two[0], "-o", two[0], "--number", "3", "--force").code == 2


def test_force_and_what_is_there(two: tuple[Path, Path], tmp_path: Path, here: Here) -> None:
    assert here("sample", two[0], "-o", tmp_path / "out", "--number", "5").code == 0
    before = tree(tmp_path / "out")
    assert "already there" in here("sample", two[0], "-o", tmp_path / "out", "--number", "5").out
    assert here("sample", two[0], "-o", tmp_path / "out", "--number", "6").code == 2
    assert tree(tmp_path / "out") == before
    assert here("sample", two[0], "-o", tmp_path / "out", "--number", "6", "--force").code == 0
    assert len(segdata.open(tmp_path / "out")) == 6
