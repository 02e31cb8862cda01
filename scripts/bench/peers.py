"""What people load COCO photos with today: each gives image, dense masks, boxes and category ids, item by item."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Item = tuple[Any, Any, Any, Any]
"""image (H, W, 3) uint8, masks (N, H, W) uint8, boxes (N, 4) float, category ids (N,)."""


def of_annotations(
    annotations: list[dict[str, Any]], to_mask: Callable[[dict[str, Any]], Any], shape: tuple[int, int]
) -> Item:
    import numpy as np

    masks = np.zeros((len(annotations), *shape), np.uint8)
    for index, item in enumerate(annotations):
        masks[index] = to_mask(item)
    boxes = np.array([item["bbox"] for item in annotations], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return None, masks, boxes, np.array([item["category_id"] for item in annotations], np.int64)


def with_torchvision(folder: Path) -> Callable[[], Iterator[Item]]:
    import numpy as np
    from torchvision.datasets import CocoDetection

    dataset = CocoDetection(folder / "train", folder / "annotations" / "instances_train.json")

    def items() -> Iterator[Item]:
        for index in range(len(dataset)):
            image, annotations = dataset[index]
            pixels = np.asarray(image)
            yield pixels, *of_annotations(annotations, dataset.coco.annToMask, pixels.shape[:2])[1:]

    return items


def by_hand(folder: Path) -> Callable[[], Iterator[Item]]:
    import cv2
    from pycocotools.coco import COCO

    api = COCO(folder / "annotations" / "instances_train.json")

    def items() -> Iterator[Item]:
        for number, image in api.imgs.items():
            pixels = cv2.cvtColor(cv2.imread(str(folder / "train" / image["file_name"])), cv2.COLOR_BGR2RGB)
            yield pixels, *of_annotations(api.imgToAnns[number], api.annToMask, pixels.shape[:2])[1:]

    return items


def encoded(folder: Path) -> Iterator[dict[str, Any]]:
    """For the record formats: photo bytes and objects with masks as compressed run lengths (their best case)."""
    from pycocotools.coco import COCO

    api = COCO(folder / "annotations" / "instances_train.json")
    for number, image in api.imgs.items():
        annotations = api.imgToAnns[number]
        yield {
            "key": image["file_name"][:-4],
            "jpg": (folder / "train" / image["file_name"]).read_bytes(),
            "objects": {
                "size": [image["height"], image["width"]],
                "counts": [api.annToRLE(item)["counts"].decode() for item in annotations],
                "bbox": [item["bbox"] for item in annotations],
                "category": [item["category_id"] for item in annotations],
            },
        }


def of_record(pixels: Any, objects: dict[str, Any]) -> Item:
    import numpy as np
    from pycocotools import mask as coco_mask

    size = objects["size"]
    rles = [{"size": size, "counts": counts} for counts in objects["counts"]]
    masks = np.ascontiguousarray(coco_mask.decode(rles).transpose(2, 0, 1)) if rles else np.zeros((0, *size), np.uint8)
    boxes = np.array(objects["bbox"], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return pixels, masks, boxes, np.array(objects["category"], np.int64)


def with_datasets(folder: Path, work: Path) -> Callable[[], Iterator[Item]]:
    import datasets
    import numpy as np

    datasets.disable_progress_bars()
    rows = [
        {"image": {"bytes": row["jpg"], "path": None}, "objects": json.dumps(row["objects"])} for row in encoded(folder)
    ]
    features = datasets.Features({"image": datasets.Image(mode="RGB"), "objects": datasets.Value("string")})
    datasets.Dataset.from_list(rows, features=features).save_to_disk(work / "datasets")
    dataset = datasets.load_from_disk(work / "datasets")

    def items() -> Iterator[Item]:
        for row in dataset:
            yield of_record(np.asarray(row["image"]), json.loads(row["objects"]))

    return items


def with_webdataset(folder: Path, work: Path) -> Callable[[], Iterator[Item]]:
    import numpy as np
    import webdataset
    from PIL import Image

    (work / "webdataset").mkdir()
    with webdataset.ShardWriter(str(work / "webdataset" / "%05d.tar"), maxcount=1000, verbose=0) as sink:
        for row in encoded(folder):
            sink.write({"__key__": row["key"], "jpg": row["jpg"], "json": row["objects"]})
    shards = [str(path) for path in sorted((work / "webdataset").iterdir())]

    def items() -> Iterator[Item]:
        for row in webdataset.WebDataset(shards, shardshuffle=False):
            pixels = np.asarray(Image.open(io.BytesIO(row["jpg"])).convert("RGB"))
            yield of_record(pixels, json.loads(row["json"]))

    return items


def with_streaming(folder: Path, work: Path) -> Callable[[], Iterator[Item]]:
    import numpy as np
    from PIL import Image
    from streaming import MDSWriter, StreamingDataset

    with MDSWriter(out=str(work / "mds"), columns={"jpg": "bytes", "objects": "json"}) as writer:
        for row in encoded(folder):
            writer.write({"jpg": row["jpg"], "objects": row["objects"]})
    dataset = StreamingDataset(local=str(work / "mds"), shuffle=False, batch_size=1)

    def items() -> Iterator[Item]:
        for row in dataset:
            pixels = np.asarray(Image.open(io.BytesIO(row["jpg"])).convert("RGB"))
            yield of_record(pixels, row["objects"])

    return items
