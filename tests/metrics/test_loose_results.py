"""COCO results that are not written as they should be: what is plainly meant gives pycocotools' numbers, with a remark."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdata
from segdata.errors import InvalidAnnotation
from tests.metrics.test_category_spaces import ONE_IN_THREE, remarks, table, worse
from tests.metrics.test_coco_awkward import assert_equal, official
from tests.metrics.test_mistakes import files, truth

NAMES = {number: name for name, number in ONE_IN_THREE.items()}
Change = Callable[[dict[str, Any]], dict[str, Any]]


def photo(item: dict[str, Any]) -> str:
    return f"photo_{(item['image_id'] - 100) // 7}"


CHANGES: dict[str, tuple[Change, str]] = {
    "categories by name": (lambda item: item | {"category_id": NAMES[item["category_id"]]}, "matched by name"),
    "category_name": (
        lambda item: (
            {key: value for key, value in item.items() if key != "category_id"}
            | {"category_name": NAMES[item["category_id"]]}
        ),
        "matched by name",
    ),
    "image numbers as text": (lambda item: item | {"image_id": str(item["image_id"])}, "read as numbers"),
    "all numbers as text": (
        lambda item: item | {"image_id": str(item["image_id"]), "category_id": str(item["category_id"])},
        "category numbers of the results are text",
    ),
    "numbers with .0": (lambda item: item | {"image_id": float(item["image_id"])}, ""),
    "file names": (lambda item: item | {"image_id": f"{photo(item)}.jpg"}, "named by text"),
    "paths": (lambda item: item | {"image_id": f"/data/all/{photo(item)}.jpg"}, "named by text"),
    "keys and names": (
        lambda item: item | {"image_id": f"town/{photo(item)}", "category_id": NAMES[item["category_id"]]},
        "matched by name",
    ),
    "confidence": (
        lambda item: {"confidence" if key == "score" else key: value for key, value in item.items()},
        "confidence",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_plainly_meant_gives_the_numbers_of_pycocotools(name: str, tmp_path: Path) -> None:
    results, known = files(tmp_path, worse())
    expected = official(known, results, "bbox")
    change, remark = CHANGES[name]
    results.write_text(json.dumps([change(item) for item in worse()]))
    evaluation = segdata.evaluate(results, known)
    assert_equal(evaluation.metrics["coco-bbox"], expected)
    assert remark in remarks(evaluation)


@pytest.mark.parametrize("key", ["predictions", "detections", "annotations"])
def test_a_list_in_an_object_is_read(key: str, tmp_path: Path) -> None:
    results, known = files(tmp_path, worse())
    expected = official(known, results, "bbox")
    results.write_text(json.dumps({"info": {}, key: worse()}))
    evaluation = segdata.evaluate(results, known)
    assert_equal(evaluation.metrics["coco-bbox"], expected)
    assert f"under {key!r}" in remarks(evaluation)


def test_a_document_with_scores_has_numbers_of_its_own(tmp_path: Path) -> None:
    """Its images and categories tell what its numbers mean, whatever the ground truth's are."""
    results, known = files(tmp_path, worse())
    expected = official(known, results, "bbox")
    document = {
        "images": [{"id": 1 + n, "file_name": f"photo_{n}.jpg"} for n in range(12)],
        "categories": [{"id": number, "name": name} for number, name in ((3, "dog"), (8, "cow"), (21, "cat"))],
    }
    own = {item["name"]: item["id"] for item in document["categories"]}
    annotations = [
        item | {"image_id": 1 + (item["image_id"] - 100) // 7, "category_id": own[NAMES[item["category_id"]]]}
        for item in worse()
    ]
    results.write_text(json.dumps({**document, "annotations": annotations}))
    assert_equal(segdata.evaluate(results, known).metrics["coco-bbox"], expected)


def test_names_are_those_of_a_table_or_those_that_it_maps(tmp_path: Path) -> None:
    results, known = files(tmp_path, [item | {"category_id": NAMES[item["category_id"]]} for item in worse()])
    expected = segdata.evaluate(results, known).metrics["coco-bbox"]
    rows = [{"name": f"a {name}", "id": number, "from": [name]} for name, number in ONE_IN_THREE.items()]
    mapped = segdata.evaluate(results, known, labels=table(tmp_path, rows))
    assert_equal(mapped.metrics["coco-bbox"], expected)


def test_text_that_is_a_key_and_a_number_of_other_images_is_refused(tmp_path: Path) -> None:
    document = truth()
    for n, image in enumerate(document["images"]):
        image["file_name"] = f"{document['images'][(n + 1) % 12]['id']}.jpg"
    results, known = files(tmp_path, [item | {"image_id": str(item["image_id"])} for item in worse()], document)
    with pytest.raises(InvalidAnnotation, match="two meanings"):
        segdata.evaluate(results, known)


def test_a_ground_truth_without_image_numbers_says_so(tmp_path: Path) -> None:
    results, known = files(tmp_path, worse())
    expected = official(known, results, "bbox")
    pack = tmp_path / "pack"
    segdata.convert(known, tmp_path / "numbered", images="none")
    labels = segdata.open(tmp_path / "numbered").labels
    mask = np.zeros((200, 200), bool)
    mask[30:80, 20:70] = True
    blank = np.zeros((200, 200, 3), np.uint8)
    samples = [segdata.Sample.build(f"photo_{n}", blank, masks=[mask], category=[n % 3]) for n in range(12)]
    segdata.write(samples, pack, labels=labels)
    with pytest.raises(InvalidAnnotation, match="no image numbers") as caught:
        segdata.evaluate(results, pack)
    assert "photo_0" in str(caught.value.fix)
    results.write_text(json.dumps([item | {"image_id": photo(item)} for item in worse()]))
    assert_equal(segdata.evaluate(results, pack).metrics["coco-bbox"], expected)
