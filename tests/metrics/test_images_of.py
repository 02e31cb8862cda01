"""Predictions for some of the images: all images count, or on demand those alone that the predictions speak of."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import segdata
from segdata import Sample
from segdata.core.labels import LabelSpace
from segdata.errors import InvalidAnnotation, UsageError
from tests.helpers import made_results
from tests.helpers.command import run_segdata
from tests.metrics.test_category_spaces import worse
from tests.metrics.test_mistakes import files
from tests.metrics.test_pixel_predictions import city, predict

ALL = [100 + 7 * n for n in range(12)]
LEFT_OUT = "images of the ground truth that the predictions do not speak of: left out as asked"


def official(truth: Path, results: Path, images: list[int]) -> list[float]:
    """The twelve numbers of pycocotools with `params.imgIds`."""
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO(str(truth))
        judged = COCOeval(known, known.loadRes(str(results)), "bbox")
        judged.params.imgIds = images
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return [float(value) for value in judged.stats]


def some(folder: Path) -> tuple[Path, Path, list[int]]:
    """Results for five of twelve images, and the ids of these."""
    records = [item for item in worse() if item["image_id"] in (100, 114, 121, 149, 170)]
    return *files(folder, records), sorted({item["image_id"] for item in records})


def numbers(evaluation: segdata.Evaluation) -> list[float]:
    values = evaluation.metrics["coco-bbox"]
    return [-1 if value is None else value for value in list(values.values())[:12]]


def test_images_of_the_predictions_give_the_numbers_of_pycocotools_for_these(tmp_path: Path) -> None:
    results, known, images = some(tmp_path)
    everything = segdata.evaluate(results, known)
    assert numbers(everything) == pytest.approx(official(known, results, ALL))
    assert LEFT_OUT not in everything.problems["remarks"]
    part = segdata.evaluate(results, known, images_of="predictions")
    assert numbers(part) == pytest.approx(official(known, results, images))
    assert numbers(part)[0] > numbers(everything)[0]
    assert part.problems["remarks"][LEFT_OUT]["count"] == 7
    document = run_segdata("evaluate", results, known, "--images-of", "predictions", "--json").document
    assert document["images"] == 5 and document["notes"] == {LEFT_OUT: 7}


def test_a_pack_speaks_of_its_images_with_and_without_detections(tmp_path: Path) -> None:
    results, known, images = some(tmp_path)
    document = json.loads(known.read_bytes())
    part = {**document, "images": [item for item in document["images"] if item["id"] in (*images, 107)]}
    part["annotations"] = [item for item in document["annotations"] if item["image_id"] in (*images, 107)]
    (tmp_path / "part.json").write_text(json.dumps(part))
    segdata.convert(results, tmp_path / "pack", source_format="coco-results", truth=tmp_path / "part.json")
    evaluation = segdata.evaluate(tmp_path / "pack", known, images_of="predictions")
    assert numbers(evaluation) == pytest.approx(official(known, results, sorted([*images, 107])))
    assert evaluation.problems["remarks"][LEFT_OUT]["count"] == 6
    run_segdata("evaluate", tmp_path / "pack", known, "--images-of", "predictions", "--report", tmp_path / "report")
    assert "6 images" in (tmp_path / "report/index.html").read_text()


def test_predictions_for_one_of_several_splits_name_the_split_to_give(tmp_path: Path) -> None:
    """Two documents make the splits one and two; results are about images of two alone."""
    results, known = files(tmp_path, worse())
    document = json.loads(known.read_bytes())
    folder = tmp_path / "data/annotations"
    folder.mkdir(parents=True)
    for name, images in (("one", ALL[:7]), ("two", ALL[7:])):
        part = {**document, "images": [item for item in document["images"] if item["id"] in images]}
        part["annotations"] = [item for item in document["annotations"] if item["image_id"] in images]
        (folder / f"instances_{name}.json").write_text(json.dumps(part))
    results.write_text(json.dumps([item for item in worse() if item["image_id"] in ALL[8:]]))
    truth = tmp_path / "truth"
    segdata.convert(tmp_path / "data", truth, images="none")
    about = {item["image_id"] for item in json.loads(results.read_bytes())}
    with pytest.raises(UsageError, match="about the split 'two' alone") as refused:
        segdata.evaluate(results, truth)
    assert f"{len(about)} of its 5 images; the ground truth has 12" in str(refused.value.why)
    assert str(refused.value.fix).startswith("--split two")
    whole = segdata.evaluate(results, truth, images_of="truth")
    assert numbers(whole) == pytest.approx(official(known, results, ALL))
    of_two = segdata.evaluate(results, truth, split="two")
    assert numbers(of_two) == pytest.approx(official(known, results, ALL[7:]))
    results.write_text(json.dumps(worse()))
    assert numbers(segdata.evaluate(results, truth)) == pytest.approx(official(known, results, ALL))


def test_the_command_prints_the_summary_and_every_number_on_demand(tmp_path: Path) -> None:
    results, known, _ = some(tmp_path)
    short = run_segdata("evaluate", results, known)
    assert [line.split()[0] for line in short.out.splitlines()] == [
        "coco-bbox",
        *list(segdata.evaluate(results, known).metrics["coco-bbox"])[:12],
    ]
    assert "--details" in short.err
    full = run_segdata("evaluate", results, known, "--details")
    assert full.out.split()[: len(short.out.split())] == short.out.split()
    assert "per_category_AP" in full.out and "--details" not in full.err


def test_unknown_images_and_values_stay_errors(tmp_path: Path) -> None:
    results, known, _ = some(tmp_path)
    with pytest.raises(UsageError, match="truth, predictions"):
        segdata.evaluate(results, known, images_of="both")
    for records, text in (([*worse(), {**worse()[0], "image_id": 101}], "does not have"), ([], "no image")):
        results.write_text(json.dumps(records))
        with pytest.raises(InvalidAnnotation, match=text):
            segdata.evaluate(results, known, images_of="predictions")


def test_label_maps_for_some_of_the_images(tmp_path: Path) -> None:
    truth, predictions = city(tmp_path / "city"), predict(tmp_path / "predicted", change=lambda ids: ids * (ids != 26))
    one = tmp_path / "one"
    one.mkdir()
    name = next(predictions.glob("bonn*")).name
    shutil.copy(predictions / name, one)
    shutil.copytree(truth / "gtFine/val/bonn", tmp_path / "bonn/gtFine/val/bonn")
    alone = segdata.evaluate(one, tmp_path / "bonn", metrics=["semantic"]).metrics
    with pytest.raises(InvalidAnnotation, match="--images-of predictions"):
        segdata.evaluate(one, truth, metrics=["semantic"])
    part = segdata.evaluate(one, truth, metrics=["semantic", "cityscapes-pixel"], images_of="predictions")
    assert part.metrics["semantic"] == alone["semantic"] and part.problems["remarks"][LEFT_OUT]["count"] == 1


def test_panoptic_predictions_for_some_of_the_images(tmp_path: Path) -> None:
    paths = [made_results.panoptic(tmp_path / name, is_prediction=name == "p") for name in "pt"]
    predictions, known = (path / "annotations/panoptic_val2017.json" for path in paths)

    def keep(path: Path) -> None:
        document = json.loads(path.read_bytes())
        for name, key in (("annotations", "image_id"), ("images", "id")):
            document[name] = [item for item in document[name] if item[key] == 4]
        path.write_text(json.dumps(document))

    keep(predictions)
    with pytest.raises(InvalidAnnotation, match="--images-of predictions"):
        segdata.evaluate(predictions, known, metrics=["panoptic"])
    part = segdata.evaluate(predictions, known, metrics=["panoptic"], images_of="predictions")
    keep(known)
    assert part.metrics == segdata.evaluate(predictions, known, metrics=["panoptic"]).metrics
    assert part.problems["remarks"][LEFT_OUT]["count"] == 1


def test_images_that_a_metric_leaves_out_need_no_split(tmp_path: Path) -> None:
    """As in VOC, where the images of most splits have objects and no label map: they cannot be missed."""
    maps = {name: np.full((6, 8), value, np.uint8) for value, name in enumerate(("one", "two"))}
    labels = LabelSpace.of(["background", "cat"])
    segmented = [Sample.build(name, size=(6, 8), semantic=maps[name]) for name in maps]
    boxed = [Sample.build("three", size=(6, 8), masks=np.ones((1, 6, 8), np.uint8), category=[1])]
    segdata.write({"seg": segmented, "main": boxed}, tmp_path / "truth", labels=labels)
    segdata.write({"seg": segmented}, tmp_path / "found", labels=labels)
    evaluation = segdata.evaluate(tmp_path / "found", tmp_path / "truth", metrics=["semantic"])
    assert evaluation.metrics["semantic"]["mIoU"] == 1.0
    segdata.write({"seg": segmented[:1], "main": segmented[1:]}, tmp_path / "other", labels=labels)
    segdata.write({"seg": segmented[:1]}, tmp_path / "part", labels=labels)
    with pytest.raises(UsageError, match="about the split 'seg' alone"):
        segdata.evaluate(tmp_path / "part", tmp_path / "other", metrics=["semantic"])
