"""COCO's metrics against the numbers of the official evaluators."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import segdata
from tests.helpers.command import run_segdata
from tests.helpers.samples import METRICS, REFERENCE, needs_reference

VAL2014 = "coco_val2014_100"
SETS = {
    "coco_synth": (METRICS, "gt.json", "dt_{}.json"),
    VAL2014: (REFERENCE / "metrics", "instances_val2014_100.json", "instances_val2014_fake{}100_results.json"),
}
each_set = pytest.mark.parametrize("name", ["coco_synth", pytest.param(VAL2014, marks=needs_reference)])
PUBLISHED = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def files(name: str, kind: str) -> tuple[Path, Path]:
    folder, truth, predictions = SETS[name]
    return folder / name / predictions.format(kind), folder / name / truth


def expected(name: str) -> Any:
    return json.loads((SETS[name][0] / name / "expected.json").read_text())


def flat(numbers: Any, name: str = "") -> Iterator[tuple[str, float | None]]:
    if isinstance(numbers, dict):
        for key, value in numbers.items():
            yield from flat(value, f"{name}.{key}")
    elif isinstance(numbers, list):
        for index, value in enumerate(numbers):
            yield from flat(value, f"{name}.{index}")
    else:
        yield name, numbers


def assert_same(mine: Any, official: Any, tolerance: float = 1e-12) -> None:
    """Every number of the official evaluator, and None exactly where it has none."""
    numbers = dict(flat(mine))
    for name, value in flat(official):
        number = numbers[name]
        assert (number is None) == (value is None), name
        assert number is None or value is None or abs(number - value) <= tolerance, name


@pytest.mark.parametrize("kind", ["bbox", "segm"])
@each_set
def test_boxes_and_masks_give_the_official_numbers(name: str, kind: str) -> None:
    metrics = segdata.evaluate(*files(name, kind), metrics=[f"coco-{kind}", "coco-agnostic"]).metrics
    official = expected(name)[kind]
    assert_same(metrics[f"coco-{kind}"], official["pycocotools"])
    assert_same(metrics[f"coco-{kind}"]["per_category_AP"], official["per_category_AP"])
    assert_same(metrics[f"coco-{kind}"]["per_iou_AP"], official["per_iou_AP"])
    assert_same(metrics["coco-agnostic"], official["class_agnostic"])


@each_set
def test_boundaries_give_the_official_numbers(name: str) -> None:
    metrics = segdata.evaluate(*files(name, "segm"), metrics=["coco-boundary"]).metrics
    assert_same(metrics["coco-boundary"], expected(name)["boundary"]["boundary_iou_api"])


@needs_reference
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_the_published_numbers_are_given_to_all_printed_digits(kind: str) -> None:
    text = (REFERENCE / "metrics/coco_val2014_100/official_eval_res.txt").read_text()
    block = text.partition(f"type={kind}")[2].partition("type=")[0]
    printed = re.findall(r"= (-?\d\.\d{3})", block)
    mine = segdata.evaluate(*files(VAL2014, kind), metrics=[f"coco-{kind}"]).metrics[f"coco-{kind}"]
    assert [f"{mine[name]:.3f}" for name in PUBLISHED] == printed


def test_the_command_prints_one_document_and_a_table() -> None:
    results, truth = files("coco_synth", "segm")
    document = run_segdata("evaluate", results, truth, "--json").document
    assert document["ok"]
    assert_same(document["metrics"]["coco-segm"], expected("coco_synth")["segm"]["pycocotools"])
    assert document["metrics"]["coco-segm"]["per_category_AP"]["13"] is None
    text = run_segdata("evaluate", results, truth, "--metric", "coco-segm", "--details")
    assert text.code == 0 and re.search(r"AP50 +0\.408", text.out)
    categories = json.loads(truth.read_bytes())["categories"]
    assert all(re.search(rf"^    {category['name']} +(\d\.|n/a)", text.out, re.M) for category in categories)


def test_progress_is_told_image_by_image() -> None:
    steps: list[tuple[int, int]] = []
    segdata.evaluate(*files("coco_synth", "bbox"), progress=lambda done, total: steps.append((done, total)))
    images = len(json.loads(files("coco_synth", "bbox")[1].read_bytes())["images"])
    assert steps == [(done, images) for done in range(1, images + 1)]
