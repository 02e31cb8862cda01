"""Invalid and hostile input, through the real command: message, exit code, what is on disk, and that a repair helps."""

from __future__ import annotations

import copy
import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segdata.catalog import label_spaces
from tests.helpers import made
from tests.helpers.command import Outcome, run_segdata

Edit = Callable[[dict[str, Any]], None]


def refused(source: Path, target: Path, code: int, *texts: str, options: tuple[str, ...] = ()) -> Outcome:
    """The conversion ends with this exit code, says all of this, and leaves nothing behind."""
    outcome = run_segdata("convert", source, target, "--json", *options)
    assert outcome.code == code, outcome.err
    assert outcome.document["ok"] is False
    assert outcome.document["error"]["exit"] == code
    for text in texts:
        assert text in outcome.err, outcome.err
    assert not target.exists()
    assert not [path for path in target.parent.iterdir() if path.name.startswith(f".{target.name}")]
    return outcome


def ring(*values: float) -> Edit:
    return lambda d: d["annotations"][0].update(segmentation=[list(values)])


def change(**values: Any) -> Edit:
    return lambda d: d["annotations"][0].update(values)


def crowd(**values: Any) -> Edit:
    return lambda d: d["annotations"][1]["segmentation"].update(values)


def image(**values: Any) -> Edit:
    return lambda d: d["images"][0].update(values)


SIZE = made.WIDTH * made.HEIGHT

BAD_COCO: dict[str, tuple[Edit, int, tuple[str, ...]]] = {
    "image id twice": (lambda d: d["images"][1].update(id=10), 4, ("image id 10 occurs twice", "$.images[0] and $.images[1]")),
    "annotation id twice": (lambda d: d["annotations"][2].update(id=101), 4, ("annotation id 101", "[0] and $.annotations[2]")),
    "category id twice": (lambda d: d["categories"][1].update(id=1), 4, ("category id", "twice")),
    "id is text": (change(id="7"), 4, ("$.annotations[0]", "Expected `int")),
    "id is a float": (change(id=7.5), 4, ("$.annotations[0]",)),
    "id is negative": (change(id=-7), 4, ("$.annotations[0]", "-7")),
    "id is too large": (change(id=2**63), 4, ("$.annotations[0]",)),
    "unknown image": (change(image_id=99), 4, ("names an image", "$.annotations[0]", "99")),
    "unknown category": (change(category_id=2), 4, ("category", "$.annotations[0]", "101", "2")),
    "text in bbox": (change(bbox=["4", 4, 5, 5]), 4, ("bbox is not four numbers", "$.annotations[0]")),
    "null in bbox": (change(bbox=[None, 4, 5, 5]), 4, ("bbox is not four numbers",)),
    "text as area": (change(area="12"), 4, ("area is not a number", "'12'")),
    "text in a ring": (lambda d: d["annotations"][0].update(segmentation=[["a"] * 6]), 4, ("ring is not a list of numbers",)),
    "negative width": (change(bbox=[4, 4, -2, 5]), 4, ("negative size", "101")),
    "far outside": (change(bbox=[30, 4, 20, 5]), 4, ("more than one pixel past the image", "40 × 30")),
    "corners for sizes": (change(bbox=[20, 15, 38, 28]), 4, ("[x0, y0, x1, y1] it would fit",)),
    "odd ring": (ring(1, 1, 5, 1, 5, 5, 2), 4, ("odd count", "7", "$.annotations[0]")),
    "short ring": (ring(1, 1, 5, 5), 4, ("at least three points",)),
    "flat list": (lambda d: d["annotations"][0].update(segmentation=[1, 1, 5, 1, 5, 5]), 4, ("flat list", "[[x0, y0")),
    "wrong sum": (crowd(counts=[0, 60, 7]), 4, ("67", str(SIZE), "908400535506")),
    "negative run": (crowd(counts=[0, -60, SIZE + 60]), 4, ("no run", "-60")),
    "run lengths of another size": (crowd(size=[made.WIDTH, made.HEIGHT]), 4, ("height and width are swapped",)),
    "bad characters": (crowd(counts="\u007f~~"), 4, ("character outside its alphabet",)),
    "cut string": (crowd(counts="oo"), 4, ("ends inside a number",)),
    "huge": (crowd(size=[10**6, 10**6], counts=[10**12]), 4, ("another size than the image",)),
    "iscrowd 2": (change(iscrowd=2), 4, ("iscrowd", "2")),
    "dots": (image(file_name="../../etc/passwd"), 11, ("not allowed", "$.images[0]")),
    "absolute": (image(file_name="/etc/passwd"), 11, ("not allowed",)),
    "backslash": (image(file_name="a\\b.jpg"), 11, ("not allowed",)),
    "address": (image(file_name="http://x/a.jpg"), 11, ("not allowed",)),
    "NUL": (image(file_name="a\0.jpg"), 11, ("not allowed",)),
    "missing image": (image(file_name="gone.jpg"), 4, ("1 of 3 images are not on disk", "gone.jpg")),
    "image of another size": (image(height=31), 4, ("40 × 30", "40 × 31")),
    "no size": (image(height=0), 4, ("height 0",)),
    "category name twice": (lambda d: d["categories"][1].update(name="person"), 4, ("'person' twice",)),
    "category without name": (lambda d: d["categories"][1].pop("name"), 4, ("$.categories[1]",)),
    "file twice": (lambda d: d["images"][1].update(file_name=d["images"][0]["file_name"]), 4, ("file_name", "twice")),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_COCO)
