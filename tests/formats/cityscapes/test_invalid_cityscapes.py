"""Invalid Cityscapes files, through the real command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.helpers.refusals import Edit, refused, remarks_of

FRAME = "gtFine/val/town/town_000000_000019_gtFine_"


def test_bad_cityscapes_labels_are_refused(tmp_path: Path) -> None:
    source = made.cityscapes(tmp_path / "source")
    ids_file = source / f"{FRAME}labelIds.png"
    good = ids_file.read_bytes()
    ids = np.array(Image.open(ids_file))
    ids[4, 5] = 99
    made.put(ids_file, made.png(ids))
    refused(source, tmp_path / "pack", 4, "row 4, column 5", "id 99", "--classes")
    made.put(ids_file, made.png(ids[:-1]))
    refused(source, tmp_path / "pack", 4, "another size", "labelIds.png")
    made.put(ids_file, made.png(np.zeros((*ids.shape, 3), np.uint8)))
    refused(source, tmp_path / "pack", 4, "not grey", "ambiguous")
    made.put(ids_file, good)
    numbers = np.array(Image.open(source / f"{FRAME}instanceIds.png"))
    numbers[0, 0] = 50_000
    made.put(source / f"{FRAME}instanceIds.png", made.png(numbers))
    refused(source, tmp_path / "pack", 4, "row 0, column 0", "instanceIds.png")


@pytest.mark.parametrize(
    ("edit", "texts"),
    [
        (lambda d: d.update(imgHeight=31), ("another size", "polygons.json")),
        (lambda d: d["objects"][1].update(label=7), ("label 7", "$.objects[1]")),
        (lambda d: d["objects"][1].update(polygon=[1, 2]), ("not a list of points", "$.objects[1]")),
        (lambda d: d.pop("objects"), ("no objects",)),
    ],
)
def test_bad_cityscapes_polygons_are_refused(edit: Edit, texts: tuple[str, ...], tmp_path: Path) -> None:
    source = made.cityscapes(tmp_path / "source")
    document = json.loads((source / f"{FRAME}polygons.json").read_text())
    edit(document)
    made.put(source / f"{FRAME}polygons.json", document)
    refused(source, tmp_path / "pack", 4, *texts)


def test_instance_values_above_255_survive(tmp_path: Path) -> None:
    import segdata

    source = made.cityscapes(tmp_path / "source")
    segdata.convert(source, tmp_path / "pack")
    instances = segdata.open(tmp_path / "pack")[0].instances
    assert instances.id.tolist() == [24, 26003, 26007]
    assert instances.iscrowd.tolist() == [True, False, False]


def test_missing_cityscapes_files_are_counted(tmp_path: Path) -> None:
    from tests.helpers.compare import compare

    source = made.cityscapes(tmp_path / "source")
    (source / f"{FRAME}polygons.json").unlink()
    outcome = run_segdata("convert", source, tmp_path / "pack", "--json")
    assert outcome.code == 0
    assert outcome.document["problems"]["remarks"]["no polygon document"]["count"] == 1
    assert run_segdata("convert", tmp_path / "pack", tmp_path / "back", "--to", "cityscapes").code == 0
    assert compare("cityscapes", source, tmp_path / "back") == []


def test_the_frame_that_is_known_to_be_damaged_is_pointed_out(tmp_path: Path) -> None:
    frame = "troisdorf/troisdorf_000000_000073"
    made.put(tmp_path / f"source/leftImg8bit/train_extra/{frame}_leftImg8bit.png", made.photo(kind="PNG"))
    label = made.png(np.zeros((made.HEIGHT, made.WIDTH), np.uint8))
    made.put(tmp_path / f"source/gtCoarse/train_extra/{frame}_gtCoarse_labelIds.png", label)
    remarks = remarks_of(tmp_path / "source", tmp_path / "pack")
    assert remarks["image known to be damaged in the official release"] == 1
