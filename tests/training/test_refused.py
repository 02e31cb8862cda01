"""Trainings that are refused: nothing stays of those that never began, and what differs from the run is named."""

from __future__ import annotations

from pathlib import Path

import pytest

import segdata
from segdata.errors import SegdataError, UsageError
from tests.helpers.tiny_training import SEMANTIC, TINY


def test_what_never_began_leaves_no_folder(pack: Path, tmp_path: Path) -> None:
    settings = {**SEMANTIC, "model": "unet", "from_objects": True, "norm": "batch", "batch_size": 1}
    with pytest.raises(SegdataError, match="batch norm"):
        segdata.train(pack, tmp_path / "run", settings)
    assert not (tmp_path / "run").exists()


def test_a_run_that_goes_on_says_what_is_other(pack: Path, tmp_path: Path) -> None:
    opened = segdata.open(pack)
    split = opened.split("train2017")
    segdata.train(split, tmp_path / "run", TINY, validate=opened.split("val2017"))
    with pytest.raises(UsageError, match="other images of this pack"):
        segdata.train(opened.split("val2017"), tmp_path / "run", TINY)
    assert (tmp_path / "run/config.toml").exists()
    remarks = segdata.train(split, tmp_path / "run", {**TINY, "epochs": 2}).remarks
    assert any("--validation SPLIT" in text for text in remarks)
