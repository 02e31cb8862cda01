"""Annotation records that say plainly what is meant are corrected, remarked, and written again as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

import segdata
from segdata.errors import SegdataError
from tests.helpers import made

W, H = made.WIDTH, made.HEIGHT
SQUARE = [5.0, 6.0, 17.0, 6.0, 17.0, 18.0, 5.0, 18.0]
"""A square of 12 × 12 pixels at (5, 6)."""

RLE = {"size": [H, W], "counts": [5 * H + 6, *([12, H - 12] * 11), 12, W * H - 16 * H - 18]}
"""The same square as run lengths."""


def record(**changes: Any) -> dict[str, Any]:
    base = {
        "id": 1, "image_id": 10, "category_id": 1, "bbox": [5, 6, 12, 12], "area": 144, "iscrowd": 0,
        "segmentation": [SQUARE],
    }  # fmt: skip
    return {key: value for key, value in {**base, **changes}.items() if value is not DROP}


DROP = object()


def dataset(root: Path, *records: dict[str, Any]) -> Path:
    return made.coco(root, {**made.coco_document(), "annotations": list(records)})


CASES: dict[str, tuple[dict[str, Any], str, list[float], int]] = {
    "id as text": (record(id="1"), "id is not written", [5, 6, 12, 12], 144),
    "image id as text": (record(image_id="10"), "", [5, 6, 12, 12], 144),
    "category as float": (record(category_id=1.0), "category_id is not written", [5, 6, 12, 12], 144),
    "iscrowd false": (record(iscrowd=False), "iscrowd is not written", [5, 6, 12, 12], 144),
    "iscrowd null": (record(iscrowd=None), "iscrowd is not written", [5, 6, 12, 12], 144),
    "area null": (record(area=None), "area is not a number", [5, 6, 12, 12], 144),
    "area below zero": (record(area=-3), "area is not a number", [5, 6, 12, 12], 144),
    "stray ring": (record(segmentation=[SQUARE, [128.0, 128.0]]), "ring that is no polygon", [5, 6, 12, 12], 144),
    "stray null": (record(segmentation=[SQUARE, None, {}]), "ring that is no polygon", [5, 6, 12, 12], 144),
    "stray ring far away": (record(segmentation=[SQUARE, [0, 0, 1e12, 0, 1e12, 9]]), "no polygon", [5, 6, 12, 12], 144),
    "the box as ring": (record(segmentation=[[5, 6, 12, 12]]), "rectangle", [5, 6, 12, 12], 144),
    "the box's corners as ring": (record(segmentation=[[5, 6, 17, 18]]), "rectangle", [5, 6, 12, 12], 144),
    "flat ring": (record(segmentation=SQUARE), "flat list", [5, 6, 12, 12], 144),
    "points": (record(segmentation=[list(pair) for pair in zip(SQUARE[::2], SQUARE[1::2], strict=True)]), "list of points",
               [5, 6, 12, 12], 144),
    "fractions": (record(segmentation={**RLE, "counts": [float(count) for count in RLE["counts"]]}), "fractions",
                  [5, 6, 12, 12], 144),
    "no mask": (record(segmentation=[[]]), "segmentation of nothing", [5, 6, 12, 12], 0),
    "null mask": (record(segmentation=None), "segmentation of nothing", [5, 6, 12, 12], 0),
    "box of nothing": (record(bbox=[0, 0, 0, 0]), "box without size", [5, 6, 12, 12], 144),
    "box null": (record(bbox=None), "taken from the mask", [5, 6, 12, 12], 144),
    "box outside": (record(bbox=[5, -1.3, 12, 12]), "more than one pixel past", [5, 0, 12, 10.7], 144),
    "box as corners": (record(bbox=[5, 6, 17, 18]), "corners", [5, 6, 12, 12], 144),
    "box turned": (record(bbox=[17, 18, -12, -12]), "negative size", [5, 6, 12, 12], 144),
    "box as text": (record(bbox=["5", "6", "12", "12"]), "bbox is not written", [5, 6, 12, 12], 144),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_plainly_meant_is_corrected_and_written_again(name: str, tmp_path: Path) -> None:
    item, remark, box, pixels = CASES[name]
    source = dataset(tmp_path / "source", item)
    report = segdata.convert(source, tmp_path / "pack", workers=1)
    (instances,) = [sample.instances for sample in segdata.open(tmp_path / "pack") if len(sample.instances)]
    x0, y0, x1, y1 = instances.boxes[0].tolist()
    assert [x0, y0, x1 - x0, y1 - y0] == pytest.approx(box)
    assert int(instances.masks[0].sum()) == pixels
    if pixels:
        assert np.array_equal(instances.masks[0], coco_mask.decode(coco_mask.frPyObjects(RLE, H, W)))
    assert any(remark in kind for kind in report.problems["remarks"]) or not remark
    segdata.convert(tmp_path / "pack", tmp_path / "again", to="coco", workers=1)
    document = json.loads((tmp_path / "again/annotations/instances_val2017.json").read_bytes())
    (again,) = document["annotations"]
    assert {**again, "image_id": item["image_id"]} == item
    if remark:
        with_strict = pytest.raises(SegdataError) if name not in STRICT_TOO else pytest.MonkeyPatch.context()
        with with_strict:
            segdata.convert(source, tmp_path / "strict", strict=True, workers=1)


STRICT_TOO = ("iscrowd false", "box of nothing", "box as corners")
"""Kept and counted, or taken as they stand, where nothing is corrected."""


def test_strict_keeps_boxes_without_size(tmp_path: Path) -> None:
    source = dataset(tmp_path / "source", record(bbox=[0, 0, 0, 0]))
    report = segdata.convert(source, tmp_path / "pack", strict=True, workers=1)
    assert segdata.open(tmp_path / "pack")[0].instances.bbox.tolist() == [[0, 0, 0, 0]]
    assert "box without width or height" in report.problems["remarks"]


def test_a_crowd_without_size_gets_the_box_of_its_mask(tmp_path: Path) -> None:
    source = dataset(tmp_path / "source", record(iscrowd=1, bbox=[0, 0, 0, 0], segmentation=RLE))
    segdata.convert(source, tmp_path / "pack", workers=1)
    assert segdata.open(tmp_path / "pack")[0].instances.bbox.tolist() == [[5, 6, 12, 12]]


def test_ids_that_occur_twice_are_numbered_anew(tmp_path: Path) -> None:
    items = [record(id=1), record(id=1, image_id=11), record(id=7), record(id=7, image_id=12)]
    source = dataset(tmp_path / "source", *items)
    report = segdata.convert(source, tmp_path / "pack", workers=1)
    ids = [number for sample in segdata.open(tmp_path / "pack") for number in sample.instances.id.tolist()]
    assert sorted(ids) == [1, 7, 8, 9]
    assert report.problems["remarks"]["annotation id that another one has: numbered anew"]["count"] == 2
    segdata.convert(tmp_path / "pack", tmp_path / "again", to="coco", workers=1)
    document = json.loads((tmp_path / "again/annotations/instances_val2017.json").read_bytes())
    assert document["annotations"] == items
    with pytest.raises(SegdataError, match="annotation id 1 occurs twice"):
        segdata.convert(source, tmp_path / "strict", strict=True, workers=1)


@pytest.mark.parametrize(
    "item, remark",
    [
        (record(bbox=[20, 20, 12, 8]), "box is not the mask's"),
        (record(bbox=[20, 20, 12, 8], segmentation=RLE), "box is not the mask's"),
        (record(segmentation=[[50.0, 50.0, 62.0, 50.0, 62.0, 62.0]]), "mask without a pixel"),
        (
            record(bbox=[0.1, 0.1, 0.2, 0.2], segmentation=[[0.1, 0.1, 0.3, 0.1, 0.3, 0.3]], area=0.02),
            "mask without a pixel",
        ),
    ],
)
def test_boxes_and_masks_that_contradict_each_other_are_counted(
    item: dict[str, Any], remark: str, tmp_path: Path
) -> None:
    report = segdata.convert(dataset(tmp_path / "source", item), tmp_path / "pack", workers=1)
    assert report.problems["remarks"][remark]["count"] == 1


def test_a_polygon_smaller_than_a_pixel_is_no_contradiction(tmp_path: Path) -> None:
    item = record(bbox=[5.1, 6.1, 0.3, 0.3], segmentation=[[5.1, 6.1, 5.4, 6.1, 5.4, 6.4]], area=0.045)
    report = segdata.convert(dataset(tmp_path / "source", item), tmp_path / "pack", workers=1)
    assert not {"mask without a pixel", "box is not the mask's"} & report.problems["remarks"].keys()


def test_another_area_than_that_of_an_rle_is_remarked(tmp_path: Path) -> None:
    for area, count in ((144, 0), (300, 1)):
        source = dataset(tmp_path / f"source{area}", record(segmentation=RLE, area=area), record(id=2, area=144))
        remarks = segdata.convert(source, tmp_path / f"pack{area}").problems["remarks"]
        assert sum(item["count"] for kind, item in remarks.items() if kind.startswith("area differs")) == count


def test_not_a_number_costs_its_record_alone(tmp_path: Path) -> None:
    source = dataset(tmp_path / "source", record(), record(id=2, segmentation=[[*SQUARE[:-1], float("nan")]]))
    with pytest.raises(SegdataError, match="ring"):
        segdata.convert(source, tmp_path / "stop", workers=1)
    report = segdata.convert(source, tmp_path / "pack", on_error="skip", workers=1)
    assert report.instances == 1 and report.skipped == 1
    assert report.problems["remarks"]["NaN or Infinity, read as null"]["count"] == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32"])
def test_other_encodings_of_unicode_are_read(encoding: str, tmp_path: Path) -> None:
    source = dataset(tmp_path / "source", record())
    path = source / "annotations/instances_val2017.json"
    path.write_bytes(path.read_text().encode(encoding))
    assert segdata.convert(source, tmp_path / "pack", workers=1).instances == 1


def test_many_crowds_are_remarked(tmp_path: Path) -> None:
    items = [record(), record(id=2, iscrowd=1, segmentation=RLE)]
    report = segdata.convert(dataset(tmp_path / "source", *items), tmp_path / "pack", workers=1)
    (remark,) = (item for kind, item in report.problems["remarks"].items() if "--crowds objects" in kind)
    assert remark == {"count": 1, "examples": ["1 of 2 objects"]}