def test_bad_coco_records_are_refused_and_nothing_is_left(name: str, tmp_path: Path) -> None:
    edit, code, texts = BAD_COCO[name]
    document = made.coco_document()
    original = copy.deepcopy(document)
    edit(document)
    made.coco(tmp_path / "source", original)
    made.put(tmp_path / "source/annotations/instances_val2017.json", document)
    refused(
        tmp_path / "source",
        tmp_path / "pack",
        code,
        "instances_val2017.json" if name not in ("missing image", "image of another size") else "",
        *texts,
    )
    made.put(tmp_path / "source/annotations/instances_val2017.json", original)
    assert run_segdata("convert", tmp_path / "source", tmp_path / "pack").code == 0


SKIPPABLE = [
    "id is text",
    "unknown image",
    "unknown category",
    "text in bbox",
    "negative width",
    "odd ring",
    "wrong sum",
    "image of another size",
]


@pytest.mark.parametrize("name", SKIPPABLE)
def test_skipping_leaves_out_only_what_is_bad(name: str, tmp_path: Path) -> None:
    edit, _, texts = BAD_COCO[name]
    document = made.coco_document()
    made.coco(tmp_path / "source")
    edit(document)
    made.put(tmp_path / "source/annotations/instances_val2017.json", document)
    outcome = run_segdata("convert", tmp_path / "source", tmp_path / "pack", "--on-error", "skip", "--json")
    assert outcome.code == 3, outcome.err
    assert sum(item["count"] for item in outcome.document["problems"]["skipped"]) == 1
    assert texts[-1] in json.dumps(outcome.document["problems"]["first"], ensure_ascii=False)
    lost_image = name == "image of another size"
    assert outcome.document["samples"] == (2 if lost_image else 3)
    assert outcome.document["instances"] == (1 if lost_image else 2)
    assert outcome.document["splits"] == {"val2017": 2 if lost_image else 3}
    assert run_segdata("verify", tmp_path / "pack", "--deep").code == 0


TEXTS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "cut short": (b'{"images": [', ("cut short",)),
    "trailing": (b'{"images": []}\n x', ("line 2, column 2", "trailing")),
    "UTF-16": ("{}".encode("utf-16"), ("UTF-16",)),
    "Latin-1": ('{"images": [], "annotations": [], "categories": [], "info": "é"}'.encode("latin-1"), ("not UTF-8", "byte 61, line 1, column 62", "0xe9")),
    "deep": (b'{"images": [], "annotations": ' + b"[" * 100_000 + b"]" * 100_000 + b', "categories": []}', ("nested too deep",)),
    "long number": (b'{"images": [], "annotations": [], "categories": [], "info": ' + b"7" * 5000 + b"}", ("out of range",)),
    "list": (b"[]", ("not a JSON object", "results file")),
    "no categories": (b'{"images": [], "annotations": []}', ("no 'categories'", "captions document")),
    "captions": (b'{"images": [{"id": 1, "file_name": "a.jpg", "height": 5, "width": 5}], "categories": [], "annotations": [{"id": 1, "image_id": 1, "caption": "x"}]}', ("captions document",)),
    "NaN": (b'{"images": [], "annotations": [], "categories": [], "info": NaN}', ("malformed", "byte 60")),
    "1e999": (b'{"images": [], "annotations": [], "categories": [], "info": 1e999}', ("out of range",)),
    "empty": (b"", ("0 bytes",)),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_bad_coco_texts_are_refused_with_their_place(name: str, tmp_path: Path) -> None:
    data, texts = TEXTS[name]
    made.coco(tmp_path / "source")
    made.put(tmp_path / "source/annotations/instances_val2017.json", data)
    refused(tmp_path / "source", tmp_path / "pack", 4, "instances_val2017.json", *texts)


@pytest.mark.parametrize("filling", [b"\0", b'\\"', b"1,", b'"",'])
def test_values_longer_than_any_annotation_are_refused_before_they_are_read(filling: bytes, tmp_path: Path) -> None:
    made.coco(tmp_path / "source")
    path = tmp_path / "source/annotations/instances_val2017.json"
    head = b'{"images": [], "annotations": [], "categories": [], "info": '
    with path.open("wb") as file:
        if filling == b"\0":
            file.write(head + b'{"description": "')
            file.truncate(2 << 30)  # a hole: two gigabytes that take no place
            file.seek(0, 2)
            file.write(b'"}}')
        elif filling == b'\\"':
            file.write(head + b'"' + filling * (40 << 20) + b'"}')
        else:
            file.write(head + b"[" + filling * (70 << 20 if filling == b"1," else 30 << 20) + filling[:-1] + b"]}")
    refused(tmp_path / "source", tmp_path / "pack", 4, "instances_val2017.json", "than any annotation")


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    made.coco(tmp_path / "source")
    made.put(
        tmp_path / "source/annotations/instances_val2017.json",
        b"\xef\xbb\xbf" + json.dumps(made.coco_document()).encode(),
    )
    assert run_segdata("convert", tmp_path / "source", tmp_path / "pack").code == 0


