"""The contract of a pack reader: a second one, written from docs/pack.md alone, sees the same in every pack."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

import segdata
from tests.contracts import second_reader
from tests.helpers import made
from tests.helpers.samples import SAMPLES, needs_samples

REAL = [("coco", "coco"), ("voc", "voc/VOCdevkit/VOC2012")]


def assert_readers_agree(pack: Path) -> None:
    ours = segdata.open(pack)
    theirs = list(second_reader.samples(pack))
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.key == other["key"]
        assert hashlib.sha256(mine.encoded or b"").digest() == hashlib.sha256(other["encoded"] or b"").digest()
        assert np.array_equal(mine.instances.category, other["category"])
        assert np.array_equal(mine.instances.iscrowd, other["iscrowd"])
        assert np.array_equal(mine.instances.bbox, other["bbox"], equal_nan=True)
        assert np.array_equal(mine.instances.masks.dense(), other["masks"])
        assert (mine.semantic is None) == (other["semantic"] is None)
        assert mine.semantic is None or np.array_equal(mine.semantic, other["semantic"])
    assert {name: members.tolist() for name, members in ours.splits.items()} == second_reader.splits(pack)


@needs_samples
@pytest.mark.parametrize(("name", "folder"), REAL)
def test_a_second_reader_sees_the_same_in_real_data(name: str, folder: str, tmp_path: Path) -> None:
    segdata.convert(SAMPLES / folder, tmp_path / "pack")
    assert_readers_agree(tmp_path / "pack")


@pytest.mark.parametrize("name", made.ALL)
def test_a_second_reader_sees_the_same(name: str, tmp_path: Path) -> None:
    segdata.convert(made.ALL[name](tmp_path / "source"), tmp_path / "pack")
    assert_readers_agree(tmp_path / "pack")


def test_the_second_reader_is_short() -> None:
    assert len(Path(second_reader.__file__).read_text().splitlines()) < 100
