"""Datasets of any size, made of real photos and annotations again and again."""

from __future__ import annotations

import json
import shutil
from itertools import cycle, islice
from pathlib import Path
from typing import Any


def coco(source: Path, target: Path, images: int, folder_of_photos: str = "train") -> Path:
    """A COCO folder with one split, `train`, from the splits of another."""
    (target / "annotations").mkdir(parents=True)
    (target / folder_of_photos).mkdir(parents=True)
    photos: list[tuple[dict[str, Any], list[dict[str, Any]], Path]] = []
    categories: list[dict[str, Any]] = []
    for path in sorted((source / "annotations").glob("instances_*.json")):
        document = json.loads(path.read_text())
        categories = document["categories"]
        folder = path.stem.removeprefix("instances_")
        for image in document["images"]:
            annotations = [item for item in document["annotations"] if item["image_id"] == image["id"]]
            photos.append((image, annotations, source / folder / image["file_name"]))
    out: dict[str, Any] = {"info": {}, "licenses": [], "images": [], "annotations": [], "categories": categories}
    for number, (image, annotations, file) in enumerate(islice(cycle(photos), images)):
        name = f"{number:012d}.jpg"
        shutil.copyfile(file, target / folder_of_photos / name)
        out["images"].append({**image, "id": number + 1, "file_name": name})
        for item in annotations:
            out["annotations"].append({**item, "image_id": number + 1, "id": len(out["annotations"]) + 1})
    (target / "annotations" / "instances_train.json").write_text(json.dumps(out))
    return target


def voc(source: Path, target: Path, images: int) -> Path:
    """A VOC folder (VOC2012 itself) of segmented photos; masks by class, as the source has no others."""
    names = [path.stem for path in sorted((source / "SegmentationClass").glob("*.png"))]
    for folder in ("Annotations", "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (target / folder).mkdir(parents=True)
    new = [f"2012_{number:06d}" for number in range(images)]
    for name, original in zip(new, cycle(names), strict=False):
        for folder, ending in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
            shutil.copyfile(source / folder / f"{original}{ending}", target / folder / f"{name}{ending}")
        text = (source / "Annotations" / f"{original}.xml").read_text()
        (target / "Annotations" / f"{name}.xml").write_text(text.replace(original, name))
    (target / "ImageSets/Segmentation/train.txt").write_text("".join(f"{name}\n" for name in new))
    return target


_LABEL_IDS = (23, 11, 17, 7, 8, 21, 20, 13, 26, 24, 33, 0)
"""Cityscapes' label ids of SegNet's twelve CamVid classes."""


def cityscapes(source: Path, target: Path, frames: int) -> Path:
    """Frames of 2048 × 1024 in Cityscapes' layout: CamVid's frames and labels (SegNet's layout) side by side.

    Cars, persons and bicycles are numbered part by part.
    """
    import numpy as np
    from PIL import Image
    from scipy import ndimage

    files = sorted(path for split in ("train", "val", "test") for path in (source / split).glob("*.png"))
    for number in range(frames):
        tiles = [files[(number * 7 + index) % len(files)] for index in range(15)]
        labels = [np.asarray(Image.open(path.parents[1] / f"{path.parent.name}annot" / path.name)) for path in tiles]
        photo, label = (
            np.concatenate([np.concatenate(parts[row * 5 : row * 5 + 5], axis=1) for row in range(3)])[:1024, :2048]
            for parts in ([np.asarray(Image.open(path).convert("RGB")) for path in tiles], labels)
        )
        ids = np.array(_LABEL_IDS, np.uint8)[label]
        numbers = ids.astype(np.uint16)
        for value in (24, 26, 33):
            parts, _ = ndimage.label(ids == value)
            numbers[parts > 0] = value * 1000 + (parts[parts > 0] - 1) % 1000
        name = f"town_{number:06d}_000019"
        for folder, ending, values in (
            ("leftImg8bit", "leftImg8bit", photo),
            ("gtFine", "gtFine_labelIds", ids),
            ("gtFine", "gtFine_instanceIds", numbers),
        ):
            file = target / folder / "train" / "town" / f"{name}_{ending}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(file)
        polygons = {"imgHeight": 1024, "imgWidth": 2048, "objects": []}
        (target / "gtFine/train/town" / f"{name}_gtFine_polygons.json").write_text(json.dumps(polygons))
    return target