def test_repeated_keys_are_found_by_deep_verification(tmp_path: Path) -> None:
    made.coco(tmp_path / "source")
    text = json.dumps(made.coco_document()).replace('"area": 60', '"area": 61, "area": 60')
    made.put(tmp_path / "source/annotations/instances_val2017.json", text)
    assert run_segdata("verify", tmp_path / "source").code == 0
    outcome = run_segdata("verify", tmp_path / "source", "--deep")
    assert outcome.code == 4
    assert "key 'area'" in outcome.err and "$.annotations[1]" in outcome.err


def without(*names: str) -> Edit:
    def edit(document: dict[str, Any]) -> None:
        for name in names:
            document.pop(name)

    return edit


LEGAL: dict[str, tuple[Edit, str]] = {
    "no height, collapsed ring": (
        change(bbox=[6.65, 8.33, 1.03, 0], area=0, segmentation=[[6.65, 8.33, 6.65, 8.33, 7.68, 8.33, 7.68, 8.33]]),
        "box without width or height",
    ),
    "empty segmentation": (change(segmentation=[]), "no segmentation: kept as a box without mask"),
    "one pixel outside": (change(bbox=[-0.5, 4, 10, 5]), "box reaches up to one pixel past the image"),
    "crowd with a polygon": (change(iscrowd=1), ""),
    "iscrowd missing": (lambda d: d["annotations"][0].pop("iscrowd"), "iscrowd missing, taken as 0"),
    "area differs": (change(area=120), "area differs from the polygon's by more than 2 %"),
    "odd names": (lambda d: d["categories"][0].update(name="  <b>☃</b>"), ""),
    "ids twice in minival": (lambda d: None, ""),
    "no info, no licences": (without("info", "licenses"), ""),
    "string run lengths": (crowd(counts="0l1Ti0"), ""),
    "runs that are not canonical": (crowd(counts=[0, 60, 0, 0, SIZE - 60, 0]), ""),
    "unknown keys": (lambda d: d.update(extra={"a": [1, None]}), ""),
    "big numbers": (change(area=2**60 + 1), "area differs from the polygon's by more than 2 %"),
    "no area": (lambda d: d["annotations"][0].pop("area"), ""),
    "no box": (lambda d: d["annotations"][0].pop("bbox"), ""),
    "a flag instead of 0": (change(iscrowd=False), ""),
}


@pytest.mark.parametrize("name", LEGAL)
def test_odd_but_legal_coco_is_counted_and_comes_back_exactly(name: str, tmp_path: Path) -> None:
    from tests.helpers.compare import compare

    edit, remark = LEGAL[name]
    document = made.coco_document()
    edit(document)
    split = "minival2014" if "minival" in name else "val2017"
    if "minival" in name:
        document["annotations"][1]["id"] = 101
    if "string" in name:
        from pycocotools import mask

        size = [made.HEIGHT, made.WIDTH]
        counts = mask.frPyObjects({"size": size, "counts": [0, 60, SIZE - 60]}, *size)["counts"].decode()
        document["annotations"][1]["segmentation"]["counts"] = counts
    made.coco(tmp_path / "source", document, split)
    outcome = run_segdata("convert", tmp_path / "source", tmp_path / "pack", "--json")
    assert outcome.code == 0, outcome.err
    remarks = outcome.document["problems"]["remarks"]
    assert {kind: item["count"] for kind, item in remarks.items() if kind == remark} == ({remark: 1} if remark else {})
    assert run_segdata("convert", tmp_path / "pack", tmp_path / "back", "--to", "coco").code == 0
    assert compare("coco", tmp_path / "source", tmp_path / "back") == []


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    made.coco(tmp_path / "source")
    secret = made.put(tmp_path / "secret.jpg", made.photo())
    inside = tmp_path / "source/val2017/000000000000.jpg"
    inside.unlink()
    inside.symlink_to(secret)
    refused(tmp_path / "source", tmp_path / "pack", 11, "through a link")


def test_more_instances_than_an_image_can_hold_are_refused(tmp_path: Path) -> None:
    document = made.coco_document(1)
    one = {**document["annotations"][0], "segmentation": [], "area": 0}
    document["annotations"] = [{**one, "id": n} for n in range(65_536)]
    refused(made.coco(tmp_path / "source", document), tmp_path / "pack", 4, "65536 instances", "65,535")


def test_many_problems_are_counted_by_kind_and_the_first_twenty_shown(tmp_path: Path) -> None:
    document = made.coco_document()
    bad = {**document["annotations"][0], "category_id": 55}
    document["annotations"] += [{**bad, "id": 1000 + n} for n in range(30)]
    document["annotations"] += [{**bad, "id": 2000, "category_id": 1, "bbox": [1, 1, -1, 1]}]
    outcome = refused(
        made.coco(tmp_path / "source", document),
        tmp_path / "pack",
        4,
        "31 problems",
        "30 ×",
        "1 × bbox has a negative size",
    )
    assert outcome.err.count("$.annotations[") == 20


# ---------------------------------------------------------------------- PASCAL VOC

ENTITIES = '<!DOCTYPE a [<!ENTITY x "y">]><annotation>&x;</annotation>'
QUADRATIC = '<!DOCTYPE a [<!ENTITY x "' + "y" * 5000 + '">]><annotation>' + "&x;" * 5000 + "</annotation>"
EXTERNAL = '<!DOCTYPE a SYSTEM "http://127.0.0.1:1/x.dtd"><annotation/>'

