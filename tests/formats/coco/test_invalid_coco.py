"""Invalid, hostile and odd COCO files, through the real command: message, exit code, what is on disk, and that a repair helps."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.helpers.refusals import Edit, refused


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
    "a number as categories": (lambda d: d.update(categories=0), 4, ("categories is not a list", "found 0")),
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


CORRECTED = (
    *("annotation id twice", "id is text", "text in bbox", "null in bbox", "text as area", "negative width"),
    *("far outside", "corners for sizes", "flat list", "no size", "category name twice"),
    *("image id twice", "file twice"),
)
"""Refused thus under --strict alone; else see `test_corrections.py` and `test_documents_found.py`."""


def strict(name: str) -> tuple[str, ...]:
    return ("--strict",) if name in CORRECTED else ()


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
        options=strict(name),
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
    outcome = run_segdata(
        "convert", tmp_path / "source", tmp_path / "pack", "--on-error", "skip", "--json", *strict(name)
    )
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
    "half UTF-16": (b"\xff\xfe{", ("UTF-16", "save it as UTF-8")),
    "Latin-1": ('{"images": [], "annotations": [], "categories": [], "info": "é"}'.encode("latin-1"), (
        "not UTF-8", "byte 61, line 1, column 62", "0xe9",
    )),
    "deep": (b'{"images": [], "annotations": ' + b"[" * 100_000 + b"]" * 100_000 + b', "categories": []}', ("nested too deep",)),
    "long number": (b'{"images": [], "annotations": [], "categories": [], "info": ' + b"7" * 5000 + b"}", ("out of range",)),
    "list": (b"[]", ("not a JSON object", "results file")),
    "no categories": (b'{"images": [], "annotations": []}', ("no 'categories'", "captions document")),
    "captions": (
        b'{"images": [{"id": 1, "file_name": "a.jpg", "height": 5, "width": 5}], "categories": [], '
        b'"annotations": [{"id": 1, "image_id": 1, "caption": "x"}]}',
        ("captions document",),
    ),
    "NaN": (b'{"images": [], "annotations": [], "categories": [], "info": NaN}', ("malformed", "byte 60")),
    "1e999": (b'{"images": [], "annotations": [], "categories": [], "info": 1e999}', ("out of range",)),
    "empty": (b"", ("0 bytes",)),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_bad_coco_texts_are_refused_with_their_place(name: str, tmp_path: Path) -> None:
    data, texts = TEXTS[name]
    made.coco(tmp_path / "source")
    made.put(tmp_path / "source/annotations/instances_val2017.json", data)
    options = ("--strict",) if name == "NaN" else ()
    refused(tmp_path / "source", tmp_path / "pack", 4, "instances_val2017.json", *texts, options=options)


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


def test_many_problems_are_counted_and_shown_by_kind(tmp_path: Path) -> None:
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
        options=("--strict",),
    )
    assert outcome.err.count("$.annotations[") == 5 + 1  # of each kind the first five
