"""Predictions against objects: equal to what pycocotools matches at 0.5, and to counting by hand."""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import segdata
from tests.helpers.samples import SAMPLES, needs_samples
from tests.viewer.client import Client

pytest.importorskip("uvicorn", reason="the server needs the extra 'view'")


def official(document: Path, results: list[dict[str, Any]], iou: float = 0.5) -> dict[int, tuple[int, int, int]]:
    """Image id → true and false positives and false negatives, as pycocotools matches masks."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(document))
        ids = set(truth.getImgIds())
        evaluator = COCOeval(truth, truth.loadRes([item for item in results if item["image_id"] in ids]), "segm")
        evaluator.params.iouThrs = np.array([iou])
        evaluator.params.areaRng = [[0, 1e10]]
        evaluator.params.maxDets = [100]
        evaluator.evaluate()
    counts: dict[int, Counter[str]] = {image: Counter() for image in ids}
    for item in evaluator.evalImgs:
        if item is not None:
            detections = item["dtMatches"][0][~item["dtIgnore"][0].astype(bool)]
            objects = item["gtMatches"][0][item["gtIgnore"] == 0]
            counts[item["image_id"]] += Counter(
                tp=int((detections > 0).sum()), fp=int((detections == 0).sum()), fn=int((objects == 0).sum())
            )
    return {image: (count["tp"], count["fp"], count["fn"]) for image, count in counts.items()}


def tiles(client: Client, **thresholds: object) -> dict[int, dict[str, Any]]:
    """Image id → its tile."""
    client.ready("confusion")
    count = client.get("pack").document["samples"]
    listed = client.get("tiles", ids=",".join(map(str, range(count))), **thresholds).document
    return {tile["id"]: tile for tile in listed}


@pytest.mark.parametrize("iou", [0.5, 0.75])
@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_matches_of_every_image_are_those_of_pycocotools(
    compared: Client, dataset: tuple[Path, Path], split: str, iou: float
) -> None:
    results = json.loads(dataset[1].read_text())
    expected = official(dataset[0] / "annotations" / f"instances_{split}.json", results, iou)
    assert sum(map(sum, expected.values())) > 50
    by_id = tiles(compared, iou=iou)
    for image, counts in expected.items():
        assert tuple(by_id[image][name] for name in ("tp", "fp", "fn")) == counts


def moved(segmentation: Any, size: tuple[int, int], rng: np.random.Generator) -> dict[str, Any]:
    """COCO's run lengths of a segmentation whose corners were moved by some pixels."""
    if isinstance(segmentation, dict):
        encoded = coco_mask.frPyObjects(segmentation, *size)
    else:
        rings = [np.clip(np.array(ring) + rng.normal(0, 3, len(ring)), 0, min(size)).tolist() for ring in segmentation]
        encoded = coco_mask.merge(coco_mask.frPyObjects(rings, *size))
    return {"size": list(size), "counts": encoded["counts"].decode()}


@needs_samples
def test_matches_of_real_images_are_those_of_pycocotools(tmp_path: Path) -> None:
    """Detections of the COCO API's own example are about other images: these are the annotations, moved and relabelled."""
    rng = np.random.default_rng(5)
    (document,) = (SAMPLES / "coco/annotations").glob("instances_val2017*.json")
    content = json.loads(document.read_text())
    ids = [category["id"] for category in content["categories"]]
    results = []
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    for item in content["annotations"]:
        if rng.random() < 0.85:
            category = item["category_id"] if rng.random() < 0.9 else int(rng.choice(ids))
            segmentation = moved(item["segmentation"], sizes[item["image_id"]], rng)
            score = round(float(rng.random()), 3)
            results.append(
                {"image_id": item["image_id"], "category_id": category, "score": score, "segmentation": segmentation}
            )
    (tmp_path / "results.json").write_text(json.dumps(results))
    segdata.convert(SAMPLES / "coco", tmp_path / "pack", splits=["val2017"], images="none", workers=1)
    expected = official(document, results)
    viewer = segdata.view(tmp_path / "pack", tmp_path / "results.json")
    try:
        by_id = tiles(Client(viewer.address))
    finally:
        viewer.stop()
    assert sum(counts[0] for counts in expected.values()) > 50
    for image, counts in expected.items():
        assert tuple(by_id[image][name] for name in ("tp", "fp", "fn")) == counts


def test_a_score_recounts_as_if_only_better_predictions_were_given(
    compared: Client, dataset: tuple[Path, Path]
) -> None:
    results = [item for item in json.loads(dataset[1].read_text()) if item["score"] >= 0.6]
    by_id = tiles(compared, score=0.6)
    for split in ("train2017", "val2017"):
        expected = official(dataset[0] / "annotations" / f"instances_{split}.json", results)
        for image, counts in expected.items():
            assert tuple(by_id[image][name] for name in ("tp", "fp", "fn")) == counts


def test_facets_queries_orders_and_single_images_count_alike(compared: Client) -> None:
    by_number = {tile["i"]: tile for tile in tiles(compared).values()}
    facets = compared.get("facets").document
    for name in ("tp", "fp", "fn"):
        assert facets[name] == sum(tile[name] for tile in by_number.values()) > 0
        meant = compared.get("ids", where=f"{name} >= 2").numbers
        assert meant == [i for i, tile in sorted(by_number.items()) if tile[name] >= 2]
    falling = compared.get("ids", sort="-fn").numbers
    assert falling == sorted(by_number, key=lambda i: (-by_number[i]["fn"], i))
    rising = compared.get("ids", sort="f1").numbers
    defined = [i for i in rising if by_number[i]["f1"] is not None]
    assert rising[: len(defined)] == sorted(defined, key=lambda i: (by_number[i]["f1"], i))
    assert compared.get("ids", where="any(not matched and not iscrowd)").numbers == [
        i for i, tile in sorted(by_number.items()) if tile["fn"]
    ]
    worst = compared.get("worst", by="f1", n=3).document
    assert [item["i"] for item in worst] == defined[:3]
    for i, tile in by_number.items():
        one = compared.get(f"matches/{i}").document
        assert [one[name] for name in ("f1", "tp", "fp", "fn")] == [tile[name] for name in ("f1", "tp", "fp", "fn")]
        counted = one["counted"]["truth"]
        pairs = [(row, column) for column, row in enumerate(one["predictions"]) if row >= 0 and counted[row]]
        assert sorted(pairs) == sorted(
            (row, column) for row, column in enumerate(one["truth"]) if column >= 0 and counted[row]
        )
        assert all(one["iou"][column] >= 0.5 for _, column in pairs)


def test_the_matrix_has_every_prediction_and_every_missed_object_once(compared: Client) -> None:
    document = compared.ready("confusion", score=0.3)
    matrix, labels = np.array(document["matrix"]), document["labels"]
    assert document["kind"] == "objects" and matrix.shape == (len(labels) + 1,) * 2
    truth = compared.get("facets", where="").document
    crowds = sum(compared.get("ids", where=f"count(iscrowd) == {n}").numbers.__len__() * n for n in range(1, 9))
    assert matrix[:-1].sum() == truth["objects"] - crowds
    for row, true_label in enumerate([*labels, "none"]):
        for column, label in enumerate([*labels, "none"]):
            if matrix[row, column]:
                images = compared.get("ids", cell=f"{true_label},{label}", score=0.3).numbers
                assert 0 < len(images) <= matrix[row, column]
    total = sum(
        np.array(compared.ready("confusion", score=0.3, where=f"split == '{split}'")["matrix"]).sum()
        for split in ("train2017", "val2017")
    )
    assert total == matrix.sum()
