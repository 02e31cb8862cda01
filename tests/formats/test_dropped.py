"""Kinds of loss counted from the source's files alone (json, ElementTree), against what a conversion reports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.dom import minidom

from PIL import Image

from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.helpers.refusals import losses

FORMATS = ("coco", "coco-panoptic", "voc", "cityscapes", "camvid")
"""Names that segdata uses itself in the records it writes: a source's fields of these names have no place there."""


def of_kind(counts: dict[str, int], beginning: str) -> dict[str, int]:
    return {kind: count for kind, count in counts.items() if kind.startswith(beginning)}


# ---------------------------------------------------------------------- COCO


def coco(root: Path) -> Path:
    """Two images and three objects with fields of their own, also of names that formats have."""
    objects: list[dict[str, Any]] = [
        {"segmentation": [[2, 2, 20, 2, 20, 12, 2, 12]], "voc": {"pose": "Left"}, "depth": 3, "camvid": None},
        {"segmentation": [[5, 5, 9, 5, 9, 9]], "coco": "x", "depth": 0, "note": ""},
        {"segmentation": [[1, 1, 9, 1, 9, 9]], "coco-panoptic": [1]},
    ]
    images: list[dict[str, Any]] = [
        {"voc": 1, "weather": "rain", "captions": ["a", "b"], "cityscapes": {"polygons": 1}},
        {"coco": {"documents": {}}, "weather": None},
    ]
    for number, image in enumerate(images, 1):
        image.update(id=number, file_name=f"{number}.png", height=20, width=30)
        (root / "train").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20)).save(root / f"train/{number}.png")
    for number, item in enumerate(objects, 1):
        item.update(id=number, image_id=min(number, 2), category_id=7, bbox=[1, 1, 19, 11], area=50.5, iscrowd=0)
    document = {"images": images, "annotations": objects, "categories": [{"id": 7, "name": "dog"}], "rights": {"a": 1}}
    (root / "annotations").mkdir()
    (root / "annotations/instances_train.json").write_text(json.dumps(document))
    return root


IMAGE_FIELDS = {"id", "file_name", "height", "width"}
OBJECT_FIELDS = {"id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation"}


def fields(records: list[dict[str, Any]], known: set[str]) -> dict[str, int]:
    """In how many records each further field stands."""
    names = [name for record in records for name in record if name not in known]
    return {name: names.count(name) for name in names}


def test_fields_of_coco_records(tmp_path: Path) -> None:
    source = coco(tmp_path / "source")
    document = json.loads((source / "annotations/instances_train.json").read_text())
    image_fields = fields(document["images"], IMAGE_FIELDS)
    object_fields = fields(document["annotations"], OBJECT_FIELDS)
    assert len(image_fields) == 5 and len(object_fields) == 6
    for to in ("voc", "cityscapes"):
        counts = losses(source, to, tmp_path / to)
        assert of_kind(counts, "image field ") == {f"image field {name!r}": n for name, n in image_fields.items()}
        assert of_kind(counts, "object field ") == {f"object field {name!r}": n for name, n in object_fields.items()}
        assert of_kind(counts, "document field ") == {"document field 'rights'": 1}
        assert counts["object ids"] == 3 and counts["image ids"] == 2


def test_fields_of_coco_records_by_way_of_a_pack(tmp_path: Path) -> None:
    source = coco(tmp_path / "source")
    assert run_segdata("convert", source, tmp_path / "pack").code == 0
    assert losses(tmp_path / "pack", "voc", tmp_path / "a") == losses(source, "voc", tmp_path / "b")
    assert run_segdata("convert", tmp_path / "pack", tmp_path / "again", "--to", "coco").code == 0
    assert json.loads((tmp_path / "again/annotations/instances_train.json").read_text()) == json.loads(
        (source / "annotations/instances_train.json").read_text()
    )


# ---------------------------------------------------------------------- PASCAL VOC

XML = {
    "<annotation>": '<!--before--><?tool a?><annotation verified="yes" by="me"><!--in-->',
    "<size>": '<size unit="px">',
    "<width>": '<width exact="1">',
    "<object>": '<object n="1"><!--of an object--><?tool b?>',
    "<xmin>": '<xmin a="b" c="d">',
    "</annotation>": 'words<lens f="2"><glass kind="x">g</glass></lens></annotation><!--after--><?end?>',
}


def voc(root: Path) -> Path:
    made.voc(root)
    path = root / "Annotations/2007_000001.xml"
    text = path.read_text()
    for old, new in XML.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return root


def nodes(node: minidom.Node) -> Iterator[Any]:
    yield node
    for inner in node.childNodes:
        yield from nodes(inner)


def test_what_is_no_element_in_voc(tmp_path: Path) -> None:
    source = voc(tmp_path / "source")
    attributes = in_parts = comments = instructions = texts = 0
    for path in (source / "Annotations").glob("*.xml"):
        for node in nodes(minidom.parse(str(path))):
            if isinstance(node, minidom.Element):
                attributes += len(node.attributes)
                if node.tagName == "part":
                    in_parts += sum(len(inner.attributes or ()) for inner in nodes(node))
            comments += isinstance(node, minidom.Comment)
            instructions += isinstance(node, minidom.ProcessingInstruction)
            is_text = isinstance(node, minidom.Text) and bool(node.data.strip())
            texts += is_text and any(isinstance(other, minidom.Element) for other in node.parentNode.childNodes)
    assert min(attributes, in_parts, comments, instructions, texts) > 0
    for to in ("coco", "cityscapes", "camvid", "coco-panoptic"):
        counts = losses(source, to, tmp_path / to)
        counted = {
            "XML attributes": attributes - (in_parts if to == "coco" else 0),  # COCO's records hold parts word for word
            "XML comments": comments,
            "XML processing instructions": instructions,
            "XML text between elements": texts,
        }
        assert of_kind(counts, "XML ") == counted, to
        assert counts["image field 'lens'"] == 1


def test_a_document_that_repeats_another_is_no_loss(tmp_path: Path) -> None:
    source = coco(tmp_path / "source")
    document = json.loads((source / "annotations/instances_train.json").read_text())
    repeated = [item for item in document["annotations"] if item["image_id"] == 2]
    part = {**document, "images": document["images"][1:], "annotations": repeated}
    made.put(source / "annotations/instances_mini.json", part)
    kind = "records of further documents (keypoints, captions)"
    assert kind not in losses(source, "voc", tmp_path / "same")
    repeated[0]["area"] += 1
    made.put(source / "annotations/instances_mini.json", part)
    assert losses(source, "voc", tmp_path / "other")[kind] == len(repeated)
