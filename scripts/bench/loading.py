"""Image, dense masks, boxes and labels of COCO photos: segdata against what people load them with today.

    python scripts/bench/loading.py COCO_FOLDER [--images 1000] [--rounds 5]

COCO_FOLDER is a folder in COCO's layout whose photos are repeated to the number wanted. Before anything is timed, all
contestants are shown to give the same pixels, masks, boxes and labels.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from common import inside, interleaved, report, table

PACKAGES = (
    "torch==2.14.1",
    "torchvision==0.29.1",
    "opencv-python-headless",
    "datasets",
    "webdataset",
    "mosaicml-streaming",
)


def repeat(source: Path, target: Path, images: int) -> Path:
    """A COCO folder of that many images, made of the source's photos and annotations again and again."""
    (target / "annotations").mkdir(parents=True)
    (target / "train").mkdir()
    photos: list[tuple[dict[str, Any], list[dict[str, Any]], Path]] = []
    categories: list[dict[str, Any]] = []
    for path in sorted((source / "annotations").glob("instances_*.json")):
        document = json.loads(path.read_text())
        categories = document["categories"]
        folder = path.stem.removeprefix("instances_")
        for image in document["images"]:
            own = [item for item in document["annotations"] if item["image_id"] == image["id"]]
            photos.append((image, own, source / folder / image["file_name"]))
    out: dict[str, Any] = {"info": {}, "licenses": [], "images": [], "annotations": [], "categories": categories}
    for number in range(images):
        image, own, file = photos[number % len(photos)]
        name = f"{number:012d}.jpg"
        shutil.copyfile(file, target / "train" / name)
        out["images"].append({**image, "id": number + 1, "file_name": name})
        for item in own:
            out["annotations"].append({**item, "image_id": number + 1, "id": len(out["annotations"]) + 1})
    (target / "annotations" / "instances_train.json").write_text(json.dumps(out))
    return target


Item = tuple[Any, Any, Any, Any]
"""image (H, W, 3) uint8, masks (N, H, W) uint8, boxes (N, 4) float, category ids (N,)."""