BAD_VOC: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "entity": (ENTITIES, 11, ("document type",)),
    "quadratic": (QUADRATIC, 11, ("document type",)),
    "external": (EXTERNAL, 11, ("document type",)),
    "include": ('<annotation xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="/etc/passwd"/></annotation>', 0, ()),
    "malformed": ("<annotation><object></annotation>", 4, ("malformed", "line 1")),
    "deep": ("<annotation>" + "<a>" * 10_000 + "</a>" * 10_000 + "</annotation>", 4, ("nested too deep",)),
    "another root": ("<html></html>", 4, ("<html>",)),
    "no box": (made.voc_xml("2007_000001", "\n<object><name>dog</name></object>"), 4, ("no box", "line 2")),
    "swapped": (made.voc_xml("2007_000001", made.voc_object(box=(14, 6, 5, 12))), 4, ("ends before it begins", "line 1")),
    "no number": (made.voc_xml("2007_000001", made.voc_object(box=("a", 6, 5, 12))), 4, ("no valid xmin", "'a'")),
    "not finite": (made.voc_xml("2007_000001", made.voc_object(box=("nan", 6, 5, 12))), 4, ("no valid xmin",)),
    "several names": (made.voc_xml("2007_000001", made.voc_object(more="<name>cat</name>")), 4, ("2 names",)),
    "unknown class": (made.voc_xml("2007_000001", made.voc_object("zebra")), 4, ("'zebra'", "labelmap.txt")),
    "another file name": (made.voc_xml("2007_000009", ""), 4, ("2007_000009", "line 1")),
    "no size": (made.voc_xml("2007_000001", "", width=0), 4, ("no valid size", "'0'")),
    "far outside": (made.voc_xml("2007_000001", made.voc_object(box=(5, 6, 44, 12))), 4, ("past the image", "40 × 30")),
    "image of another size": (made.voc_xml("2007_000001", "", width=41), 4, ("another size",)),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_VOC)
def test_bad_voc_annotations_are_refused(name: str, tmp_path: Path) -> None:
    text, code, texts = BAD_VOC[name]
    source = made.voc(tmp_path / "source")
    file = source / "Annotations/2007_000001.xml"
    good = file.read_bytes()
    made.put(file, text)
    if code:
        refused(source, tmp_path / "pack", code, "2007_000001.xml" if name != "image of another size" else "", *texts)
        file.write_bytes(good)
    assert run_segdata("convert", source, tmp_path / "pack").code == 0


def test_legal_oddities_of_voc_are_counted_and_come_back(tmp_path: Path) -> None:
    from tests.helpers.compare import compare

    source = made.voc(tmp_path / "source")
    objects = (
        made.voc_object("cat", (0, 1, 8, "12.5"))
        + made.voc_object("dog", ("45.70000076293945", 2, 41, 9)).replace("45.70000076293945", "5.70000076293945")
        + "<object><bndbox><xmax>9</xmax><xmin>2</xmin><ymin>3.0</ymin><ymax>8</ymax></bndbox><difficult>1</difficult>"
        "<occluded>1</occluded><pose></pose><truncated>0</truncated><name>person</name><point><x>3</x><y>4</y></point>"
        "<actions><jumping>1</jumping></actions></object>"
    )
    made.put(source / "Annotations/2007_000002.xml", made.voc_xml("2007_000002", objects, segmented=1))
    outcome = run_segdata("convert", source, tmp_path / "pack", "--json")
    assert outcome.code == 0, outcome.err
    remarks = {kind: item["count"] for kind, item in outcome.document["problems"]["remarks"].items()}
    assert remarks["box begins at 0: the file may count from 0, VOC counts from 1"] == 1
    assert remarks["box reaches up to one pixel past the image"] == 1
    assert remarks["box corner is not a whole number"] == 2
    assert run_segdata("convert", tmp_path / "pack", tmp_path / "back", "--to", "voc").code == 0
    assert compare("voc", source, tmp_path / "back") == []


def voc_masks(source: Path, **arrays: np.ndarray) -> None:
    for folder, array in arrays.items():
        made.put(source / folder / "2007_000001.png", made.png(array, made.voc_palette() if array.ndim == 2 else None))


def masks_of(source: Path) -> tuple[np.ndarray, np.ndarray]:
    return tuple(  # type: ignore[return-value]
        np.array(Image.open(source / folder / "2007_000001.png"))
        for folder in ("SegmentationClass", "SegmentationObject")
    )


def test_voc_masks_that_cannot_be_are_refused(tmp_path: Path) -> None:
    source = made.voc(tmp_path / "source")
    classes, objects = masks_of(source)
    voc_masks(source, SegmentationObject=objects[:-1])
    refused(source, tmp_path / "pack", 4, "different sizes")
    wrong = classes.copy()
    wrong[3, 7] = 33
    voc_masks(source, SegmentationClass=wrong, SegmentationObject=objects)
    refused(source, tmp_path / "pack", 4, "row 3, column 7", "value 33", "0 … 20")
    colors = np.array(made.voc_palette(), np.uint8).reshape(256, 3)[classes]
    colors[0, 0] = (1, 2, 3)
    voc_masks(source, SegmentationClass=colors)
    refused(source, tmp_path / "pack", 4, "(1, 2, 3) × 1")


