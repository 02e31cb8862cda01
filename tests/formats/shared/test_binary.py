"""Masks of black and white in files of every kind hold the two categories that are declared, in every layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segdata
from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.helpers.compare import compare

SIZE = (12, 16)
CITY = "gtFine/val/town/town_000000_000019_gtFine_labelIds.png"
LAYOUTS = {
    "camvid": ("images/a.png", "masks/a.png"),
    "voc": ("JPEGImages/a.png", "SegmentationClass/a.png"),
    "cityscapes": ("leftImg8bit/val/town/town_000000_000019_leftImg8bit.png", CITY),
}
KINDS = ("1", "L", "P", "web palette", "RGB", "RGBA", "I;16")
REFUSED = {"voc": ("I;16",), "cityscapes": ("RGB", "RGBA")}


def cell() -> np.ndarray:
    image = np.zeros(SIZE, np.uint8)
    image[3:7, 2:9] = 1
    return image


def write(path: Path, kind: str, image: np.ndarray) -> None:
    """White where the image is 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = Image.fromarray(image * np.uint8(255))
    if kind == "I;16":
        grey = Image.fromarray(image * np.uint16(65535))
    elif kind == "web palette":  # black and white are neither 0 and 1 nor 0 and 255
        grey = grey.convert("RGB").convert("P", palette=Image.Palette.WEB)
        assert int(np.asarray(grey).max()) not in (1, 255)
    elif kind != "L":
        grey = grey.convert(kind)
    grey.save(path)


@pytest.mark.parametrize(
    ("layout", "kind"),
    [(layout, kind) for layout in LAYOUTS for kind in KINDS if kind not in REFUSED.get(layout, ())],
)
def test_black_and_white_in_files_of_all_kinds(layout: str, kind: str, tmp_path: Path) -> None:
    image, mask = (tmp_path / "source" / name for name in LAYOUTS[layout])
    made.put(image, made.photo(SIZE[1], SIZE[0], kind="PNG"))
    write(mask, kind, cell())
    report = segdata.convert(tmp_path / "source", tmp_path / "pack", classes="background,cell", workers=1)
    semantic = segdata.open(tmp_path / "pack")[0].semantic
    assert semantic is not None and np.array_equal(semantic, cell())
    assert any("255" in remark for remark in report.problems["remarks"]) == (kind != "1")
    segdata.convert(tmp_path / "pack", tmp_path / "again", to=layout, workers=1)
    assert [line for line in compare(layout, tmp_path / "source", tmp_path / "again") if "masks" in line] == []
    with Image.open(tmp_path / "again" / LAYOUTS[layout][1]) as again, Image.open(mask) as first:
        assert again.mode == first.mode and np.array_equal(np.asarray(again), np.asarray(first))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_first_files_may_be_empty(layout: str, tmp_path: Path) -> None:
    image, mask = LAYOUTS[layout]
    for number in range(25):
        names = (name.replace("a.png", f"{number:02}.png").replace("000000", f"{number:06}") for name in (image, mask))
        image_file, mask_file = (tmp_path / "source" / name for name in names)
        made.put(image_file, made.photo(SIZE[1], SIZE[0], kind="PNG"))
        write(mask_file, "L", cell() if number == 24 else np.zeros(SIZE, np.uint8))
    segdata.convert(tmp_path / "source", tmp_path / "pack", classes="background,cell", workers=1)
    semantic = segdata.open(tmp_path / "pack")[24].semantic
    assert semantic is not None and np.array_equal(semantic, cell())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_255_is_void_where_files_hold_1_too(layout: str, tmp_path: Path) -> None:
    image, mask = (tmp_path / "source" / name for name in LAYOUTS[layout])
    values = cell()
    values[9] = 255
    made.put(image, made.photo(SIZE[1], SIZE[0], kind="PNG"))
    made.put(mask, made.png(values))
    segdata.convert(tmp_path / "source", tmp_path / "pack", classes="background,cell", workers=1)
    semantic = segdata.open(tmp_path / "pack")[0].semantic
    assert semantic is not None and np.array_equal(semantic, values)  # 255 is also the pack's void


def test_colours_of_a_table_count(tmp_path: Path) -> None:
    made.put(tmp_path / "source/images/a.png", made.photo(SIZE[1], SIZE[0], kind="PNG"))
    made.put(tmp_path / "source/label_colors.txt", "255 255 255 paper\n0 0 0 ink\n")
    write(tmp_path / "source/masks/a.png", "RGB", cell())
    segdata.convert(tmp_path / "source", tmp_path / "pack", workers=1)
    semantic = segdata.open(tmp_path / "pack")[0].semantic
    assert semantic is not None and np.array_equal(semantic, 1 - cell())


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_in_files_of_all_kinds(kind: str, tmp_path: Path) -> None:
    made.put(tmp_path / "data/images/a.png", made.photo(SIZE[1], SIZE[0], kind="PNG"))
    made.put(tmp_path / "data/classes.txt", "background\ncell\n")
    write(tmp_path / "data/masks/a.png", "L", cell())
    write(tmp_path / "predictions/a.png", kind, cell())
    outcome = run_segdata("evaluate", tmp_path / "predictions", tmp_path / "data", "--metric", "semantic", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.document["metrics"]["semantic"]["mIoU"] == 1.0
