"""Odd but legal datasets into other formats: what is written can be read, and what it does not say any more is counted."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from tests.helpers import made
from tests.helpers.command import run_segdata

HEIGHT, WIDTH = 40, 50


def coco(root: Path, annotations: list[dict[str, Any]], names: list[str]) -> Path:
    """One black photo with these annotations; category k has the k-th name."""
    for number, annotation in enumerate(annotations, 1):
        annotation.update(id=number, image_id=7)
    document = {
        "images": [{"id": 7, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, 1)],
    }
    made.put(root / "annotations/instances_train.json", document)
    made.put(root / "train/a.png", made.photo(WIDTH, HEIGHT, kind="PNG"))
    return root


def square(x: float, y: float, width: float, height: float, category: int = 1, **more: Any) -> dict[str, Any]:
    ring = [x, y, x + width, y, x + width, y + height, x, y + height]
    return {
        "category_id": category,
        "bbox": [x, y, width, height],
        "area": width * height,
        "segmentation": [ring],
        **more,
    }


def crossed(source: Path, to: str, target: Path, *options: object) -> tuple[dict[str, int], dict[str, int]]:
    """Counts of losses and remarks; what was written must be readable."""
    outcome = run_segdata("convert", source, target, "--to", to, "--allow-loss", "--json", *options)
    assert outcome.code == 0, outcome.err
    again = run_segdata("convert", target, target / "pack", "--dry-run")
    assert again.code == 0, again.err
    findings = outcome.document["problems"]
    counts = {what: {kind: item["count"] for kind, item in findings[what].items()} for what in ("losses", "remarks")}
    return counts["losses"], counts["remarks"]


def values(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture).astype(np.int64)


# ---------------------------------------------------------------------- boxes and masks


def test_boxes_that_inclusive_corners_cannot_tell(tmp_path: Path) -> None:
    fractional = [10.13, 3.27, 5.41, 4.7]
    boxes: list[list[float]] = [[2, 2, 10, 8], fractional, [30, 5, 0, 4], [49.5, 39.25, 0.5, 0.75]]
    objects = [{"category_id": 1, "bbox": box, "area": 1, "segmentation": []} for box in boxes]
    nowhere = {"category_id": 1, "area": 1, "segmentation": []}
    lost, _ = crossed(coco(tmp_path / "coco", [*objects, nowhere], ["dog"]), "voc", tmp_path / "voc")
    root = ElementTree.parse(tmp_path / "voc/Annotations/a.xml").getroot()
    corners = [[float(node.findtext(tag, "")) for tag in ("xmin", "ymin", "xmax", "ymax")] for node in root.iter("bndbox")]  # fmt: skip
    assert corners == [
        [3, 3, 12, 10],
        [10.13 + 1, 3.27 + 1, 10.13 + 5.41, 3.27 + 4.7],
        [31, 6, 31, 9],
        [50, 40, 50, 40],
    ]
    again = [corners[1][0] - 1, corners[1][1] - 1, corners[1][2] - corners[1][0] + 1, corners[1][3] - corners[1][1] + 1]
    assert again != fractional == pytest.approx(again)
    assert {kind: count for kind, count in lost.items() if "box" in kind} == {
        "boxes rounded in their last digits": 1,
        "boxes thinner than a pixel: one pixel here": 2,
        "objects with neither box nor pixels": 1,
    }


@pytest.mark.parametrize("to", ["voc", "cityscapes", "coco-panoptic", "coco", "camvid"])
def test_empty_masks(to: str, tmp_path: Path) -> None:
    outside = square(60, 60, 5, 5, bbox=[40, 30, 5, 5])
    lost, _ = crossed(coco(tmp_path / "coco", [square(2, 2, 9, 9), outside], ["car"]), to, tmp_path / "target")
    assert lost.get("objects with empty masks", 0) == (0 if to in ("coco", "camvid") else 1)


def test_flags_stay_when_voc_is_filtered(tmp_path: Path) -> None:
    source = made.voc(tmp_path / "voc")
    path = source / "Annotations/2007_000001.xml"
    path.write_text(path.read_text().replace("<difficult>", "<occluded>1</occluded><difficult>", 1))
    lost, _ = crossed(source, "voc", tmp_path / "again", "--min-area", 1)
    assert "occluded flags" not in lost
    root = ElementTree.parse(tmp_path / "again/Annotations/2007_000001.xml").getroot()
    assert next(node.findtext("occluded", "0") for node in root.iter("object")) == "1"


# ---------------------------------------------------------------------- what nobody annotated


def test_photos_without_annotations_stay_without(tmp_path: Path) -> None:
    source = made.voc(tmp_path / "voc")
    made.put(source / "JPEGImages/2007_000009.jpg", made.photo(seed=9))
    lost, _ = crossed(source, "coco", tmp_path / "coco")
    assert lost["images that nobody annotated: images without objects here"] == 1
    lost, _ = crossed(source, "coco-panoptic", tmp_path / "panoptic")
    assert "images that nobody annotated: images without objects here" not in lost
    documents = [json.loads(path.read_text()) for path in (tmp_path / "panoptic/annotations").glob("*.json")]
    annotated = {item["file_name"][:-4] for document in documents for item in document["annotations"]}
    assert (
        "2007_000009" in {item["file_name"][:-4] for document in documents for item in document["images"]} - annotated
    )
    crossed(source, "cityscapes", tmp_path / "city")
    rows = [line.split("\t") for line in (tmp_path / "city/names.tsv").read_text().splitlines()]
    (new,) = [new for new, old in rows if old == "2007_000009"]
    assert len(list((tmp_path / "city").rglob(f"{new.rpartition('/')[2]}_leftImg8bit.png"))) == 1
    assert not list((tmp_path / "city").rglob(f"{new.rpartition('/')[2]}_gtFine_*"))


def test_label_maps_do_not_become_groups(tmp_path: Path) -> None:
    source = made.camvid_segnet(tmp_path / "camvid")
    crossed(source, "cityscapes", tmp_path / "city")
    assert len(list((tmp_path / "city").rglob("*_labelIds.png"))) == 3
    assert not list((tmp_path / "city").rglob("*_instanceIds.png"))
    _, remarks = crossed(source, "coco-panoptic", tmp_path / "panoptic")
    segments = sum(len(np.unique(values(path))) for path in source.glob("*annot/*.png"))
    assert remarks["label map outside of objects: one segment per category"] == segments


def test_pixels_of_things_that_are_no_object(tmp_path: Path) -> None:
    source = made.voc(tmp_path / "voc")
    classes = source / "SegmentationClass/2007_000001.png"
    changed = values(classes).astype(np.uint8)
    changed[-2:, -2:] = 15  # a person that no object has
    classes.write_bytes(made.png(changed, made.voc_palette()))
    _, remarks = crossed(source, "cityscapes", tmp_path / "city")
    assert remarks["pixels of things outside of objects: groups in instanceIds"] == 1


# ---------------------------------------------------------------------- names


def test_category_names_that_tables_cannot_hold(tmp_path: Path) -> None:
    names = [" lead", "a:b,c", "new\nline", "ctl\x01x", "lead", "Void", "#sharp", "café 猫"]
    source = coco(tmp_path / "coco", [square(5 * k, 2, 4, 4, k + 1) for k in range(8)], names)
    lost, _ = crossed(source, "voc", tmp_path / "voc")
    rows = (tmp_path / "voc/labelmap.txt").read_text().splitlines()[1:]
    plain = ["lead", "a_b,c", "new line", "ctl_x", "lead_2", "Void", "_sharp", "café 猫"]
    assert [row.split(":")[0] for row in rows] == ["background", *plain]
    assert lost["category name"] == 6
    root = ElementTree.parse(tmp_path / "voc/Annotations/a.xml").getroot()
    assert [node.findtext("name") for node in root.iter("object")] == plain
    lost, _ = crossed(source, "camvid", tmp_path / "camvid")
    rows = (tmp_path / "camvid/label_colors.txt").read_text().splitlines()
    names = [row.split("\t")[1] for row in rows]
    assert names == ["lead", "a:b,c", "new line", "ctl_x", "lead_2", "Void", "#sharp", "café 猫", "Void_2"]
    assert lost["category name"] == 4


def test_more_categories_than_voc_has_colours(tmp_path: Path) -> None:
    source = coco(tmp_path / "coco", [square(2, 2, 9, 9, 300), square(20, 2, 9, 9, 3)], [f"c{k}" for k in range(300)])
    crossed(source, "camvid", tmp_path / "camvid")
    rows = [row.split("\t") for row in (tmp_path / "camvid/label_colors.txt").read_text().splitlines()]
    assert len({color for color, _ in rows}) == 301
    color = {name: [int(value) for value in text.split()] for text, name in rows}
    drawn = values(tmp_path / "camvid/LabeledApproved_full/a_L.png")
    assert drawn[5, 5].tolist() == color["c299"] and drawn[5, 25].tolist() == color["c2"]


def test_a_category_that_cityscapes_never_draws(tmp_path: Path) -> None:
    source = coco(tmp_path / "coco", [square(2, 2, 9, 9, 1), square(20, 2, 9, 9, 2)], ["license plate", "car"])
    lost, _ = crossed(source, "cityscapes", tmp_path / "city")
    assert lost["objects of category 'license plate'"] == 1
    assert "objects of categories that have none here: pixels only" not in lost


# ---------------------------------------------------------------------- lists and files


def test_lists_by_class_and_names_of_splits(tmp_path: Path) -> None:
    source = made.voc(tmp_path / "voc")
    shutil.rmtree(source / "ImageSets/Main", ignore_errors=True)
    for name in ("dog_train", "dog_val", "cat_val"):
        made.put(source / f"ImageSets/Main/{name}.txt", "2007_000001 -1\n")
    for name in ("Main/train", "Main_train/train"):
        made.put(source / f"ImageSets/{name}.txt", "2007_000001\n")
    for to in ("coco", "coco-panoptic", "cityscapes", "camvid"):
        lost, remarks = crossed(source, to, tmp_path / to)
        assert lost["lists by class"] == 3
        assert to == "cityscapes" or remarks["split has another name in the target"] == 2
    assert (tmp_path / "coco/annotations/instances_Main_train.json").is_file()


def test_maps_that_contradict_each_other(tmp_path: Path) -> None:
    source = made.cityscapes(tmp_path / "city")
    path = next(source.rglob("*_instanceIds.png"))
    numbers = values(path)
    numbers[:3, :3] = 26077  # a car where labelIds has another class
    numbers[-1, -3:] = 9  # and stuff of another class
    labels = values(path.with_name(path.name.replace("instanceIds", "labelIds")))
    assert not np.isin(labels[:3, :3], (0, 26)).any() and not (labels[-1, -3:] == 9).any()
    path.write_bytes(made.png(numbers.astype(np.uint16)))
    lost, _ = crossed(source, "voc", tmp_path / "voc")
    assert lost["objects whose pixels the label map gives to another category"] == 1
    assert lost["instance maps that disagree with label maps"] == 1
    voc = made.voc(tmp_path / "voc-source")
    objects = next((voc / "SegmentationObject").glob("*.png"))
    changed = values(objects).astype(np.uint8)
    changed[:, -1] = 255
    objects.write_bytes(made.png(changed, made.voc_palette()))
    lost, _ = crossed(voc, "coco", tmp_path / "coco")
    assert lost["object masks that do not follow from objects and class masks"] == 1


def test_many_kinds_that_differ_in_a_name_are_one_line_for_people(tmp_path: Path) -> None:
    names = ["car", *(f"thing {number}" for number in range(8))]
    objects = [square(2, 2, 4, 4, category) for category in range(1, 10)] + [square(9, 9, 4, 4, 5)] * 2
    source = coco(tmp_path / "coco", [dict(item) for item in objects], names)
    refused = run_segdata("convert", source, tmp_path / "city", "--to", "cityscapes")
    assert refused.code == 13
    assert re.search(
        r"^ +categories +10  objects of category 'thing 3', 'thing 0', 'thing 1' and 5 more ", refused.err, re.M
    )
    shown = run_segdata("convert", source, tmp_path / "cars", "--keep", "car")
    line = "note: 10 × left out as asked: objects of category 'thing 3', 'thing 0', 'thing 1' and 5 more (a, a, a …)\n"
    assert line in shown.err
    lost, _ = crossed(source, "cityscapes", tmp_path / "city")
    assert [lost[f"objects of category 'thing {number}'"] for number in range(8)] == [1, 1, 1, 3, 1, 1, 1, 1]


# ---------------------------------------------------------------------- filtered, in the same format


@pytest.mark.parametrize("by_way_of_a_pack", [False, True])
def test_voc_without_a_category_is_the_rest_of_it(by_way_of_a_pack: bool, tmp_path: Path) -> None:
    source = made.voc(tmp_path / "voc")
    dogs_only = made.voc_xml("2007_000008", made.voc_object("dog"), segmented=0)
    made.put(source / "Annotations/2007_000008.xml", dogs_only)
    made.put(source / "JPEGImages/2007_000008.jpg", made.photo())
    part = "<part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></part>"
    for path in (source / "Annotations").glob("*.xml"):
        path.write_text(path.read_text().replace("</object>", f"{part}</object>"))
    made.put(source / "ImageSets/Action/val.txt", "2007_000008\n")
    (source / "ImageSets/Main/dog_train.txt").unlink()
    target = tmp_path / "rest"
    if by_way_of_a_pack:
        assert run_segdata("convert", source, tmp_path / "pack", "--drop", "dog").code == 0
        outcome = run_segdata("convert", tmp_path / "pack", target, "--to", "voc", "--json")
    else:
        outcome = run_segdata("convert", source, target, "--to", "voc", "--drop", "dog", "--json")
    assert outcome.code == 0, outcome.err
    for path in (source / "Annotations").glob("*.xml"):
        root = ElementTree.parse(path).getroot()
        for node in root.findall("object"):
            if node.findtext("name") == "dog":
                root.remove(node)
        assert content(ElementTree.parse(target / f"Annotations/{path.name}").getroot()) == content(root)
    for folder in ("SegmentationClass", "SegmentationObject"):
        assert {path.name for path in (target / folder).iterdir()} == {
            path.name for path in (source / folder).iterdir()
        }
    assert (target / "ImageSets/Action/val.txt").read_text() == "2007_000008\n"


def content(node: ElementTree.Element) -> tuple[Any, ...]:
    return node.tag, (node.text or "").strip(), [content(child) for child in node]


def test_filtered_coco_tells_what_its_other_documents_said(tmp_path: Path) -> None:
    source = coco(tmp_path / "coco", [square(2, 2, 9, 9, 1), square(20, 2, 9, 9, 2)], ["dog", "cat"])
    document = json.loads((source / "annotations/instances_train.json").read_text())
    captions = [{"id": number, "image_id": 7, "caption": f"a {number}"} for number in range(3)]
    made.put(source / "annotations/captions_train.json", {"images": document["images"], "annotations": captions})
    refused = run_segdata("convert", source, tmp_path / "dogs", "--to", "coco", "--keep", "dog", "--json")
    assert refused.code == 13
    assert refused.document["error"]["losses"]["captions"]["count"] == 3


def test_attributes_of_vocs_names_become_flags_again(tmp_path: Path) -> None:
    attributes = [
        {"occluded": True, "truncated": False},
        {"difficult": True, "pose": "Left"},
        {"occluded": True, "colour": "red"},
        {"occluded": "partly"},
        "odd",
    ]
    objects = [square(8 * column, 2, 5, 5, attributes=values) for column, values in enumerate(attributes)]
    lost, _ = crossed(coco(tmp_path / "coco", [*objects, square(2, 20, 5, 5)], ["dog"]), "voc", tmp_path / "voc")
    nodes = list(ElementTree.parse(tmp_path / "voc/Annotations/a.xml").getroot().iter("object"))
    flags = [[node.findtext(tag, "0") for tag in ("occluded", "truncated", "difficult", "pose")] for node in nodes]
    assert flags == [
        ["1", "0", "0", "Unspecified"],
        ["0", "0", "1", "Left"],
        ["1", "0", "0", "Unspecified"],
        *[["0", "0", "0", "Unspecified"]] * 3,
    ]
    assert lost["object field 'attributes'"] == 3
