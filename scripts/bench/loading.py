"""Loading: segdata against what people load COCO and VOC photos with today.

    python scripts/bench/loading.py SAMPLES [--images 204] [--rounds 9] [--only one|two|voc]

SAMPLES is a folder with `coco` (COCO's layout) and `voc/VOCdevkit/VOC2012`; their photos are repeated to the number
wanted. Before anything is timed, all contestants are shown to give the same pixels, masks, boxes and labels.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from common import PEERS, drain, inside, interleaved, report, table

COMMAND = "python scripts/bench/loading.py SAMPLES"


def with_segdata(pack: Any, **options: Any) -> Callable[[], Iterator[Any]]:
    """image, masks (dense or run lengths), boxes, category ids."""
    import numpy as np

    import segdata

    ids = np.array([category.id for category in pack.labels.categories])

    def items() -> Iterator[Any]:
        for batch in segdata.Loader(pack, semantic=False, reuse=True, **options):
            masks = batch.masks if batch.dense is None else batch.dense
            yield batch.images[0], masks[0], batch.boxes, ids[batch.category]

    return items


def require_equal(contestants: dict[str, Callable[[], Iterable[Any]]], what: tuple[str, ...]) -> None:
    """Every contestant gives the same items in the same order; boxes to 1e-3 pixels (some keep float32)."""
    import numpy as np

    from segdata import Masks

    names = list(contestants)
    for number, items in enumerate(zip(*(contestants[name]() for name in names), strict=True)):
        for name, item in zip(names, items, strict=True):
            for part, a, b in zip(what, items[0], item, strict=True):
                a, b = (np.asarray(x.dense() if isinstance(x, Masks) else x) for x in (a, b))
                if not (np.allclose(a, b, rtol=0, atol=1e-3) if part == "boxes" else np.array_equal(a, b)):
                    sys.exit(f"{name} gives another {part} than {names[0]} for item {number}")
    print(f"equal {', '.join(what)}: {'; '.join(names)}", flush=True)


def of_dataloader(dataset: Any, ids: Any) -> Callable[[], Iterator[Any]]:
    """The same through PyTorch's DataLoader with two workers; `ids` are the labels' category ids."""
    import numpy as np
    from torch.utils.data import DataLoader

    from segdata.torch import collate

    def items() -> Iterator[Any]:
        for images, targets in DataLoader(dataset, 8, num_workers=2, collate_fn=collate):
            for image, target in zip(images, targets, strict=True):
                pixels = np.asarray(image) if not hasattr(image, "numpy") else image.permute(1, 2, 0).numpy()
                labels = target["labels"].numpy()
                yield pixels, target["masks"].numpy(), target["boxes"].numpy(), labels if ids is None else ids[labels]

    return items


def of_loader(pack: Any) -> Callable[[], Iterator[Any]]:
    """The same through `segdata.Loader` with two workers."""
    import numpy as np

    import segdata

    ids = np.array([category.id for category in pack.labels.categories])

    def items() -> Iterator[Any]:
        for batch in segdata.Loader(pack, 8, workers=2, masks="dense", reuse=True, semantic=False):
            for index in range(len(batch)):
                objects = slice(*batch.pointer[index : index + 2])
                yield batch.images[index], batch.dense[index], batch.boxes[objects], ids[batch.category[objects]]

    return items


def one_process(work: Path, pack: Any, folder: Path, images: int, rounds: int) -> None:
    import peers

    segdata_dense, segdata_runs = with_segdata(pack, masks="dense"), with_segdata(pack)
    theirs = {
        "torchvision CocoDetection": peers.with_torchvision(folder),
        "json + cv2 by hand": peers.by_hand(folder),
        "HF datasets": peers.with_datasets(folder, work),
        "WebDataset": peers.with_webdataset(folder, work),
        "MosaicML streaming": peers.with_streaming(folder, work),
    }
    contestants = {"segdata, dense masks": segdata_dense, "segdata, run lengths": segdata_runs, **theirs}
    require_equal(contestants, ("pixels", "masks", "boxes", "labels"))
    runs = {name: drain(items) for name, items in contestants.items()}
    seconds = interleaved({**runs, **jpeg_only(folder / "train")}, rounds)
    dense = seconds["segdata, dense masks"]
    report(
        "Loading COCO photos with masks, one process",
        [
            f"{images:,} images, {sum(len(sample.instances) for sample in pack):,} objects; medians of {rounds} "
            "interleaved rounds; all gave equal pixels, masks, boxes and labels before. segdata with `reuse=True`.",
            "",
            *table(
                ["", "images/s", "time against segdata dense", *JPEG],
                [
                    [name, f"{images / value:,.0f}", f"{value / dense:.2f}", *shares(seconds, value)]
                    for name, value in seconds.items()
                ],
            ),
        ],
        COMMAND,
    )


def two_workers(pack: Any, folder: Path, images: int, rounds: int) -> None:
    import numpy as np
    from torchvision.datasets import CocoDetection, wrap_dataset_for_transforms_v2

    from segdata.torch import Dataset

    theirs = wrap_dataset_for_transforms_v2(
        CocoDetection(folder / "train", folder / "annotations" / "instances_train.json"),
        target_keys=["boxes", "labels", "masks"],
    )
    ours = Dataset(pack, crowds=True, without_masks=True)
    ids = np.array([0, *(pack.labels[index].id for index in ours.indices[1:])])
    contestants = {
        "torchvision CocoDetection in a DataLoader": of_dataloader(theirs, None),
        "segdata.torch in a DataLoader": of_dataloader(ours, ids),
        "segdata.Loader": of_loader(pack),
    }
    require_equal(contestants, ("pixels", "masks", "boxes", "labels"))
    seconds = interleaved({name: drain(items) for name, items in contestants.items()}, rounds)
    first = seconds["torchvision CocoDetection in a DataLoader"]
    report(
        "Loading COCO photos with masks, two workers",
        [
            f"{images:,} images in batches of 8, dense masks at the consumer; medians of {rounds} interleaved rounds, "
            "start of the workers included; all gave equal pixels, masks, boxes and labels before.",
            "",
            *table(
                ["", "images/s", "times torchvision's speed"],
                [[name, f"{images / value:,.0f}", f"{first / value:.2f}"] for name, value in seconds.items()],
            ),
        ],
        COMMAND,
    )


def label_maps(work: Path, source: Path, images: int, rounds: int) -> None:
    import numpy as np
    import photos
    from torchvision.datasets import VOCSegmentation

    import segdata

    home = photos.voc(source, work / "VOCdevkit" / "VOC2012", images)
    segdata.convert(home, work / "voc-pack")
    pack = segdata.open(work / "voc-pack", split="train")
    dataset = VOCSegmentation(work, year="2012", image_set="train")

    def theirs() -> Iterator[Any]:
        for image, target in dataset:
            yield np.asarray(image), np.asarray(target)

    def ours() -> Iterator[Any]:
        for batch in segdata.Loader(pack, reuse=True):
            yield batch.images[0], batch.semantic[0]

    contestants = {"segdata": ours, "torchvision VOCSegmentation": theirs}
    require_equal(contestants, ("pixels", "label map"))
    seconds = interleaved(
        {**{name: drain(items) for name, items in contestants.items()}, **jpeg_only(home / "JPEGImages")}, rounds
    )
    report(
        "Loading VOC photos with label maps, one process",
        [
            f"{images:,} images; medians of {rounds} interleaved rounds; both gave equal pixels and maps before. "
            "segdata with `reuse=True`.",
            "",
            *table(
                ["", "images/s", "time against segdata", *JPEG],
                [
                    [name, f"{images / value:,.0f}", f"{value / seconds['segdata']:.2f}", *shares(seconds, value)]
                    for name, value in seconds.items()
                ],
            ),
        ],
        COMMAND,
    )


def jpeg_only(folder: Path) -> dict[str, Callable[[], None]]:
    """simplejpeg and nothing else: on a folder's files, and on bytes that are in memory already."""
    import simplejpeg

    files = sorted(folder.glob("*.jpg"))
    encoded = [file.read_bytes() for file in files]

    def from_files() -> None:
        for file in files:
            simplejpeg.decode_jpeg(file.read_bytes(), fastdct=False, fastupsample=False)

    def from_memory() -> None:
        for photo in encoded:
            simplejpeg.decode_jpeg(photo, fastdct=False, fastupsample=False)

    return {"JPEG files read and decoded": from_files, "JPEG decoded from memory": from_memory}


