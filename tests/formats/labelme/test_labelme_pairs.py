"""Labelme into any format and back: what arrives, and what is counted, judged without segdata's readers."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from segdata.formats import FORMATS
from tests.helpers import made
from tests.helpers.refusals import losses
from tests.helpers.samples import SAMPLES

REAL = {
    "coco": "coco",
    "voc": "voc/VOCdevkit/VOC2012",
    "cityscapes": "peer_datumaro/cityscapes_dataset/train_dataset",
    "camvid": "camvid/segnet/CamVid",
}


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


def drawn(document: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Label and mask of each object of a written document, by pycocotools and Pillow; shapes of a group are one."""
    height, width = document["imageHeight"], document["imageWidth"]
    masks: dict[Any, tuple[str, np.ndarray]] = {}
    for number, shape in enumerate(document["shapes"]):
        points = shape["points"]
        mask = np.zeros((height, width), bool)
        if shape["shape_type"] == "mask":
            (x0, y0), (x1, y1) = np.array(points).astype(int)
            mask[y0 : y1 + 1, x0 : x1 + 1] = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape["mask"]))))
        elif shape["shape_type"] == "rectangle" or len(points) > 2:
            ring = np.array(points).reshape(-1).tolist()
            mask = coco_mask.decode(coco_mask.frPyObjects([ring], height, width))[:, :, 0].astype(bool)
        key = f"alone {number}" if shape["group_id"] is None else (shape["label"], shape["group_id"])
        _, before = masks.setdefault(key, (shape["label"], mask))
        masks[key] = shape["label"], before | mask
    yield from masks.values()


def written(root: Path) -> dict[str, dict[str, Any]]:
    documents = {path.stem: json.loads(path.read_bytes()) for path in root.rglob("*.json") if path.name[0] != "."}
    for path in root.rglob("*.json"):
        if path.name[0] != ".":
            assert (path.parent / documents[path.stem]["imagePath"]).is_file()
    return documents


# ---------------------------------------------------------------------- from Labelme


@pytest.mark.parametrize("to", [name for name in FORMATS if name != "labelme"])
def test_what_only_labelme_says_is_counted(to: str, tmp_path: Path) -> None:
    source = made.labelme(tmp_path / "source")
    counts = losses(source, to, tmp_path / "target")
    expected: Counter[str] = Counter()
    for path in source.glob("*.json"):
        document = json.loads(path.read_bytes())
        expected.update(f"image field {name!r}" for name in ("flags", "checked") if document.get(name))
        groups = set()
        for shape in document["shapes"]:
            kind = shape.get("shape_type", "polygon")
            if kind in ("point", "line", "linestrip"):
                expected[f"shapes without area: {kind}"] += 1
                continue
            expected["circles: masks here"] += kind == "circle"
            if to not in ("coco", "via"):  # which have attributes
                expected.update(f"object field {name!r}" for name in ("flags", "description") if shape.get(name))
            if shape["group_id"] is not None:
                groups.add((shape["label"], shape["group_id"]))
        expected["numbers of groups"] += len(groups)
    expected += Counter()
    kinds = ("image field", "shapes without", "circles", "object field", "numbers of groups")
    assert {kind: count for kind, count in counts.items() if kind.startswith(kinds)} == expected
    if to == "coco":
        assert counts == expected


def test_labelme_to_coco(tmp_path: Path) -> None:
    source = made.labelme(tmp_path / "source")
    losses(source, "coco", tmp_path / "coco")
    api = COCO(next((tmp_path / "coco/annotations").glob("*.json")))
    image = next(item for item in api.dataset["images"] if item["file_name"] == "photo 0.jpg")
    names = {item["id"]: item["name"] for item in api.dataset["categories"]}
    records = api.imgToAnns[image["id"]]
    assert [names[item["category_id"]] for item in records] == ["cat, wild", "dog", "dog", "dog"]
    assert [len(item["segmentation"]) for item in records][:2] == [2, 1]
    assert records[0]["attributes"] == {"description": "left half"}
    assert records[1]["attributes"] == {"flags": {"hairy": True, "old": False}}
    assert records[1]["segmentation"] == [[20.5, 4, 30, 4, 30, 20, 20.5, 20]]


def test_labelme_to_voc_keeps_background_and_void(tmp_path: Path) -> None:
    source = made.labelme_splits(tmp_path / "source")
    document = json.loads((source / "train/json/a.json").read_bytes())
    made.put(source / "train/json/b.json", document)
    (source / "train/images/a.png").rename(source / "train/images/b.png")
    made.put(source / "train/json/b.json", {**document, "imagePath": "../images/b.png"})
    (source / "train/json/a.json").unlink()
    counts = losses(source, "voc", tmp_path / "voc")
    assert not any("pixels" in kind for kind in counts)
    classes = values(tmp_path / "voc/SegmentationClass/b.png")
    expected = np.zeros((made.HEIGHT, made.WIDTH), int)
    expected[2:20, 2:30] = 8  # cat
    expected[10:28, 10:20] = 255
    expected[4:8, 4:8] = 0
    assert np.array_equal(classes, expected)