def of_annotations(own: list[dict[str, Any]], to_mask: Callable[[dict[str, Any]], Any], shape: tuple[int, int]) -> Item:
    import numpy as np

    masks = np.zeros((len(own), *shape), np.uint8)
    for place, item in enumerate(own):
        masks[place] = to_mask(item)
    boxes = np.array([item["bbox"] for item in own], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return None, masks, boxes, np.array([item["category_id"] for item in own], np.int64)


def with_torchvision(folder: Path) -> Callable[[], Iterator[Item]]:
    import numpy as np
    from torchvision.datasets import CocoDetection

    dataset = CocoDetection(folder / "train", folder / "annotations" / "instances_train.json")

    def items() -> Iterator[Item]:
        for index in range(len(dataset)):
            image, own = dataset[index]
            pixels = np.asarray(image)
            yield pixels, *of_annotations(own, dataset.coco.annToMask, pixels.shape[:2])[1:]

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
        own = api.imgToAnns[number]
        yield {
            "key": image["file_name"][:-4],
            "jpg": (folder / "train" / image["file_name"]).read_bytes(),
            "objects": {
                "size": [image["height"], image["width"]],
                "counts": [api.annToRLE(item)["counts"].decode() for item in own],
                "bbox": [item["bbox"] for item in own],
                "category": [item["category_id"] for item in own],
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


def with_segdata(pack: Any, **options: Any) -> Callable[[], Iterator[Item]]:
    import numpy as np

    import segdata

    ids = np.array([category.id for category in pack.labels.categories])

    def items() -> Iterator[Item]:
        for batch in segdata.Loader(pack, semantic=False, **options):
            masks = batch.masks if batch.dense is None else batch.dense
            pointer = batch.pointer.tolist()
            for place in range(len(batch)):
                own = slice(pointer[place], pointer[place + 1])
                yield batch.images[place], masks[place], batch.boxes[own], ids[batch.category[own]]

    return items


def require_equal(contestants: dict[str, Callable[[], Iterable[Item]]]) -> None:
    """Every contestant gives the same items in the same order."""
    import numpy as np

    from segdata import Masks

    names = list(contestants)
    for number, items in enumerate(zip(*(contestants[name]() for name in names), strict=True)):
        first = copy.copy(items[0])
        for name, item in zip(names, items, strict=True):
            for what, a, b in zip(("image", "masks", "boxes", "labels"), first, item, strict=True):
                b = b.dense() if isinstance(b, Masks) else b
                same = np.allclose(a, b, atol=1e-9) if what == "boxes" else np.array_equal(a, b)
                if not same:
                    sys.exit(f"{name} gives another {what} than {names[0]} for item {number}")
    print(f"equal pixels, masks, boxes and labels: {', '.join(names)}")


def drain(items: Callable[[], Iterable[Any]]) -> Callable[[], None]:
    def run() -> None:
        for _ in items():
            pass

    return run


def two_workers(folder: Path, pack: Any) -> dict[str, Callable[[], None]]:
    """End to end with two workers: PyTorch's DataLoader over torchvision's dataset, and over segdata's, and `Loader`."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision.datasets import CocoDetection, wrap_dataset_for_transforms_v2

    import segdata
    from segdata.loading.torch import Dataset, collate

    theirs = wrap_dataset_for_transforms_v2(
        CocoDetection(folder / "train", folder / "annotations" / "instances_train.json"),
        target_keys=["boxes", "labels", "masks"],
    )
    ours = Dataset(pack, crowds=True, without_masks=True)
    options: dict[str, Any] = {"batch_size": 8, "num_workers": 2, "collate_fn": collate}

    def loaded(dataset: Any) -> Callable[[], None]:
        def run() -> None:
            for images, targets in DataLoader(dataset, **options):
                _ = [torch.as_tensor(image) for image in images], targets

        return run

    def loader() -> None:
        for _ in segdata.Loader(pack, 8, workers=2, masks="dense", reuse=True, semantic=False):
            pass

    return {
        "torchvision in a DataLoader": loaded(theirs),
        "segdata.loading.torch in a DataLoader": loaded(ours),
        "segdata.Loader": loader,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("coco", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    inside("loading", PACKAGES)

    import simplejpeg

    import segdata

    with tempfile.TemporaryDirectory(prefix="segdata-bench-") as name:
        work = Path(name)
        folder = repeat(arguments.coco, work / "coco", arguments.images)
        segdata.convert(folder, work / "pack")
        pack = segdata.open(work / "pack", split="train")
        photos = [sample.encoded for sample in pack]

        def jpeg_only() -> None:
            for photo in photos:
                simplejpeg.decode_jpeg(photo, fastdct=False, fastupsample=False)

        ours: dict[str, Callable[[], Iterator[Item]]] = {
            "segdata, dense masks": with_segdata(pack, masks="dense", reuse=True),
            "segdata, run lengths": with_segdata(pack, reuse=True),
        }
        peers: dict[str, Callable[[], Iterator[Item]]] = {
            "torchvision CocoDetection": with_torchvision(folder),
            "json + cv2 by hand": by_hand(folder),
            "HF datasets": with_datasets(folder, work),
            "WebDataset": with_webdataset(folder, work),
            "MosaicML streaming": with_streaming(folder, work),
        }
        require_equal({**peers, **ours})
        runs = {name: drain(items) for name, items in {**ours, **peers}.items()}
        seconds = interleaved({**runs, "JPEG decoding alone": jpeg_only}, arguments.rounds)
        dense = seconds["segdata, dense masks"]
        rows = [
            [
                name,
                f"{arguments.images / value:,.0f}",
                f"{value / dense:.2f}",
                f"{seconds['JPEG decoding alone'] / value:.2f}",
            ]
            for name, value in seconds.items()
        ]
        report(
            "Loading COCO photos with masks, one process",
            [
                f"{arguments.images:,} images, {len(pack.path.name) and sum(len(s.instances) for s in pack):,} objects; "
                f"medians of {arguments.rounds} interleaved rounds; all give equal pixels, masks, boxes and labels.",
                "",
                *table(["", "images/s", "time against segdata dense", "share of JPEG-only speed"], rows),
            ],
            "python scripts/bench/loading.py COCO_FOLDER",
        )
        seconds = interleaved(two_workers(folder, pack), arguments.rounds)
        first = seconds["torchvision in a DataLoader"]
        rows = [[name, f"{arguments.images / value:,.0f}", f"{first / value:.2f}"] for name, value in seconds.items()]
        report(
            "Loading COCO photos with masks, two workers",
            [
                f"{arguments.images:,} images in batches of 8, dense masks at the consumer; medians of "
                f"{arguments.rounds} interleaved rounds.",
                "",
                *table(["", "images/s", "times torchvision's speed"], rows),
            ],
            "python scripts/bench/loading.py COCO_FOLDER",
        )


if __name__ == "__main__":
    main()
