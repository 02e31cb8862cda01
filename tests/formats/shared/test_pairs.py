"""Label files are paired with images by whatever part of their names fits all of them, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import segdata
from segdata.errors import InvalidAnnotation
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
