"""Predictions that do not fit the ground truth: refused with one message before any number, or noted and counted."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdata
from segdata.errors import InvalidAnnotation, InvalidInput, LabelMismatch, UsageError
from tests.helpers.command import run_segdata
from tests.metrics.test_coco_awkward import assert_equal, official

SIZE = 200
Detections = list[dict[str, Any]]


def truth() -> dict[str, Any]:
    categories = [{"id": number, "name": name} for number, name in ((3, "cat"), (8, "dog"), (21, "cow"))]
    images = [{"id": 100 + 7 * n, "height": SIZE, "width": SIZE, "file_name": f"town/photo_{n}.jpg"} for n in range(12)]
    annotations = [
        {
            "id": n + 1,
            "image_id": image["id"],
            "category_id": categories[n % 3]["id"],
            "iscrowd": 0,
            "area": 2500.0,
            "bbox": [20.0, 30.0, 50.0, 50.0],
            "segmentation": [[20, 30, 70, 30, 70, 80, 20, 80]],
        }
        for n, image in enumerate(images)
    ]
    return {"images": images, "annotations": annotations, "categories": categories}


def detections() -> Detections:
    """One for every object, all right."""
    return [
        {"image_id": item["image_id"], "category_id": item["category_id"], "bbox": item["bbox"], "score": 0.5}
        for item in truth()["annotations"]
    ]


def files(folder: Path, results: Any, known: Any = None) -> tuple[Path, Path]:
    (folder / "found.json").write_text(results if isinstance(results, str) else json.dumps(results))
    (folder / "truth.json").write_text(json.dumps(known or truth()))
    return folder / "found.json", folder / "truth.json"


def each(**changes: Callable[[dict[str, Any]], Any]) -> Detections:
    """All detections with other fields."""
    return [{**item, **{name: change(item) for name, change in changes.items()}} for item in detections()]


MASK = {"size": [SIZE, SIZE], "counts": [SIZE * SIZE]}
REFUSED = {
    "image id with a fraction": (each(image_id=lambda item: item["image_id"] + 0.5), "100.5 is no whole number"),
    "image id is a list": (each(image_id=lambda item: [item["image_id"]]), "$[0].image_id"),
    "unknown image as text": (each(image_id=lambda item: "photo_77.jpg"), "close to the first are 'photo_7'"),
    "unknown image number as text": (each(image_id=lambda item: "102"), "$[0].image_id"),
    "unknown name of a category": (each(category_id=lambda item: "doge"), "close is 'dog'"),
    "names and numbers of categories": (
        [*detections(), {**detections()[0], "category_id": "cat"}],
        "partly names, partly numbers",
    ),
    "unknown image": ([*detections(), {**detections()[0], "image_id": 102}], "close to 102 are [100, 107"),
    "positions of images": (each(image_id=lambda item: (item["image_id"] - 100) // 7), "look like positions (0 … 11)"),
    "unknown category": (each(category_id=lambda item: 4), "category_id 4; the ground truth has 3"),
    "no score": ([{k: v for k, v in item.items() if k != "score"} for item in detections()], "$[0]"),
    "score is null": (each(score=lambda item: None), "has no score"),
    "score is text": (each(score=lambda item: "0.5"), "$[0].score"),
    "score is NaN": (json.dumps(each(score=lambda item: float("nan"))), "NaN and Infinity are no numbers"),
    "score is infinite": (json.dumps(each(score=lambda item: float("inf"))), "NaN and Infinity are no numbers"),
    "box of three numbers": (each(bbox=lambda item: item["bbox"][:3]), "bbox is not four numbers"),
    "negative size": (each(bbox=lambda item: [50, 50, -10, 10]), "a box of negative size"),
    "boxes in 0..1": (each(bbox=lambda item: [value / SIZE for value in item["bbox"]]), "lie in 0..1"),
    "corners": (each(bbox=lambda item: [120, 130, 170, 180]), "fit as x0, y0, x1, y1"),
    "larger image": (each(bbox=lambda item: [900, 700, 100, 100]), "reach far outside"),
    "neither box nor mask": ([{"image_id": 100, "category_id": 3, "score": 1}], "neither box nor mask"),
    "some without box": ([*detections(), {"image_id": 100, "category_id": 3, "score": 1}], "other fields than"),
    "mask of another size": (
        each(bbox=lambda item: None, segmentation=lambda item: {"size": [SIZE, 9], "counts": "0"}),
        "size is [200, 9]; the image is [200, 200]",
    ),
    "mask that does not add up": (
        each(bbox=lambda item: None, segmentation=lambda item: {"size": [SIZE, SIZE], "counts": "0"}),
        "do not add up",
    ),
    "mask of bad characters": (
        each(bbox=lambda item: None, segmentation=lambda item: {"size": [SIZE, SIZE], "counts": "~~"}),
        "outside its alphabet",
    ),
    "another object": ({"boxes": [[1, 2, 3, 4]]}, '"image_id": 1'),
    "predictions without score": ({"predictions": truth()["annotations"]}, "$.predictions[0]"),
    "annotations for detections": (truth(), "give predictions first, then the ground truth"),
    "cut short": (json.dumps(detections())[:-20], "cut short"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_predictions_that_do_not_fit_are_refused(name: str, tmp_path: Path) -> None:
    results, text = REFUSED[name]
    with pytest.raises(InvalidInput) as caught:
        segdata.evaluate(*files(tmp_path, results))
    assert text in str(caught.value)
    assert caught.value.file and caught.value.exit_code == 4


def test_the_command_answers_with_one_document(tmp_path: Path) -> None:
    outcome = run_segdata("evaluate", *files(tmp_path, REFUSED["unknown category"][0]), "--json")
    assert outcome.code == 4
    assert outcome.document["error"]["id"] == "InvalidAnnotation"
    assert outcome.err.startswith("segdata: error[InvalidAnnotation]: 12 of 12 detections name category numbers")


def test_no_detections_give_0_with_a_note(tmp_path: Path) -> None:
    outcome = run_segdata("evaluate", *files(tmp_path, []), "--json")
    assert outcome.code == 0
    numbers = outcome.document["metrics"]["coco-bbox"]
    assert numbers["AP"] == 0 and numbers["AR100"] == 0 and numbers["APl"] is None
    assert "no detections: every recall is 0" in outcome.document["notes"]


def test_only_crowds_are_undefined_and_never_0(tmp_path: Path) -> None:
    known = truth()
    for item in known["annotations"]:
        item["iscrowd"] = 1
    evaluation = segdata.evaluate(*files(tmp_path, detections(), known))
    assert (
        evaluation.metrics["coco-bbox"]["AP"] is None
        and evaluation.metrics["coco-bbox"]["per_category_AP"]["3"] is None
    )
    assert "every object of the ground truth is a crowd: nothing is defined" in evaluation.problems["remarks"]
    assert "n/a" in run_segdata("evaluate", *files(tmp_path, detections(), known)).out


def corners(count: int) -> Detections:
    """Corners of boxes in columns at 20, 70 and 120; those at 120 end past the image when read as sizes."""
    left = [20, 70, 120]
    return [{**item, "bbox": [left[n % 3], 30, left[n % 3] + 40, 70]} for n, item in enumerate(detections()[:count])]


def test_corners_are_found_where_a_third_of_them_leaves_the_image(tmp_path: Path) -> None:
    with pytest.raises(InvalidAnnotation, match=r"4 of 12 boxes leave .*; all fit as x0, y0, x1, y1") as caught:
        segdata.evaluate(*files(tmp_path, corners(12)))
    assert "x1 - x0" in str(caught.value.fix)
    evaluation = segdata.evaluate(*files(tmp_path, corners(3)))
    (kind,) = [kind for kind in evaluation.problems["remarks"] if "past their image" in kind]
    assert "x0, y0, x1, y1" in kind


def test_boxes_that_reach_past_their_image_are_counted_and_noted(tmp_path: Path) -> None:
    """A third of the boxes leaves, yet one has no sense as corners: sizes, as pycocotools takes them."""
    boxes = [[120, 130, 170, 180] if n % 3 == 0 else [150, 20, 40, 50] for n in range(12)]
    results, known = files(tmp_path, [{**item, "bbox": box} for item, box in zip(detections(), boxes, strict=True)])
    evaluation = segdata.evaluate(results, known)
    (kind,) = [kind for kind in evaluation.problems["remarks"] if "past their image" in kind]
    note = evaluation.problems["remarks"][kind]
    assert note["count"] == 4 and note["examples"] == ["town/photo_0"] and "x0" not in kind
    assert_equal(evaluation.metrics["coco-bbox"], official(known, results, "bbox"))


def test_repeated_detections_are_counted(tmp_path: Path) -> None:
    evaluation = segdata.evaluate(*files(tmp_path, detections() + detections()[:4]))
    (kind,) = [kind for kind in evaluation.problems["remarks"] if "repeats" in kind]
    assert evaluation.problems["remarks"][kind]["count"] == 4


def test_images_without_detection_are_counted(tmp_path: Path) -> None:
    evaluation = segdata.evaluate(*files(tmp_path, detections()[2:]))
    note = evaluation.problems["remarks"]["images without any detection"]
    assert note["count"] == 2 and note["examples"] == ["town/photo_0"]


def test_a_metric_of_masks_needs_masks(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="coco-segm compares masks"):
        segdata.evaluate(*files(tmp_path, detections()), metrics=["coco-segm"])


def test_a_pack_of_predictions_must_have_the_truths_categories(tmp_path: Path) -> None:
    results, known = files(tmp_path, detections())
    segdata.convert(results, tmp_path / "pack", source_format="coco-results", truth=known)
    assert segdata.evaluate(tmp_path / "pack", known).metrics["coco-bbox"]["AP"] == pytest.approx(1.0)
    other = copy.deepcopy(truth())
    other["categories"][1]["name"] = "horse"
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(LabelMismatch) as caught:
        segdata.evaluate(tmp_path / "pack", tmp_path / "other.json")
    assert "'cat', 'dog', 'cow'" in str(caught.value) and "'cat', 'horse', 'cow'" in str(caught.value)


def test_a_pack_without_scores_is_no_prediction(tmp_path: Path) -> None:
    _, known = files(tmp_path, detections())
    segdata.convert(known, tmp_path / "pack", images="none")
    for metrics in (["coco-bbox"], []):
        with pytest.raises(UsageError, match="no object of the predictions has a score: this is ground truth"):
            segdata.evaluate(tmp_path / "pack", known, metrics=metrics)


def test_images_that_the_truth_does_not_have_are_named(tmp_path: Path) -> None:
    results, known = files(tmp_path, detections())
    segdata.convert(results, tmp_path / "pack", source_format="coco-results", truth=known)
    less = truth()
    gone = less["images"].pop(5)
    less["annotations"] = [item for item in less["annotations"] if item["image_id"] != gone["id"]]
    (tmp_path / "less.json").write_text(json.dumps(less))
    with pytest.raises(InvalidAnnotation) as caught:
        segdata.evaluate(tmp_path / "pack", tmp_path / "less.json")
    assert "1 of 12 predicted images" in str(caught.value) and "'town/photo_5'" in str(caught.value)
    assert "close to the first are 'town/photo_" in str(caught.value)


def test_an_unknown_metric_and_kind_are_usage_errors(tmp_path: Path) -> None:
    paths = files(tmp_path, detections())
    unknown_metric = run_segdata("evaluate", *paths, "--metric", "coco-box")
    assert unknown_metric.code == 2 and "coco-bbox" in unknown_metric.err
    assert run_segdata("evaluate", *paths, "--from", "yolo").code == 2


def test_sizes_on_the_limits_belong_to_both_ranges(tmp_path: Path) -> None:
    """COCO's ranges include both ends: an object of 32² pixels is small and medium."""
    known = truth()
    known["annotations"] = known["annotations"][:1]
    known["annotations"][0]["area"] = 1024
    numbers = segdata.evaluate(*files(tmp_path, detections()[:1], known)).metrics["coco-bbox"]
    assert numbers["ARs"] == numbers["ARm"] == 1 and numbers["ARl"] is None
    assert np.isclose(numbers["AP"], 1.0)
