"""Any format into any other: what arrives and what is counted as lost, judged without segdata's annotations readers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from tests.helpers.command import Outcome, run_segdata, tree
from tests.helpers.samples import SAMPLES

FORMATS = ("coco", "voc", "cityscapes", "camvid")

CORNERS = ("xmin", "ymin", "xmax", "ymax")
FLAGS = ("difficult", "truncated", "occluded")

VOC = [
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
]  # fmt: skip

CAMVID = [
    "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
    "Unlabelled",
]  # fmt: skip
"""The categories of SegNet's copy by index."""

CITYSCAPES_OF_COCO = {
    "person": 24, "bicycle": 33, "car": 26, "motorcycle": 32, "bus": 28, "train": 31, "truck": 27, "traffic light": 19,
}  # fmt: skip
"""COCO's category → the labelId of the same thing."""

CITYSCAPES_OF_CAMVID = {
    "Sky": 23, "Building": 11, "Pole": 17, "Column_Pole": 17, "Road": 7, "Sidewalk": 8, "Tree": 21, "SignSymbol": 20,
    "Fence": 13, "Car": 26, "Pedestrian": 24, "Wall": 12, "Bridge": 15, "Tunnel": 16, "Train": 31, "TrafficLight": 19,
    "MotorcycleScooter": 32,
}  # fmt: skip
"""CamVid's category → the labelId of the same thing."""

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


def crossed(source: Path, to: str, target: Path) -> tuple[dict[str, Any], Path]:
    outcome = run_segdata("convert", source, target, "--to", to, "--allow-loss", "--json")
    assert outcome.code == 0, outcome.err
    return outcome.document["problems"], target


def count(findings: dict[str, Any], kind: str) -> int:
    return int(findings["losses"].get(kind, {"count": 0})["count"])


def values(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture).astype(np.int64)


def label_map_names(voc: Path) -> list[str]:
    """The categories of a written VOC folder by index."""
    return [line.split(":")[0] for line in (voc / "labelmap.txt").read_text().splitlines()[1:]]


def label_colors(camvid: Path) -> dict[str, tuple[int, ...]]:
    rows = [line.split("\t") for line in (camvid / "label_colors.txt").read_text().splitlines()]
    return {row[1]: tuple(int(value) for value in row[0].split()) for row in rows}


def renamed(cityscapes: Path) -> dict[str, str]:
    """Name in the source → name in a written Cityscapes folder."""
    return {old: new for new, old in map(str.split, (cityscapes / "names.tsv").read_text().splitlines())}


def corners(node: ElementTree.Element) -> list[float]:
    """The box of an object in a VOC annotation."""
    return [float(node.findtext(f"bndbox/{tag}") or "nan") for tag in CORNERS]


def numbered(numbers: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Values of a Cityscapes `instanceIds` map that are objects or groups of a thing's category, with their masks."""
    return [(value, numbers == value) for value in np.unique(numbers).tolist() if value >= 24]


def documents(root: Path) -> list[COCO]:
    return [COCO(path) for path in sorted((root / "annotations").glob("instances_*.json"))]


def coco_images(root: Path) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]], list[np.ndarray], dict[int, str]]]:
    """Image record, annotations in the document's order, their masks, category names."""
    for api in documents(root):
        names = {item["id"]: item["name"] for item in api.dataset["categories"]}
        for image in api.dataset["images"]:
            records = api.imgToAnns[image["id"]]
            blank = np.zeros((image["height"], image["width"]), bool)
            masks = [api.annToMask(item).astype(bool) if item["segmentation"] else blank for item in records]
            yield image, records, masks, names


