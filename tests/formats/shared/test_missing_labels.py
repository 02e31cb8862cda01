"""Images without label files among others that have them are remarked; splits published without labels are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import segdata
from tests.helpers import made

SIZE = (12, 16)
FRAME = "town/town_00000{}_000019"


def labelled(root: Path, image: str, *label_files: str) -> None:
    made.put(root / image, made.photo(SIZE[1], SIZE[0], kind="PNG"))
    for file in label_files:
        made.put(root / file, made.png(np.ones(SIZE, np.uint8)))


def remarks(root: Path, target: Path) -> dict[str, tuple[int, list[str]]]:
    """The remarks on what is without something: kind → count and examples."""
    report = segdata.convert(root, target, classes="background,cell", workers=1)
    found = report.problems["remarks"]
    return {kind: (item["count"], item["examples"]) for kind, item in found.items() if "without" in kind}


def city(root: Path, split: str, number: int, *kinds: str) -> None:
    name = f"{split}/{FRAME.format(number)}"
    labelled(root, f"leftImg8bit/{name}_leftImg8bit.png", *(f"gtFine/{name}_gtFine_{kind}.png" for kind in kinds))


def test_frames_without_label_files_or_instance_ids(tmp_path: Path) -> None:
    for number, kinds in enumerate((("labelIds", "instanceIds"), ("labelIds",), ())):
        city(tmp_path / "source", "train", number, *kinds)
        city(tmp_path / "source", "test", number + 3)
    found = remarks(tmp_path / "source", tmp_path / "pack")
    (labels,) = (item for kind, item in found.items() if "label file" in kind)
    (numbers,) = (item for kind, item in found.items() if "instanceIds" in kind)
    assert labels == (1, [FRAME.format(2)]) and numbers == (1, [FRAME.format(1)]) and len(found) == 2


@pytest.mark.parametrize(
    ("image", "mask"), [("images/{}.png", "masks/{}.png"), ("JPEGImages/{}.png", "SegmentationClass/{}.png")]
)
def test_images_without_masks(image: str, mask: str, tmp_path: Path) -> None:
    labelled(tmp_path / "source", image.format("a"), mask.format("a"))
    labelled(tmp_path / "source", image.format("b"))
    labelled(tmp_path / "source", image.format("c"))
    assert list(remarks(tmp_path / "source", tmp_path / "pack").values()) == [(2, ["b", "c"])]


def test_a_split_without_labels_is_published_so(tmp_path: Path) -> None:
    labelled(tmp_path / "source", "train/a.png", "trainannot/a.png")
    labelled(tmp_path / "source", "test/b.png")
    labelled(tmp_path / "source", "test/c.png")
    assert remarks(tmp_path / "source", tmp_path / "pack") == {}
    assert list(segdata.open(tmp_path / "pack").keys) == ["a", "b", "c"]


def test_frames_that_all_lack_instance_ids(tmp_path: Path) -> None:
    for number in range(2):
        city(tmp_path / "source", "train", number, "labelIds")
    assert remarks(tmp_path / "source", tmp_path / "pack") == {}
