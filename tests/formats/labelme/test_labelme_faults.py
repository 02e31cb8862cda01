"""Labelme's documents that are not valid, or hostile: refused with the place, or left out and listed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.helpers.refusals import refused, remarks_of

Document = dict[str, Any]


def edited(tmp_path: Path, edit: Callable[[Document], Any], name: str = "photo 0") -> Path:
    source = made.labelme(tmp_path / "source")
    document = json.loads((source / f"{name}.json").read_bytes())
    edit(document)
    made.put(source / f"{name}.json", document)
    return source


def shape(number: int, **fields: Any) -> Callable[[Document], Any]:
    return lambda document: document["shapes"][number].update(fields)


MASK = made.labelme_mask(np.ones((3, 3)))

SHAPES: dict[str, tuple[Callable[[Document], Any], str, str]] = {
    "type": (shape(2, shape_type="cuboid"), "$.shapes[2]", "known are polygon"),
    "no points": (shape(0, points=None), "$.shapes[0]", "[x, y]"),
    "text": (shape(0, points=[["1", 2], [3, 4], [5, 6]]), "$.shapes[0]", "[x, y]"),
    "three numbers": (shape(0, points=[[1, 2, 3]] * 3), "$.shapes[0]", "[x, y]"),
    "truth": (shape(0, points=[[True, 2], [3, 4], [5, 6]]), "$.shapes[0]", "[x, y]"),
    "two points": (shape(0, points=[[1, 2], [3, 4]]), "$.shapes[0]", "fewer than three points"),
    "circle": (shape(4, points=[[1, 2]]), "$.shapes[4]", "expected 2, found 1"),
    "far": (shape(0, points=[[1, 2], [1e30, 4], [5, 6]]), "$.shapes[0]", "beyond any image"),
    "zigzag": (shape(0, points=[[0, 0], [30, 30]] * 90_000), "$.shapes[0]", "longer than any"),
    "group": (shape(0, group_id=[1]), "$.shapes[0]", "group_id"),
    "mask of another size": (shape(6, mask=MASK), "$.shapes[6]", "the PNG is 3 × 3"),
    "mask past the image": (shape(6, points=[[35.0, 20.0], [43.0, 25.0]]), "$.shapes[6]", "past the image"),
    "no base64": (shape(6, mask="*"), "$.shapes[6]", "base64"),
    "no mask": (shape(6, mask=None), "$.shapes[6]", "base64"),
    "no PNG": (shape(6, mask=base64.b64encode(b"GIF").decode()), "$.shapes[6]", "no PNG"),
}


@pytest.mark.parametrize("case", SHAPES)
def test_a_shape_that_is_not_valid_is_refused_or_left_out(case: str, tmp_path: Path) -> None:
    edit, *texts = SHAPES[case]
    source = edited(tmp_path, edit)
    refused(source, tmp_path / "pack", 4, "photo 0.json", *texts)
    outcome = run_segdata("convert", source, tmp_path / "pack", "--on-error", "skip", "--json")
    assert outcome.code == 3, outcome.err
    assert outcome.document["problems"]["skipped"][0]["count"] == 1
    assert outcome.document["samples"] == 3


DOCUMENTS: dict[str, tuple[bytes | Document, str]] = {
    "no JSON": (b'{"shapes": [], "imagePath": "photo 0.jpg"', "cut short"),
    "label": (made.labelme_document("photo 0.jpg", [made.labelme_shape(None, [])]), "label"),  # type: ignore[arg-type]
    "key twice": (b'{"shapes": [{"label": "a", "label": "b"}], "imagePath": "photo 0.jpg"}', "twice"),
    "top key twice": (b'{"shapes": [], "imagePath": "a", "imagePath": "photo 0.jpg"}', "twice"),
    "size": (made.labelme_document("photo 0.jpg", [], imageWidth=-1), "imageWidth"),
    "another size": (made.labelme_document("photo 0.jpg", [], imageWidth=41), "41 × 30 annotated, 40 × 30"),
    "imageData": (made.labelme_document("nowhere.jpg", [], imageData=7), "imageData"),
    "nested": (
        b'{"imagePath": "photo 0.jpg", "shapes": [], "flags": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        "nested too deep",
    ),
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_a_document_that_is_not_valid_is_refused_or_left_out(case: str, tmp_path: Path) -> None:
    content, text = DOCUMENTS[case]
    source = made.labelme(tmp_path / "source")
    made.put(source / "photo 0.json", content)
    refused(source, tmp_path / "pack", 4, "photo 0.json", text)
    outcome = run_segdata("convert", source, tmp_path / "pack", "--on-error", "skip", "--json")
    assert outcome.code == 3, outcome.err
    assert outcome.document["samples"] == 2


def test_image_data_that_is_no_image_is_refused(tmp_path: Path) -> None:
    for data, text in (("R0lG", "no image that can be read"), ("R0l=G", "base64")):
        source = made.labelme(tmp_path / "source")
        (source / "photo 0.jpg").unlink()
        made.put(source / "photo 0.json", made.labelme_document("photo 0.jpg", [], imageData=data))
        refused(source, tmp_path / "pack", 4, "photo 0.json", text)


def test_a_missing_image_is_refused_or_left_out(tmp_path: Path) -> None:
    source = made.labelme(tmp_path / "source")
    (source / "photo 0.jpg").unlink()
    refused(source, tmp_path / "pack", 4, "photo 0.jpg", "not on disk")
    assert run_segdata("convert", source, tmp_path / "skipped", "--on-error", "skip").code == 3
    assert run_segdata("convert", source, tmp_path / "none", "--images", "none").code == 0


@pytest.mark.parametrize("path", ["../../../etc/passwd", "/etc/hostname", "..\\..\\secret.jpg", "C:\\secret.jpg"])
def test_a_path_that_leaves_the_folder_is_refused(path: str, tmp_path: Path) -> None:
    made.put(tmp_path / "secret.jpg", made.photo())
    source = edited(tmp_path, lambda document: document.update(imagePath=path))
    (source / "photo 0.jpg").unlink()
    refused(source, tmp_path / "pack", 11, "photo 0.json", "$.imagePath", "leads out")
    outcome = run_segdata("convert", source, tmp_path / "pack", "--on-error", "skip", "--json")
    assert outcome.code == 3 and outcome.document["samples"] == 2


def test_a_label_that_is_not_listed_is_refused_unless_the_data_may_name_it(tmp_path: Path) -> None:
    source = made.labelme(tmp_path / "source")
    made.put(source / "labels.txt", "dog\neye\nleash\n")
    refused(source, tmp_path / "pack", 4, "'cat, wild'", "$.shapes[0]", "--classes from-data")
    outcome = run_segdata("convert", source, tmp_path / "pack", "--classes", "from-data", "--json")
    assert outcome.code == 0, outcome.err
    made.put(source / "labels.txt", "dog\ndog\n")
    refused(source, tmp_path / "twice", 4, "labels.txt", "twice")


def test_odd_documents_are_remarked(tmp_path: Path) -> None:
    def edit(document: Document) -> None:
        document["shapes"][0]["points"] = [[100, 100], [120, 100], [120, 120]]
        document["shapes"][0]["group_id"] = None
        document["imageHeight"] = None

    remarks = remarks_of(edited(tmp_path, edit), tmp_path / "pack")
    assert remarks["shape without a pixel"] == 1
    assert remarks["size of the image is not stated: taken from the image"] == 2


def test_folders_are_told_from_others(tmp_path: Path) -> None:
    source = made.labelme(tmp_path / "data/one")
    assert run_segdata("info", tmp_path / "data").code in (0, 2, 10)
    outcome = run_segdata("convert", tmp_path / "data", tmp_path / "pack", "--json")
    assert outcome.code == 0, outcome.err
    made.labelme(tmp_path / "data/two")
    outcome = run_segdata("convert", tmp_path / "data", tmp_path / "both")
    assert outcome.code == 4 and "several datasets" in outcome.err
    made.put(source / "other.json", {"shapes": 1})
    assert "file not read" in remarks_of(source, tmp_path / "other")
