"""Truth and predictions made at random, with everything that evaluators disagree on, as COCO's JSON documents."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

Document = dict[str, Any]


def blob(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(H, W) uint8: an ellipse, a rectangle, scattered pixels, or two parts with a hole."""
    y, x = np.mgrid[:height, :width]
    cy, cx = rng.uniform(0, height), rng.uniform(0, width)
    ry, rx = rng.uniform(1, height / 2), rng.uniform(1, width / 2)
    kind = rng.integers(4)
    distance = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2
    if kind == 0:
        mask = distance <= 1
    elif kind == 1:
        mask = (abs(y - cy) <= ry) & (abs(x - cx) <= rx)
    elif kind == 2:
        mask = rng.random((height, width)) < 0.3
    else:
        mask = ((distance <= 1) & (distance >= 0.4)) | ((y < 3) & (x < 5))
    return np.asarray(mask, np.uint8)


def rle(mask: np.ndarray) -> Document:
    encoded = coco_mask.encode(np.asfortranarray(mask))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode()}


def counts(mask: np.ndarray) -> Document:
    """Uncompressed run lengths."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.T.reshape(-1)))))
    runs = np.diff(np.concatenate(([0], edges, [mask.size]))).tolist()
    return {"size": list(mask.shape), "counts": runs}


def scene(seed: int, images: int = 12) -> tuple[Document, list[Document], list[Document], list[Document]]:
    """Truth, and predictions of boxes, of masks, and of both.

    Ids have gaps, are unsorted and exceed 2³¹; scores are tied and repeated; there are crowds of both kinds of run
    lengths, empty masks, areas that no mask has, categories on one side only, images without objects or detections,
    images with more than 100 detections of a category, duplicates, and objects on the borders between sizes.
    """
    rng = np.random.default_rng(seed)
    categories = [int(n) for n in rng.permutation([7, 1, 90, 3, 15])]
    ids = [int(n) for n in rng.choice(10**6, images, replace=False)]
    ids[0] += 2**40
    truth: Document = {"images": [], "annotations": [], "categories": []}
    truth["categories"] = [{"id": number, "name": f"c{number}", "supercategory": "s"} for number in categories]
    boxes, masks, both = [], [], []
    for index, number in enumerate(ids):
        height, width = int(rng.integers(20, 160)), int(rng.integers(20, 160))
        truth["images"].append({"id": number, "height": height, "width": width, "file_name": f"{number}.jpg"})
        shapes: list[tuple[np.ndarray, Document]] = []
        for _ in range(0 if index == 1 else int(rng.integers(0, 9))):
            mask = blob(rng, height, width) * (rng.random() > 0.05)
            iscrowd = int(rng.random() < 0.15)
            x, y, w, h = coco_mask.toBbox(coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))).tolist()
            area = float(rng.choice([mask.sum(), 1024.0, 9216.0, mask.sum() * 1.7, 1023.5]))
            annotation: Document = {
                "id": int(10**9 + len(truth["annotations"]) * 3),
                "image_id": number,
                "category_id": int(rng.choice(categories[:4])),
                "iscrowd": iscrowd,
                "area": area,
                "bbox": [x, y, w, h],
                "segmentation": (counts if iscrowd and rng.random() < 0.5 else rle)(mask.astype(np.uint8)),
            }
            if not iscrowd and rng.random() < 0.3:
                annotation["segmentation"] = [[x, y, x + w + 1, y, x + w + 1, y + h + 1, x + 0.5, y + h]]
            truth["annotations"].append(annotation)
            shapes.append((mask.astype(np.uint8), annotation))
        many = 130 if index == 2 else int(rng.integers(0, 14))
        for _ in range(0 if index == 3 else many):
            if shapes and rng.random() < 0.7:
                near, annotation = shapes[rng.integers(len(shapes))]
                shift = (int(rng.integers(-3, 4)), int(rng.integers(-3, 4)))
                mask = np.roll(near, shift, (0, 1))
                category = annotation["category_id"] if rng.random() < 0.8 else int(rng.choice(categories))
                box = [float(np.round(v + rng.normal(0, 2), 1)) for v in annotation["bbox"]]
                box[2:] = [abs(v) for v in box[2:]]
            else:
                mask, category = blob(rng, height, width), int(rng.choice(categories))
                low, high = rng.uniform(0, 0.5, 2) * (width, height), rng.uniform(0.1, 0.5, 2) * (width, height)
                box = [*low.round(1).tolist(), *high.round(1).tolist()]
            common = {"image_id": number, "category_id": category, "score": float(np.round(rng.random(), 1))}
            boxes.append({**common, "bbox": box})
            masks.append({**common, "segmentation": rle(mask)})
            both.append({**common, "bbox": box, "segmentation": rle(mask)})
            if rng.random() < 0.05:
                boxes.append(boxes[-1])
    order = rng.permutation(len(truth["annotations"])).tolist()
    truth["annotations"] = [truth["annotations"][index] for index in order]
    for detections in (boxes, masks, both):
        detections[:] = [detections[index] for index in rng.permutation(len(detections)).tolist()]
    truth["images"] = [truth["images"][index] for index in rng.permutation(images).tolist()]
    return truth, boxes, masks, both
