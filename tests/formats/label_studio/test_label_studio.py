"""Label Studio's exports: read as its SDK and arithmetic say, refused where nothing decides, written."""

from __future__ import annotations

import json
import math
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
from segdata.formats.label_studio import brush
from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.helpers.compare import compare
from tests.helpers.refusals import losses, refused, remarks_of
from tests.helpers.samples import SAMPLES, needs_samples

WIDTH, HEIGHT = made.WIDTH, made.HEIGHT


def corners(value: dict[str, Any], height: int, width: int) -> list[tuple[float, float]]:
    """The corners of a rectangle as Label Studio's SDK turns it for YOLO's oriented boxes."""
    x, y = value["x"] / 100 * width, value["y"] / 100 * height
    w, h = value["width"] / 100 * width, value["height"] / 100 * height
    turn = math.radians(value["rotation"])
    cos, sin = math.cos(turn), math.sin(turn)
    return [
        (x, y),
        (x + w * cos, y + w * sin),
        (x + w * cos - h * sin, y + w * sin + h * cos),
        (x - h * sin, y + h * cos),
    ]


def alpha_of(rle: list[int]) -> np.ndarray:
    """The fourth of four values of a stroke, read bit by bit."""
    bits = "".join(f"{byte:08b}" for byte in rle)
    at = 0

    def read(size: int) -> int:
        nonlocal at
        at += size
        return int(bits[at - size : at], 2)

    count, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < count:
        is_run = read(1)
        length = 1 + read(sizes[read(2)])
        values += [read(word)] * length if is_run else [read(word) for _ in range(length)]
    return np.array(values, np.uint8)[3::4]


def drawn(region: dict[str, Any], height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """What a region covers, by pycocotools and arithmetic."""
    kind, value = region["type"].removesuffix("labels"), region["value"]
    if kind == "brush":
        return alpha_of(value["rle"]).reshape(height, width) > 0
    if kind == "ellipse":
        y, x = np.mgrid[:height, :width] + 0.5
        x, y = x - value["x"] * width / 100, y - value["y"] * height / 100
        turn = math.radians(value["rotation"])
        along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
        inside = np.hypot(along / (value["radiusX"] * width / 100), across / (value["radiusY"] * height / 100))
        return np.asarray(inside <= 1)
    if kind == "rectangle":
        points = corners(value, height, width)
    else:
        points = [(x * width / 100, y * height / 100) for x, y in value["points"]]
    ring = np.array(points).reshape(-1).tolist()
    return np.asarray(coco_mask.decode(coco_mask.frPyObjects([ring], height, width))[:, :, 0], bool)


WITH_AREA = [item for item in made.regions() if item["type"] not in ("keypointlabels", "labels", "relation")]


def tasks_of(folder: Path) -> list[dict[str, Any]]:
    return [task for path in sorted(folder.rglob("tasks.json")) for task in json.loads(path.read_bytes())]


# ---------------------------------------------------------------------- strokes


ONE = [0, 0, 0, 4, 57, 27, 252, 127, 224]
"""What `mask2rle` of label-studio-sdk 2.1.2 gives for one pixel that is set."""

BAND = [0, 3, 169, 128, 57, 27, 255, 234, 95, 0, 253, 75, 255, 255, 255, 252, 3, 234, 95, 128, 0]
"""What it gives for the rows 50 to 99 of 200 × 300 pixels: runs that are longer than the longest that can be written."""


def test_strokes_are_those_of_the_sdk() -> None:
    assert list(brush.encode(np.ones((1, 1)))) == ONE
    mask = np.zeros((200, 300), bool)
    mask[50:100] = True
    assert list(brush.encode(mask)) == BAND
    assert np.array_equal(brush.decode(bytes(BAND), 200, 300) > 0, mask)


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 1])
def test_strokes_come_back_and_are_read_bit_by_bit(share: float) -> None:
    mask = np.random.default_rng(3).random((61, 47)) < share
    data = brush.encode(mask)
    assert np.array_equal(brush.decode(data, 61, 47) > 0, mask)
    assert np.array_equal(alpha_of(list(data)).reshape(61, 47) > 0, mask)


def test_a_stroke_of_single_values_is_where_its_alpha_is() -> None:
    alpha = made.brush_alpha()
    assert np.array_equal(brush.decode(bytes(made.brush_rle(alpha)), HEIGHT, WIDTH), alpha)


