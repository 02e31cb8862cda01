"""Pixel, panoptic and Cityscapes metrics against the official evaluators' numbers and arithmetic by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segdata.catalog import manifest
from segdata.metrics.cityscapes import instance as cityscapes_instance
from segdata.metrics.cityscapes import pixel as cityscapes_pixel
from segdata.metrics.cityscapes.classes import Classes
from segdata.metrics.panoptic import quality as panoptic
from segdata.metrics.semantic import confusion as semantic
from tests.helpers.samples import METRICS


def expected(name: str) -> Any:
    return json.loads((METRICS / name / "expected.json").read_text())


def pixels(path: Path) -> Any:
    return np.asarray(Image.open(path))


def assert_equal(values: Any, wanted: Any, path: str = "") -> None:
    """Every value of `wanted` is in `found`, within 1e-6; "nan" stands for None."""
    if isinstance(wanted, dict):
        for name, value in wanted.items():
            assert_equal(values[name], value, f"{path}/{name}")
    elif wanted == "nan" or (isinstance(wanted, float) and math.isnan(wanted)):
        assert values is None, path
    else:
        assert values == pytest.approx(wanted, abs=1e-6), path


def cityscapes() -> Classes:
    return Classes.of(manifest.label_space("cityscapes"), manifest.shipped("cityscapes").average_sizes)


@pytest.mark.parametrize("name", ["voc21", "cityscapes19", "camvid11", "binary2", "all_void"])
def test_semantic_metrics_are_those_of_torchmetrics_and_detectron2(name: str) -> None:
    wanted = expected("semantic")[name]
    with np.load(METRICS / "semantic/arrays.npz") as arrays:
        pairs = [(arrays[f"{name}/{i}/gt"], arrays[f"{name}/{i}/pred"]) for i in range(wanted["images"])]
        matrix = arrays[f"{name}/confusion"]
    classes = wanted["num_classes"]
    total = np.sum([semantic.count(truth, prediction, classes) for truth, prediction in pairs], axis=0)
    scores = semantic.scores(total, [str(index) for index in range(classes)])
    assert np.array_equal(scores["confusion"], matrix)
    if name == "all_void":
        assert all(scores[key] is None for key in ("mIoU", "fwIoU", "mACC", "pACC", "IoU-0", "ACC-4"))
        return
    theirs = wanted["detectron2"]
    for key, value in theirs.items():
        is_decided_otherwise = key == "mIoU" or (key.startswith("IoU") and value == "nan")
        if not is_decided_otherwise:
            assert_equal(scores[key], value if value == "nan" else value / 100, key)
    ious = wanted["torchmetrics"]["iou_per_class"]
    union = matrix.sum(0) + matrix.sum(1) - np.diagonal(matrix)
    for index, iou in enumerate(ious):
        assert_equal(scores[f"IoU-{index}"], iou if union[index] else "nan", f"class {index}")
    assert_equal(scores["mIoU"], wanted["torchmetrics"]["miou_macro"])
    assert_equal(scores["pACC"], wanted["torchmetrics"]["pixel_accuracy"])


def test_panoptic_quality_is_that_of_panopticapi() -> None:
    folder = METRICS / "panoptic"
    truth, prediction = (json.loads((folder / f"{name}.json").read_text()) for name in ("gt", "pred"))
    ids = [category["id"] for category in truth["categories"]]
    isthing = [bool(category["isthing"]) for category in truth["categories"]]
    predicted = {item["image_id"]: item for item in prediction["annotations"]}

    def segments(kind: str, record: Any) -> panoptic.Segments:
        rgb = pixels(folder / kind / record["file_name"]).astype(np.int64)
        rows = record["segments_info"]
        return panoptic.Segments(
            rgb @ [1, 256, 65536],
            np.array([row["id"] for row in rows]),
            np.array([ids.index(row["category_id"]) for row in rows]),
            np.array([row["iscrowd"] == 1 for row in rows]),
            np.array([row["area"] for row in rows]),
        )

    total = panoptic.nothing(len(ids))
    for record in truth["annotations"]:
        both = segments("gt", record), segments("pred", predicted[record["image_id"]])
        total += panoptic.count(*both, len(ids))
    assert_equal(panoptic.scores(total, ids, isthing), expected("panoptic"))


def frames() -> list[str]:
    labels = (METRICS / "cityscapes/gtFine/val/town").glob("*_gtFine_labelIds.png")
    return sorted(path.name.removesuffix("_gtFine_labelIds.png") for path in labels)


def test_cityscapes_pixel_scores_are_those_of_its_own_evaluator() -> None:
    folder, classes = METRICS / "cityscapes", cityscapes()
    total = cityscapes_pixel.nothing(classes)
    for frame in frames():
        base = folder / f"gtFine/val/town/{frame}_gtFine_"
        truth, numbers = pixels(Path(f"{base}labelIds.png")), pixels(Path(f"{base}instanceIds.png"))
        total += cityscapes_pixel.count(
            truth, numbers, pixels(folder / f"pred_pixel/{frame}_pred_labelIds.png"), classes
        )
    assert_equal(cityscapes_pixel.scores(total, classes), expected("cityscapes")["pixel"])


def test_cityscapes_instance_scores_are_those_of_its_own_evaluator() -> None:
    folder, classes = METRICS / "cityscapes", cityscapes()
    parts = []
    for frame in frames():
        numbers = pixels(folder / f"gtFine/val/town/{frame}_gtFine_instanceIds.png")
        rows = [line.split() for line in (folder / f"pred_inst/{frame}_pred.txt").read_text().splitlines()]
        crops = [(0, 0, pixels(folder / "pred_inst" / row[0]) != 0) for row in rows]
        category = classes.index_of_id[[int(row[1]) for row in rows]]
        parts.append(
            cityscapes_instance.match(numbers, category, np.array([float(row[2]) for row in rows]), crops, classes)
        )
    scores = cityscapes_instance.scores(cityscapes_instance.joined(parts), classes)
    assert_equal(scores, expected("cityscapes")["instance"])
