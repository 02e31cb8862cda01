"""Other formats written as YOLO: outlines that give the mask back, and what is counted as lost."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask

import segdata
from segdata.core.masks import Masks
from segdata.core.polygons import Polygons
from segdata.core.sample import Instances
from segdata.formats.blocks import Block
from segdata.formats.shapes import seams
from segdata.formats.yolo import outlines
from tests.helpers import made

HEIGHT, WIDTH = made.HEIGHT, made.WIDTH


def numbers_of(path: Path) -> list[list[float]]:
    return [[float(word) for word in line.split()] for line in path.read_text().splitlines()]


def drawn(line: Sequence[float], height: int, width: int) -> np.ndarray:
    """The mask of a line, by pycocotools."""
    pixels = [value * side for value, side in zip(line[1:], [width, height] * (len(line) // 2), strict=True)]
    mask: np.ndarray = coco_mask.decode(coco_mask.frPyObjects([pixels], height, width))[:, :, 0]
    return mask


def blobs(seed: int, height: int = 40, width: int = 60) -> np.ndarray:
    """A mask with parts, holes, single pixels and pixels that touch at corners."""
    rng = np.random.default_rng(seed)
    small = rng.random((height // 4, width // 4)) < 0.5
    mask = np.kron(small, np.ones((4, 4), bool))
    mask ^= rng.random((height, width)) < 0.01
    return mask.astype(np.uint8)


@pytest.mark.parametrize("seed", range(5))
def test_the_border_of_a_mask_gives_it_back_by_pycocotools(seed: int) -> None:
    mask = blobs(seed)
    points = outlines.rounded(seams.border(Masks.from_dense(mask[None]), 0), np.array(mask.shape))
    assert np.array_equal(drawn([0, *(points / mask.shape[::-1]).reshape(-1)], *mask.shape), mask)


@pytest.mark.parametrize("seed", range(5))
def test_the_border_of_one_part_gives_it_back_by_opencv(seed: int) -> None:
    cv2 = pytest.importorskip("cv2", reason="opencv is not installed")
    count, parts = cv2.connectedComponents(blobs(seed), connectivity=4)
    tried = 0
    for number in range(1, count):
        mask = (parts == number).astype(np.uint8)
        masks = Masks.from_dense(mask[None])
        if len(masks.outlines(0)) > 1:
            continue
        points = outlines.rounded(seams.border(masks, 0), np.array(mask.shape))
        filled = cv2.fillPoly(np.zeros_like(mask), [points.astype(np.int32)], 1)
        assert np.array_equal(filled, mask)
        tried += 1
    assert tried > 3


def test_polygons_are_kept_where_they_give_the_mask_back(tmp_path: Path) -> None:
    report = segdata.convert(made.coco(tmp_path / "d"), tmp_path / "yolo", to="yolo", allow_loss=True)
    losses = report.problems["losses"]
    assert losses["objects with crowd flag"]["count"] == 1
    assert losses["polygons"]["count"] == 1  # the one of two parts
    assert "masks of objects that change by a few pixels" not in losses
    first, second = numbers_of(tmp_path / "yolo/labels/val/000000000000.txt")
    square = made.coco_document()["annotations"][0]["segmentation"][0]
    assert np.allclose(first[1::2], np.array(square[0::2]) / WIDTH, atol=1e-6)
    assert np.allclose(first[2::2], np.array(square[1::2]) / HEIGHT, atol=1e-6)
    assert first[0] == 0 and second[0] == 2  # ids 1, 3, 90 become 0, 1, 2
    data = yaml.safe_load((tmp_path / "yolo/data.yaml").read_text())
    assert data == {
        "train": None,
        "val": "images/val",
        "nc": 3,
        "names": {0: "person", 1: "car", 2: "toothbrush"},
    }
    assert (tmp_path / "yolo/labels/val/000000000001.txt").read_text() == ""


@pytest.mark.parametrize("seed", range(20))
def test_outlines_of_parts_give_the_mask_back_also_where_it_is_not_looked_at(seed: int) -> None:
    """Parts that overlap, touch, lie apart or reach out of the image, joined; masks are known to be drawn from them."""
    rng = np.random.default_rng(seed)

    def triangle() -> list[float]:
        points = rng.uniform([-3, -3], [WIDTH - 8, HEIGHT - 8]) + rng.uniform(0, 14, (3, 2))
        return [float(value) for value in points.round(2).reshape(-1)]

    rings = [[triangle() for _ in range(rng.integers(1, 4))] for _ in range(12)]
    polygons = Polygons.of(rings)
    masks = replace(Masks.from_polygons(polygons, HEIGHT, WIDTH), drawn_from=polygons)
    has_mask = masks.areas > 0
    instances = Instances.build(np.zeros(12, int), masks, polygons=polygons, has_mask=has_mask)
    block = Block.of([segdata.Sample("a", HEIGHT, WIDTH, instances=instances)])
    points, _, ious = outlines.outlined(block)
    for index in np.flatnonzero(has_mask).tolist():
        parts = coco_mask.frPyObjects(rings[index], HEIGHT, WIDTH)
        expected = coco_mask.decode(coco_mask.merge(parts))
        line = [0, *(points[index] / [WIDTH, HEIGHT]).reshape(-1)]
        assert ious[index] == 1 and np.array_equal(drawn(line, HEIGHT, WIDTH), expected)


def read_back(source: Path, folder: Path) -> list[tuple[segdata.Sample, segdata.Sample]]:
    """Samples of a dataset, and the same after YOLO."""
    segdata.convert(source, folder / "yolo", to="yolo", allow_loss=True)
    again = {sample.key: sample for sample in segdata.read(folder / "yolo")}
    return [(sample, again[sample.key]) for sample in segdata.read(source)]


def test_masks_of_coco_are_equal_when_they_are_read_back(tmp_path: Path) -> None:
    root = os.environ.get("SEGDATA_SAMPLES")
    if not root:
        pytest.skip("SEGDATA_SAMPLES is not set")
    objects = 0
    for before, after in read_back(Path(root, "coco"), tmp_path):
        kept = before.instances.take(~before.instances.iscrowd & (before.instances.masks.areas > 0))
        others = after.instances.take(after.instances.masks.areas > 0)
        assert kept.masks == others.masks, before.key
        names = [before.labels[index].name for index in kept.category.tolist()] if before.labels else []
        assert names == [after.labels[index].name for index in others.category.tolist()] if after.labels else []
        objects += len(kept)
    assert objects > 500


def samples_of(*objects: Instances) -> list[segdata.Sample]:
    return [
        segdata.Sample(f"{number}", HEIGHT, WIDTH, file=f"{number}.jpg", instances=item).with_encoded(made.photo())
        for number, item in enumerate(objects)
    ]


def written(folder: Path, *objects: Instances) -> tuple[Path, dict[str, Any]]:
    segdata.write(samples_of(*objects), folder / "pack", labels=["cat", "dog"])
    report = segdata.convert(folder / "pack", folder / "yolo", to="yolo", allow_loss=True)
    return folder / "yolo", report.problems["losses"]


def test_boxes_alone_are_lines_of_boxes(tmp_path: Path) -> None:
    objects = Instances.build([1], Masks.empty(HEIGHT, WIDTH, 1), has_mask=[False], bbox=[[10, 6, 20, 12]])
    root, losses = written(tmp_path, objects)
    assert (root / "labels/train/0.txt").read_text() == "1 0.500000 0.400000 0.500000 0.400000\n"
    assert not any("box" in kind for kind in losses), losses


def test_a_file_has_lines_of_one_kind(tmp_path: Path) -> None:
    dense = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    dense[0, 3:9, 4:20] = 1
    objects = Instances.build(
        [0, 1], Masks.from_dense(dense), has_mask=[True, False], bbox=[[4, 3, 16, 6], [10, 6, 20, 12]]
    )
    root, losses = written(tmp_path, objects)
    first, second = numbers_of(root / "labels/train/0.txt")
    assert np.array_equal(drawn(first, HEIGHT, WIDTH), dense[0])
    assert np.allclose(second, [1, 0.25, 0.2, 0.75, 0.2, 0.75, 0.6, 0.25, 0.6])
    assert losses["objects without mask: four corners of their box, beside outlines of others"]["count"] == 1


def test_outlines_beyond_the_image_are_cut(tmp_path: Path) -> None:
    ring = [-5.0, 4.0, 60.0, 4.0, 60.0, 20.0, -5.0, 20.0]
    polygons = Polygons.of([[ring]])
    root, _ = written(tmp_path, Instances.build([0], Masks.from_polygons(polygons, HEIGHT, WIDTH), polygons=polygons))
    (line,) = numbers_of(root / "labels/train/0.txt")
    assert min(line) >= 0 and max(line) <= 1
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[4:20] = 1
    assert np.array_equal(drawn(line, HEIGHT, WIDTH), expected)


def test_empty_masks_are_counted(tmp_path: Path) -> None:
    root, losses = written(tmp_path, Instances.build([0], Masks.empty(HEIGHT, WIDTH, 1)))
    assert losses["objects with empty masks"]["count"] == 1
    assert (root / "labels/train/0.txt").read_text() == ""


def test_lines_are_of_the_upright_picture(tmp_path: Path) -> None:
    """A mask of the stored pixels is where Pillow shows it upright."""
    dense = np.zeros((1, HEIGHT, WIDTH), np.uint8)
    dense[0, 3:9, 4:20] = 1
    data = made.turned_photo(6)
    sample = segdata.Sample("a", HEIGHT, WIDTH, file="a.jpg", instances=Instances.build([0], Masks.from_dense(dense)))
    segdata.write([sample.with_encoded(data)], tmp_path / "pack", labels=["cat"])
    segdata.convert(tmp_path / "pack", tmp_path / "yolo", to="yolo", allow_loss=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(dense[0] * 255).save(buffer, "PNG", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(buffer))) > 0
    (line,) = numbers_of(tmp_path / "yolo/labels/train/a.txt")
    assert np.array_equal(drawn(line, WIDTH, HEIGHT), upright)
    (again,) = segdata.read(tmp_path / "yolo")
    assert np.array_equal(again.instances.masks.dense(), dense)


def test_label_maps_become_masks_with_255_for_none(tmp_path: Path) -> None:
    segdata.convert(made.camvid(tmp_path / "d"), tmp_path / "yolo", to="yolo", allow_loss=True)
    data = yaml.safe_load((tmp_path / "yolo/data.yaml").read_text())
    assert data["masks_dir"] == "masks" and data["names"] == {0: "Sky", 1: "Road", 2: "Car"}
    (file,) = (tmp_path / "yolo/masks").rglob("*.png")
    values = np.asarray(Image.open(file))
    label = np.asarray(Image.open(tmp_path / "d/LabeledApproved_full/Seq05VD_f02610_L.png"))
    expected = np.full(values.shape, 255)
    for number, color in enumerate(((128, 128, 128), (128, 64, 128), (64, 0, 128))):
        expected[(label == color).all(axis=2)] = number
    assert np.array_equal(values, expected)
    assert not list((tmp_path / "yolo").rglob("labels"))


def test_samples_of_several_splits_are_in_lists(tmp_path: Path) -> None:
    segdata.convert(made.voc(tmp_path / "d"), tmp_path / "yolo", to="yolo", allow_loss=True)
    data = yaml.safe_load((tmp_path / "yolo/data.yaml").read_text())
    lists = {name: place for name, place in data.items() if str(place).endswith(".txt")}
    assert lists
    for name, place in lists.items():
        for line in (tmp_path / "yolo" / place).read_text().splitlines():
            assert (tmp_path / "yolo" / line).is_file(), (name, line)
    again = segdata.read(tmp_path / "yolo")
    before = segdata.read(tmp_path / "d")
    assert sorted(map(len, again.splits.values())) == sorted(len(item) for item in before.splits.values() if len(item))