@pytest.mark.parametrize(
    ("rle", "text"),
    [
        ("abc", "no list of bytes"),
        ([1, 256], "no list of bytes"),
        ([], "cut short"),
        (ONE, "of another picture"),
        (made.brush_rle(made.brush_alpha())[:-200], "cut short"),
        ([*(HEIGHT * WIDTH * 4).to_bytes(4, "big"), 57, 27, 255, 255, 255, 255], "longer than|cut short"),
    ],
)
def test_a_stroke_that_is_not_valid_is_refused(rle: Any, text: str) -> None:
    with pytest.raises(InvalidAnnotation, match=text):
        brush.decode(brush.to_bytes(rle), HEIGHT, WIDTH)


# ---------------------------------------------------------------------- read


def test_shapes_of_every_kind_are_drawn(tmp_path: Path) -> None:
    folder = segdata.read(made.label_studio(tmp_path))
    assert [(item.name, item.id, item.color) for item in folder.labels.categories] == [
        ("dog", 1, (255, 0, 16)), ("cat", 2, None)
    ]  # fmt: skip
    instances = folder[0].instances
    names = [folder.labels[int(c)].name for c in instances.category]
    assert names == ["cat", "dog", "dog", "cat", "cat", "dog"]
    for mask, region in zip(instances.masks.dense(), WITH_AREA, strict=True):
        assert mask.any() and np.array_equal(mask > 0, drawn(region))
    assert instances.bbox[1].tolist() == [WIDTH * 0.5, HEIGHT * 0.1, WIDTH * 0.25, HEIGHT * 0.5]
    assert np.isnan(instances.bbox[2]).all() and np.isnan(instances.score).all()


def test_one_annotation_of_an_image_is_read(tmp_path: Path) -> None:
    source = made.label_studio(tmp_path / "source")
    folder = segdata.read(source)
    assert {sample.key: sample.has_instances for sample in folder} == {
        "ä 0": True, "b": True, "sub/c": True, "d": False
    }  # fmt: skip
    by_key = {sample.key: sample.instances for sample in folder}
    assert [folder.labels[int(c)].name for c in by_key["b"].category] == ["dog"]  # of the one marked as ground truth
    assert len(by_key["sub/c"]) == 0  # its prediction is not read
    remarks = remarks_of(source, tmp_path / "pack")
    assert remarks["predictions are not read: tasks have annotations"] == 1
    assert remarks["region with several labels: the first is its category"] == 1
    assert sum(count for kind, count in remarks.items() if kind.startswith("several annotations")) == 1


def test_predictions_alone_are_read_with_scores(tmp_path: Path) -> None:
    folder = segdata.read(made.label_studio_predictions(tmp_path))
    assert {name: list(members) for name, members in folder.splits.items()} == {"train": [0], "val": [1]}
    assert folder[0].instances.score.tolist() == [0.125, 0.25, 0.25, 0.25, 0.25, 0.25]
    assert folder[1].instances.score.tolist() == [0.125, 0.75, 0.75, 0.75, 0.75, 0.75]


def with_task(root: Path, image: str, **more: Any) -> Path:
    box = made.region("rectanglelabels", "x", {"x": 0, "y": 0, "width": 50, "height": 50, "rotation": 0})
    made.put(root / "export.json", [made.task(1, image, {"result": [box]}, **more)])
    return root