JPEG = ("share of JPEG-only speed", "of decoding from memory")


def shares(seconds: dict[str, float], value: float) -> tuple[str, str]:
    """A contestant's share of the speed at which the photos alone are read and decoded, and decoded."""
    read, held = (seconds[name] / value for name in ("JPEG files read and decoded", "JPEG decoded from memory"))
    return f"{read:.2f}", f"{held:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=Path)
    parser.add_argument("--images", type=int, default=204)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", choices=("one", "two", "voc"))
    arguments = parser.parse_args()
    inside("loading", PEERS)
    import photos

    import segdata

    images, rounds = arguments.images, arguments.rounds
    with tempfile.TemporaryDirectory(prefix="segdata-bench-") as name:
        work = Path(name)
        if arguments.only in (None, "one", "two"):
            folder = photos.coco(arguments.samples / "coco", work / "coco", images)
            segdata.convert(folder, work / "pack")
            pack = segdata.open(work / "pack", split="train")
            if arguments.only != "two":
                one_process(work, pack, folder, images, rounds)
            if arguments.only != "one":
                two_workers(pack, folder, images, rounds)
        if arguments.only in (None, "voc"):
            label_maps(work, arguments.samples / "voc/VOCdevkit/VOC2012", images, rounds)


if __name__ == "__main__":
    main()
