"""Predicted categories and those of the ground truth: joined by name, by number under `--labels`, or refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdata
from segdata.errors import InvalidAnnotation, LabelMismatch
from tests.helpers import made_results
from tests.metrics.test_coco_awkward import assert_equal, official
from tests.metrics.test_mistakes import detections, files, truth

ONE_IN_THREE = {"cat": 3, "dog": 8, "cow": 21}


def worse() -> list[dict[str, Any]]:
    """Of the detections some at another place, so that no AP is 0 or 1."""
    moved = [60.0, 70.0, 50.0, 50.0]
    return [
        {**item, "score": 0.9 - 0.01 * n, "bbox": moved if n in (2, 3, 7) else item["bbox"]}
        for n, item in enumerate(detections())
    ]


def table(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "table.toml"
    texts = ["{ " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in row.items()) + " }" for row in rows]
    path.write_text(f"labels = [{', '.join(texts)}]\n")
    return path


def pack_of(folder: Path, results: Path, known: Path, rows: list[dict[str, Any]]) -> Path:
    """A pack of results, with categories as a table says."""
    segdata.convert(results, folder / "own", source_format="coco-results", truth=known)
    segdata.convert(folder / "own", folder / "pack", labels=table(folder, rows))
    return folder / "pack"


def remarks(evaluation: segdata.Evaluation) -> str:
    return " | ".join(evaluation.problems["remarks"])


def renumbered(items: list[dict[str, Any]], numbers: dict[int, int]) -> list[dict[str, Any]]:
    return [{**item, "category_id": numbers[item["category_id"]]} for item in items]


def only(known: dict[str, Any], name: str) -> dict[str, Any]:
    """A document with one of its categories."""
    number = ONE_IN_THREE[name]
    return {
        **known,
        "annotations": [item for item in known["annotations"] if item["category_id"] == number],
        "categories": [item for item in known["categories"] if item["id"] == number],
    }


# ---------------------------------------------------------------------- packs


def test_categories_of_equal_names_and_other_numbers_are_joined(tmp_path: Path) -> None:
    results, known = files(tmp_path, worse())
    rows = [{"name": name, "id": number, "from": [name]} for number, name in enumerate(("cow", "cat", "dog"))]
    evaluation = segdata.evaluate(pack_of(tmp_path, results, known, rows), known)
    assert_equal(evaluation.metrics["coco-bbox"], official(known, results, "bbox"))
    assert "by name" in remarks(evaluation)


def test_predictions_of_one_category_count_the_others_as_not_found(tmp_path: Path) -> None:
    cats = [item for item in worse() if item["category_id"] == 3]
    results, known = files(tmp_path, cats)
    evaluation = segdata.evaluate(pack_of(tmp_path, results, known, [{"name": "cat", "id": 3, "from": ["cat"]}]), known)
    numbers = evaluation.metrics["coco-bbox"]
    assert_equal(numbers, official(known, results, "bbox"))
    assert numbers["per_category_AP"]["8"] == 0 and "'dog', 'cow'" in remarks(evaluation)
    assert segdata.evaluate(results, known).metrics["coco-bbox"] == numbers


def test_other_names_are_refused_with_the_closest_and_the_way_on(tmp_path: Path) -> None:
    results, known = files(tmp_path, worse())
    rows = [
        {"name": name, "id": n, "from": [source]}
        for n, (name, source) in enumerate(zip(["Cat", "dogs", "cow"], ONE_IN_THREE, strict=True))
    ]
    pack = pack_of(tmp_path, results, known, rows)
    with pytest.raises(LabelMismatch) as caught:
        segdata.evaluate(pack, known)
    text = str(caught.value)
    for part in (
        "'Cat', 'dogs', 'cow'",
        "'cat', 'dog', 'cow'",
        "'dogs' (close is 'dog')",
        "segdata convert",
        "--labels",
    ):
        assert part in text
    back = [{"name": name, "from": [source]} for name, source in zip(ONE_IN_THREE, ["Cat", "dogs", "cow"], strict=True)]
    segdata.convert(pack, tmp_path / "renamed", labels=table(tmp_path, back))
    assert_equal(segdata.evaluate(tmp_path / "renamed", known).metrics["coco-bbox"], official(known, results, "bbox"))


def test_a_pack_of_one_category_is_evaluated_under_a_table_of_all(tmp_path: Path) -> None:
    results, known = files(tmp_path, [item for item in worse() if item["category_id"] == 8])
    pack = pack_of(tmp_path, results, known, [{"name": "dog", "id": 0, "from": ["dog"]}])
    rows = [{"name": "pet", "id": 1, "from": ["cat", "dog"]}, {"name": "cow", "id": 2, "from": ["cow"]}]
    mine = segdata.evaluate(pack, known, labels=table(tmp_path, rows)).metrics["coco-bbox"]
    merged = truth()
    merged["annotations"] = renumbered(merged["annotations"], {3: 1, 8: 1, 21: 2})
    merged["categories"] = [{"id": 1, "name": "pet"}, {"id": 2, "name": "cow"}]
    (tmp_path / "in_target").mkdir()
    target = files(tmp_path / "in_target", renumbered(json.loads(results.read_bytes()), {8: 1}), merged)
    assert_equal(mine, official(target[1], target[0], "bbox"))


# ---------------------------------------------------------------------- bare numbers


def test_numbers_that_the_truth_lacks_are_refused_and_a_table_leads_on(tmp_path: Path) -> None:
    results, known = files(tmp_path, renumbered(worse(), {3: 0, 8: 1, 21: 2}))
    with pytest.raises(InvalidAnnotation, match=r"--labels TABLE\.toml"):
        segdata.evaluate(results, known)
    rows = [{"name": name, "id": n, "from": [name]} for n, name in enumerate(ONE_IN_THREE)]
    evaluation = segdata.evaluate(results, known, labels=table(tmp_path, rows))
    (tmp_path / "own").mkdir()
    own, _ = files(tmp_path / "own", worse())
    theirs = official(known, own, "bbox")
    per_category = theirs.pop("per_category_AP")
    assert_equal(evaluation.metrics["coco-bbox"], theirs)
    assert list(evaluation.metrics["coco-bbox"]["per_category_AP"].values()) == list(per_category.values())
    assert "those of --labels" in remarks(evaluation)


@pytest.mark.parametrize("number", [3, 77])
def test_results_in_the_source_numbers_are_mapped_as_the_truth_is(number: int, tmp_path: Path) -> None:
    results, known = files(tmp_path, worse())
    evaluation = segdata.evaluate(
        results, known, labels=table(tmp_path, [{"name": "pussy", "id": number, "from": ["cat"]}])
    )
    (tmp_path / "alone").mkdir()
    alone = files(tmp_path / "alone", [item for item in worse() if item["category_id"] == 3], only(truth(), "cat"))
    theirs = official(alone[1], alone[0], "bbox")
    del theirs["per_category_AP"]
    assert_equal(evaluation.metrics["coco-bbox"], theirs)
    assert "before --labels" in remarks(evaluation) and "predictions of category 'dog'" in remarks(evaluation)


def test_numbers_with_two_meanings_are_refused_and_a_pack_leads_on(tmp_path: Path) -> None:
    pets = [item for item in worse() if item["category_id"] != 21]
    results, known = files(tmp_path, pets)
    rows = [{"name": "cattle", "id": 3, "from": ["cow"]}, {"name": "pet", "id": 8, "from": ["cat", "dog"]}]
    with pytest.raises(LabelMismatch) as caught:
        segdata.evaluate(results, known, labels=table(tmp_path, rows))
    for part in ("two meanings", "number 3 is 'cattle'", "'cat'", "segdata convert"):
        assert part in str(caught.value)
    segdata.convert(results, tmp_path / "pack", source_format="coco-results", truth=known)
    mine = segdata.evaluate(tmp_path / "pack", known, labels=table(tmp_path, rows)).metrics["coco-bbox"]
    merged = truth()
    merged["annotations"] = renumbered(merged["annotations"], {21: 3, 3: 8, 8: 8})
    merged["categories"] = [{"id": 3, "name": "cattle"}, {"id": 8, "name": "pet"}]
    (tmp_path / "merged").mkdir()
    target = files(tmp_path / "merged", renumbered(pets, {3: 8, 8: 8}), merged)
    assert_equal(mine, official(target[1], target[0], "bbox"))


def test_numbers_of_neither_side_are_refused_with_both(tmp_path: Path) -> None:
    results, known = files(tmp_path, [*worse(), {**worse()[0], "category_id": 5}])
    with pytest.raises(LabelMismatch) as caught:
        segdata.evaluate(results, known, labels=table(tmp_path, [{"name": "kitten", "id": 1, "from": ["cat"]}]))
    for part in ("numbers 5", "'kitten' (id 1)", "'cat' (id 3)", "'cow' (id 21)"):
        assert part in str(caught.value)


# ---------------------------------------------------------------------- other kinds of results


def test_panoptic_categories_are_joined_by_name(tmp_path: Path) -> None:
    known = made_results.panoptic(tmp_path / "truth")
    predicted = made_results.panoptic(tmp_path / "predicted", is_prediction=True)
    path = predicted / "annotations/panoptic_val2017.json"
    expected = segdata.evaluate(path, known, metrics=["panoptic"])
    assert expected.problems["remarks"] == {}
    document = json.loads(path.read_bytes())
    numbers = {1: 200, 200: 1}  # as in a network's own order
    for item in document["categories"]:
        item["id"] = numbers[item["id"]]
    for record in document["annotations"]:
        record["segments_info"] = renumbered(record["segments_info"], numbers)
    path.write_text(json.dumps(document))
    evaluation = segdata.evaluate(path, known, metrics=["panoptic"])
    assert evaluation.metrics == expected.metrics and "by name" in remarks(evaluation)
    document["categories"][0]["name"] = "persons"
    path.write_text(json.dumps(document))
    with pytest.raises(LabelMismatch, match="'persons' \\(close is 'person'\\)"):
        segdata.evaluate(path, known, metrics=["panoptic"])


def test_panoptic_results_under_a_table(tmp_path: Path) -> None:
    known = made_results.panoptic(tmp_path / "truth")
    path = made_results.panoptic(tmp_path / "predicted", is_prediction=True) / "annotations/panoptic_val2017.json"
    every = segdata.evaluate(path, known, metrics=["panoptic"]).metrics["panoptic"]
    labels = table(tmp_path, [{"name": "carpet", "id": 7, "from": ["rug"], "isthing": False}])
    mine = segdata.evaluate(path, known, metrics=["panoptic"], labels=labels).metrics["panoptic"]
    assert mine["per_class"]["7"] == every["per_class"]["200"] and list(mine["per_class"]) == ["7"]


def test_voc_results_under_a_table(tmp_path: Path) -> None:
    results, known = files(tmp_path, worse())
    segdata.convert(results, tmp_path / "pack", source_format="coco-results", truth=known)
    for item in (tmp_path / "voc", tmp_path / "renamed"):
        segdata.convert(tmp_path / "pack", item, to="voc-results", allow_loss=True)
    (file,) = (tmp_path / "voc").rglob("*_cat.txt")
    assert len(list((tmp_path / "voc").rglob("*.txt"))) > 1
    labels = table(tmp_path, [{"name": "tiger", "id": 1, "from": ["cat"]}])
    everything = segdata.evaluate(tmp_path / "voc", known, metrics=["voc-detection"]).metrics["voc-detection"]
    mine = segdata.evaluate(tmp_path / "voc", known, metrics=["voc-detection"], labels=labels)
    value = everything["iou0.5_area"]["per_class"]["cat"]
    assert mine.metrics["voc-detection"]["iou0.5_area"]["per_class"] == {"tiger": value} and 0 < value < 1
    shutil.rmtree(tmp_path / "renamed")
    (tmp_path / "renamed").mkdir()
    (tmp_path / "renamed" / file.name.replace("_cat", "_tiger")).write_bytes(file.read_bytes())
    in_target = segdata.evaluate(tmp_path / "renamed", known, metrics=["voc-detection"], labels=labels)
    assert in_target.metrics == mine.metrics


def test_the_order_of_categories_alone_gives_no_remark(tmp_path: Path) -> None:
    results, known = files(tmp_path, worse())
    segdata.convert(results, tmp_path / "pack", source_format="coco-results", truth=known)
    document = truth()
    document["categories"].reverse()
    (tmp_path / "reversed.json").write_text(json.dumps(document))
    evaluation = segdata.evaluate(tmp_path / "pack", tmp_path / "reversed.json")
    assert not evaluation.problems["remarks"]
    assert np.isclose(evaluation.metrics["coco-bbox"]["AP"], official(known, results, "bbox")["AP"])
