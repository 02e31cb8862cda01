"""Other people's clients open what segdata writes: torchvision's datasets see the masks of the source, pixel for pixel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from tests.helpers.command import run_segdata

datasets = pytest.importorskip("torchvision.datasets")

Drawing = Callable[[str], Path]


def written(source: Path, to: str, target: Path) -> Path:
    outcome = run_segdata("convert", source, target, "--to", to, "--allow-loss", "-q")
    assert outcome.code == 0, outcome.err
    return target


def test_torchvision_opens_coco_made_from_voc(drawing: Drawing, tmp_path: Path) -> None:
    source = drawing("voc")
    target = written(source, "coco", tmp_path / "coco")
    opened = datasets.CocoDetection(target / "images", target / "annotations/instances_train.json")
    assert len(opened) == len((source / "ImageSets/Segmentation/train.txt").read_text().split()) > 0
    for index, (image, objects) in enumerate(opened):
        key = Path(opened.coco.loadImgs(opened.ids[index])[0]["file_name"]).stem
        numbers = np.asarray(Image.open(source / f"SegmentationObject/{key}.png"))
        assert image.size == numbers.shape[::-1]
        for number, item in enumerate(objects, 1):
            assert np.array_equal(opened.coco.annToMask(item), numbers == number)


def test_torchvision_opens_voc_made_from_coco(drawing: Drawing, tmp_path: Path) -> None:
    source = drawing("coco")
    written(source, "voc", tmp_path / "VOCdevkit/VOC2012")
    api = COCO(source / "annotations/instances_val2017.json")
    boxes = datasets.VOCDetection(tmp_path, "2012", "val")
    masks = datasets.VOCSegmentation(tmp_path, "2012", "val")
    assert len(boxes) == len(api.imgs)
    records = {Path(record["file_name"]).stem: record for record in api.imgs.values()}
    for (_, target), path in zip(boxes, boxes.annotations, strict=True):
        annotations = api.imgToAnns[records[Path(path).stem]["id"]]
        objects = target["annotation"].get("object", [])
        assert [item["name"] for item in objects] == [api.cats[item["category_id"]]["name"] for item in annotations]
        assert len(ElementTree.parse(path).getroot().findall("object")) == len(annotations)
    for (image, classes), path in zip(masks, masks.masks, strict=True):
        annotations = api.imgToAnns[records[Path(path).stem]["id"]]
        covered = (
            np.any([api.annToMask(item) for item in annotations], axis=0)
            if annotations
            else np.zeros(image.size[::-1], bool)
        )
        assert classes.mode == "P"
        assert np.array_equal(np.asarray(classes) > 0, covered)


def test_torchvision_opens_cityscapes_that_came_back(drawing: Drawing, tmp_path: Path) -> None:
    source = drawing("cityscapes")
    assert run_segdata("convert", source, tmp_path / "pack", "-q").code == 0
    target = written(tmp_path / "pack", "cityscapes", tmp_path / "back")
    kinds = ["semantic", "instance", "color", "polygon"]
    ours, theirs = (datasets.Cityscapes(root, "train", "fine", kinds) for root in (target, source))
    assert len(ours) == len(theirs) > 0
    for (image, a), (original, b) in zip(ours, theirs, strict=True):
        assert image.tobytes() == original.tobytes()
        assert a[3] == b[3]
        for x, y in zip(a[:3], b[:3], strict=True):
            assert x.mode == y.mode and np.array_equal(np.asarray(x), np.asarray(y))