def test_doubts_about_voc_objects_are_counted_and_come_back(tmp_path: Path) -> None:
    from tests.helpers.compare import compare

    source = made.voc(tmp_path / "source")
    _, objects = masks_of(source)
    swapped = np.where(objects == 1, 2, np.where(objects == 2, 1, objects)).astype(np.uint8)
    swapped[0, 0] = 255
    voc_masks(source, SegmentationObject=swapped)
    outcome = run_segdata("convert", source, tmp_path / "pack", "--json")
    assert outcome.code == 0, outcome.err
    remarks = {kind: item["count"] for kind, item in outcome.document["problems"]["remarks"].items()}
    assert remarks == {
        "object number does not fit its place: matched by class and box": 2,
        "void differs between class and object mask": 1,
    }
    assert run_segdata("convert", tmp_path / "pack", tmp_path / "back", "--to", "voc").code == 0
    assert compare("voc", source, tmp_path / "back") == []


def test_palette_masks_are_read_as_indices(tmp_path: Path) -> None:
    import segdata

    source = made.voc(tmp_path / "source")
    classes, _ = masks_of(source)
    segdata.convert(source, tmp_path / "pack")
    semantic = segdata.open(tmp_path / "pack").find("2007_000001").semantic
    assert semantic is not None and np.array_equal(semantic, classes)
    assert set(np.unique(classes)) == {0, 12, 15, 255}


@pytest.mark.parametrize(
    ("lists", "texts"),
    [
        (
            {"Segmentation/train.txt": "2007_000001\n2007_000077\n"},
            ("2007_000077", "line 2", "Segmentation/train.txt"),
        ),
        ({"Segmentation/val.txt": "2007_000001\n"}, ("both train and val", "2007_000001")),
    ],
    ids=["unknown", "overlap"],
)
def test_bad_lists_are_refused(lists: dict[str, str], texts: tuple[str, ...], tmp_path: Path) -> None:
    source = made.voc(tmp_path / "source")
    for name, text in lists.items():
        made.put(source / "ImageSets" / name, text)
    refused(source, tmp_path / "pack", 4, *texts)


# ---------------------------------------------------------------------- Cityscapes

FRAME = "gtFine/val/town/town_000000_000019_gtFine_"


def test_bad_cityscapes_labels_are_refused(tmp_path: Path) -> None:
    source = made.cityscapes(tmp_path / "source")
    ids_file = source / f"{FRAME}labelIds.png"
    good = ids_file.read_bytes()
    ids = np.array(Image.open(ids_file))
    ids[4, 5] = 255
    made.put(ids_file, made.png(ids))
    refused(source, tmp_path / "pack", 4, "row 4, column 5", "id 255", "trainId")
    made.put(ids_file, made.png(ids[:-1]))
    refused(source, tmp_path / "pack", 4, "another size", "labelIds.png")
    made.put(ids_file, made.png(np.zeros((*ids.shape, 3), np.uint8)))
    refused(source, tmp_path / "pack", 4, "not grey", "ambiguous")
    made.put(ids_file, good)
    numbers = np.array(Image.open(source / f"{FRAME}instanceIds.png"))
    numbers[0, 0] = 50_000
    made.put(source / f"{FRAME}instanceIds.png", made.png(numbers))
    refused(source, tmp_path / "pack", 4, "row 0, column 0", "instanceIds.png")


@pytest.mark.parametrize(
    ("edit", "texts"),
    [
        (lambda d: d.update(imgHeight=31), ("another size", "polygons.json")),
        (lambda d: d["objects"][1].update(label="zebra"), ("'zebra'", "$.objects[1]")),
        (lambda d: d["objects"][1].update(polygon=[1, 2]), ("not a list of points", "$.objects[1]")),
        (lambda d: d.pop("objects"), ("no objects",)),
    ],
)
def test_bad_cityscapes_polygons_are_refused(edit: Edit, texts: tuple[str, ...], tmp_path: Path) -> None:
    source = made.cityscapes(tmp_path / "source")
    document = json.loads((source / f"{FRAME}polygons.json").read_text())
    edit(document)
    made.put(source / f"{FRAME}polygons.json", document)
    refused(source, tmp_path / "pack", 4, *texts)


def test_instance_values_above_255_survive(tmp_path: Path) -> None:
    import segdata

    source = made.cityscapes(tmp_path / "source")
    segdata.convert(source, tmp_path / "pack")
    instances = segdata.open(tmp_path / "pack")[0].instances
    assert instances.id.tolist() == [24, 26003, 26007]
    assert instances.iscrowd.tolist() == [True, False, False]


def test_missing_cityscapes_files_are_counted(tmp_path: Path) -> None:
    from tests.helpers.compare import compare

    source = made.cityscapes(tmp_path / "source")
    (source / f"{FRAME}polygons.json").unlink()
    outcome = run_segdata("convert", source, tmp_path / "pack", "--json")
    assert outcome.code == 0
    assert outcome.document["problems"]["remarks"]["no polygon document"]["count"] == 1
    assert run_segdata("convert", tmp_path / "pack", tmp_path / "back", "--to", "cityscapes").code == 0
    assert compare("cityscapes", source, tmp_path / "back") == []


