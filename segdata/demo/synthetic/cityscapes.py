"""A Cityscapes folder: photos, polygons and label maps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from segdata.catalog import manifest
from segdata.demo.synthetic import files, outlines, scenes
from segdata.demo.synthetic.scene import Ring, Scene

_CITYSCAPES = {"tree": "vegetation", "grass": "terrain", "stop sign": "traffic sign", "lane marking": ""}

_CITIES = (("train", "aachen", 19), ("val", "frankfurt", 294))


def draw(root: Path, *, images: int = 4, seed: int = 0, size: tuple[int, int] = (1024, 2048)) -> Path:
    """Cityscapes: `leftImg8bit` and `gtFine` of two cities, one for training and one for validation.

    Label files are painted from the polygons as the official scripts do. The first file of a city has a deleted
    object and a car that later ones hide wholly, so that its numbers have a gap.

    Args:
        root: folder to write into.
        images: how many images; the odd ones are for validation.
        seed: same seed, same bytes.
        size: height and width.

    Returns:
        `root`.
    """
    for index in range(images):
        split, city, frame = _CITIES[index % 2]
        key = f"{city}_{index // 2:06d}_{frame:06d}"
        scene = scenes.street(files.rng(seed, 3, index), *size, ego=True)
        files.picture(scene, root / "leftImg8bit" / split / city / f"{key}_leftImg8bit.png")
        document = {"imgHeight": size[0], "imgWidth": size[1], "objects": _polygons(scene, index < 2)}
        start = root / "gtFine" / split / city / f"{key}_gtFine"
        ids, instances, color = _cityscapes_labels(document)
        files.png(ids, Path(f"{start}_labelIds.png"))
        files.png(instances, Path(f"{start}_instanceIds.png"))
        files.png(color, Path(f"{start}_color.png"))
        Path(f"{start}_polygons.json").write_text(json.dumps(document, indent=4), "utf-8")
    return root


def _polygons(scene: Scene, traps: bool) -> list[dict[str, Any]]:
    """The objects of a `_polygons.json`, back to front."""
    height, width = scene.image.shape[:2]
    polygons: list[dict[str, Any]] = []
    cars: list[list[list[int]]] = []

    def add(label: str, ring: Ring, **more: Any) -> list[list[int]]:
        corners = np.clip(np.round(ring - 0.5), 0, (width - 1, height - 1)).astype(int)
        polygon: list[list[int]] = corners[np.any(corners != np.roll(corners, 1, 0), axis=1)].tolist()
        if len(polygon) >= 3:
            polygons.append({"label": label, "polygon": polygon, **more})
        return polygon

    for region in scene.regions:
        label = _CITYSCAPES.get(region.name, region.name)
        rings = sorted((ring for ring in region.rings if outlines.shoelace(ring) >= 16), key=outlines.shoelace)
        if not label or not rings:
            continue
        for ring in rings[-1:] if region.is_thing else rings:
            if traps and label == "car" and not cars:
                middle = ring.mean(0)
                cars.append(add("car", middle + (ring - middle) * 0.5))
            add(label + "group" * region.is_crowd, ring)
    w, h = float(width), float(height)
    if traps:
        wrong = np.array([(0.4, 0.4), (0.5, 0.4), (0.5, 0.6), (0.4, 0.6)]) * (w, h)
        add(
            "car",
            wrong,
            deleted=1,
            draw=False,
            verified=0,
            user="drawn",
            date="01-Jan-2015 12:00:00",
            id=len(polygons),
        )
    edge = max(2.0, w / 400)
    for x in (0.0, w - edge):
        add("rectification border", np.array([(x, 0.0), (x + edge, 0.0), (x + edge, h), (x, h)]))
    add("out of roi", np.array([(0.0, h - edge), (w, h - edge), (w, h), (0.0, h)]))
    return polygons


def _cityscapes_labels(
    document: Mapping[str, Any],
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """labelIds (H, W) uint8, instanceIds (H, W) uint16 and colours (H, W, 4) uint8, painted in the file's order."""
    space = manifest.shipped("cityscapes").labels
    size = (document["imgWidth"], document["imgHeight"])
    ids, instances = Image.new("L", size), Image.new("I", size)
    color = Image.new("RGBA", size, (0, 0, 0, 255))
    pens = [ImageDraw.Draw(picture) for picture in (ids, instances, color)]
    count: dict[str, int] = {}
    for item in document["objects"]:
        group = item["label"] not in space.index_of_name
        category = space[space.index_of_name[item["label"].removesuffix("group") if group else item["label"]]]
        if item.get("deleted") or category.id < 0:
            continue
        value = category.id
        if category.id >= 24 and not group:
            value = category.id * 1000 + count.setdefault(category.name, 0)
            count[category.name] += 1
        corners = [(x, y) for x, y in item["polygon"]]
        fills: tuple[Any, ...] = (category.id, value, (*(category.color or (0, 0, 0)), 255))
        for pen, fill in zip(pens, fills, strict=True):
            pen.polygon(corners, fill=fill)
    return np.asarray(ids), np.asarray(instances).astype(np.uint16), np.asarray(color)
