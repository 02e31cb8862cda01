"""`segdata dedupe` and `segdata leakage` at the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import segdata
from tests.derivation.duplicates.conftest import Write
from tests.helpers.command import Here
from tests.helpers.pictures import TURNS, encoded, waves


@pytest.fixture
def pack(write: Write) -> Path:
    file = encoded(waves(1))
    mirrored = encoded(Image.fromarray(waves(2)).transpose(TURNS[2]))
    return write(
        "pack", {"train": {"a": file, "b": encoded(waves(2))}, "val": {"c": file, "d": mirrored}, "test": {"e": file}}
    )


def test_dedupe_tells_what_it_found(pack: Path, here: Here, tmp_path: Path) -> None:
    outcome = here("dedupe", pack, "--flips", "-o", tmp_path / "once")
    assert outcome.code == 0, outcome.err
    assert "compared                5 images" in outcome.out
    assert "duplicates              5 images in 2 groups" in outcome.out
    assert "train a  =  val c   equal files" in outcome.out
    assert "train b  ≈  val d   " in outcome.out and "mirrored" in outcome.out
    assert f"pack                    {tmp_path / 'once'}, 2 samples" in outcome.out
    assert len(segdata.open(tmp_path / "once")) == 2
    again = here("dedupe", tmp_path / "once", "--flips")
    assert again.code == 0 and "duplicates  none" in again.out
    refused = here("dedupe", pack, "-o", tmp_path / "once")
    assert refused.code == 2 and "--force" in refused.err
    assert here("dedupe", pack, "-o", tmp_path / "once", "--force").code == 0


def test_leakage_tells_which_splits_share_images(pack: Path, here: Here) -> None:
    outcome = here("leakage", pack)
    assert outcome.code == 0, outcome.err
    assert "train                   1 also in val" in outcome.out
    assert "train a  =  val c   equal files" in outcome.out and "val d" not in outcome.out
    document = here("leakage", pack, "--split", "train", "--split", "val", "--json").document
    assert document["ok"] and document["images"] == 4
    (group,) = document["groups"]
    assert [(member["splits"], member["key"]) for member in group["members"]] == [(["train"], "a"), (["val"], "c")]
    assert group["pairs"] == [{"one": 0, "other": 1, "level": "bytes", "bits": 0, "orientation": 1, "iou": None}]
    assert document["across"][0] == {
        "pack": str(pack),
        "split": "train",
        "other_pack": str(pack),
        "other_split": "val",
        "images": 1,
    }


def test_fail_is_an_exit_code(pack: Path, here: Here) -> None:
    for verb in ("dedupe", "leakage"):
        outcome = here(verb, pack, "--fail", "--level", "bytes")
        assert outcome.code == 4 and "there are duplicates" in outcome.err and "1 group of 3 images" in outcome.err
        assert "equal files" in outcome.out
        document = here(verb, pack, "--fail", "--json").document
        assert not document["ok"] and document["error"]["exit"] == 4 and len(document["groups"]) == 1
    assert here("leakage", pack, "--fail", "--split", "train").code == 0


def test_images_that_cannot_be_read_are_listed(write: Write, here: Here) -> None:
    good = encoded(waves(1))
    begin = good.index(b"\xff\xda") + 40
    pack = write("bad", {"train": {"a": good, "b": good[:begin] + b"\xff\xc4\x00\x02" * 40 + good[begin + 160 :]}})
    outcome = here("dedupe", pack)
    assert outcome.code == 3 and "left out: 1 × " in outcome.err and "b" in outcome.err
