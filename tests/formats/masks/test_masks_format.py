"""Masks that number objects: PennFudan, cells, nuclei; told from masks of classes; written from other formats."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import segdata
from segdata.errors import SegdataError
from segdata.formats.contract import ReadOptions
from tests.helpers import made
from tests.helpers.compare import compare

SIZE = (20, 60)


def numbered(count: int, *, first: int = 1) -> np.ndarray:
    """Objects `first` … in columns side by side."""
    mask = np.zeros(SIZE, np.uint8)
    for k in range(count):
        mask[3:9, 5 * k : 5 * k + 4] = first + k
    return mask


def cells(root: Path, masks: Sequence[np.ndarray], *, images: str = "images", folder: str = "masks") -> Path:
    for number, mask in enumerate(masks):
        made.put(root / f"{images}/{number}.jpg", made.photo(SIZE[1], SIZE[0], number))
        made.put(root / f"{folder}/{number}.png", made.png(mask))
    return root


def split_by_torchvision(path: Path) -> np.ndarray:
    """(N, H, W) masks as torchvision's tutorial on PennFudan makes them."""
    mask = np.array(Image.open(path))
    obj_ids = np.unique(mask)[1:]
    split: np.ndarray = mask == obj_ids[:, None, None]
    return split


def boxes_by_torchvision(masks: np.ndarray) -> list[list[int]]:
    rows = []
    for mask in masks:
        y, x = np.where(mask)
        rows.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
    return [[int(edge) for edge in row] for row in rows]


def remarks(report: Any) -> dict[str, Any]:
    kinds: dict[str, Any] = report.problems["remarks"]
    return kinds


# ---------------------------------------------------------------------- read


@pytest.mark.parametrize("classes", [None, "pedestrian", "background,pedestrian"])
def test_pennfudan_is_what_the_tutorial_reads(classes: str | None, tmp_path: Path) -> None:
    source = made.masks_pennfudan(tmp_path / "PennFudanPed")
    made.put(source / "Annotation/FudanPed00001.txt", "# Compatible with PASCAL Annotation Version 1.00\n")
    report = segdata.convert(source, tmp_path / "pack", classes=classes)
    pack = segdata.open(tmp_path / "pack")
    assert len(pack) == 3
    for sample in pack:
        expected = split_by_torchvision(source / f"PedMasks/{sample.key}_mask.png")
        assert np.array_equal(sample.instances.masks.dense().astype(bool), expected)
        assert sample.instances.masks.boxes.tolist() == boxes_by_torchvision(expected)
        assert {pack.labels[index].name for index in sample.instances.category.tolist()} == {
            "object" if classes is None else "pedestrian"
        }
    assert "folder not read" in remarks(report)
    assert any("--classes" in kind for kind in remarks(report)) == (classes is None)
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="masks")
    assert compare("masks", source, tmp_path / "back", ("Annotation/*",)) == []


def test_numbers_keep_gaps_parts_and_sixteen_bits(tmp_path: Path) -> None:
    source = made.masks(tmp_path / "cells")
    data = segdata.read(source, format="masks")
    samples = {sample.key: sample for sample in data}
    assert data.splits == {"train": [0, 1], "val": [2, 3, 4, 5]}
    assert samples["a"].instances.id.tolist() == [1, 300]
    with Image.open(source / "train/masks/a.png") as image:
        stored = np.asarray(image)
    assert samples["a"].instances.masks.areas.tolist() == [int((stored == 1).sum()), int((stored == 300).sum())]
    assert np.array_equal(samples["f"].instances.masks.dense(), samples["a"].instances.masks.dense())  # a TIFF
    assert samples["d"].has_instances and not len(samples["d"].instances)
    assert not samples["e"].has_instances and "image without mask: not annotated" in data.findings.remarks
    assert [category.name for category in data.labels.categories] == ["cell"]


def test_a_file_for_each_object_keeps_overlaps(tmp_path: Path) -> None:
    source = made.masks_nuclei(tmp_path / "stage1_train")
    segdata.convert(source, tmp_path / "pack", classes=["nucleus"])
    for sample in segdata.open(tmp_path / "pack"):
        files = sorted((source / sample.key / "masks").iterdir())
        expected = np.stack([np.asarray(Image.open(file)) > 0 for file in files])
        assert np.array_equal(sample.instances.masks.dense().astype(bool), expected)
        assert (expected.sum(0) > 1).any()
    for part in ("stage1_train", "stage1_test"):
        made.masks_nuclei(tmp_path / "dsb" / part)
    for folder in (tmp_path / "dsb/stage1_test").glob("*/masks"):
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    data = segdata.read(tmp_path / "dsb")
    assert data.splits.keys() == {"stage1_train", "stage1_test"}
    assert [sample.has_instances for sample in data] == [False, False, True, True]


