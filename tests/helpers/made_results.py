"""Predictions for the hand-made datasets, panoptic data, and scenes to train on; made with nothing of segdata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers import made


def panoptic(root: Path, *, is_prediction: bool = False) -> Path:
    """Two images: things, two segments of one category of stuff, a crowd, void; predictions miss some pixels."""
    shift = 2 if is_prediction else 0
    ids = np.zeros((made.HEIGHT, made.WIDTH), np.uint32)
    ids[: 10 - shift], ids[20 + shift :] = 70000, 300
    ids[12:18, 3 + shift : 9], ids[12:18, 20:36] = 7, 9_000_001
    segments = [(70000, 200, 0), (300, 200, 0), (7, 1, 0), (9_000_001, 1, int(not is_prediction))]
    images = [
        {"id": number, "file_name": f"{name}.jpg", "height": made.HEIGHT, "width": made.WIDTH}
        for number, name in ((9, "b"), (4, "a"))
    ]
    annotations = []
    for image, shown in zip(images, (segments, segments[2:]), strict=True):
        values = np.where(np.isin(ids, [segment[0] for segment in shown]), ids, 0)
        name = f"{str(image['file_name'])[0]}.png"
        rgb = np.stack([values & 255, values >> 8 & 255, values >> 16], -1).astype(np.uint8)
        made.put(root / f"annotations/panoptic_val2017/{name}", made.png(rgb))
        records = []
        for number, category, crowd in shown:
            rows, columns = np.nonzero(values == number)
            x, y = int(columns.min()), int(rows.min())
            box = [x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y]
            area = len(rows)
            records.append({"id": number, "category_id": category, "iscrowd": crowd, "area": area, "bbox": box})
        annotations.append({"image_id": image["id"], "file_name": name, "segments_info": records})
    categories = [
        {"id": 1, "name": "person", "isthing": 1, "supercategory": "person", "color": [220, 20, 60]},
        {"id": 200, "name": "rug", "isthing": 0, "supercategory": "floor", "color": [250, 141, 255]},
    ]
    document = {"images": images, "annotations": annotations, "categories": categories}
    made.put(root / "annotations/panoptic_val2017.json", document)
    for number, image in enumerate(images):
        made.put(root / f"val2017/{image['file_name']}", made.photo(seed=number))
    return root


def rle(mask: np.ndarray) -> dict[str, Any]:
    """COCO's run lengths of a mask (H, W) bool, column by column, beginning with those outside."""
    flips = np.flatnonzero(np.diff(mask.ravel("F").astype(np.int8), prepend=0))
    counts = np.diff(np.concatenate([[0], flips, [mask.size]])).tolist()
    return {"size": list(mask.shape), "counts": counts}


def rectangle(x: int, y: int, width: int, height: int) -> np.ndarray:
    mask = np.zeros((made.HEIGHT, made.WIDTH), bool)
    mask[y : y + height, x : x + width] = True
    return mask


def coco_detections(path: Path) -> Path:
    """Right, shifted, repeated and wrong ones for `made.coco`, two of them with equal scores."""
    rows = [
        (10, 1, (4, 4, 10, 8), 0.9),
        (10, 1, (5, 5, 10, 8), 0.9),
        (10, 90, (20, 2, 18, 20), 0.55),
        (10, 3, (20, 2, 18, 20), 0.3),
        (11, 3, (0, 0, 2, 30), 0.7),
        (11, 1, (12, 9, 7, 5), 0.4),
        (12, 90, (1, 1, 30, 25), 0.25),
    ]
    return made.put(
        path,
        [
            {"image_id": image, "category_id": category, "score": score, "segmentation": rle(rectangle(*box))}
            | ({"bbox": list(box)} if path.stem == "both" else {})
            for image, category, box, score in rows
        ],
    )


def voc_detections(root: Path) -> Path:
    lines = {
        "dog": ["2007_000001 0.875 5 6 14 12", "2007_000001 0.5 7 7 16 12", "2007_000002 0.25 5.5 6 14 12"],
        "person": ["2007_000001 0.75 20 4 36 28"],
        "cat": ["2007_000002 0.625 1 1 40 30", "2007_000002 0.5 5 6 14 13"],
    }
    for name, rows in lines.items():
        made.put(root / f"comp3_det_train_{name}.txt", "\n".join(rows) + "\n")
    return root


def cityscapes_predictions(root: Path) -> Path:
    """Label ids with some columns wrong, and three scored masks."""
    name = "town_000000_000019_pred"
    ids = np.full((made.HEIGHT, made.WIDTH), 7, np.uint8)
    ids[: made.HEIGHT // 3 + 1], ids[:, :3] = 23, 21
    ids[10:16, 3:13], ids[9:14, 30:39] = 26, 24
    made.put(root / f"pixel/{name}_labelIds.png", made.png(ids))
    lines = []
    for number, (label, score, box) in enumerate(
        [(26, 0.75, (2, 10, 10, 6)), (26, 0.5, (15, 12, 13, 8)), (24, 0.25, (30, 9, 4, 5))]
    ):
        made.put(root / f"instance/masks/{number}.png", made.png(rectangle(*box).astype(np.uint8) * 255))
        lines.append(f"masks/{number}.png {label} {score}\n")
    made.put(root / f"instance/{name}.txt", "".join(lines))
    return root


def scene(seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """A noisy photo (96, 128, 3) uint8 of a bright rectangle and a disc, and their masks (96, 128) bool."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :128]
    left, top, center, radius = (int(rng.integers(*span)) for span in ((5, 30), (5, 30), (70, 100), (15, 25)))
    disc = (y - 50) ** 2 + (x - center) ** 2 < radius**2
    block = (abs(y - top - 20) < 20) & (abs(x - left - 25) < 25) & ~disc
    image = rng.integers(0, 60, (96, 128, 3), dtype=np.uint8)
    image[block], image[disc] = (250, 120, 30), (30, 120, 250)
    return image, [block, disc]


def scenes(root: Path, splits: tuple[str, str] = ("train2017", "val2017")) -> Path:
    """Four images to train on and two to validate with, in COCO's layout."""
    for split, numbers in zip(splits, (range(4), range(4, 6)), strict=True):
        images, annotations = [], []
        for number in numbers:
            image, masks = scene(number)
            made.put(root / split / f"{number}.png", made.png(image))
            images.append({"id": number + 1, "file_name": f"{number}.png", "height": 96, "width": 128})
            for category, mask in enumerate(masks, 1):
                rows, columns = np.nonzero(mask)
                x, y = int(columns.min()), int(rows.min())
                annotations.append(
                    {
                        "id": 10 * number + category,
                        "image_id": number + 1,
                        "category_id": category,
                        "iscrowd": 0,
                        "segmentation": rle(mask),
                        "area": len(rows),
                        "bbox": [x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y],
                    }
                )
        categories = [{"id": 1, "name": "block"}, {"id": 2, "name": "disc"}]
        document = {"images": images, "annotations": annotations, "categories": categories}
        made.put(root / f"annotations/instances_{split}.json", document)
    return root
