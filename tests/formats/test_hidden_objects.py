"""Objects of which others hide every pixel, in formats that give each pixel to one object: gone, and counted as gone."""

from __future__ import annotations

from pathlib import Path

import pytest

import segdata
from tests.helpers import made


@pytest.mark.parametrize("to", ["coco-panoptic", "masks", "sbd", "cityscapes", "voc"])
def test_an_object_under_others_is_counted_as_gone(to: str, tmp_path: Path) -> None:
    if to == "sbd":
        pytest.importorskip("scipy", reason="the extra sbd is not installed")
    document = made.coco_document(1)
    square = [4.0, 4.0, 16.0, 4.0, 16.0, 16.0, 4.0, 16.0]
    upper = [4.0, 4.0, 16.0, 4.0, 16.0, 10.0, 4.0, 10.0]
    lower = [4.0, 10.0, 16.0, 10.0, 16.0, 16.0, 4.0, 16.0]
    category = document["annotations"][0]["category_id"]
    document["annotations"] = [
        {"id": number, "image_id": document["images"][0]["id"], "category_id": category, "iscrowd": 0}
        | {"segmentation": [outline], "area": area, "bbox": box}
        for number, (outline, area, box) in enumerate(
            [(square, 144, [4, 4, 12, 12]), (upper, 72, [4, 4, 12, 6]), (lower, 72, [4, 10, 12, 6])], 1
        )
    ]
    made.coco(tmp_path / "coco", document)
    report = segdata.convert(tmp_path / "coco", tmp_path / "out", to=to, allow_loss=True)
    losses = report.problems["losses"]
    gone = "masks of objects" if to == "voc" else "objects"
    assert losses[f"{gone} wholly hidden by others in a map of numbers"]["count"] == 1
    assert "objects partly hidden by others in a map of numbers" not in losses
    segdata.convert(tmp_path / "out", tmp_path / "pack")
    assert sum(int(sample.instances.has_mask.sum()) for sample in segdata.open(tmp_path / "pack")) == 2
