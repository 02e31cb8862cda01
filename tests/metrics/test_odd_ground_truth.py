"""A COCO document with records that are not as they should be: evaluated as its pack, and as pycocotools does by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

import segdata
from tests.formats.coco.test_corrections import CASES, RLE, H, W, record
from tests.helpers import made
from tests.metrics.test_coco_awkward import assert_equal, official

NOTHING = {"size": [H, W], "counts": [H * W]}


def documents(folder: Path) -> tuple[Path, Path, Path]:
    """An image for every kind of odd record, the same with the records as they are meant, and results for both."""
    document = made.coco_document(len(CASES))
    odd, meant, results = [], [], []
    for number, (image, (item, _, box, pixels)) in enumerate(zip(document["images"], CASES.values(), strict=True), 1):
        is_text = isinstance(item.get("image_id"), str)
        identity = str(number) if isinstance(item["id"], str) else number
        odd.append({**item, "id": identity, "image_id": str(image["id"]) if is_text else image["id"]})
        mask = RLE if pixels else NOTHING
        meant.append(record(id=number, image_id=image["id"], bbox=box, segmentation=mask))
        shifted = np.zeros((H, W), np.uint8)
        shifted[6:18, 6 + number % 3 : 18 + number % 3] = 1
        rle = coco_mask.encode(np.asfortranarray(shifted))
        result = {"image_id": image["id"], "category_id": 1, "score": 1 - number / 100}
        result |= {"bbox": [6 + number % 3, 6, 12, 12], "segmentation": {**rle, "counts": rle["counts"].decode()}}
        results.append(result)
    made.coco(folder / "odd", {**document, "annotations": odd})
    made.put(folder / "meant.json", {**document, "annotations": meant})
    made.put(folder / "results.json", results)
    return folder / "odd/annotations/instances_val2017.json", folder / "meant.json", folder / "results.json"


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_an_odd_document_gives_the_numbers_of_its_pack_and_of_the_corrected_one(kind: str, tmp_path: Path) -> None:
    odd, meant, results = documents(tmp_path)
    report = segdata.convert(odd, tmp_path / "pack", images="none", workers=1)
    metric = f"coco-{kind}"
    evaluation = segdata.evaluate(results, odd, metrics=[metric])
    numbers = evaluation.metrics[metric]
    assert 0 < numbers["AP"] < 1 and numbers["APs"] == numbers["AP"]
    assert_equal(numbers, official(meant, results, kind))
    assert segdata.evaluate(results, tmp_path / "pack", metrics=[metric]).metrics[metric] == numbers
    remarks = evaluation.problems["remarks"]
    for _, remark, _, _ in CASES.values():
        said = {kind: item["count"] for kind, item in report.problems["remarks"].items() if remark and remark in kind}
        assert {kind: item["count"] for kind, item in remarks.items() if kind in said} == said
    both = segdata.evaluate(results, odd, metrics=["coco-bbox", "coco-segm"]).problems["remarks"]
    assert {kind: item["count"] for kind, item in both.items()} == {
        kind: item["count"] for kind, item in remarks.items()
    }


def test_boxes_at_the_left_and_top_are_not_taken_for_corners(tmp_path: Path) -> None:
    square = [2.0, 2.0, 20.0, 2.0, 20.0, 20.0, 2.0, 20.0]
    document: dict[str, Any] = {**made.coco_document(), "annotations": []}
    document["annotations"] = [record(segmentation=[square], bbox=[2, 2, 18, 18]), record(id=2, segmentation=[])]
    truth = made.put(tmp_path / "truth.json", document)
    detection = {"image_id": 10, "category_id": 1, "bbox": [2, 2, 18, 18], "score": 0.5}
    results = made.put(tmp_path / "results.json", [detection])
    evaluation = segdata.evaluate(results, truth)
    assert_equal(evaluation.metrics["coco-bbox"], official(truth, results, "bbox"))
    assert list(evaluation.problems["remarks"]) == ["images without any detection"]


def test_a_document_with_texts_as_ids_gives_the_numbers_of_the_same_with_numbers(tmp_path: Path) -> None:
    odd, meant, results = documents(tmp_path)
    document: dict[str, Any] = json.loads(meant.read_bytes())
    for item in document["images"]:
        item["id"] = f"scan-{item['id']}"
    for item in document["annotations"]:
        item["image_id"] = f"scan-{item['image_id']}"
        item["category_id"] = str(item["category_id"])
    odd.write_text(json.dumps(document))
    named = [{**item, "image_id": f"scan-{item['image_id']}"} for item in json.loads(results.read_bytes())]
    by_text = made.put(tmp_path / "by_text.json", named)
    mine = segdata.evaluate(by_text, odd, metrics=["coco-segm"]).metrics["coco-segm"]
    assert_equal(mine, official(meant, results, "segm"))
