"""Images whose ids are texts, as in Cityscapes' own panoptic documents: ground truth and predictions find each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import segdata
from segdata.errors import InvalidAnnotation
from tests.helpers import made_results
from tests.metrics.test_category_spaces import worse
from tests.metrics.test_coco_awkward import assert_equal, official
from tests.metrics.test_mistakes import files, truth

NAMES = {4: "bochum_000000_000313", 9: "zurich_000001_000019"}


def as_cityscapes_has_them(path: Path) -> Path:
    """The panoptic document with ids and names as `createPanopticImgs` of cityscapesscripts writes them."""
    document = json.loads(path.read_bytes())
    for image in document["images"]:
        image["id"] = NAMES[image["id"]]
        image["file_name"] = f"{image['id']}_gtFine_leftImg8bit.png"
    folder = path.parent / "cityscapes_panoptic_val"
    folder.mkdir()
    for record in document["annotations"]:
        record["image_id"] = NAMES[record["image_id"]]
        name = f"{record['image_id']}_gtFine_panoptic.png"
        (path.with_suffix("") / record["file_name"]).rename(folder / name)
        record["file_name"] = name
    new = path.parent / "cityscapes_panoptic_val.json"
    new.write_text(json.dumps(document))
    return new


@pytest.fixture
def panoptic(tmp_path: Path) -> tuple[Path, Path, Any]:
    """Predictions and ground truth with texts as ids, and the metrics of the same with numbers."""
    name = "annotations/panoptic_val2017.json"
    numbered = [made_results.panoptic(tmp_path / f"{n}", is_prediction=n == "p") / name for n in "pt"]
    metrics = segdata.evaluate(*numbered, metrics=["panoptic"]).metrics
    predictions, known = (as_cityscapes_has_them(path) for path in numbered)
    return predictions, known, metrics


def test_panoptic_documents_with_text_ids_are_ground_truth_and_predictions(panoptic: tuple[Path, Path, Any]) -> None:
    predictions, known, metrics = panoptic
    assert 0 < metrics["panoptic"]["All"]["pq"] < 1
    assert segdata.evaluate(predictions, known, metrics=["panoptic"]).metrics == metrics
    document = json.loads(predictions.read_bytes())
    for record in document["annotations"]:
        new = f"{record['image_id']}_pred.png"
        (predictions.with_suffix("") / record["file_name"]).rename(predictions.with_suffix("") / new)
        record["file_name"] = new
    predictions.write_text(json.dumps({"annotations": document["annotations"]}))  # as models write them
    assert segdata.evaluate(predictions, known, metrics=["panoptic"]).metrics == metrics


def test_text_ids_stay_in_packs_and_are_written_again(panoptic: tuple[Path, Path, Any], tmp_path: Path) -> None:
    predictions, known, metrics = panoptic
    segdata.convert(known, tmp_path / "pack", images="none")
    assert segdata.evaluate(predictions, tmp_path / "pack", metrics=["panoptic"]).metrics == metrics
    segdata.convert(tmp_path / "pack", tmp_path / "again", to="coco-panoptic")
    assert json.loads((tmp_path / "again" / known.name).read_bytes()) == json.loads(known.read_bytes())


def test_text_ids_of_neither_side_are_refused(panoptic: tuple[Path, Path, Any]) -> None:
    predictions, known, _ = panoptic
    predictions.write_text(predictions.read_text().replace(NAMES[4], "bochum_000000_000314"))
    with pytest.raises(InvalidAnnotation, match="bochum_000000_000314"):
        segdata.evaluate(predictions, known, metrics=["panoptic"])


def with_texts(folder: Path) -> tuple[Path, Path]:
    """Results and ground truth of boxes with texts as ids that are no names of files."""
    known = truth()
    for item in known["images"]:
        item["id"] = f"image {item['id']}"
    for item in known["annotations"]:
        item["image_id"] = f"image {item['image_id']}"
    return files(folder, [{**item, "image_id": f"image {item['image_id']}"} for item in worse()], known)


def test_results_with_text_ids_give_the_numbers_of_pycocotools(tmp_path: Path) -> None:
    results, known = with_texts(tmp_path)
    evaluation = segdata.evaluate(results, known)
    assert_equal(evaluation.metrics["coco-bbox"], official(known, results, "bbox"))
    assert any("named by text" in remark for remark in evaluation.problems["remarks"])
    segdata.convert(known, tmp_path / "pack", images="none")
    assert segdata.evaluate(results, tmp_path / "pack").metrics == evaluation.metrics
    results.write_text(results.read_text().replace('"image 107"', '"image 1O7"'))
    with pytest.raises(InvalidAnnotation, match=r"close to the first are .*'image 107'"):
        segdata.evaluate(results, known)


def test_results_may_name_images_by_their_keys(tmp_path: Path) -> None:
    results, known = files(tmp_path, worse())
    expected = segdata.evaluate(results, known).metrics
    for part in ("town/photo_", "photo_"):
        named = [{**item, "image_id": f"{part}{(item['image_id'] - 100) // 7}"} for item in worse()]
        results.write_text(json.dumps(named))
        assert segdata.evaluate(results, known).metrics == expected
