"""LVIS v1: what is said of categories by image, which categories are rare, and photos named by their addresses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import segdata
from tests.helpers.samples import SAMPLES, needs_samples


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """A hundred images of LVIS as version 1 has them: without `file_name`."""
    document: dict[str, Any] = json.loads((SAMPLES / "formats/lvis/data/lvis_val_100.json").read_bytes())
    for record in document["images"]:
        del record["file_name"]
    return document


@pytest.fixture(scope="module")
def written(document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The document that COCO → pack → COCO writes."""
    folder = tmp_path_factory.mktemp("lvis")
    (folder / "lvis/annotations").mkdir(parents=True)
    (folder / "lvis/annotations/lvis_v1_val.json").write_text(json.dumps(document))
    (folder / "lvis/val2017").mkdir()
    for record in document["images"]:
        name = record["coco_url"].rpartition("/")[2]
        Image.new("RGB", (record["width"], record["height"])).save(folder / "lvis/val2017" / name, quality=1)
    report = segdata.convert(folder / "lvis", folder / "pack", workers=1)  # its format is recognised
    assert (report.samples, report.instances) == (100, 977)
    segdata.convert(folder / "pack", folder / "again", to="coco", workers=1)
    return folder / "again/annotations/lvis_v1_val.json"


@needs_samples
def test_federated_lists_and_frequencies_come_back(document: dict[str, Any], written: Path) -> None:
    again = json.loads(written.read_bytes())
    assert again == document
    assert sum(len(record["neg_category_ids"]) for record in again["images"]) > 300
    assert any(record["not_exhaustive_category_ids"] for record in again["images"])
    assert {record["frequency"] for record in again["categories"]} == {"r", "c", "f"}


@needs_samples
def test_the_official_reader_gets_the_same(document: dict[str, Any], written: Path, tmp_path: Path) -> None:
    lvis = pytest.importorskip("lvis", reason="lvis is not installed")
    (tmp_path / "original.json").write_text(json.dumps(document))
    original, again = lvis.LVIS(str(tmp_path / "original.json")), lvis.LVIS(str(written))
    assert again.imgs == original.imgs and again.cats == original.cats
    assert again.get_ann_ids() == original.get_ann_ids()
    for number in original.get_ann_ids():
        assert (again.ann_to_mask(again.anns[number]) == original.ann_to_mask(original.anns[number])).all()