def test_grey_saved_as_colours_is_read_and_colours_are_refused(tmp_path: Path) -> None:
    grey = np.dstack([numbered(4)] * 3)
    source = cells(tmp_path / "grey", [grey])
    (sample,) = segdata.read(source, format="masks")
    assert len(sample.instances) == 4
    segdata.convert(source, tmp_path / "back", source_format="masks", to="masks")
    assert compare("masks", source, tmp_path / "back") == []
    grey[3, 0] = (1, 2, 3)
    with pytest.raises(SegdataError, match="colours") as refused:
        list(segdata.read(cells(tmp_path / "colours", [grey]), format="masks"))
    assert "--from camvid" in str(refused.value.fix)


def test_a_mask_of_another_size_is_left_out_alone(tmp_path: Path) -> None:
    source = cells(tmp_path / "cells", [numbered(3), numbered(5), numbered(6)[:, :59], numbered(2)])
    with pytest.raises(SegdataError, match="another size") as refused:
        segdata.convert(source, tmp_path / "pack", source_format="masks")
    assert "59 × 20" in str(refused.value.why) and "60 × 20" in str(refused.value.why)
    segdata.convert(source, tmp_path / "pack", source_format="masks", on_error="skip")
    assert [sample.key for sample in segdata.open(tmp_path / "pack")] == ["0", "1", "3"]


def test_a_mask_without_image_is_not_on_disk(tmp_path: Path) -> None:
    source = cells(tmp_path / "cells", [numbered(3), numbered(5), numbered(2), numbered(1)])
    (source / "images/1.jpg").unlink()
    with pytest.raises(SegdataError, match="1 of 4 images are not on disk"):
        segdata.convert(source, tmp_path / "pack")


def test_images_may_lie_elsewhere(tmp_path: Path) -> None:
    source = cells(tmp_path / "cells", [numbered(3), numbered(5)])
    (source / "images").rename(tmp_path / "pictures")
    data = segdata.read(source, format="masks", options=ReadOptions(images_dir={"": tmp_path / "pictures"}))
    assert [len(sample.instances) for sample in data] == [3, 5]
    assert data[0].encoded == (tmp_path / "pictures/0.jpg").read_bytes()


# ---------------------------------------------------------------------- told from classes


@pytest.mark.parametrize(
    ("counts", "classes", "format"),
    [
        ((3, 5, 2, 1), None, "masks"),
        ((1, 2), ["cell"], "masks"),
        ((1, 2), ["background", "cell"], "masks"),
        ((3, 5, 2, 1), ["a", "b", "c", "d", "e", "f"], "camvid"),
        ((1, 1), ["background", "cell"], "camvid"),
        ((2, 2), ["background", "cell", "rim"], "camvid"),
    ],
)
def test_values_and_categories_tell_numbers_from_classes(
    counts: Sequence[int], classes: list[str] | None, format: str, tmp_path: Path
) -> None:
    source = cells(tmp_path / "data", [numbered(count) for count in counts])
    segdata.convert(source, tmp_path / "pack", classes=classes)
    assert json.loads((tmp_path / "pack/pack.json").read_text())["provenance"]["format"] == format
    samples = list(segdata.open(tmp_path / "pack"))
    if format == "masks":
        assert [len(sample.instances) for sample in samples] == list(counts)
    else:
        assert all(sample.has_semantic for sample in samples)


def test_what_may_be_both_is_refused_with_both_ways_on(tmp_path: Path) -> None:
    source = cells(tmp_path / "data", [numbered(1), numbered(2)])
    with pytest.raises(SegdataError) as refused:
        segdata.convert(source, tmp_path / "pack")
    assert "--from masks" in str(refused.value.fix) and "--classes" in str(refused.value.fix)
    segdata.convert(source, tmp_path / "pack", source_format="masks")
    assert [len(sample.instances) for sample in segdata.open(tmp_path / "pack")] == [1, 2]


