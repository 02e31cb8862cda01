"""A drawn dataset in COCO's layout with predictions that are partly wrong, as plain JSON that tests can count by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from tests.helpers import made

SIZE = (90, 120)
NAMES = ("dog", "cat", "person", "car")
SUPERCATEGORIES = ("animal", "animal", "person", "vehicle")
IMAGES = {"train2017": 17, "val2017": 13}


def rle(mask: np.ndarray) -> dict[str, Any]:
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode()}


def ellipse(x: float, y: float, width: float, height: float) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    is_inside: np.ndarray = (2 * (columns - x) / width - 1) ** 2 + (2 * (rows - y) / height - 1) ** 2 <= 1
    return is_inside


def draw(root: Path) -> tuple[Path, Path]:
    """Write the dataset and results for all of its images; their folder and file."""
    rng = np.random.default_rng(19)
    results: list[dict[str, Any]] = []
    number = 0
    for split, count in IMAGES.items():
        images, annotations = [], []
        for position in range(count):
            image_id = 1000 * (split == "val2017") + 7 * position + 3
            name = f"{image_id:06d}.jpg"
            made.put(root / split / name, made.photo(SIZE[1], SIZE[0], seed=image_id))
            images.append({"id": image_id, "file_name": name, "width": SIZE[1], "height": SIZE[0]})
            for _ in range(int(rng.integers(0, 8))):
                number += 1
                width, height = rng.uniform(6, 70, 2)
                x, y = rng.uniform(0, SIZE[1] - width), rng.uniform(0, SIZE[0] - height)
                category = int(rng.integers(0, len(NAMES)))
                is_crowd = bool(rng.random() < 0.12)
                annotations.append(_object(number, image_id, category, (x, y, width, height), is_crowd))
                if rng.random() < 0.8:
                    guess = category if rng.random() < 0.85 else int(rng.integers(0, len(NAMES)))
                    moved = np.array([x, y, width, height]) * rng.normal(1, 0.08, 4)
                    results.append(_detection(image_id, guess, moved, rng))
            for _ in range(int(rng.integers(0, 3))):
                box = np.array([*rng.uniform(0, 50, 2), *rng.uniform(8, 60, 2)])
                results.append(_detection(image_id, int(rng.integers(0, len(NAMES))), box, rng))
        categories = [
            {"id": 10 * n + 1, "name": name, "supercategory": group}
            for n, (name, group) in enumerate(zip(NAMES, SUPERCATEGORIES, strict=True))
        ]
        document = {"images": images, "annotations": annotations, "categories": categories}
        made.put(root / "annotations" / f"instances_{split}.json", document)
    path = root.with_name("results.json")
    path.write_text(json.dumps(results))
    return root, path


def _object(number: int, image: int, category: int, box: tuple[float, ...], is_crowd: bool) -> dict[str, Any]:
    mask = ellipse(*box)
    encoded = rle(mask)
    return {
        "id": number,
        "image_id": image,
        "category_id": 10 * category + 1,
        "bbox": [float(value) for value in coco_mask.toBbox(encoded)],
        "area": float(mask.sum()),
        "iscrowd": int(is_crowd),
        "segmentation": encoded,
    }


def _detection(image: int, category: int, box: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    encoded = rle(ellipse(*box.tolist()))
    return {
        "image_id": image,
        "category_id": 10 * category + 1,
        "bbox": [float(value) for value in coco_mask.toBbox(encoded)],
        "score": round(float(rng.uniform(0.05, 1)), 3),
        "segmentation": encoded,
    }
