"""COCO and panoptic documents with bytes, numbers and names that no program writes: one error, or the record is left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import segdata
from segdata.errors import InvalidAnnotation, SegdataError
from tests.helpers import made, made_results
from tests.helpers.compare import compare

DOCUMENT = "annotations/instances_val2017.json"
HUGE = b"1" + 400 * b"0"

RECORDS: dict[str, tuple[bytes, bytes, int, int]] = {
    "bytes that are no UTF-8 in an image's name": (b"000000000001.jpg", b"0000000\xde0001.jpg", 2, 2),
    "an image's name of 800 letters": (b"000000000001.jpg", 50 * b"000000000001.jpg", 2, 2),
    "an image of 2^40 pixels": (
        b'"id": 11, "file_name": "000000000001.jpg", "height": 30, "width": 40',
        b'"id": 11, "file_name": "000000000001.jpg", "height": 1048576, "width": 1048576',
        2,
        2,
    ),
    "an annotation's id of 400 digits": (b"908400535506", HUGE, 3, 2),
    "a box of 400 digits": (b'"bbox": [0, 0, 1, 29]', b'"bbox": [0, 0, 1, %b]' % HUGE, 3, 3),
    "an area of 400 digits": (b'"area": 60', b'"area": %b' % HUGE, 3, 3),
    "a point of 400 digits": (b"[31.0, 15.0", b"[%b, 15.0" % HUGE, 3, 3),
    "runs of 400 digits": (b"[0, 60, ", b"[%b, 60, " % HUGE, 3, 2),
    "bytes that are no UTF-8 in an annotation": (b"occluded", b"occ\xffuded", 3, 2),
}
"""What is put in place of what; images and objects that are left."""


@pytest.mark.parametrize("name", RECORDS)
def test_a_hostile_record_is_left_out_or_corrected_alone(name: str, tmp_path: Path) -> None:
    before, after, images, objects = RECORDS[name]
    source = made.coco(tmp_path / "source")
    text = (source / DOCUMENT).read_bytes()
    assert before in text
    (source / DOCUMENT).write_bytes(text.replace(before, after))
    report = segdata.convert(source, tmp_path / "pack", workers=1, on_error="skip")
    pack = segdata.open(tmp_path / "pack")
    assert (len(pack), sum(len(sample.instances) for sample in pack)) == (images, objects)
    assert report.problems["skipped"] or report.problems["remarks"], "what was left out or corrected is counted"
    assert segdata.verify(tmp_path / "pack", deep=True).is_good
    with pytest.raises(SegdataError):
        segdata.convert(source, tmp_path / "strict", workers=1, strict=True)


@pytest.mark.parametrize("segmentation", [16777216, 1.5, "rle", True])
def test_a_segmentation_of_the_ground_truth_that_is_none_is_refused_with_its_place(
    segmentation: object, tmp_path: Path
) -> None:
    document = made.coco_document()
    document["annotations"][2]["segmentation"] = segmentation
    truth = made.coco(tmp_path / "truth", document)
    with pytest.raises(InvalidAnnotation, match="neither a list of rings nor run lengths") as error:
        segdata.evaluate(made_results.coco_detections(tmp_path / "both.json"), truth)
    assert "$.annotations[2]" in str(error.value.place)


def test_true_and_1_are_told_apart_on_the_way_back(tmp_path: Path) -> None:
    document = made.coco_document()
    document["images"][2]["license"] = True
    source = made.coco(tmp_path / "source", document)
    segdata.convert(source, tmp_path / "pack", workers=1)
    segdata.convert(tmp_path / "pack", tmp_path / "back", workers=1, to="coco")
    assert not compare("coco", source, tmp_path / "back")


# ---------------------------------------------------------------------- panoptic


def test_a_panoptic_png_that_no_annotation_names_is_remarked(tmp_path: Path) -> None:
    source = made_results.panoptic(tmp_path / "source")
    path = source / "annotations/panoptic_val2017.json"
    document = json.loads(path.read_bytes())
    del document["annotations"][1]
    made.put(path, document)
    report = segdata.convert(source, tmp_path / "pack", workers=1)
    remarks = report.problems["remarks"]
    assert remarks["file not read"]["examples"] == ["annotations/panoptic_val2017/a.png"]
    segdata.convert(tmp_path / "pack", tmp_path / "back", workers=1, to="coco-panoptic")
    assert (
        json.loads((tmp_path / "back/annotations/panoptic_val2017.json").read_bytes())["annotations"]
        == document["annotations"]
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [("bbox", [10**400, 22, 40, 8]), ("area", 10**400), ("category_id", [1]), ("category_id", True), ("id", 1 << 24)],
)
def test_a_panoptic_segment_that_is_none_is_refused(field: str, value: object, tmp_path: Path) -> None:
    truth = made_results.panoptic(tmp_path / "truth")
    predictions = made_results.panoptic(tmp_path / "predictions", is_prediction=True)
    for root in (truth, predictions):
        path = root / "annotations/panoptic_val2017.json"
        before = path.read_bytes()
        document = json.loads(before)
        document["annotations"][0]["segments_info"][0][field] = value
        made.put(path, document)
        with pytest.raises(InvalidAnnotation, match="a segment is not valid") as error:
            segdata.evaluate(predictions / "annotations", truth)
        assert field in str(error.value.why)
        path.write_bytes(before)


def test_whether_a_segment_is_a_crowd_is_kept_as_it_is_written(tmp_path: Path) -> None:
    source = made_results.panoptic(tmp_path / "source")
    path = source / "annotations/panoptic_val2017.json"
    document = json.loads(path.read_bytes())
    document["annotations"][0]["segments_info"][3]["iscrowd"] = True
    made.put(path, document)
    segdata.convert(source, tmp_path / "pack", workers=1)
    segdata.convert(tmp_path / "pack", tmp_path / "back", workers=1, to="coco-panoptic")
    back = json.loads((tmp_path / "back/annotations/panoptic_val2017.json").read_bytes())
    assert back["annotations"][0]["segments_info"][3]["iscrowd"] is True


# ---------------------------------------------------------------------- results


@pytest.mark.parametrize("box", [[1e200, 0, 1, 1], [0, 0, 1, 1e308]])
def test_a_detection_of_a_size_that_cannot_be_computed_with_is_refused(box: list[float], tmp_path: Path) -> None:
    path = made.put(tmp_path / "results.json", [{"image_id": 10, "category_id": 1, "score": 0.5, "bbox": box}])
    with pytest.raises(InvalidAnnotation, match="bbox is not four numbers") as error:
        segdata.evaluate(path, made.coco(tmp_path / "truth"))
    assert error.value.place == "$[0].bbox"
