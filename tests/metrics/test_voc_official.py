"""PASCAL VOC's detection metric against py-faster-rcnn's evaluator, and its results files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import segdata
from tests.helpers.command import run_segdata
from tests.helpers.samples import METRICS

FOLDER = METRICS / "voc_detection"


def test_every_class_has_the_official_ap_and_means_leave_out_classes_without_objects() -> None:
    mine = segdata.evaluate(FOLDER / "results", FOLDER, metrics=["voc-detection"]).metrics["voc-detection"]
    official = json.loads((FOLDER / "expected.json").read_text())
    assert mine.keys() == official.keys()
    for name, block in official.items():
        assert mine[name]["per_class"].keys() == block["per_class"].keys()
        for category, value in block["per_class"].items():
            assert (mine[name]["per_class"][category] is None) == (value == "nan")
            assert value == "nan" or mine[name]["per_class"][category] == pytest.approx(value, abs=1e-12)
        there = [value for category, value in block["per_class"].items() if category != "sofa"]
        assert mine[name]["mean_of_finite"] == pytest.approx(sum(there) / len(there), abs=1e-12)


def test_the_image_set_in_the_files_names_chooses_the_split(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "voc")
    lists = tmp_path / "voc/ImageSets/Main"
    names = (lists / "val.txt").read_text().split()
    (lists / "val.txt").write_text("\n".join(names[:-1]) + "\n")
    for file in (tmp_path / "voc/results").iterdir():
        lines = [line for line in file.read_text().splitlines() if not line.startswith(names[-1])]
        file.write_text("\n".join(lines) + "\n")
    evaluation = segdata.evaluate(tmp_path / "voc/results", tmp_path / "voc", metrics=["voc-detection"])
    assert len(evaluation.truth) == len(names) - 1


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda text: text + "2007_000001 nan 1 2 3 4\n", "a line is no detection"),
        (lambda text: text + "2007_000001 0.5 1 2 3\n", "a line is no detection"),
        (lambda text: text + "2007_00001 0.5 1 2 3 4\n", "close to the first are"),
    ],
)
def test_lines_that_are_no_detections_are_refused(change: object, text: str, tmp_path: Path) -> None:
    shutil.copytree(FOLDER / "results", tmp_path / "results")
    file = tmp_path / "results/comp3_det_val_cat.txt"
    assert callable(change)
    file.write_text(change(file.read_text()))
    outcome = run_segdata("evaluate", tmp_path / "results", FOLDER, "--metric", "voc-detection")
    assert outcome.code == 4 and text in outcome.err


def test_a_class_that_the_truth_does_not_have_is_refused(tmp_path: Path) -> None:
    shutil.copytree(FOLDER / "results", tmp_path / "results")
    path = tmp_path / "results/comp3_det_val_cats.txt"
    path.write_text("")
    assert "empty file" in run_segdata("evaluate", tmp_path / "results", FOLDER).err  # no detection, no difference
    path.write_text("000001 0.5 1 1 9 9\n")
    outcome = run_segdata("evaluate", tmp_path / "results", FOLDER)
    assert outcome.code == 4 and "close ones are 'cat'" in outcome.err
