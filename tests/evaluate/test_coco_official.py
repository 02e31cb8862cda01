"""COCO's metrics against the numbers of the official evaluators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import run_segdata
from samples import REFERENCE, needs_reference

import segdata

METRICS = REFERENCE / "metrics"
SETS = {
    "coco_synth": ("gt.json", {"bbox": "dt_bbox.json", "segm": "dt_segm.json"}),
    "coco_val2014_100": (
        "instances_val2014_100.json",
        {
            "bbox": "instances_val2014_fakebbox100_results.json",
            "segm": "instances_val2014_fakesegm100_results.json",
        },
    ),
}


def files(name: str, kind: str) -> tuple[Path, Path, Any]:
    truth, found = SETS[name]
    folder = METRICS / name
    return folder / found[kind], folder / truth, json.loads((folder / "expected.json").read_text())


def close(mine: Any, theirs: Any, tolerance: float = 1e-12) -> bool:
    if theirs is None or mine is None:
        return mine is theirs
    return abs(mine - theirs) <= tolerance


@needs_reference
@pytest.mark.parametrize("name", SETS)
def test_boxes_give_the_official_numbers(name: str) -> None:
    found, truth, expected = files(name, "bbox")
    mine = segdata.evaluate(found, truth, metrics=["coco-bbox"]).metrics["coco-bbox"]
    for key, value in expected["bbox"]["pycocotools"].items():
        assert close(mine[key], value), key
    for part in ("per_category_AP", "per_iou_AP"):
        assert mine[part].keys() == expected["bbox"][part].keys()
        for key, value in expected["bbox"][part].items():
            assert close(mine[part][key], value), (part, key)


@needs_reference
def test_the_command_prints_one_document() -> None:
    found, truth, expected = files("coco_synth", "bbox")
    outcome = run_segdata("evaluate", found, truth, "--json")
    assert outcome.code == 0
    document = outcome.document
    assert document["ok"] and close(document["metrics"]["coco-bbox"]["AP"], expected["bbox"]["pycocotools"]["AP"])
    assert document["metrics"]["coco-bbox"]["per_category_AP"]["13"] is None
