"""Invalid and odd CamVid files, through the real command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from segdata.catalog import manifest
from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.helpers.refusals import refused


def test_camvid_colours_off_the_table(tmp_path: Path) -> None:
    source = made.camvid(tmp_path / "source")
    outcome = run_segdata("convert", source, tmp_path / "pack", "--json")
    assert outcome.code == 0
    assert outcome.document["problems"]["remarks"]["pixels with colours off the table, taken as void"]["count"] == 2
    label = np.array(Image.open(source / "LabeledApproved_full/Seq05VD_f02610_L.png"))
    label[:1] = (9, 9, 9)
    made.put(source / "LabeledApproved_full/Seq05VD_f02610_L.png", made.png(label))
    refused(source, tmp_path / "other", 4, "(9, 9, 9) × 80", "0.1%", "Seq05VD_f02610_L.png")


def test_camvid_lists_and_indices_that_cannot_be(tmp_path: Path) -> None:
    source = made.camvid_segnet(tmp_path / "source")
    made.put(source / "val.txt", "/SegNet/CamVid/val/gone.png /SegNet/CamVid/valannot/gone.png\n")
    refused(source, tmp_path / "pack", 4, "gone.png", "line 1")
    source = made.camvid_fastai(tmp_path / "fastai")
    label = np.full((made.HEIGHT, made.WIDTH), 4, np.uint8)
    made.put(source / "labels/a_P.png", made.png(label))
    refused(source, tmp_path / "pack", 4, "value 4", "0 … 3", "row 0, column 0")


def test_an_extra_row_in_camvid_s_colour_table(tmp_path: Path) -> None:
    import segdata

    source = made.camvid(tmp_path / "source")
    rows = [f"{' '.join(map(str, c.color or ()))}\t{c.name}" for c in manifest.label_space("camvid-32").categories]
    made.put(source / "label_colors.txt", "\n".join([*rows, "255 255 255\tBird", ""]))
    segdata.convert(source, tmp_path / "pack")
    pack = segdata.open(tmp_path / "pack", labels="camvid-11")
    assert segdata.open(tmp_path / "pack").labels[32].name == "Bird"
    semantic = pack[0].semantic
    assert semantic is not None
    assert [pack.labels[int(i)].name for i in (semantic[0, 0], semantic[-1, 0])] == ["Sky", "Road"]
    assert semantic[2, 11] == 255