# ---------------------------------------------------------------------- CamVid


def test_camvid_colours_off_the_table(tmp_path: Path) -> None:
    source = made.camvid(tmp_path / "source")
    outcome = run_segdata("convert", source, tmp_path / "pack", "--json")
    assert outcome.code == 0
    assert outcome.document["problems"]["remarks"]["pixels with colours off the table, taken as void"]["count"] == 2
    label = np.array(Image.open(source / "LabeledApproved_full/Seq05VD_f02610_L.png"))
    label[:1] = (9, 9, 9)
    made.put(source / "LabeledApproved_full/Seq05VD_f02610_L.png", made.png(label))
    refused(source, tmp_path / "other", 4, "(9, 9, 9) × 80", "0.1%", "Seq05VD_f02610_L.png")


def test_camvid_lists_and_indices_that_cannot_be(tmp_path: Path) -> None:
    source = made.camvid_segnet(tmp_path / "source")
    made.put(source / "val.txt", "/SegNet/CamVid/val/gone.png /SegNet/CamVid/valannot/gone.png\n")
    refused(source, tmp_path / "pack", 4, "gone.png", "line 1")
    source = made.camvid_fastai(tmp_path / "fastai")
    label = np.full((made.HEIGHT, made.WIDTH), 4, np.uint8)
    made.put(source / "labels/a_P.png", made.png(label))
    refused(source, tmp_path / "pack", 4, "value 4", "0 … 3", "row 0, column 0")


# ---------------------------------------------------------------------- images


def with_image(tmp_path: Path, data: bytes) -> Path:
    source = made.coco(tmp_path / "source")
    made.put(source / "val2017/000000000000.jpg", data)
    return source


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises more than its data holds."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


def animation() -> bytes:
    buffer = io.BytesIO()
    Image.new("P", (4, 4)).save(buffer, "GIF", save_all=True, append_images=[Image.new("P", (4, 4), 3)])
    return buffer.getvalue()


BAD_IMAGES: dict[str, tuple[Callable[[], bytes], tuple[str, ...]]] = {
    "JPEG cut": (lambda: made.photo()[:-20], ("JPEG is cut short", "end marker")),
    "PNG cut": (lambda: made.photo(kind="PNG")[:-20], ("PNG is cut short", "IEND")),
    "HTML": (lambda: b"<!doctype html><title>not found</title>", ("HTML",)),
    "empty": (lambda: b"", ("0 bytes",)),
    "GIF": (animation, ("GIF",)),
    "WebP": (lambda: b"RIFF\x24\0\0\0WEBPVP8 " + b"\0" * 20, ("WebP",)),
    "TIFF": (lambda: b"II*\0" + b"\0" * 40, ("TIFF",)),
    "lossless": (lambda: made.photo().replace(b"\xff\xc0", b"\xff\xc3", 1), ("JPEG is lossless",)),
    "hierarchical": (lambda: made.photo().replace(b"\xff\xc0", b"\xff\xc5", 1), ("JPEG is hierarchical",)),
    "turned": (lambda: made.photo(made.HEIGHT, made.WIDTH), ("30 × 40", "40 × 30", "swapped")),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_bad_images_are_refused_and_named(name: str, tmp_path: Path) -> None:
    make, texts = BAD_IMAGES[name]
    source = with_image(tmp_path, make())
    refused(source, tmp_path / "pack", 4, "000000000000.jpg", *texts)
    outcome = run_segdata("convert", source, tmp_path / "pack", "--on-error", "skip", "--json")
    assert outcome.code == 3
    assert outcome.document["samples"] == 2


def test_exif_orientation_explains_a_swapped_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (made.HEIGHT, made.WIDTH)).save(buffer, "JPEG", exif=exif)
    refused(with_image(tmp_path, buffer.getvalue()), tmp_path / "pack", 4, "EXIF orientation 6")


def test_exif_orientation_is_never_applied(tmp_path: Path) -> None:
    import segdata

    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.open(io.BytesIO(made.photo())).save(buffer, "JPEG", exif=exif, quality=95)
    segdata.convert(with_image(tmp_path, buffer.getvalue()), tmp_path / "pack")
    assert segdata.open(tmp_path / "pack")[0].image.shape == (made.HEIGHT, made.WIDTH, 3)


def test_damage_inside_an_image_is_found_by_decoding(tmp_path: Path) -> None:
    data = bytearray(made.photo(kind="PNG"))
    middle = data.index(b"IDAT") + 30
    data[middle : middle + 40] = b"\xff" * 40
    source = with_image(tmp_path, bytes(data))
    refused(source, tmp_path / "pack", 4, "000000000000", options=("--decode",))
    assert run_segdata("convert", source, tmp_path / "pack").code == 0
    outcome = run_segdata("verify", tmp_path / "pack", "--deep")
    assert outcome.code == 8
    assert "record 0" in outcome.err and "000000000000" in outcome.err


@pytest.mark.parametrize("size", [(60_000, 60_000), (10_000, 10_000)])
def test_bombs_are_refused_before_decoding(size: tuple[int, int], tmp_path: Path) -> None:
    document = made.coco_document()
    document["annotations"] = []
    document["images"][0].update(width=size[0], height=size[1])
    source = tmp_path / "source"
    for number, record in enumerate(document["images"]):
        made.put(source / "val2017" / record["file_name"], bomb(*size) if number == 0 else made.photo(seed=number))
    made.put(source / "annotations/instances_val2017.json", document)
    refused(source, tmp_path / "pack", 11, "larger than the limit", f"{size[0]} × {size[1]}")


