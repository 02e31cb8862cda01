"""A pack of a few drawn images, and a run of the smallest model on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import segdata
from segdata.demo.synthetic import objects
from segdata.training.runs import report
from tests.helpers.command import run_segdata
from tests.helpers.tiny_training import arguments


@pytest.fixture(scope="module")
def without_pages() -> Iterator[None]:
    """Pages of curves are half of the time of a run in this process, and have tests of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "write", lambda *_, **__: None)
        yield


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    segdata.convert(objects.draw(folder / "raw", train=4, val=2, height=96, width=128), folder / "pack")
    return folder / "pack"


@pytest.fixture(scope="session")
def run(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    outcome = run_segdata(*arguments(pack, folder))
    assert outcome.code == 0, outcome.err
    assert outcome.document["steps"] == 2
    assert (outcome.document["split"], outcome.document["validation"]) == ("train2017", "val2017")
    return folder
