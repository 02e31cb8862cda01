"""What of `segdata predict` is meant for objects alone is refused of a network that gives label maps."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.command import run_segdata

_SMALL = ("width=4", "crop=32,32", "from_objects=true", "norm=group", "epochs=1", "example_pictures=1", "workers=0")


@pytest.fixture(scope="module")
def unet(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a tiny U-Net."""
    folder = tmp_path_factory.mktemp("runs") / "unet"
    settings = [word for setting in _SMALL for word in ("--set", setting)]
    done = run_segdata("train", pack, "-o", folder, "--model", "unet", "--device", "cpu", *settings)
    assert done.code == 0, done.err
    return folder


def test_options_for_objects_are_refused(unet: Path, pack: Path, tmp_path: Path) -> None:
    command = ("predict", unet, pack, "--split", "val2017", "-o", tmp_path / "predicted")
    refused = run_segdata(*command, "--score-threshold", "0.5")
    assert refused.code == 2 and "--score-threshold has no effect here" in refused.err
    refused = run_segdata(*command, "--coco", tmp_path / "results.json")
    assert refused.code == 2 and "leave out --coco" in refused.err and not (tmp_path / "results.json").exists()
    done = run_segdata(*command)
    assert done.code == 0, done.err
    assert "label maps  2\n" in done.out and "\nobjects" not in done.out


def test_the_report_says_what_the_third_picture_is(unet: Path) -> None:
    assert "a third picture shows wrong pixels in red" in (unet / "report.html").read_text()