def painted(
    records: list[dict[str, Any]], masks: list[np.ndarray], shape: tuple[int, int]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Numbers 1 … N painted crowds first, then large to small; and what stays visible of each."""
    canvas = np.zeros(shape, np.int64)
    for index in sorted(range(len(masks)), key=lambda k: (not records[k]["iscrowd"], -int(masks[k].sum()))):
        canvas[masks[index]] = index + 1
    return canvas, [canvas == index + 1 for index in range(len(masks))]


# ---------------------------------------------------------------------- from COCO


def test_coco_to_voc(sources: Any, tmp_path: Path) -> None:
    source = sources("coco")
    findings, target = crossed(source, "voc", tmp_path / "voc")
    rows = label_map_names(target)
    hidden, ious, objects, crowds = 0, [], 0, 0
    for image, records, masks, names in coco_images(source):
        key = image["file_name"].rpartition(".")[0]
        canvas, visible = painted(records, masks, (image["height"], image["width"]))
        root = ElementTree.parse(target / f"Annotations/{key}.xml").getroot()
        boxes = [corners(node) for node in root.iter("object")]
        assert [item.findtext("name") for item in root.iter("object")] == [
            names[item["category_id"]] for item in records
        ]
        for box, item in zip(boxes, records, strict=True):
            x, y, w, h = item["bbox"]
            assert box == pytest.approx([x + 1, y + 1, x + w, y + h], abs=1e-9)
        if records and not any(mask.any() for mask in masks):
            continue
        assert np.array_equal(values(target / f"SegmentationObject/{key}.png"), canvas)
        classes = values(target / f"SegmentationClass/{key}.png")
        expected = np.zeros_like(canvas)
        for item, seen in zip(records, visible, strict=True):
            expected[seen] = rows.index(names[item["category_id"]])
        assert np.array_equal(classes, expected)
        for mask, seen in zip(masks, visible, strict=True):
            if seen.any() and not np.array_equal(mask, seen):
                hidden += 1
                ious.append((mask & seen).sum() / (mask | seen).sum())
        objects += len(records)
        crowds += sum(item["iscrowd"] for item in records)
    assert hidden == count(findings, "objects partly hidden by others in a map of numbers") > 0
    iou = findings["losses"]["objects partly hidden by others in a map of numbers"]["iou"]
    assert (iou["sum"], iou["min"]) == pytest.approx((sum(ious), min(ious)))
    assert count(findings, "crowd flags") == crowds
    assert count(findings, "object ids") == objects


def test_coco_to_camvid_and_cityscapes(sources: Any, tmp_path: Path) -> None:
    source = sources("coco")
    findings, camvid = crossed(source, "camvid", tmp_path / "camvid")
    _, cityscapes = crossed(source, "cityscapes", tmp_path / "cityscapes")
    color, new_name, ids = label_colors(camvid), renamed(cityscapes), CITYSCAPES_OF_COCO
    objects = 0
    for image, records, masks, names in coco_images(source):
        key = image["file_name"].rpartition(".")[0]
        canvas, visible = painted(records, masks, (image["height"], image["width"]))
        expected = np.zeros((*canvas.shape, 3), np.int64)
        for item, seen in zip(records, visible, strict=True):
            expected[seen] = color[names[item["category_id"]]]
        assert np.array_equal(values(camvid / f"LabeledApproved_full/{key}_L.png"), expected)
        objects += len(records)
        drawn = [
            (item, mask)
            for item, mask in zip(records, masks, strict=True)
            if names[item["category_id"]] in ids and mask.any()
        ]
        canvas, visible = painted([item for item, _ in drawn], [mask for _, mask in drawn], canvas.shape)
        labels, numbers = (
            values(next(cityscapes.glob(f"gtFine/*/{new_name[key]}_gtFine_{kind}.png")))
            for kind in ("labelIds", "instanceIds")
        )
        expected = np.zeros_like(canvas)
        for (item, _), seen in zip(drawn, visible, strict=True):
            label = ids[names[item["category_id"]]]
            expected[seen] = label
            has_objects = label >= 24 and not item["iscrowd"]
            assert len(np.unique(numbers[seen])) <= 1
            assert not has_objects or (numbers[seen] // 1000 == label).all()
        assert np.array_equal(labels, expected)
    assert count(findings, "objects (the pixels of their categories remain)") == objects


# ---------------------------------------------------------------------- into COCO


def test_voc_to_coco(sources: Any, tmp_path: Path) -> None:
    source = sources("voc")
    findings, target = crossed(source, "coco", tmp_path / "coco")
    seen: set[str] = set()
    void = unexplained = 0
    for image, records, masks, names in coco_images(target):
        key = image["file_name"].rpartition(".")[0]
        assert (target / "images" / image["file_name"]).read_bytes() == (source / f"JPEGImages/{key}.jpg").read_bytes()
        root = ElementTree.parse(source / f"Annotations/{key}.xml").getroot()
        nodes = list(root.iter("object"))
        assert [names[item["category_id"]] for item in records] == [node.findtext("name") for node in nodes]
        for item, node in zip(records, nodes, strict=True):
            x0, y0, x1, y1 = corners(node)
            assert item["bbox"] == pytest.approx([x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1])
            flags = {tag for tag in FLAGS if node.findtext(tag) == "1"}
            assert flags == {tag for tag in FLAGS if item.get("attributes", {}).get(tag)}
        objects = source / f"SegmentationObject/{key}.png"
        if objects.exists():
            for number, mask in enumerate(masks, 1):
                assert np.array_equal(mask, values(objects) == number)
        classes = source / f"SegmentationClass/{key}.png"
        if classes.exists() and key not in seen:
            index = {name: number for number, name in enumerate(["background", *VOC])}
            explained = np.zeros((image["height"], image["width"]), np.int64)
            for item, mask in zip(records, masks, strict=True):
                explained[mask] = index[names[item["category_id"]]]
            differs = values(classes) != explained
            void += int((differs & (values(classes) == 255)).sum())
            unexplained += int((differs & (values(classes) != 255)).sum())
        seen.add(key)
    assert seen == {path.stem for path in (source / "JPEGImages").iterdir()}
    assert count(findings, "void pixels") == void > 0
    assert count(findings, "label map pixels that no object explains") == unexplained


def test_cityscapes_to_coco_and_voc(sources: Any, tmp_path: Path) -> None:
    source = sources("cityscapes")
    findings, coco = crossed(source, "coco", tmp_path / "coco")
    _, voc = crossed(source, "voc", tmp_path / "voc")
    rows = label_map_names(voc)
    stuff = 0
    for image, records, masks, names in coco_images(coco):
        key = image["file_name"].rpartition("_leftImg8bit")[0] or image["file_name"].rpartition(".")[0]
        (number_file,) = source.glob(f"gtFine/*/{key}_gtFine_instanceIds.png")
        numbers = values(number_file)
        stored = number_file.with_name(number_file.name.replace("instanceIds", "labelIds"))
        labels = values(stored) if stored.exists() else np.where(numbers >= 1000, numbers // 1000, numbers)
        expected = numbered(numbers)
        assert len(records) == len(expected)
        covered = np.zeros(numbers.shape, bool)
        for (value, mask), item, made in zip(expected, records, masks, strict=True):
            assert np.array_equal(made, mask)
            assert item["category_id"] == (value // 1000 if value >= 1000 else value)
            assert item["iscrowd"] == int(value < 1000)
            covered |= mask & (labels == item["category_id"])
        stuff += int((~covered).sum())
        flat = key.rpartition("/")[2]
        classes = values(voc / f"SegmentationClass/{flat}.png")
        label_of = {name: label for label, name in names.items() if name != "background"}
        back = np.array([label_of.get(name, 0) for name in rows])
        assert np.array_equal(back[classes], labels)
        objects = values(voc / f"SegmentationObject/{flat}.png")
        for index, (_, mask) in enumerate(expected, 1):
            assert np.array_equal(objects == index, mask)
    assert count(findings, "label map pixels that no object explains") == stuff


def test_camvid_to_all(sources: Any, tmp_path: Path) -> None:
    source = sources("camvid")
    labels = {}
    if (source / "LabeledApproved_full").is_dir():
        table = [line.split(None, 3) for line in (source / "label_colors.txt").read_text().splitlines() if line.strip()]
        code = {int(r) << 16 | int(g) << 8 | int(b): index for index, (r, g, b, _) in enumerate(table)}
        rows = [row[3].strip() for row in table]
        for path in (source / "LabeledApproved_full").iterdir():
            pixels = values(path) @ np.array([65536, 256, 1])
            labels[path.stem[:-2]] = np.vectorize(lambda value: code.get(value, rows.index("Void")))(pixels)
    else:
        rows = CAMVID
        for folder in ("trainannot", "valannot", "testannot"):
            labels.update({path.stem: values(path) for path in (source / folder).glob("*.png")})
    findings, coco = crossed(source, "coco", tmp_path / "coco")
    assert set(findings["losses"]) <= {"pixels with colours off the table"}
    for image, records, masks, names in coco_images(coco):
        truth = labels[image["file_name"].rpartition(".")[0]]
        assert sorted(names[item["category_id"]] for item in records) == sorted(rows[v] for v in np.unique(truth))
        for item, mask in zip(records, masks, strict=True):
            assert np.array_equal(mask, truth == rows.index(names[item["category_id"]]))
            assert coco_mask.area(item["segmentation"]) == item["area"]
    _, voc = crossed(source, "voc", tmp_path / "voc")
    voc_names = label_map_names(voc)
    findings, cityscapes = crossed(source, "cityscapes", tmp_path / "cityscapes")
    new_name, known = renamed(cityscapes), CITYSCAPES_OF_CAMVID
    lost: dict[str, int] = {}
    for key, truth in labels.items():
        assert np.array_equal(
            np.array([voc_names.index(name) for name in rows])[truth], values(voc / f"SegmentationClass/{key}.png")
        )
        expected = np.array([known.get(name, 0) for name in rows])[truth]
        (file,) = cityscapes.glob(f"gtFine/*/{new_name[key]}_gtFine_labelIds.png")
        assert np.array_equal(values(file), expected)
        for index, name in enumerate(rows):
            if name not in known and name not in ("Void", "Unlabelled"):
                lost[name] = lost.get(name, 0) + int((truth == index).sum())
    for name, pixels in lost.items():
        assert count(findings, f"pixels of category {name!r}") == pixels


def test_masks_of_voc_and_cityscapes_as_label_maps(sources: Any, tmp_path: Path) -> None:
    for name in ("voc", "cityscapes"):
        source = sources(name)
        _, camvid = crossed(source, "camvid", tmp_path / f"{name}-camvid")
        colors = label_colors(camvid)
        assert len(set(colors.values())) == len(colors)
        if name == "voc":
            for path in (source / "SegmentationClass").iterdir():
                expected = np.array([colors[item] for item in ["background", *VOC]] + [(0, 0, 0)] * 235)
                made = values(camvid / f"LabeledApproved_full/{path.stem}_L.png")
                assert np.array_equal(made, expected[values(path)])


# ---------------------------------------------------------------------- asking first


@pytest.mark.parametrize(("source", "to"), [(a, b) for a in FORMATS for b in FORMATS if a != b])
def test_nothing_is_lost_unasked(source: str, to: str, drawing: Callable[[str], Path], tmp_path: Path) -> None:
    folder = drawing(source)
    pack = tmp_path / "pack"
    assert run_segdata("convert", folder, pack).code == 0
    outcomes: list[Outcome] = []
    for origin in (folder, pack):
        outcome = run_segdata("convert", origin, tmp_path / "target", "--to", to, "--json")
        assert outcome.code == 13
        assert outcome.document["error"]["losses"]
        assert "--allow-loss" in outcome.err
        assert not (tmp_path / "target").exists()
        outcomes.append(outcome)
    assert outcomes[0].document["error"]["losses"] == outcomes[1].document["error"]["losses"]
    dry = run_segdata("convert", pack, tmp_path / "target", "--to", to, "--json", "--dry-run")
    assert dry.document["problems"]["losses"] == outcomes[0].document["error"]["losses"]
    for origin, target in ((folder, tmp_path / "a"), (pack, tmp_path / "b")):
        done = run_segdata("convert", origin, target, "--to", to, "--json", "--allow-loss")
        assert done.document["problems"]["losses"] == outcomes[0].document["error"]["losses"]
        stored = json.loads((target / ".segdata.json").read_text())
        assert stored["report"]["problems"]["losses"] == outcomes[0].document["error"]["losses"]
        again = tmp_path / f"again-{target.name}"
        check = run_segdata("convert", target, again)
        assert check.code == 0, check.err
    first, second = tree(tmp_path / "a"), tree(tmp_path / "b")
    first.pop(".segdata.json"), second.pop(".segdata.json")
    assert first == second


def test_nothing_lost_needs_no_permission(drawing: Callable[[str], Path], tmp_path: Path) -> None:
    folder = drawing("camvid_segnet")
    outcome = run_segdata("convert", folder, tmp_path / "target", "--to", "coco", "--json")
    assert outcome.code == 0
    assert outcome.document["problems"]["losses"] == {}