def test_classes_alone_get_no_advice_about_numbers(tmp_path: Path) -> None:
    source = cells(tmp_path / "data", [numbered(1, first=4), numbered(2, first=20)])
    with pytest.raises(SegdataError) as refused:
        segdata.convert(source, tmp_path / "pack")
    assert "--from masks" not in str(refused.value.fix)


def test_several_categories_are_refused(tmp_path: Path) -> None:
    source = made.masks_pennfudan(tmp_path / "PennFudanPed")
    with pytest.raises(SegdataError, match="several") as refused:
        segdata.convert(source, tmp_path / "pack", classes=["person", "bicycle"])
    assert "--classes NAME" in str(refused.value.fix)


# ---------------------------------------------------------------------- written


def test_written_from_coco_it_counts_what_is_lost_and_reads_back(tmp_path: Path) -> None:
    report = segdata.convert(made.coco(tmp_path / "coco"), tmp_path / "masks", to="masks", allow_loss=True)
    losses = {kind: item["count"] for kind, item in report.problems["losses"].items()}
    document = made.coco_document()
    assert losses["categories of objects"] == len(document["annotations"])
    assert losses["crowd flags"] == sum(item["iscrowd"] for item in document["annotations"])
    assert losses["object ids"] == len(document["annotations"])
    again = {sample.key: sample for sample in segdata.read(tmp_path / "masks")}
    assert set(again) == {f"{number:012d}" for number in range(3)}
    for key, sample in again.items():
        assert sample.encoded == (tmp_path / f"coco/val2017/{key}.jpg").read_bytes()
        stored = np.asarray(Image.open(tmp_path / f"masks/val/masks/{key}.png"))
        assert sample.instances.id.tolist() == [value for value in np.unique(stored).tolist() if value]


def test_more_than_255_objects_are_written_in_16_bits_and_overlaps_are_counted(tmp_path: Path) -> None:
    grid = np.arange(300).reshape(15, 20)
    masks = [grid == value for value in range(300)]
    masks.append(grid < 4)
    image = np.zeros((15, 20, 3), np.uint8)
    sample = segdata.Sample.build("many", image, masks=masks, category=[0] * 301)
    segdata.write([sample], tmp_path / "pack", labels=["cell"])
    report = segdata.convert(tmp_path / "pack", tmp_path / "out", to="masks", allow_loss=True)
    with Image.open(next((tmp_path / "out").rglob("masks/many.png"))) as mask:
        assert mask.mode.startswith("I")
        assert np.array_equal(np.asarray(mask).astype(int), grid + 1)
    assert report.problems["losses"]["objects wholly hidden by others in a map of numbers"]["count"] == 1
    data = segdata.read(tmp_path / "out")
    assert data.labels[0].name == "cell" and len(data[0].instances) == 300


def test_an_object_an_image_is_still_recognised_where_it_was_written_here(tmp_path: Path) -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = True
    sample = segdata.Sample.build("one", image, masks=[mask], category=[0])
    segdata.write({"train": [sample]}, tmp_path / "pack", labels=["cell"])
    segdata.convert(tmp_path / "pack", tmp_path / "out", to="masks", allow_loss=True)
    data = segdata.read(tmp_path / "out")
    assert list(data.splits) == ["train"]
    assert np.array_equal(data[0].instances.masks.dense()[0].astype(bool), mask)


def test_lists_beside_are_the_splits(tmp_path: Path) -> None:
    source = cells(tmp_path / "source", [numbered(2), numbered(3), numbered(4)])
    names = sorted(path.stem for path in (source / "images").iterdir())
    made.put(source / "classes.txt", "cell\n")
    made.put(source / "train.txt", f"{names[2]}\nimages/{names[0]}.jpg\n")
    made.put(source / "val.txt", f"{names[1]}\n")
    segdata.convert(source, tmp_path / "pack", workers=1)
    pack = segdata.open(tmp_path / "pack")
    keys = [sample.key for sample in pack]
    assert {name: [keys[i] for i in members] for name, members in pack.splits.items()} == {
        "train": [names[2], names[0]],
        "val": [names[1]],
    }
    segdata.convert(tmp_path / "pack", tmp_path / "again", to="masks", workers=1)
    for name in ("train.txt", "val.txt", "classes.txt"):
        assert (tmp_path / "again" / name).read_bytes() == (source / name).read_bytes()
