"""Drawn datasets hold what their layouts promise, and the same seed draws the same bytes."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO

from segdata.catalog import manifest
from segdata.demo import synthetic
from segdata.demo.synthetic import outlines, scenes
from segdata.demo.synthetic.scene import Region

SMALL = (96, 160)


def digest(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture)


@pytest.fixture(scope="module")
def coco(drawing: Callable[[str], Path]) -> Path:
    return drawing("coco")


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.voc.draw(tmp_path_factory.mktemp("voc"), images=4)


@pytest.fixture(scope="module")
def cityscapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.cityscapes.draw(tmp_path_factory.mktemp("cityscapes"), images=2, size=(256, 512))


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two", "other"):
        seed = int(name == "other")
        synthetic.coco.draw(tmp_path / name, images=2, seed=seed)
        if seed:
            continue
        synthetic.voc.draw(tmp_path / name, images=1, seed=seed)
        synthetic.cityscapes.draw(tmp_path / name, images=1, seed=seed, size=SMALL)
        synthetic.camvid.draw(tmp_path / name, images=1, seed=seed, size=SMALL)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    others = digest(tmp_path / "other")
    assert not set(others.values()) & set(digest(tmp_path / "one").values())


@pytest.mark.parametrize("kind", ["street", "objects"])
def test_scene_regions_lie_on_the_picture(kind: str) -> None:
    height, width = 120, 160
    scene = getattr(scenes, kind)(np.random.default_rng(3), height, width)
    assert scene.image.shape == (height, width, 3)
    assert scene.image.dtype == np.uint8
    assert scene.image.std() > 20
    for region in scene.regions:
        for ring in (*region.rings, *region.holes):
            assert (ring >= 0).all()
            assert (ring <= (width, height)).all()


def test_trace_gives_back_the_mask() -> None:
    mask = np.zeros((40, 50), bool)
    mask[0:20, 5:30] = True
    mask[5:12, 10:20] = False
    mask[25:35, 40:50] = True
    outer, holes = outlines.trace(mask)
    assert len(outer) == 2
    assert len(holes) == 1
    region = Region("thing", tuple(outer), tuple(holes), True)
    # corners are cut by half a pixel, so a few may differ
    assert (region.mask(40, 50) != mask).sum() <= 24


@pytest.mark.parametrize("split", ["train", "val"])
def test_pycocotools_opens_instances(coco: Path, split: str) -> None:
    api = COCO(coco / "annotations" / f"instances_{split}2017.json")
    assert len(api.getCatIds()) == 80
    order = [annotation["image_id"] for annotation in api.dataset["annotations"]]
    assert order != sorted(order)
    for annotation in api.loadAnns(api.getAnnIds()):
        image = api.loadImgs(annotation["image_id"])[0]
        assert pixels(coco / f"{split}2017" / image["file_name"]).shape == (
            image["height"],
            image["width"],
            3,
        )
        area = api.annToMask(annotation).sum()
        if annotation["iscrowd"]:
            assert annotation["id"] > 2**31
            assert sum(annotation["segmentation"]["counts"]) == image["height"] * image["width"]
            assert area == annotation["area"]
            continue
        rings = [np.reshape(ring, (-1, 2)) for ring in annotation["segmentation"]]
        assert annotation["area"] == pytest.approx(sum(outlines.shoelace(ring) for ring in rings))
        low, high = np.vstack(rings).min(0), np.vstack(rings).max(0)
        assert annotation["bbox"] == pytest.approx([*low, *(high - low)], abs=0.006)
        assert low.min() >= 0
        assert (high <= (image["width"], image["height"])).all()


def test_coco_is_varied(coco: Path) -> None:
    split = {name: json.loads(next((coco / "annotations").glob(f"{name}_train*")).read_text()) for name in
             ("instances", "person_keypoints", "captions")}  # fmt: skip
    annotations = split["instances"]["annotations"]
    assert len({annotation["category_id"] for annotation in annotations}) >= 8
    assert any(len(item["segmentation"]) > 1 for item in annotations if not item["iscrowd"])
    crowds = [item for item in annotations if item["iscrowd"]]
    sizes = {image["id"]: (image["height"], image["width"]) for image in split["instances"]["images"]}
    masks = [rle.decode(rle.frPyObjects(item["segmentation"], *sizes[item["image_id"]])) for item in crowds]
    assert any(outlines.trace(mask.astype(bool))[1] for mask in masks), "a crowd with a hole"
    images = {image["id"] for image in split["instances"]["images"]}
    assert len(images - {annotation["image_id"] for annotation in annotations}) == 1
    for person in split["person_keypoints"]["annotations"]:
        points = np.reshape(person["keypoints"], (17, 3))
        assert person["num_keypoints"] == (points[:, 2] > 0).sum()
        assert not points[points[:, 2] == 0].any()
    assert any(person["num_keypoints"] > 5 for person in split["person_keypoints"]["annotations"])
    assert set(Counter(item["image_id"] for item in split["captions"]["annotations"]).values()) == {5}


def test_regions_overlap_and_have_holes() -> None:
    scene = scenes.street(np.random.default_rng(0), 240, 320)
    things = [region for region in scene.regions if region.is_thing]
    cover = sum(region.mask(240, 320).astype(int) for region in things)
    assert np.max(cover) >= 2
    assert any(region.holes for region in things)
    assert any(region.is_crowd for region in things)


def test_voc_masks_and_boxes(voc: Path) -> None:
    labels = manifest.shipped("voc-2012").labels
    keys = (voc / "ImageSets" / "Main" / "trainval.txt").read_text().split()
    segmented = (voc / "ImageSets" / "Segmentation" / "trainval.txt").read_text().split()
    assert len(keys) == 4
    assert segmented == keys[::2]
    parts = 0
    for key in keys:
        tree = ElementTree.parse(voc / "Annotations" / f"{key}.xml").getroot()
        assert tree.findtext("segmented") == str(int(key in segmented))
        objects = tree.findall("object")
        parts += len(tree.findall("object/part"))
        for item in objects:
            x0, y0, x1, y1 = (int(item.findtext(f"bndbox/{side}") or 0) for side in ("xmin", "ymin", "xmax", "ymax"))
            assert 1 <= x0 <= x1 <= int(tree.findtext("size/width") or 0)
            assert 1 <= y0 <= y1 <= int(tree.findtext("size/height") or 0)
        if key not in segmented:
            continue
        with Image.open(voc / "SegmentationClass" / f"{key}.png") as picture:
            assert picture.mode == "P"
            assert (picture.getpalette() or [])[3:9] == [128, 0, 0, 0, 128, 0]
        classes = pixels(voc / "SegmentationClass" / f"{key}.png")
        numbered = pixels(voc / "SegmentationObject" / f"{key}.png")
        assert ((classes == 255) == (numbered == 255)).all()
        for number in set(np.unique(numbered).tolist()) - {0, 255}:
            name = objects[number - 1].findtext("name")
            assert set(classes[numbered == number].tolist()) == {labels.index_of_name[str(name)]}
        # void keeps different objects, and objects and background, apart everywhere
        for a, b in ((numbered[1:], numbered[:-1]), (numbered[:, 1:], numbered[:, :-1])):
            assert ((a == b) | (a == 255) | (b == 255)).all()
    assert parts
    lists = [file.read_text() for file in (voc / "ImageSets" / "Main").glob("*_train.txt")]
    marks = {line.split()[1] for text in lists for line in text.splitlines()}
    assert {"1", "-1"} <= marks <= {"1", "0", "-1"}


def test_cityscapes_ids_agree(cityscapes: Path) -> None:
    labels = manifest.shipped("cityscapes").labels
    seen: set[str] = set()
    gaps = 0
    for file in sorted(cityscapes.rglob("*_polygons.json")):
        document = json.loads(file.read_text())
        seen |= {item["label"] for item in document["objects"]}
        assert sum(item.get("deleted", 0) for item in document["objects"]) == 1
        corners = [v for item in document["objects"] for point in item["polygon"] for v in point]
        assert all(type(v) is int for v in corners)
        ids = pixels(Path(str(file).replace("polygons.json", "labelIds.png")))
        instances = pixels(Path(str(file).replace("polygons.json", "instanceIds.png"))).astype(int)
        color = pixels(Path(str(file).replace("polygons.json", "color.png")))
        assert ids.shape == (256, 512)
        assert (np.where(instances >= 1000, instances // 1000, instances) == ids).all()
        table = np.array([category.color for category in labels.categories if category.id >= 0])
        assert (color[..., :3] == table[ids]).all()
        cars = np.unique(instances[instances // 1000 == 26])
        gaps += bool(cars.size) and cars.tolist() != list(range(26000, 26000 + len(cars)))
    assert gaps
    special = {"ego vehicle", "out of roi", "rectification border", "license plate", "persongroup"}
    assert special <= seen


def test_camvid_layouts(tmp_path: Path) -> None:
    home = synthetic.camvid.draw(tmp_path / "original", images=4, size=SMALL)
    colors = {tuple(category.color or ()) for category in manifest.shipped("camvid").labels.categories}
    files = sorted((home / "LabeledApproved_full").glob("*_L.png"))
    strays = [int(sum(tuple(v) not in colors for v in pixels(file).reshape(-1, 3).tolist())) for file in files]
    assert len(files) == len(list((home / "701_StillsRaw_full").iterdir())) == 4
    assert sorted(strays) == [0, 0, 0, 5]
    rows = (home / "label_colors.txt").read_text().splitlines()
    assert len(rows) == 32
    assert any("\t\t" in row for row in rows)
    segnet = synthetic.camvid.draw_segnet(tmp_path / "segnet", images=2, size=SMALL)
    lines = [line for split in ("train", "val", "test") for line in (segnet / f"{split}.txt").read_text().splitlines()]
    assert len(lines) == 2
    for line in lines:
        photo, label = (segnet / part.removeprefix("/SegNet/CamVid/") for part in line.split())
        assert pixels(photo).shape == (*SMALL, 3)
        assert pixels(label).max() <= 11
    fastai = synthetic.camvid.draw_fastai(tmp_path / "fastai", images=2, size=SMALL)
    codes = (fastai / "codes.txt").read_text().split()
    assert len(codes) == 32
    for file in (fastai / "images").iterdir():
        index = pixels(fastai / "labels" / f"{file.stem}_P.png")
        assert index.ndim == 2
        assert codes[int(np.bincount(index.ravel()).argmax())] in ("Road", "Building", "Sky", "Tree")
    assert set((fastai / "valid.txt").read_text().split()) < {path.name for path in (fastai / "images").iterdir()}
