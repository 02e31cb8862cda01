"""CamVid folders in its three layouts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segdata.catalog import manifest
from segdata.demo.synthetic import files, scenes
from segdata.demo.synthetic.scene import Scene

_CAMVID = {
    "sky": "Sky", "building": "Building", "wall": "Wall", "road": "Road", "sidewalk": "Sidewalk", "tree": "Tree",
    "grass": "VegetationMisc", "fence": "Fence", "pole": "Column_Pole", "lane marking": "LaneMkgsDriv",
    "traffic light": "TrafficLight", "traffic sign": "SignSymbol", "stop sign": "SignSymbol", "car": "Car",
    "truck": "Truck_Bus", "bus": "Truck_Bus", "person": "Pedestrian", "rider": "Bicyclist",
    "bicycle": "Bicyclist",
}  # fmt: skip

_SEGNET = {
    "Column_Pole": "Pole", "Sidewalk": "Pavement", "LaneMkgsDriv": "Road", "TrafficLight": "SignSymbol",
    "Truck_Bus": "Car", "Wall": "Building", "VegetationMisc": "Tree", "Void": "Unlabelled",
}  # fmt: skip


def _frames(images: int, seed: int, size: tuple[int, int]) -> Iterable[tuple[str, str, Scene, npt.NDArray[np.uint8]]]:
    """Split, name, scene and CamVid's index (H, W) of every frame; half for training, a quarter each for the others."""
    space = manifest.shipped("camvid").labels
    splits = manifest.shipped("camvid").splits
    void = space.index_of_name["Void"]
    places = [("train", "val", "train", "test")[index % 4] for index in range(images)]
    for index, split in enumerate(places):
        names = splits[split].names or ()
        share = places[:index].count(split) / places.count(split)
        scene = scenes.street(files.rng(seed, 4, index), *size)
        lookup = [void] + [space.index_of_name[_CAMVID.get(region.name, "Void")] for region in scene.regions]
        yield split, names[int(share * len(names))], scene, np.array(lookup, np.uint8)[files.owner(scene)]


def draw(root: Path, *, images: int = 8, seed: int = 0, size: tuple[int, int] = (720, 960)) -> Path:
    """CamVid as it is given out: stills, labels in 32 colours, `label_colors.txt`; one label has stray colours.

    Args:
        root: folder to write into.
        images: how many frames.
        seed: same seed, same bytes.
        size: height and width.

    Returns:
        `root/CamVid`.
    """
    home = root / "CamVid"
    space = manifest.shipped("camvid").labels
    colors = np.array([category.color for category in space.categories], np.uint8)
    for number, (_, name, scene, index) in enumerate(_frames(images, seed, size)):
        files.picture(scene, home / "701_StillsRaw_full" / f"{name}.png")
        label = colors[index]
        if number == 0:
            label[size[0] // 2, :5] = (64, 65, 1)
        files.png(label, home / "LabeledApproved_full" / f"{name}_L.png")
    rows = zip(colors.tolist(), space.categories, strict=True)
    tabs = {"Tunnel": 2, "Void": 2, "Sky": 2}
    table = [f"{r} {g} {b}" + "\t" * tabs.get(category.name, 1) + category.name for (r, g, b), category in rows]
    files.text(home / "label_colors.txt", table)
    return home


def draw_segnet(root: Path, *, images: int = 8, seed: int = 0, size: tuple[int, int] = (360, 480)) -> Path:
    """SegNet's copy of CamVid: indices 0 … 11 and lists of absolute paths. Arguments and return value as `camvid`."""
    home = root / "CamVid"
    source, target = manifest.shipped("camvid").labels, manifest.shipped("camvid-segnet").labels
    lookup = [target.index_of_name.get(_SEGNET.get(c.name, c.name), len(target) - 1) for c in source.categories]
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for split, name, scene, index in _frames(images, seed, size):
        files.picture(scene, home / split / f"{name}.png")
        files.png(np.array(lookup, np.uint8)[index], home / f"{split}annot" / f"{name}.png")
        lists[split].append(f"/SegNet/CamVid/{split}/{name}.png /SegNet/CamVid/{split}annot/{name}.png")
    for split, rows in lists.items():
        files.text(home / f"{split}.txt", rows)
    return home


def draw_fastai(root: Path, *, images: int = 8, seed: int = 0, size: tuple[int, int] = (720, 960)) -> Path:
    """fast.ai's copy of CamVid: `codes.txt` names the indices, `valid.txt` the validation images. As `camvid`."""
    home = root / "CamVid"
    valid: list[str] = []
    for split, name, scene, index in _frames(images, seed, size):
        files.picture(scene, home / "images" / f"{name}.png")
        files.png(index, home / "labels" / f"{name}_P.png")
        if split == "val":
            valid.append(f"{name}.png")
    files.text(home / "codes.txt", [category.name for category in manifest.shipped("camvid").labels.categories])
    files.text(home / "valid.txt", valid)
    return home
