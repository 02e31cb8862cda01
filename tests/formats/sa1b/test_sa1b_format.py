"""SA-1B: a document beside each image; read, written, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

import segdata
from segdata.errors import SegdataError
from tests.helpers import made
from tests.helpers.compare import compare
from tests.helpers.samples import SAMPLES, needs_samples


def changed(root: Path, **changes: Any) -> Path:
    """The made dataset with other values in the first annotation of its first document."""
    path = made.sa1b(root) / "sa_1.json"
    document = json.loads(path.read_text())
    document["annotations"][0] |= changes
    made.put(path, document)
    return root


def test_masks_are_those_of_pycocotools(tmp_path: Path) -> None:
    root = made.sa1b(tmp_path / "source")
    segdata.convert(root, tmp_path / "pack")
    samples_of = {sample.key: sample for sample in segdata.open(tmp_path / "pack")}
    assert list(samples_of) == ["sa_1", "sa_000020/sa_2", "sa_000020/sa_3", "sa_000020/sa_4"]
    assert not samples_of["sa_000020/sa_4"].has_instances and samples_of["sa_000020/sa_3"].has_instances
    for key in ("sa_1", "sa_000020/sa_2"):
        records = json.loads((root / f"{key}.json").read_text())["annotations"]
        instances = samples_of[key].instances
        assert len(instances) == len(records)
        for index, record in enumerate(records):
            rle = record["segmentation"]
            if isinstance(rle["counts"], list):
                rle = coco_mask.frPyObjects(rle, *rle["size"])
            assert np.array_equal(instances.masks[index], coco_mask.decode(rle))
            assert instances.extra[index].get("predicted_iou") == record.get("predicted_iou")
    assert samples_of["sa_1"].id == 1 and samples_of["sa_000020/sa_2"].id == -1


def test_it_comes_back(tmp_path: Path) -> None:
    root = made.sa1b(tmp_path / "source")
    segdata.convert(root, tmp_path / "pack")
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="sa1b")
    assert compare("sa1b", root, tmp_path / "back") == []


def test_coco_gets_the_further_fields(tmp_path: Path) -> None:
    segdata.convert(made.sa1b(tmp_path / "source"), tmp_path / "coco", to="coco", allow_loss=True)
    (document,) = (json.loads(path.read_text()) for path in (tmp_path / "coco/annotations").iterdir())
    first = document["annotations"][0]
    assert first["predicted_iou"] == 0.9375 and first["category_id"] == 1 and first["area"] == 16 * 25
    assert document["images"][0]["id"] == 1


def test_written_from_coco(tmp_path: Path) -> None:
    """Categories, crowds and polygons are counted; every mask is pycocotools'."""
    root = made.coco(tmp_path / "source")
    report = segdata.convert(root, tmp_path / "sa1b", to="sa1b", allow_loss=True)
    truth = json.loads((root / "annotations/instances_val2017.json").read_text())
    lost = report.problems["losses"]
    assert lost["crowd flags"]["count"] == sum(record["iscrowd"] for record in truth["annotations"])
    with_mask = [record for record in truth["annotations"] if record["segmentation"]]
    assert lost["categories of objects"]["count"] == len(with_mask)
    written: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
    for path in sorted(tmp_path.glob("sa1b/**/*.json")):
        if path.name != ".segdata.json":
            document = json.loads(path.read_text())
            written |= {record["id"]: (document["image"], record) for record in document["annotations"]}
    assert set(written) == {record["id"] for record in with_mask}
    for record in with_mask:
        image, mine = written[record["id"]]
        assert image["image_id"] == record["image_id"]
        theirs = coco_mask.frPyObjects(record["segmentation"], made.HEIGHT, made.WIDTH)
        theirs = coco_mask.merge(theirs) if isinstance(theirs, list) else theirs
        assert np.array_equal(coco_mask.decode(mine["segmentation"]), coco_mask.decode(theirs))
        assert mine["bbox"] == record["bbox"] and mine["area"] == record["area"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"segmentation": [[1, 1, 5, 1, 5, 5]]}, "no run lengths"),
        ({"segmentation": {"size": [30, 40], "counts": [1300]}}, "1300"),
        ({"segmentation": {"size": [40, 30], "counts": [1200]}}, "40"),
        ({"bbox": [1, 2, 3]}, "bbox"),
        ({"id": "a"}, "id"),
        ({"area": -1}, "area"),
    ],
)
def test_a_wrong_record_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    root = changed(tmp_path / "source", **changes)
    with pytest.raises(SegdataError, match=words) as refused:
        segdata.convert(root, tmp_path / "pack")
    assert refused.value.exit_code == 4
    assert "sa_1.json" in str(refused.value.file) and "$.annotations[0]" in str(refused.value.place)
    report = segdata.convert(root, tmp_path / "pack", on_error="skip")
    assert sum(item["count"] for item in report.problems["skipped"]) == 1
    assert len(segdata.open(tmp_path / "pack")[0].instances) == 1


def test_a_document_of_another_image_is_refused(tmp_path: Path) -> None:
    root = made.sa1b(tmp_path / "source")
    made.put(root / "sa_1.jpg", made.photo(50, 20))
    with pytest.raises(SegdataError, match="another size") as refused:
        segdata.convert(root, tmp_path / "pack")
    assert refused.value.exit_code == 4 and "50 × 20" in str(refused.value.why)


def test_a_document_without_image_is_named(tmp_path: Path) -> None:
    root = made.sa1b(tmp_path / "source")
    (root / "sa_1.jpg").unlink()
    with pytest.raises(SegdataError, match=r"sa_1\.jpg"):
        segdata.convert(root, tmp_path / "pack")


def test_several_categories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SegdataError, match="one category"):
        segdata.convert(made.sa1b(tmp_path / "source"), tmp_path / "pack", classes=["a", "b"])


@needs_samples
def test_the_sample_of_another_size_is_refused(tmp_path: Path) -> None:
    """A published sample: the masks of b.json are 5 high and 10 wide, its image 10 high and 5 wide."""
    source = SAMPLES / "formats/layouts_made/segment_anything_dataset"
    with pytest.raises(SegdataError) as refused:
        segdata.convert(source, tmp_path / "pack")
    assert "b.json" in str(refused.value.file)
    segdata.convert(source, tmp_path / "pack", on_error="skip")
    (first, second) = segdata.open(tmp_path / "pack")
    expected = coco_mask.decode({"size": [5, 10], "counts": "`04n0"})
    assert np.array_equal(first.instances.masks[0], expected) and len(second.instances) == 0
