"""VIA's annotations and projects: read as arithmetic and pycocotools say, refused where nothing decides, written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

import segdata
from segdata.errors import InvalidAnnotation
from segdata.formats import FORMATS
from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.helpers.compare import compare
from tests.helpers.refusals import losses, refused
from tests.helpers.samples import SAMPLES, needs_samples

WIDTH, HEIGHT = made.WIDTH, made.HEIGHT


def drawn(shape: dict[str, Any], height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """What a region covers, by pycocotools and arithmetic."""
    y, x = np.mgrid[:height, :width] + 0.5
    if shape["name"] == "polygon":
        ring = np.stack([shape["all_points_x"], shape["all_points_y"]], axis=1).reshape(-1).tolist()
        return np.asarray(coco_mask.decode(coco_mask.frPyObjects([ring], height, width))[:, :, 0], bool)
    if shape["name"] == "rect":
        x0, y0 = shape["x"], shape["y"]
        return np.asarray((x > x0) & (x < x0 + shape["width"]) & (y > y0) & (y < y0 + shape["height"]))
    x, y = x - shape["cx"], y - shape["cy"]
    if shape["name"] == "circle":
        return np.asarray(np.hypot(x, y) <= shape["r"])
    c, s = np.cos(shape["theta"]), np.sin(shape["theta"])
    return np.asarray(((x * c + y * s) / shape["rx"]) ** 2 + ((y * c - x * s) / shape["ry"]) ** 2 <= 1)


def regions_of(path: Path) -> dict[str, list[dict[str, Any]]]:
    document = json.loads(path.read_bytes())
    images = document.get("_via_img_metadata", document)
    return {
        item["filename"]: list(item["regions"].values()) if isinstance(item["regions"], dict) else item["regions"]
        for item in images.values()
    }


# ---------------------------------------------------------------------- read


def test_shapes_of_every_kind_are_drawn(tmp_path: Path) -> None:
    folder = segdata.read(made.via(tmp_path))
    assert [(item.name, item.id) for item in folder.labels.categories] == [("dog", 1), ("cat", 2), ("eye", 3)]
    sample = folder[0]
    expected = [item for item in made.via_regions() if item["shape_attributes"]["name"] not in ("point", "polyline")]
    instances = sample.instances
    assert [folder.labels[int(c)].name for c in instances.category] == [
        item["region_attributes"]["kind"] for item in expected
    ]
    for mask, item in zip(instances.masks.dense(), expected, strict=True):
        assert mask.any() and np.array_equal(mask > 0, drawn(item["shape_attributes"]))
    assert instances.bbox[1].tolist() == [20, 4, 10, 16]


def test_the_first_version_has_splits_and_no_classes(tmp_path: Path) -> None:
    source = made.via_balloons(tmp_path / "source")
    folder = segdata.read(source)
    assert {name: list(members) for name, members in folder.splits.items()} == {"train": [0], "val": [1]}
    assert [item.name for item in folder.labels.categories] == ["object"]
    assert [len(sample.instances) for sample in folder] == [11, 12]
    outcome = run_segdata("convert", source, tmp_path / "pack", "--classes", "balloon", "--json")
    assert outcome.code == 0, outcome.err
    assert [item.name for item in segdata.open(tmp_path / "pack").labels.categories] == ["balloon"]
    refused(source, tmp_path / "two", 4, "no class", "$['a.jpg", options=("--classes", "balloon,kite"))


def with_attributes(root: Path, *attributes: dict[str, Any]) -> Path:
    data = made.photo()
    made.put(root / "a.jpg", data)
    regions = [{**made.via_region(made.via_polygon((1, 1), (9, 1), (5, 8 + n))), "region_attributes": item}
               for n, item in enumerate(attributes)]  # fmt: skip
    made.put(root / "via.json", {f"a.jpg{len(data)}": made.via_record("a.jpg", len(data), regions)})
    return root


CLASSES: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "one": ([{"a": "x"}, {"a": "y"}], ["x", "y"]),
    "both alike": ([{"a": "x", "b": "x"}, {"b": "y", "a": "y"}], ["x", "y"]),
    "one complete": ([{"a": "x", "b": "1"}, {"a": "y", "b": ""}], ["x", "y"]),
    "class": ([{"a": "x", "class": "k"}, {"a": "y", "class": "l"}], ["k", "l"]),
    "check boxes": ([{"a": {"x": True}}, {"a": {"x": False, "y": True}}], ["x", "y"]),
    "numbers": ([{"a": 3}, {"a": "4"}], ["3", "4"]),
}


@pytest.mark.parametrize("case", CLASSES)
def test_the_class_is_the_attribute_that_can_be_one(case: str, tmp_path: Path) -> None:
    attributes, expected = CLASSES[case]
    folder = segdata.read(with_attributes(tmp_path, *attributes))
    assert [folder.labels[int(c)].name for c in folder[0].instances.category] == expected


def test_of_several_attributes_the_declared_values_choose(tmp_path: Path) -> None:
    source = with_attributes(tmp_path / "source", {"a": "x", "b": "1"}, {"a": "y", "b": "1"})
    refused(source, tmp_path / "pack", 4, "which is their class", "a: x, y; b: 1", "--classes a,b,c")
    outcome = run_segdata("convert", source, tmp_path / "pack", "--classes", "y,x", "--json")
    assert outcome.code == 0, outcome.err
    pack = segdata.open(tmp_path / "pack")
    assert [pack.labels[int(c)].name for c in pack[0].instances.category] == ["x", "y"]


SHAPES: dict[str, tuple[dict[str, Any], str]] = {
    "kind": ({"name": "cube"}, "known are rect"),
    "lists": ({"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1, 2]}, "3 x and 2 y"),
    "no list": ({"name": "polygon", "all_points_x": 3, "all_points_y": [1, 2]}, "no list"),
    "two points": (made.via_polygon((1, 1), (2, 2)), "fewer than three"),
    "text": ({"name": "rect", "x": "1", "y": 1, "width": 2, "height": 2}, "'1'"),
    "far": ({"name": "circle", "cx": 1e30, "cy": 1, "r": 2}, "1e+30"),
    "negative": ({"name": "rect", "x": 1, "y": 1, "width": -2, "height": 2}, "ends before"),
}


@pytest.mark.parametrize("case", SHAPES)
def test_a_region_that_is_not_valid_is_refused_or_left_out(case: str, tmp_path: Path) -> None:
    shape, text = SHAPES[case]
    source = made.via(tmp_path / "source")
    document = json.loads((source / "via_project.json").read_bytes())
    next(iter(document["_via_img_metadata"].values()))["regions"][2]["shape_attributes"] = shape
    made.put(source / "via_project.json", document)
    refused(source, tmp_path / "pack", 4, "via_project.json", ".regions[2]", text)
    outcome = run_segdata("convert", source, tmp_path / "pack", "--on-error", "skip", "--json")
    assert outcome.code == 3 and outcome.document["samples"] == 2


def test_hostile_and_damaged_documents_are_refused(tmp_path: Path) -> None:
    source = made.via(tmp_path / "source")
    record = made.via_record("../a.jpg", 1, [])
    made.put(source / "via_project.json", {"_via_img_metadata": {"../a.jpg1": record}})
    refused(source, tmp_path / "pack", 11, "via_project.json", "../a.jpg")
    made.put(
        source / "via_project.json", b'{"_via_img_metadata": {"a": {"filename": "a", "filename": "b", "regions": []}}}'
    )
    refused(source, tmp_path / "pack", 4, "twice")
    made.put(source / "via_project.json", {"_via_img_metadata": {"a": {"filename": "a.jpg", "regions": 3}}})
    refused(source, tmp_path / "pack", 4, "regions of an image are no list")


# ---------------------------------------------------------------------- other formats


@pytest.mark.parametrize("to", [name for name in FORMATS if name != "via"])
def test_what_only_via_says_is_counted(to: str, tmp_path: Path) -> None:
    counts = losses(made.via(tmp_path / "source"), to, tmp_path / "target")
    has_fields = to in ("coco", "labelme")
    expected = Counter({
        "shapes without area: point": 1, "shapes without area: polyline": 1, "circles: masks here": 1,
        "ellipses: masks here": 1, "image field 'file_attributes'": 1, "object field 'age'": int(not has_fields),
        **{f"document field {name!r}": 1 for name in
           ("_via_settings", "_via_attributes", "_via_data_format_version", "_via_image_id_list")},
    })  # fmt: skip
    kinds = ("shapes without", "circles", "ellipses", "image field", "object field", "document field")
    assert {kind: count for kind, count in counts.items() if kind.startswith(kinds)} == +expected
    if to == "coco":
        assert counts == +expected


@pytest.fixture(scope="module", params=["drawn", "real"])
def coco(request: pytest.FixtureRequest, drawing: Callable[[str], Path]) -> Path:
    if request.param == "real" and not SAMPLES.is_dir():
        pytest.skip("no sample data (set SEGDATA_SAMPLES to a folder that has it)")
    return drawing("coco") if request.param == "drawn" else SAMPLES / "coco"


def test_coco_to_via(coco: Path, tmp_path: Path) -> None:
    counts = losses(coco, "via", tmp_path / "via")
    regions: dict[str, list[dict[str, Any]]] = {}
    for path in (tmp_path / "via").rglob("via_region_data.json"):
        regions |= regions_of(path)
        for key, item in json.loads(path.read_bytes()).items():
            size = (path.parent / item["filename"]).stat().st_size
            assert (key, item["size"]) == (f"{item['filename']}{size}", size)
    differ = crowds = objects = 0
    for path in sorted((coco / "annotations").glob("instances_*.json")):
        api = COCO(path)
        names = {item["id"]: item["name"] for item in api.dataset["categories"]}
        for image in api.dataset["images"]:
            items = api.imgToAnns[image["id"]]
            written = regions[Path(image["file_name"]).name]
            assert [item["region_attributes"]["class"] for item in written] == [names[i["category_id"]] for i in items]
            for region, item in zip(written, items, strict=True):
                crowds, objects = crowds + item["iscrowd"], objects + 1
                truth = api.annToMask(item) > 0
                if region["shape_attributes"]["name"] == "polygon":
                    mask = drawn(region["shape_attributes"], image["height"], image["width"])
                    differ += not np.array_equal(mask, truth)
    assert counts.get("masks of objects that their outline does not give back", 0) == differ
    assert differ <= 0.01 * objects
    assert counts.get("crowd flags", 0) == crowds and counts["object ids"] == objects


def test_holes_and_parts_are_one_outline(tmp_path: Path) -> None:
    mask = np.zeros((1, HEIGHT, WIDTH), bool)
    mask[0, 3:15, 3:20] = True
    mask[0, 6:9, 6:12] = False
    mask[0, 20:25, 25:39] = True
    sample = segdata.Sample.build("a", Image.new("RGB", (WIDTH, HEIGHT)), masks=mask, category=["x"], labels=["x"])
    segdata.write([sample], tmp_path / "pack", labels=["x"])
    counts = losses(tmp_path / "pack", "via", tmp_path / "via")
    (region,) = next(iter(regions_of(next((tmp_path / "via").rglob("via_region_data.json"))).values()))
    assert np.array_equal(drawn(region["shape_attributes"]), mask[0])
    assert not any(kind.startswith("masks") for kind in counts)


# ---------------------------------------------------------------------- real data


@needs_samples
def test_real_data_comes_back(tmp_path: Path) -> None:
    source = SAMPLES / "formats/via"
    report = segdata.convert(source, tmp_path / "pack", on_error="skip")
    pack = segdata.open(tmp_path / "pack")
    assert [item.name for item in pack.labels.categories] == ["kudzu"]
    remarks = report.problems["remarks"]
    assert "regions without class: 'kudzu', the only category" in remarks
    assert "attribute of regions taken as their class: 'inseto'" in remarks
    for sample in list(pack)[:3]:
        split = "train" if sample.key in ("1", "10", "11") else "val"
        truth = regions_of(source / f"{split}/via_region_data.json")[f"{sample.key.rpartition('/')[2]}.jpg"]
        for mask, region in zip(sample.instances.masks.dense(), truth, strict=True):
            assert np.array_equal(mask > 0, drawn(region["shape_attributes"], sample.height, sample.width))
    whole = tmp_path / "whole"
    made.put(whole / "val/via_region_data.json", (source / "val/via_region_data.json").read_bytes())
    for path in (source / "val").glob("*.jpg"):
        made.put(whole / "val" / path.name, path.read_bytes())
    segdata.convert(whole, tmp_path / "part")
    segdata.convert(tmp_path / "part", tmp_path / "back", to="via")
    assert compare("via", whole, tmp_path / "back") == []


def test_what_says_nothing_of_its_images_needs_them(tmp_path: Path) -> None:
    source = made.via(tmp_path / "source")
    (source / "ä 0.jpg").unlink()
    refused(source, tmp_path / "pack", 4, "not on disk")
    with pytest.raises(InvalidAnnotation, match="size of the image is not known"):
        segdata.convert(source, tmp_path / "none", images="none")
