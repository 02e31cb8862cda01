"""CVAT into any format and back: what arrives, and what is counted, judged without segdata's readers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from segdata.formats import FORMATS
from tests.formats.cvat.test_cvat_shapes import decoded
from tests.helpers import made
from tests.helpers.refusals import losses
from tests.helpers.samples import SAMPLES

REAL = {
    "coco": "coco",
    "voc": "voc/VOCdevkit/VOC2012",
    "cityscapes": "peer_datumaro/cityscapes_dataset/train_dataset",
    "camvid": "camvid/segnet/CamVid",
}
OTHERS = [name for name in FORMATS if name != "cvat"]


@pytest.fixture(scope="module", params=["drawn", "real"])
def sources(request: pytest.FixtureRequest, drawing: Callable[[str], Path]) -> Callable[[str], Path]:
    if request.param == "drawn":
        return drawing
    if not SAMPLES.is_dir():
        pytest.skip("no sample data (set SEGDATA_SAMPLES to a folder that has it)")
    return lambda name: SAMPLES / REAL[name]


def values(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture).astype(np.int64)


def shown(image: ElementTree.Element) -> list[tuple[str, np.ndarray]]:
    """Label and mask of each object of a written image; shapes of a group are one."""
    height, width = int(image.get("height", "")), int(image.get("width", ""))
    masks: dict[str, tuple[str, np.ndarray]] = {}
    for number, node in enumerate(image):
        if node.tag == "mask":
            mask = decoded(node, height, width)
        elif node.tag == "box":
            x0, y0, x1, y1 = (float(node.get(name, "")) for name in ("xtl", "ytl", "xbr", "ybr"))
            y, x = np.mgrid[:height, :width] + 0.5
            mask = (x > x0) & (x < x1) & (y > y0) & (y < y1)
        else:
            ring = [float(value) for value in node.get("points", "").replace(";", ",").split(",")]
            mask = coco_mask.decode(coco_mask.frPyObjects([ring], height, width))[:, :, 0].astype(bool)
        key = node.get("group_id") or f"alone {number}"
        label = node.get("label", "")
        masks[key] = label, masks.get(key, (label, mask))[1] | mask
    return list(masks.values())


def images_of(root: Path) -> dict[str, ElementTree.Element]:
    images = {}
    for image in ElementTree.parse(root / "annotations.xml").getroot().iter("image"):
        subset = image.get("subset")
        assert (root / "images" / (f"{subset}/" if subset else "") / image.get("name", "")).is_file()
        images[Path(image.get("name", "")).stem] = image
    return images


def declared(root: Path) -> list[str | None]:
    return [node.text for node in ElementTree.parse(root / "annotations.xml").getroot().iterfind(".//label/name")]


# ---------------------------------------------------------------------- from CVAT


@pytest.mark.parametrize("to", OTHERS)
def test_what_only_cvat_says_is_counted(to: str, tmp_path: Path) -> None:
    source = made.cvat(tmp_path / "source")
    counts = losses(source, to, tmp_path / "target")
    has_attributes = to in ("coco", "labelme", "via")
    expected: Counter[str] = Counter()
    first: dict[tuple[str | None, str], int] = {}
    root = ElementTree.parse(source / "annotations.xml").getroot()
    for number, node in enumerate(next(root.iter("image"))):
        if node.tag in ("tag", "polyline", "points", "cuboid", "skeleton"):
            expected[f"shapes without area: {node.tag}"] += 1
            continue
        group = node.get("group_id", "0")
        key = (node.get("label"), group if group != "0" else f"alone {number}")
        is_first = first.setdefault(key, number) == number
        expected["numbers of groups"] += group != "0" and is_first
        expected["ellipses: masks here"] += node.tag == "ellipse"
        names = [child.get("name") for child in node] + [n for n in ("source", "z_order") if node.get(n, "0") != "0"]
        if not (has_attributes and is_first):
            expected.update(f"object field {name!r}" for name in names)
    expected["XML comments"] = 1
    for name in ("id", "name"):
        expected[f"document field {name!r}"] = 1
    expected["document field 'label'"] = 3  # attributes, a skeleton's drawing, a parent
    expected += Counter()
    kinds = ("shapes without", "ellipses", "object field", "numbers of groups", "XML", "document field")
    assert {kind: count for kind, count in counts.items() if kind.startswith(kinds)} == expected
    if to == "coco":
        assert counts == expected


def test_cvat_to_coco(tmp_path: Path) -> None:
    losses(made.cvat(tmp_path / "source"), "coco", tmp_path / "coco")
    api = COCO(next((tmp_path / "coco/annotations").glob("*.json")))
    assert [item["id"] for item in api.dataset["images"]] == [0, 3, 6]
    records = api.imgToAnns[0]
    names = {item["id"]: item["name"] for item in api.dataset["categories"]}
    assert [names[item["category_id"]] for item in records] == ["dog", "dog", "cat, wild", "dog", "dog", "dog"]
    assert records[0]["attributes"] == {"occluded": True, "source": "manual", "z_order": "2"}
    assert records[2]["attributes"] == {"age": "10", "source": "file"} and len(records[2]["segmentation"]) == 2
    assert records[0]["bbox"] == [2, 3, 10, 6]
    masks = list(ElementTree.parse(tmp_path / "source/annotations.xml").getroot().iter("mask"))
    for node, item in zip(masks, records[4:], strict=True):
        assert np.array_equal(api.annToMask(item) > 0, decoded(node, made.HEIGHT, made.WIDTH))


# ---------------------------------------------------------------------- into CVAT


def test_coco_to_cvat(sources: Any, tmp_path: Path) -> None:
    source = sources("coco")
    counts = losses(source, "cvat", tmp_path / "cvat")
    images = images_of(tmp_path / "cvat")
    expected: Counter[str] = Counter()
    for path in sorted((source / "annotations").glob("instances_*.json")):
        api = COCO(path)
        names = {item["id"]: item["name"] for item in api.dataset["categories"]}
        assert declared(tmp_path / "cvat") == [item["name"] for item in api.dataset["categories"]]
        for record in api.dataset["images"]:
            image = images[Path(record["file_name"]).stem]
            assert image.get("id") == str(record["id"])
            objects = shown(image)
            items = api.imgToAnns[record["id"]]
            masks = [api.annToMask(item) > 0 if item["segmentation"] else None for item in items]
            expected["crowd flags"] += sum(item["iscrowd"] for item in items)
            expected["objects without mask"] += sum(mask is None for mask in masks)
            expected["object ids"] += len(items)
            assert [label for label, _ in objects] == [names[item["category_id"]] for item in items]
            for (_, mask), truth in zip(objects, masks, strict=True):
                assert truth is None or not truth.any() or np.array_equal(mask, truth)
    for kind in ("crowd flags", "objects without mask", "object ids"):
        assert counts.get(kind, 0) == expected[kind], kind
    assert "polygons" not in counts and "image ids" not in counts


def test_voc_to_cvat(sources: Any, tmp_path: Path) -> None:
    source = sources("voc")
    counts = losses(source, "cvat", tmp_path / "cvat")
    images = images_of(tmp_path / "cvat")
    flags: Counter[str] = Counter()
    for path in sorted((source / "Annotations").glob("*.xml")):
        nodes = list(ElementTree.parse(path).getroot().iter("object"))
        image, file = images[path.stem], source / f"SegmentationObject/{path.stem}.png"
        flags.update(name for node in nodes for name in ("difficult", "truncated") if node.findtext(name) == "1")
        objects = shown(image)
        assert [label for label, _ in objects] == [node.findtext("name") for node in nodes]
        assert [node.get("occluded") for node in image] == [node.findtext("occluded") or "0" for node in nodes]
        numbers = values(file) if file.exists() else np.zeros((1, 1), int)
        for number, (_, mask) in enumerate(objects, 1):
            assert not (numbers == number).any() or np.array_equal(mask, numbers == number)
    for name, count in flags.items():
        assert counts[f"{name} flags"] == count
    assert "occluded flags" not in counts


def test_cityscapes_to_cvat(sources: Any, tmp_path: Path) -> None:
    source = sources("cityscapes")
    losses(source, "cvat", tmp_path / "cvat")
    images = images_of(tmp_path / "cvat")
    for path in sorted(source.glob("gtFine/*/*/*_gtFine_instanceIds.png")):
        numbers = values(path)
        name = path.name.removesuffix("_gtFine_instanceIds.png")
        (image,) = [item for key, item in images.items() if key.startswith(name)]
        expected = [numbers == value for value in np.unique(numbers).tolist() if value >= 24]
        objects = [mask for _, mask in shown(image)]
        assert len(objects) == len(expected)
        assert all(np.array_equal(mask, truth) for mask, truth in zip(objects, expected, strict=True))


def test_camvid_to_cvat(sources: Any, tmp_path: Path) -> None:
    source = sources("camvid")
    losses(source, "cvat", tmp_path / "cvat")
    images = images_of(tmp_path / "cvat")
    files = sorted(source.glob("LabeledApproved_full/*.png")) or sorted(source.glob("*annot/*.png"))
    assert len(files) == len(images)
    for path in files:
        objects = shown(images[path.stem.removesuffix("_L")])
        assert len({label for label, _ in objects}) == len(objects)
        assert (np.sum([mask for _, mask in objects], axis=0) == 1).all()
        stored = values(path)
        if stored.ndim == 2:
            assert all(len(np.unique(stored[mask])) == 1 for _, mask in objects)
