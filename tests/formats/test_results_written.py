"""Predictions of a pack → the folders that challenges take → read again, with the same numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import segdata
from segdata.catalog import manifest
from segdata.core.masks import Masks
from segdata.core.predictions import Predictions
from segdata.core.sample import Instances, Sample
from segdata.sources.evaluation import open_ground_truth, open_predictions
from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.helpers.compare import LABELS, compare
from tests.helpers.packs import pack_of
from tests.helpers.samples import METRICS, SAMPLES, needs_samples
from tests.metrics.test_pixel_metrics import assert_equal, expected

CITY = METRICS / "cityscapes"


def predicted(predictions: Predictions, count: int) -> list[Sample]:
    """The predictions of every image; there are some of each."""
    samples = [predictions.get(index) for index in range(count)]
    assert all(sample is not None for sample in samples)
    return [sample for sample in samples if sample is not None]


@pytest.mark.parametrize(
    ("results", "metric", "part"),
    [("pred_pixel", "cityscapes-pixel", "pixel"), ("pred_inst", "cityscapes-instance", "instance")],
)
def test_cityscapes_results_from_a_pack_score_the_same(results: str, metric: str, part: str, tmp_path: Path) -> None:
    truth = open_ground_truth(CITY)
    predictions = open_predictions(CITY / results, truth)
    samples = predicted(predictions, len(truth))
    pack = pack_of(samples, truth.labels, tmp_path / "pack")
    from_pack = run_segdata("evaluate", pack, CITY, "--metric", metric, "--json")
    assert_equal(from_pack.document["metrics"][metric], expected("cityscapes")[part])
    outcome = run_segdata("convert", pack, tmp_path / "out", "--to", "cityscapes-results")
    assert outcome.code == 0, outcome.err
    for source in (tmp_path / "out", tmp_path / "out" / part):
        again = run_segdata("evaluate", source, CITY, "--metric", metric, "--json")
        assert_equal(again.document["metrics"][metric], expected("cityscapes")[part])
    for name in (tmp_path / "out").rglob("*_pred.txt"):
        for line in name.read_text().splitlines():
            mask, label, score = line.split(" ")
            assert (name.parent / mask).is_file() and 24 <= int(label) <= 33 and 0 <= float(score) <= 1


def test_panoptic_predictions_come_back_as_the_challenge_takes_them(tmp_path: Path) -> None:
    folder = METRICS / "panoptic"
    truth = open_ground_truth(folder / "gt.json")
    predictions = open_predictions(folder / "pred.json", truth)
    samples = predicted(predictions, len(truth))
    pack = pack_of(samples, truth.labels, tmp_path / "pack")
    outcome = run_segdata("convert", pack, tmp_path / "out", "--to", "coco-panoptic")
    assert outcome.code == 0, outcome.err
    document = tmp_path / "out/annotations/panoptic_val.json"
    again = run_segdata("evaluate", document, folder / "gt.json", "--metric", "panoptic", "--json")
    assert_equal(again.document["metrics"]["panoptic"], expected("panoptic"))
    for record in json.loads(document.read_text())["annotations"]:
        rgb = np.asarray(Image.open(document.with_suffix("") / record["file_name"])).astype(np.int64)
        numbers, counts = np.unique(rgb @ [1, 256, 65536], return_counts=True)
        pixels = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
        pixels.pop(0, None)
        assert {item["id"]: item["area"] for item in record["segments_info"]} == pixels


@needs_samples
def test_official_panoptic_data_comes_back_exactly(tmp_path: Path) -> None:
    source = SAMPLES / "coco_panoptic"
    segdata.convert(source, tmp_path / "pack")
    assert segdata.verify(tmp_path / "pack", deep=True).is_good
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="coco-panoptic")
    LABELS.setdefault("coco-panoptic", ("annotations/*.png",))
    assert compare("coco-panoptic", source, tmp_path / "back", ("extra/*",)) == []


def panoptic(root: Path) -> dict[str, Any]:
    """Two images by hand: things, stuff twice in one image, a crowd, a missing flag, an unknown key, void; one without."""
    ids = np.zeros((made.HEIGHT, made.WIDTH), np.uint32)
    ids[:10], ids[20:] = 70000, 300
    ids[12:18, 3:9], ids[12:18, 20:36] = 7, 16777215
    records = [
        {"id": 70000, "category_id": 200, "iscrowd": 0, "area": 400, "bbox": [0, 0, 40, 10]},
        {"id": 300, "category_id": 200, "area": 400, "bbox": [0, 20, 40, 10], "note": "no crowd flag"},
        {"id": 7, "category_id": 1, "iscrowd": 0, "area": 35.5, "bbox": [3, 12, 6, 6]},
        {"id": 16777215, "category_id": 1, "iscrowd": 1, "area": 96, "bbox": [20, 12, 16, 6]},
    ]
    document: dict[str, Any] = {
        "info": {"year": 2018},
        "images": [
            {"id": 9, "file_name": "b.jpg", "height": made.HEIGHT, "width": made.WIDTH, "license": 3},
            {"id": 4, "file_name": "a.jpg", "height": made.HEIGHT, "width": made.WIDTH},
            {"id": 5, "file_name": "c.jpg", "height": made.HEIGHT, "width": made.WIDTH},
        ],
        "annotations": [
            {"image_id": 4, "file_name": "other.png", "segments_info": records[2:], "checked": True},
            {"image_id": 9, "file_name": "b.png", "segments_info": records},
        ],
        "categories": [
            {"id": 1, "name": "person", "isthing": 1, "supercategory": "person", "color": [220, 20, 60]},
            {"id": 200, "name": "rug", "isthing": 0, "supercategory": "floor", "color": [250, 141, 255]},
        ],
    }
    things = np.where((ids == 7) | (ids == 16777215), ids, 0)
    for name, values in (("b.png", ids), ("other.png", things)):
        rgb = np.stack([values & 255, values >> 8 & 255, values >> 16], -1).astype(np.uint8)
        made.put(root / f"annotations/panoptic_train2017/{name}", made.png(rgb))
    for number, image in enumerate(document["images"]):
        made.put(root / f"train2017/{image['file_name']}", made.photo(seed=number))
    made.put(root / "annotations/panoptic_train2017.json", document)
    return document


def test_hand_made_panoptic_data_comes_back_exactly(tmp_path: Path) -> None:
    panoptic(tmp_path / "source")
    segdata.convert(tmp_path / "source", tmp_path / "pack")
    sample = segdata.open(tmp_path / "pack").find("b")
    assert sample.instances.id.tolist() == [70000, 300, 7, 16777215]
    assert sample.instances.masks.areas.tolist() == [400, 400, 36, 96]
    assert sample.semantic is not None and sample.instances.id is not None
    assert sample.semantic[0, 0] == 1 and sample.semantic[11, 0] == 255 and sample.semantic[13, 4] == 0
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="coco-panoptic")
    LABELS.setdefault("coco-panoptic", ("annotations/*.png",))
    assert compare("coco-panoptic", tmp_path / "source", tmp_path / "back") == []


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        (lambda d: d["annotations"][1]["segments_info"].pop(), 4, "does not list"),
        (lambda d: d["annotations"][1]["segments_info"][0].update(category_id=5), 4, "category_id 5 is not defined"),
        (lambda d: d["annotations"][1]["segments_info"][0].update(id=300), 4, "300 occurs twice"),
        (lambda d: d["annotations"][1]["segments_info"][0].update(id=0), 4, "id 0 is not a whole number from 1"),
        (lambda d: d["annotations"][1].update(file_name="../../x.png"), 11, "not a plain relative path"),
        (lambda d: d["annotations"][1].update(file_name="none.png"), 10, "does not exist"),
        (lambda d: d["annotations"][1].update(image_id=4), 4, "several panoptic annotations"),
        (lambda d: d["images"][0].update(width=41), 4, "another size"),
    ],
)
def test_panoptic_documents_are_checked(change: Any, code: int, text: str, tmp_path: Path) -> None:
    document = panoptic(tmp_path / "source")
    change(document)
    made.put(tmp_path / "source/annotations/panoptic_train2017.json", document)
    outcome = run_segdata("convert", tmp_path / "source", tmp_path / "pack")
    assert outcome.code == code and text in outcome.err, outcome.err


def test_voc_segmentation_results(tmp_path: Path) -> None:
    source = made.voc(tmp_path / "VOCdevkit/VOC2012")
    truth = open_ground_truth(source)
    labels = manifest.label_space("voc")
    samples = []
    for index in range(len(truth)):
        known = truth.get(index)
        if known.semantic is not None:
            semantic = np.where(known.semantic == 255, 0, known.semantic).astype(np.uint8)
            samples.append(Sample(known.key, known.height, known.width, semantic=semantic))
    pack = pack_of(samples, labels, tmp_path / "pack", "val")
    outcome = run_segdata("convert", pack, tmp_path / "out", "--to", "voc-results")
    assert outcome.code == 0, outcome.err
    files = sorted((tmp_path / "out").rglob("*.png"))
    assert [path.parent.relative_to(tmp_path / "out").as_posix() for path in files] == [
        "results/VOC2012/Segmentation/comp5_val_cls"
    ] * len(samples)
    for path in files:
        with Image.open(path) as image:
            palette = image.getpalette()
            assert image.mode == "P" and palette is not None and palette[:6] == [0, 0, 0, 128, 0, 0]
    of_train = (tmp_path / "out", source, "--metric", "voc-segmentation", "--split", "train")
    evaluated = run_segdata("evaluate", *of_train, "--json")
    assert evaluated.document["metrics"]["voc-segmentation"]["mIoU"] == 1
    Image.fromarray(np.full((made.HEIGHT, made.WIDTH), 255, np.uint8)).save(files[0])
    refused = run_segdata("evaluate", *of_train)
    assert refused.code == 4 and "without a class" in refused.err


def test_overlapping_predictions_become_segments_by_score(tmp_path: Path) -> None:
    labels = segdata.LabelSpace(
        "two", (segdata.Category("cat", 3, isthing=True), segdata.Category("sky", 8, isthing=False))
    )
    dense = np.zeros((3, 10, 10), np.uint8)
    dense[0, :6, :6], dense[1, 3:, 3:], dense[2, 4:6, 4:6] = 1, 1, 1
    instances = Instances.build([0, 0, 0], Masks.from_dense(dense), score=[0.9, 0.5, 0.4])
    sample = Sample("a/b", 10, 10, id=5, instances=instances, semantic=np.ones((10, 10), np.uint8))
    pack = pack_of([sample], labels, tmp_path / "pack")
    refused = run_segdata("convert", pack, tmp_path / "out", "--to", "coco-panoptic")
    assert refused.code == 13 and "objects partly hidden by others" in refused.err
    truth = run_segdata("evaluate", pack, pack, "--metric", "panoptic")
    assert truth.code == 4 and "overlap" in truth.err
    outcome = run_segdata("convert", pack, tmp_path / "out", "--to", "coco-panoptic", "--allow-loss")
    assert outcome.code == 0, outcome.err
    record = json.loads((tmp_path / "out/annotations/panoptic_val.json").read_text())["annotations"][0]
    # The best scored keeps its 36 pixels, the second what is left of its 49 (9 are under the first), the third nothing.
    assert [item["area"] for item in record["segments_info"]] == [36, 40, 24]
    assert [item["category_id"] for item in record["segments_info"]] == [3, 3, 8]
    assert re.fullmatch(r"[\w.]+\.png", record["file_name"]) and record["image_id"] == 5


def test_a_pack_of_the_truth_gives_the_official_numbers(tmp_path: Path) -> None:
    segdata.convert(CITY, tmp_path / "truth", images="none")
    for results, metric, part in (
        ("pred_pixel", "cityscapes-pixel", "pixel"),
        ("pred_inst", "cityscapes-instance", "instance"),
    ):
        evaluation = segdata.evaluate(CITY / results, tmp_path / "truth", metrics=[metric])
        assert_equal(evaluation.metrics[metric], expected("cityscapes")[part])
    folder = METRICS / "panoptic"
    segdata.convert(folder / "gt.json", tmp_path / "panoptic", images="none")
    evaluation = segdata.evaluate(folder / "pred.json", tmp_path / "panoptic", metrics=["panoptic"])
    assert_equal(evaluation.metrics["panoptic"], expected("panoptic"))