# ---------------------------------------------------------------------- into Labelme


def test_coco_to_labelme(sources: Any, tmp_path: Path) -> None:
    source = sources("coco")
    counts = losses(source, "labelme", tmp_path / "labelme")
    documents = written(tmp_path / "labelme")
    expected: Counter[str] = Counter()
    for path in sorted((source / "annotations").glob("instances_*.json")):
        api = COCO(path)
        names = {item["id"]: item["name"] for item in api.dataset["categories"]}
        for image in api.dataset["images"]:
            objects = []
            for item in api.imgToAnns[image["id"]]:
                mask = api.annToMask(item).astype(bool) if item["segmentation"] else None
                expected["crowd flags"] += item["iscrowd"]
                expected["objects without mask"] += mask is None
                if mask is not None and mask.any():
                    objects.append((names[item["category_id"]], mask))
                    expected["areas as annotated"] += item["area"] != mask.sum()
            shown = list(drawn(documents[Path(image["file_name"]).stem]))
            assert [label for label, _ in shown if label != "__ignore__"][: len(objects)] == [
                n for n, _ in objects
            ] or len(shown) > len(objects)
            if len(shown) == len(objects):
                for (_, mask), (_, truth) in zip(shown, objects, strict=True):
                    assert np.array_equal(mask, truth)
            expected["object ids"] += len(api.imgToAnns[image["id"]])
            expected["image ids"] += 1
    for kind in ("crowd flags", "objects without mask", "object ids", "image ids"):
        assert counts.get(kind, 0) == expected[kind], kind
    assert "polygons" not in counts


def test_voc_to_labelme(sources: Any, tmp_path: Path) -> None:
    source = sources("voc")
    counts = losses(source, "labelme", tmp_path / "labelme")
    documents = written(tmp_path / "labelme")
    rows = (tmp_path / "labelme/labels.txt").read_text().splitlines()
    assert rows[:2] == ["__ignore__", "_background_"]
    seen = unexplained = 0
    for path in sorted((source / "SegmentationClass").glob("*.png")):
        classes, object_file = values(path), source / f"SegmentationObject/{path.name}"
        objects = values(object_file) if object_file.exists() else np.zeros_like(classes)
        shown = list(drawn(documents[path.stem]))
        labels = [
            node.findtext("name") for node in ElementTree.parse(source / f"Annotations/{path.stem}.xml").iter("object")
        ]
        assert [label for label, _ in shown if label[0] != "_"] == labels
        for number, (_, mask) in enumerate(shown[: len(labels)], 1):
            assert np.array_equal(mask, objects == number) or not (objects == number).any()
        canvas = np.zeros_like(classes)
        for label, mask in shown:
            canvas[mask] = 255 if label == "__ignore__" else rows.index(label) - 1
        unexplained += int((canvas != classes).sum())
        seen += 1
    assert seen and counts.get("label map pixels that no object explains", 0) == unexplained
    assert "void pixels" not in counts


def test_cityscapes_to_labelme(sources: Any, tmp_path: Path) -> None:
    source = sources("cityscapes")
    counts = losses(source, "labelme", tmp_path / "labelme")
    documents = written(tmp_path / "labelme")
    crowds = 0
    for path in sorted(source.glob("gtFine/*/*/*_gtFine_instanceIds.png")):
        numbers = values(path)
        name = path.name.removesuffix("_gtFine_instanceIds.png")
        (document,) = [item for key, item in documents.items() if key.startswith(name)]
        expected = [numbers == value for value in np.unique(numbers).tolist() if value >= 24]
        crowds += sum(24 <= value < 1000 for value in np.unique(numbers).tolist())
        shown = [mask for _, mask in drawn(document)]
        assert len(shown) == len(expected)
        assert all(np.array_equal(mask, truth) for mask, truth in zip(shown, expected, strict=True))
    assert counts.get("crowd flags", 0) == crowds


def test_camvid_to_labelme(sources: Any, tmp_path: Path) -> None:
    source = sources("camvid")
    losses(source, "labelme", tmp_path / "labelme")
    documents = written(tmp_path / "labelme")
    rows = (tmp_path / "labelme/labels.txt").read_text().splitlines()
    files = sorted(source.glob("LabeledApproved_full/*.png")) or sorted(source.glob("*annot/*.png"))
    assert len(files) == len(documents)
    for path in files:
        stored = values(path)
        document = documents[path.stem.removesuffix("_L")]
        shown = list(drawn(document))
        assert len({label for label, _ in shown}) == len(shown) and {label for label, _ in shown} <= set(rows)
        covered = np.zeros(stored.shape[:2], int)
        for _, mask in shown:
            covered += mask
            inside = stored[mask].reshape(mask.sum(), -1)
            assert (inside == inside[0]).all() or stored.ndim == 3
        assert (covered == 1).all()
