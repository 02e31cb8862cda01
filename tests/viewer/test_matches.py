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
from segdata.core.sample import Sample
from tests.helpers import made_results
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


def test_panoptic_quality_of_an_image_is_that_of_the_evaluation(tmp_path: Path) -> None:
    truth = made_results.panoptic(tmp_path / "truth")
    predictions = made_results.panoptic(tmp_path / "predicted", is_prediction=True)
    segdata.convert(truth, tmp_path / "pack", workers=1)
    details = segdata.evaluate(predictions, tmp_path / "pack", metrics=["panoptic"]).results["panoptic"].details
    expected = dict(zip(details.keys, details.quality.tolist(), strict=True))
    assert len(expected) == 2 and all(0 < value < 1 for value in expected.values())
    viewer = segdata.view(tmp_path / "pack", predictions)
    try:
        client = Client(viewer.address)
        assert client.ready("confusion")["kind"] == "pixels"
        worst = client.get("worst", by="pq").document
        assert {item["key"]: item["value"] for item in worst} == pytest.approx(expected)
        assert [item["value"] for item in worst] == sorted(expected.values())
        assert client.get("ids", where="pq > 0 and miou > 0").numbers == [0, 1]
    finally:
        viewer.stop()


def test_label_maps_are_counted_as_the_evaluation_counts_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    maps = [rng.integers(0, 3, (2, 20, 30)).astype(np.uint8) for _ in range(4)]
    for pair in maps:
        pair[0][:2] = 255
        pair[1][pair[1] == 2] = np.where(rng.random((pair[1] == 2).sum()) < 0.5, 2, 0)
    for name, side in (("pack", 0), ("predicted", 1)):
        samples = [Sample.build(f"image {n}", size=(20, 30), semantic=pair[side]) for n, pair in enumerate(maps)]
        segdata.write({"val": samples}, tmp_path / name, labels=["road", "sky", "tree"], workers=1)
    viewer = segdata.view(tmp_path / "pack", tmp_path / "predicted")
    try:
        client = Client(viewer.address)
        document = client.ready("confusion")
        expected = np.zeros((3, 3), int)
        for truth, predicted in maps:
            is_valid = truth < 3
            np.add.at(expected, (truth[is_valid], predicted[is_valid]), 1)
        assert document["kind"] == "pixels" and document["labels"] == [0, 1, 2]
        assert np.array_equal(np.array(document["matrix"])[:3, :3], expected)
        values = {item["i"]: item["value"] for item in client.get("worst", by="miou").document}
        for number, (truth, predicted) in enumerate(maps):
            is_valid = truth < 3
            ious = [
                ((truth == k) & (predicted == k)).sum() / (((truth == k) | (predicted == k)) & is_valid).sum()
                for k in range(3)
            ]
            assert values[number] == pytest.approx(np.mean(ious))
        cell = client.get("ids", cell="2,0").numbers
        assert cell == [n for n, (truth, predicted) in enumerate(maps) if ((truth == 2) & (predicted == 0)).any()]
        assert client.get("facets").document["tp"] == 0
    finally:
        viewer.stop()


def test_images_that_predictions_leave_out_count_nowhere(pack: Path, tmp_path: Path) -> None:
    """The pack's own validation images as predictions: all are found there, and nothing is missed elsewhere."""
    segdata.filter(pack, tmp_path / "val", where="split == 'val2017'")
    viewer = segdata.view(pack, tmp_path / "val")
    try:
        client = Client(viewer.address)
        client.ready("confusion")
        facets = client.get("facets").document
        assert facets["fp"] == facets["fn"] == 0 < facets["tp"]
        assert client.get("facets", where="split == 'train2017'").document["tp"] == 0
        assert (
            client.get("ids", where="f1 == 1").numbers
            == client.get("ids", where="split == 'val2017' and count(not iscrowd) > 0").numbers
        )
    finally:
        viewer.stop()


def test_what_overlaps_is_kept_for_the_next_start_and_made_anew_when_it_is_damaged(
    pack: Path, dataset: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    counted, written = [], []
    for damage in (None, None, b"\0" * 64, b""):
        viewer = segdata.view(pack, dataset[1])
        client = Client(viewer.address)
        client.ready("confusion")
        counted.append(client.get("facets", iou=0.6, score=0.2).body)
        viewer.stop()
        (file,) = (tmp_path / "segdata/comparisons").iterdir()
        written.append(file.stat().st_mtime_ns)
        if damage is not None:
            data = file.read_bytes()
            file.write_bytes(data[:500] + damage + data[500 + len(damage) :] if damage else data[:-9])
    assert len(set(counted)) == 1
    assert written[0] == written[1] == written[2] < written[3]