ADDRESSES = {
    "a.jpg": "a.jpg",
    "/data/upload/12/0a1b2c3d-a.jpg": "a.jpg",
    "/data/local-files/?d=data/photos/a.jpg": "photos/a.jpg",
    "https://example.org/p/q/a%20b.jpg?X-Amz=1": "images/a b.jpg",
    "s3://bucket/photos/a.jpg": "photos/a.jpg",
    "C:\\data\\a.jpg": "a.jpg",
    "/storage-data/uploaded/?filepath=upload/3/x.jpg": "0a1b2c3d-y.jpg",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_image_is_the_longest_end_of_the_address_that_is_a_file(address: str, tmp_path: Path) -> None:
    more = {"file_upload": "0a1b2c3d-y.jpg"} if "uploaded" in address else {}
    source = with_task(tmp_path, address, **more)
    made.put(source / ADDRESSES[address], made.photo())
    assert [sample.file for sample in segdata.read(source)] == [ADDRESSES[address]]


def test_images_may_lie_elsewhere_or_nowhere(tmp_path: Path) -> None:
    source = with_task(tmp_path / "source", "https://example.org/a.jpg")
    refused(source, tmp_path / "pack", 4, "not on disk", "--images-dir")
    made.put(tmp_path / "photos/a.jpg", made.photo())
    outcome = run_segdata("convert", source, tmp_path / "pack", "--images-dir", tmp_path / "photos", "--json")
    assert outcome.code == 0, outcome.err
    assert segdata.open(tmp_path / "pack")[0].encoded == made.photo()
    segdata.convert(source, tmp_path / "none", images="none")
    assert segdata.open(tmp_path / "none")[0].instances.masks.areas.tolist() == [HEIGHT * WIDTH // 4]


Edit = Callable[[dict[str, Any]], object]

REFUSED: dict[str, tuple[Edit, int, str]] = {
    "two points": (lambda item: item["value"].update(points=[[1, 1], [2, 2]]), 4, "fewer than three"),
    "no points": (lambda item: item["value"].update(points=[[1, 1], [2]]), 4, "no list of [x, y]"),
    "text": (lambda item: item["value"].update(points=[["1", 1], [2, 2], [3, 3]]), 4, "'1'"),
    "far": (lambda item: item["value"].update(points=[[1e30, 1], [2, 2], [3, 3]]), 4, "1e+30"),
    "no value": (lambda item: item.update(value=None), 4, "no value"),
    "no size": (lambda item: item.pop("original_width"), 4, "how large its picture is"),
    "other size": (lambda item: item.update(original_width=WIDTH + 1), 4, "another size"),
    "turned": (lambda item: item.update(image_rotation=90), 4, "image_rotation is 90"),
    "label": (lambda item: item["value"].pop("polygonlabels"), 4, "no label"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_region_that_is_not_valid_is_refused_or_left_out(case: str, tmp_path: Path) -> None:
    edit, code, text = REFUSED[case]
    source = made.label_studio(tmp_path / "source")
    tasks = json.loads((source / "project-1.json").read_bytes())
    results = tasks[0]["annotations"][1]["result"]
    results.append(made.regions()[0])
    edit(results[-1])
    made.put(source / "project-1.json", tasks)
    refused(source, tmp_path / "pack", code, "project-1.json", f"$[0].annotations[1].result[{len(results) - 1}]", text)
    outcome = run_segdata("convert", source, tmp_path / "pack", "--on-error", "skip", "--json")
    assert outcome.code == 3 and outcome.document["samples"] == 4 and outcome.document["instances"] == 7


def test_hostile_and_damaged_documents_are_refused(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "pack"
    made.put(source / "a.jpg", made.photo())
    refused(with_task(source, "/data/local-files/?d=../a.jpg"), target, 11, "../a.jpg", "export.json")
    refused(with_task(source, "data:image/png;base64,AAAA"), target, 4, "in the document")
    made.put(source / "export.json", [made.task(1, "a.jpg"), made.task(2, "/x/a.jpg")])
    refused(source, target, 4, "two tasks are about one image", "$[1]")
    made.put(source / "export.json", [made.task(1, "a.jpg")])
    made.put(source / "later.json", [made.task(1, "a.jpg")])
    refused(source, target, 4, "two tasks are about one image", "later.json", "also in export.json, $[0]")
    (source / "later.json").unlink()
    made.put(source / "export.json", [{**made.task(1, "a.jpg"), "data": {"x": "a.jpg", "y": "b.jpg"}}])
    refused(source, target, 4, "which image a task is about", "images are x, y")
    made.put(source / "export.json", [{**made.task(1, "a.jpg"), "annotations": [7]}])
    refused(source, target, 4, "annotations of a task are no list")
    made.put(source / "export.json", b'[{"data": {"image": "a.jpg", "image": "b.jpg"}, "annotations": []}]')
    refused(source, target, 4, "twice")
    made.put(source / "label_config.xml", '<!DOCTYPE a [<!ENTITY b "c">]><View>&b;</View>')
    refused(with_task(source, "a.jpg"), target, 11, "label_config.xml")


# ---------------------------------------------------------------------- other formats


@pytest.mark.parametrize("to", [name for name in FORMATS if name != "label-studio"])
def test_what_only_label_studio_says_is_counted(to: str, tmp_path: Path) -> None:
    counts = losses(made.label_studio(tmp_path / "source"), to, tmp_path / "target")
    has_fields = to in ("coco", "labelme", "via")
    expected = Counter({
        "results without area: keypointlabels": 1, "results without area: relation": 1, "cancelled annotations": 1,
        "further annotations of an image": 1, "further predictions of an image": 1, "ellipses: masks here": 1,
        "image field 'caption'": 1, "object field 'meta'": int(not has_fields), "further labels of a region": 1,
    })  # fmt: skip
    kinds = ("results", "cancelled", "further", "ellipses", "image field", "object field")
    assert {kind: count for kind, count in counts.items() if kind.startswith(kinds)} == +expected


@pytest.fixture(scope="module", params=["drawn", "real"])
def coco(request: pytest.FixtureRequest, drawing: Callable[[str], Path]) -> Path:
    if request.param == "real" and not SAMPLES.is_dir():
        pytest.skip("no sample data (set SEGDATA_SAMPLES to a folder that has it)")
    return drawing("coco") if request.param == "drawn" else SAMPLES / "coco"


def test_coco_to_label_studio(coco: Path, tmp_path: Path) -> None:
    counts = losses(coco, "label-studio", tmp_path / "target")
    results = {Path(task["data"]["image"]).name: task["annotations"] for task in tasks_of(tmp_path / "target")}
    crowds = objects = strokes = 0
    for path in sorted((coco / "annotations").glob("instances_*.json")):
        api = COCO(path)
        names = {item["id"]: item["name"] for item in api.dataset["categories"]}
        for image in api.dataset["images"]:
            items = api.imgToAnns[image["id"]]
            ((annotation),) = results[Path(image["file_name"]).name]
            written = annotation["result"]
            assert [item["value"][item["type"]] for item in written] == [[names[i["category_id"]]] for i in items]
            for region, item in zip(written, items, strict=True):
                crowds, objects = crowds + item["iscrowd"], objects + 1
                assert np.array_equal(drawn(region, image["height"], image["width"]), api.annToMask(item) > 0)
                strokes += region["type"] == "brushlabels" and isinstance(item["segmentation"], list)
    assert counts.get("polygons", 0) == strokes
    assert counts.get("crowd flags", 0) == crowds and counts["object ids"] == objects


def test_what_is_written_is_what_label_studio_imports(tmp_path: Path) -> None:
    mask = np.zeros((1, HEIGHT, WIDTH), bool)
    mask[0, 3:15, 3:20] = True
    mask[0, 6:9, 6:12] = False
    image = Image.new("RGB", (WIDTH, HEIGHT))
    sample = segdata.Sample.build("a b/c", image, masks=mask, category=["x"], labels=["x"], score=[0.5])
    segdata.write([sample], tmp_path / "pack", labels=["x"])
    losses(tmp_path / "pack", "label-studio", tmp_path / "target")
    (task,) = tasks_of(tmp_path / "target")
    (file,) = (path.relative_to(tmp_path / "target").as_posix() for path in (tmp_path / "target").rglob("*.png"))
    assert task["data"]["image"] == f"/data/local-files/?d={file}" and task["annotations"] == []
    (region,) = task["predictions"][0]["result"]
    assert (region["score"], region["type"], region["value"]["format"]) == (0.5, "brushlabels", "rle")
    assert np.array_equal(drawn(region), mask[0])
    config = next((tmp_path / "target").rglob("label_config.xml")).read_text()
    assert '<Image name="image" value="$image"' in config
    assert f'<BrushLabels name="{region["from_name"]}" toName="{region["to_name"]}"' in config
    assert '<Label value="x"' in config


# ---------------------------------------------------------------------- real data


@needs_samples
@pytest.mark.parametrize(
    ("name", "turned"),
    [
        ("test_export_coco/data", 0), ("test_export_yolo/data", 0), ("test_export_yolo/data_polygons", 0),
        ("test_export_yolo/data_keypoints", 0), ("test_export_yolo/data_obb", 25),
    ],
)  # fmt: skip
def test_real_data_comes_back(name: str, turned: int, tmp_path: Path) -> None:
    path = SAMPLES / f"formats/label_studio/{name}.json"
    source = tmp_path / "source"
    made.put(source / "data.json", path.read_bytes())
    made.put(
        source / "label_config.xml", path.with_name(path.stem.replace("data", "label_config") + ".xml").read_bytes()
    )
    segdata.convert(source, tmp_path / "pack", images="none")
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="label-studio")
    assert compare("label-studio", source, tmp_path / "back") == []
    tasks = json.loads(path.read_bytes())
    for task, sample in zip(tasks, segdata.open(tmp_path / "pack"), strict=True):
        results = [
            item for item in task["annotations"][0]["result"] if item["type"] in ("rectanglelabels", "polygonlabels")
        ]
        for mask, region in zip(sample.instances.masks.dense(), results, strict=True):
            assert np.array_equal(mask > 0, drawn(region, sample.height, sample.width))
            turned -= bool(region["value"].get("rotation"))
    assert turned == 0
