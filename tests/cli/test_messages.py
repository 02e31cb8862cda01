"""Words of messages: one image is not "1 images", close names are close, keys are looked for in other splits."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from segdata.errors import close_names, number_of
from tests.helpers import made
from tests.helpers.command import run_segdata

ONE_OF_MANY = re.compile(
    r"\b1 (?:\w+ ){0,2}?(?:annotations|archives|boxes|categories|chunks|detections|epochs|files|images|instances|labels|"
    r"members|objects|pixels|problems|records|runs|samples|splits|updates)\b"
)


def test_numbers_with_their_nouns() -> None:
    assert [number_of(n, "image") for n in (0, 1, 2, 2000)] == ["0 images", "1 image", "2 images", "2,000 images"]
    assert number_of(1, "box is", "boxes are") == "1 box is" and number_of(2, "box is", "boxes are") == "2 boxes are"


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO dataset of one image with one object, and a pack of it."""
    root = tmp_path_factory.mktemp("one")
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4], "area": 16, "iscrowd": 0}
    document = {
        "images": [{"id": 1, "file_name": "a.png", "height": 8, "width": 8}],
        "annotations": [{**annotation, "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]}],
        "categories": [{"id": 1, "name": "dog"}],
    }
    made.put(root / "coco/annotations/instances_train.json", document)
    made.put(root / "coco/train/a.png", made.photo(8, 8, kind="PNG"))
    assert run_segdata("convert", root / "coco", root / "pack").code == 0
    return root


def test_one_is_no_plural(one: Path, tmp_path: Path) -> None:
    document = json.loads((one / "coco/annotations/instances_train.json").read_text())
    empty = made.put(tmp_path / "missing/annotations/instances_train.json", document)
    results = made.put(
        tmp_path / "results.json", [{"image_id": 7, "category_id": 1, "bbox": [0, 0, 4, 4], "score": 0.5}]
    )
    for command in (
        ("info", one / "coco"),
        ("info", one / "pack"),
        ("verify", one / "coco"),
        ("verify", one / "pack"),
        ("stats", one / "pack"),
        ("convert", one / "coco", tmp_path / "voc", "--to", "voc"),
        ("convert", one / "coco", tmp_path / "voc", "--to", "voc", "--allow-loss"),
        ("convert", one / "coco", tmp_path / "dry", "--dry-run"),
        ("convert", empty.parents[1], tmp_path / "none"),
        ("evaluate", results, one / "pack"),
        ("show", one / "pack", "-o", tmp_path / "a.png"),
    ):
        outcome = run_segdata(*command)
        assert not ONE_OF_MANY.search(outcome.out + outcome.err), outcome.out + outcome.err


def test_close_names_are_close() -> None:
    known = ["camvid", "cityscapes", "coco-2017", "voc-2012"]
    assert close_names("cityscape", known) == ["cityscapes"]
    assert close_names("coco2017", known) == ["coco-2017"]
    for name in ("imagenet", "ade20k", "x", "camera", "000000000139"):
        assert close_names(name, known) == []
    assert "did you mean" not in run_segdata("list", "imagenet").err
    assert "did you mean cityscapes?" in run_segdata("list", "cityscape").err


def test_keys_and_splits_are_looked_for_elsewhere(tmp_path: Path) -> None:
    folder = made.voc(tmp_path / "voc")
    assert run_segdata("convert", folder, tmp_path / "pack").code == 0
    for path in (folder, tmp_path / "pack"):
        for words, texts in (
            (("2007_000002", "--split", "train"), ("is in the split 'Main/train'", "--split Main/train")),
            (("train",), ("no sample has the key 'train'", "--split train")),
            (("2007_000009",), ("no sample has the key", "close ones are")),
            (("zzz",), ("no sample has the key", "the first is '2007_000001'")),
            (("--split", "2007_000001"), ("no split '2007_000001'", "is the key of a sample")),
            (("--split", "trian"), ("no split 'trian'", "did you mean 'train'?")),
        ):
            outcome = run_segdata("show", path, *words, "-o", tmp_path / "a.png")
            assert outcome.code == 10 and all(text in outcome.err for text in texts), outcome.err


def test_an_annotation_without_id_is_named_by_its_place(tmp_path: Path) -> None:
    root = made.coco(tmp_path / "coco")
    path = root / "annotations/instances_val2017.json"
    document = json.loads(path.read_text())
    del document["annotations"][0]["id"]
    document["annotations"][0]["bbox"] = [1, 1, -5, 5]
    made.put(path, document)
    outcome = run_segdata("verify", root)
    assert "$.annotations[0]" in outcome.err and "None" not in outcome.err, outcome.err