@pytest.mark.parametrize("options", [(), ("--decode",)])
def test_a_text_that_grows_is_refused_before_it_does(options: tuple[str, ...], tmp_path: Path) -> None:
    text = b"c\0\0" + zlib.compress(b"x" * (1 << 21))
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    photo = made.photo(kind="PNG")
    refused(
        with_image(tmp_path, photo[:33] + chunk + photo[33:]),
        tmp_path / "pack",
        11,
        "zTXt",
        "000000000000",
        options=options,
    )


# ---------------------------------------------------------------------- the place to write to


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/self").exists(), reason="needs Linux")
def test_a_target_that_cannot_be_written_is_a_disk_error(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    made.put(tmp_path / "file", b"x")
    outcome = run_segdata("convert", source, tmp_path / "file", "--json")
    assert outcome.code == 7 and "file of that name" in outcome.err
    outcome = run_segdata("convert", source, "/proc/nowhere/pack", "--json")
    assert outcome.code in (7, 10) and outcome.document["error"]["id"] in ("DiskError", "NotThere")


def test_something_else_in_the_target_is_not_touched(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    precious = made.put(tmp_path / "target/precious.txt", "mine")
    outcome = run_segdata("convert", source, tmp_path / "target")
    assert outcome.code == 2 and "--force" in outcome.err
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["precious.txt"]
    assert precious.read_text() == "mine"


# ---------------------------------------------------------------------- traps without a fault


def remarks_of(source: Path, target: Path, *options: str) -> dict[str, int]:
    outcome = run_segdata("convert", source, target, "--json", *options)
    assert outcome.code == 0, outcome.err
    return {kind: item["count"] for kind, item in outcome.document["problems"]["remarks"].items()}


def test_missing_images_can_be_left_out_or_done_without(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    (source / "val2017/000000000001.jpg").unlink()
    outcome = run_segdata("convert", source, tmp_path / "pack", "--on-error", "skip", "--json")
    assert (outcome.code, outcome.document["samples"], outcome.document["splits"]) == (3, 2, {"val2017": 2})
    assert run_segdata("convert", source, tmp_path / "bare", "--images", "none").code == 0


def test_photos_of_another_split_are_counted(tmp_path: Path) -> None:
    document = made.coco_document()
    document["images"][1]["coco_url"] = "http://images.cocodataset.org/train2017/000000000001.jpg"
    document["images"][2]["coco_url"] = "http://images.cocodataset.org/val2017/000000000002.jpg"
    assert remarks_of(made.coco(tmp_path / "source", document), tmp_path / "pack") == {
        "photo of train2017 by its coco_url": 1
    }


def test_images_of_the_same_name_in_different_folders_have_their_own_keys(tmp_path: Path) -> None:
    import segdata

    document = made.coco_document()
    for image, name in zip(document["images"], ("a/x.jpg", "b/x.jpg", "x.jpg"), strict=True):
        image["file_name"] = name
    segdata.convert(made.coco(tmp_path / "source", document), tmp_path / "pack")
    assert list(segdata.open(tmp_path / "pack").keys) == ["a/x", "b/x", "x"]


def test_an_image_in_two_documents_is_stored_once_and_both_come_back(tmp_path: Path) -> None:
    import segdata
    from tests.helpers.compare import compare

    source = made.coco(tmp_path / "source", split="val2014")
    small = made.coco_document()
    small["images"] = small["images"][1::-1]
    small["annotations"][0]["area"] = 85
    made.put(source / "annotations/instances_minival2014.json", small)
    extra = {**made.coco_document(1), "annotations": [{"id": 5, "image_id": 10, "caption": "one"}]}
    del extra["categories"]
    extra["images"].append({"id": 77, "file_name": "more.jpg", "height": made.HEIGHT, "width": made.WIDTH})
    made.put(source / "annotations/captions_val2014.json", extra)
    made.put(source / "val2014/more.jpg", made.photo(seed=7))
    segdata.convert(source, tmp_path / "pack")
    pack = segdata.open(tmp_path / "pack")
    assert len(pack) == 4
    assert {name: members.tolist() for name, members in pack.splits.items()} == {
        "val2014": [0, 1, 2, 3],
        "minival2014": [1, 0],
    }
    assert pack.find("000000000000").captions == ("one",)
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="coco")
    assert compare("coco", source, tmp_path / "back") == []


def test_ten_thousand_categories_and_none(tmp_path: Path) -> None:
    import segdata

    document = made.coco_document()
    document["categories"] += [{"id": 1000 + n, "name": f"☃ {n}", "supercategory": ""} for n in range(10_000)]
    document["annotations"][0]["category_id"] = 10_999
    segdata.convert(made.coco(tmp_path / "source", document), tmp_path / "pack")
    pack = segdata.open(tmp_path / "pack")
    assert pack.labels[int(pack[0].instances.category[0])].name == "☃ 9999"
    document.update(categories=[], annotations=[])
    segdata.convert(made.coco(tmp_path / "empty", document), tmp_path / "empty-pack")
    assert len(segdata.open(tmp_path / "empty-pack").labels) == 0
    segdata.convert(tmp_path / "empty-pack", tmp_path / "back", to="coco")


def test_images_that_are_not_rgb_are_counted_by_kind(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    made.put(source / "val2017/000000000000.jpg", made.photo(mode="L"))
    made.put(source / "val2017/000000000001.jpg", made.photo(mode="CMYK"))
    made.put(source / "val2017/000000000002.jpg", made.photo(kind="PNG", mode="RGBA"))
    assert remarks_of(source, tmp_path / "pack") == {
        "image is grey: becomes RGB when it is read": 1,
        "image is CMYK: becomes RGB when it is read": 1,
        "image is RGB with alpha: becomes RGB when it is read": 1,
    }
    assert run_segdata("verify", tmp_path / "pack", "--deep").code == 0


def test_twelve_bit_jpegs_are_named(tmp_path: Path) -> None:
    data = bytearray(made.photo())
    data[data.index(b"\xff\xc0") + 4] = 12
    outcome = run_segdata("convert", with_image(tmp_path, bytes(data)), tmp_path / "pack", "--decode")
    assert outcome.code == 4 and "12-bit" in outcome.err


def test_the_same_picture_in_two_splits_is_pointed_out(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    document = made.coco_document(1)
    document["annotations"] = []
    made.put(source / "annotations/instances_train2017.json", document)
    made.put(source / "train2017/000000000000.jpg", made.photo())
    assert run_segdata("convert", source, tmp_path / "pack").code == 0
    outcome = run_segdata("verify", tmp_path / "pack", "--deep", "--json")
    assert outcome.code == 0
    assert outcome.document["remarks"] == ["the same picture: 000000000000, 000000000000"]


def test_an_extra_row_in_camvid_s_colour_table(tmp_path: Path) -> None:
    import segdata

    source = made.camvid(tmp_path / "source")
    rows = [f"{' '.join(map(str, c.color or ()))}\t{c.name}" for c in label_spaces.label_space("camvid-32").categories]
    made.put(source / "label_colors.txt", "\n".join([*rows, "255 255 255\tBird", ""]))
    segdata.convert(source, tmp_path / "pack")
    pack = segdata.open(tmp_path / "pack", labels="camvid-11")
    assert segdata.open(tmp_path / "pack").labels[32].name == "Bird"
    semantic = pack[0].semantic
    assert semantic is not None
    assert [pack.labels[int(i)].name for i in (semantic[0, 0], semantic[-1, 0])] == ["Sky", "Road"]
    assert semantic[2, 11] == 255


def test_the_frame_that_is_known_to_be_damaged_is_pointed_out(tmp_path: Path) -> None:
    frame = "troisdorf/troisdorf_000000_000073"
    made.put(tmp_path / f"source/leftImg8bit/train_extra/{frame}_leftImg8bit.png", made.photo(kind="PNG"))
    label = made.png(np.zeros((made.HEIGHT, made.WIDTH), np.uint8))
    made.put(tmp_path / f"source/gtCoarse/train_extra/{frame}_gtCoarse_labelIds.png", label)
    remarks = remarks_of(tmp_path / "source", tmp_path / "pack")
    assert remarks["image known to be damaged in the official release"] == 1


def test_names_that_are_not_utf8_and_a_c_locale(tmp_path: Path) -> None:
    source = made.voc(tmp_path / "source")
    odd = os.fsdecode(b"caf\xe9")
    for folder, ending in (("JPEGImages", ".jpg"), ("Annotations", ".xml")):
        (source / folder / f"2007_000002{ending}").rename(source / folder / f"{odd}{ending}")
    text = (source / "Annotations" / f"{odd}.xml").read_text().replace("<filename>2007_000002.jpg</filename>", "")
    (source / "Annotations" / f"{odd}.xml").write_text(text)
    made.put(source / "ImageSets/Main/train.txt", b"2007_000001\n")
    made.put(source / "ImageSets/Main/dog_train.txt", b"2007_000001  1\n")
    outcome = run_segdata("convert", source, tmp_path / "pack", "--json", LC_ALL="C", PYTHONUTF8="0")
    assert outcome.code == 0, outcome.err
    assert run_segdata("info", tmp_path / "pack", LC_ALL="C", PYTHONUTF8="0").code == 0
    assert run_segdata("convert", tmp_path / "pack", tmp_path / "back", "--to", "voc").code == 0
    assert (tmp_path / "back/JPEGImages" / f"{odd}.jpg").read_bytes() == (
        source / "JPEGImages" / f"{odd}.jpg"
    ).read_bytes()


def test_progress_is_off_when_asked(tmp_path: Path, here: Callable[..., Outcome]) -> None:
    from segdata.cli import output

    source = made.coco(tmp_path / "source")
    for options, is_shown in (((), True), (("--no-progress",), False)):
        assert here("convert", source, tmp_path / "pack", *options).code == 0
        with output.progress("converting", quiet=False) as progress:
            assert (progress is not None) is is_shown
    assert here("convert", source, tmp_path / "pack").code == 0


def test_an_option_is_not_taken_for_the_folder_of_another() -> None:
    outcome = run_segdata("predict", "model", "photos", "-o", "found", "--pictures", "--quiet")
    assert outcome.code == 2 and "--pictures FOLDER" in outcome.err
