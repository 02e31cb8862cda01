"""Label files are paired with images by whatever part of their names fits all of them, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import segdata
from segdata.demo import synthetic
from segdata.errors import InvalidAnnotation, UnknownLayout
from tests.helpers import made

FITTING = {
    "a word before": ({"001": 1, "002": 2}, "images/{}.jpg", "masks/mask_{}.png"),
    "a word before each": ({"001": 1, "002": 2}, "images/img_{}.jpg", "masks/mask_{}.png"),
    "a word behind": ({"s1": 1, "s2": 2}, "images/{}.jpg", "masks/{}_labelled.png"),
    "the image's ending": ({"001": 1, "002": 2}, "images/{}.jpg", "masks/{}.jpg.png"),
    "numbers of other lengths": ({"1": 1, "11": 2, "111": 0}, "images/{}.jpg", "masks/m{}.png"),
    "one image": ({"001": 2}, "images/img_{}.jpg", "masks/mask_{}.png"),
    "words on both sides": ({"7": 1, "8": 2}, "images/left_{}_raw.jpg", "masks/seg-{}-final.png"),
}


def dataset(root: Path, values: dict[str, int], image: str, label: str) -> Path:
    for name, value in values.items():
        made.put(root / image.format(name), made.photo())
        made.put(root / label.format(name), made.png(np.full((made.HEIGHT, made.WIDTH), value, np.uint8)))
    made.put(root / "classes.txt", "background\ncat\ndog\n")
    return root


@pytest.mark.parametrize("case", FITTING)
def test_names_that_fit_in_part(case: str, tmp_path: Path) -> None:
    values, image, label = FITTING[case]
    source = dataset(tmp_path / "source", values, image, label)
    report = segdata.convert(source, tmp_path / "pack", workers=1)
    expected = {Path(image.format(name)).stem: value for name, value in values.items()}
    pack = segdata.open(tmp_path / "pack")
    assert {sample.key: int(sample.semantic[0, 0]) for sample in pack if sample.semantic is not None} == expected
    remark = report.problems["remarks"]["label files and images paired by parts of their names"]
    assert remark["count"] == len(values)
    segdata.convert(tmp_path / "pack", tmp_path / "again", to="camvid", workers=1)
    for name in values:
        assert (tmp_path / "again" / label.format(name)).is_file()


@pytest.mark.parametrize(
    ("images", "labels"),
    [(("a",), ("b",)), (("f1", "f2"), ("x6", "x7")), (("f1", "f2"), ("m1", "m3")), (("cat", "dog"), ("left", "right"))],
)
def test_names_that_fit_in_no_part_are_refused(
    images: tuple[str, ...], labels: tuple[str, ...], tmp_path: Path
) -> None:
    made.put(tmp_path / "classes.txt", "background\ncat\ndog\n")
    for name in images:
        made.put(tmp_path / f"images/{name}.jpg", made.photo())
    for name in labels:
        made.put(tmp_path / f"masks/{name}.png", made.png(np.ones((made.HEIGHT, made.WIDTH), np.uint8)))
    with pytest.raises(InvalidAnnotation, match="no image has a label file"):
        segdata.read(tmp_path)


WORDS = {
    "DUTS": {"DUTS-TR-Image/{}.jpg": "DUTS-TR-Mask/{}.png"},
    "ISIC": {
        "ISIC-2017_Training_Data/{}.jpg": "ISIC-2017_Training_Part1_GroundTruth/{}_segmentation.png",
        "ISIC-2017_Validation_Data/{}.jpg": "ISIC-2017_Validation_Part1_GroundTruth/{}_segmentation.png",
    },
}
SPLITS = {"DUTS": ["all"], "ISIC": ["ISIC-2017_Training", "ISIC-2017_Validation"]}


def two_values(root: Path, image: str, label: str, name: str) -> None:
    mask = np.zeros((made.HEIGHT, made.WIDTH), np.uint8)
    mask[3:9, 5:15] = 255
    made.put(root / image.format(name), made.photo())
    made.put(root / label.format(name), made.png(mask))


@pytest.mark.parametrize("case", WORDS)
def test_folders_whose_names_speak_of_masks(case: str, tmp_path: Path) -> None:
    for number, (image, label) in enumerate(WORDS[case].items()):
        two_values(tmp_path / "source", image, label, f"a_{number}")
    segdata.convert(tmp_path / "source", tmp_path / "pack", classes=["background", "lesion"], workers=1)
    pack = segdata.open(tmp_path / "pack")
    assert list(pack.splits) == SPLITS[case]
    assert [int((sample.semantic == 1).sum()) for sample in pack if sample.semantic is not None] == [60] * len(
        WORDS[case]
    )


@pytest.mark.parametrize(
    "folders",
    [
        {"photos/{}.jpg": "photo-masks/{}.png", "photos/b{}.jpg": "photo-labels/b{}.png"},  # two folders of masks
        {"raw/{}.jpg": "mask/x.png"},  # no name fits
        {"alpha/{}.jpg": "mask/{}.png", "beta/b{}.jpg": "mask/b{}.png"},  # two folders of images
        {"cells/{}.jpg": "cells-and-masks/{}.png"},  # as SPLITannot, but not one of its names
    ],
)
def test_folders_of_masks_that_belong_to_none(folders: dict[str, str], tmp_path: Path) -> None:
    for image, label in folders.items():
        two_values(tmp_path, image, label, "a_1")
    with pytest.raises(UnknownLayout):
        segdata.read(tmp_path)


def test_camvid_stays_camvid(tmp_path: Path) -> None:
    """Classes of a few small frames look like numbers of objects; the folders' names say what they are."""
    segdata.convert(synthetic.camvid.draw_segnet(tmp_path, images=5, size=(64, 96)), tmp_path / "pack", workers=1)
    pack = segdata.open(tmp_path / "pack")
    assert pack.labels.name == "camvid-segnet"
    assert all(sample.has_semantic for sample in pack)
