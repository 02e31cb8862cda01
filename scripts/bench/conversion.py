"""Conversion: COCO → pack against `cp` and datumaro's own format, COCO → VOC against datumaro.

    python scripts/bench/conversion.py SAMPLES [--images 510] [--rounds 5] [--only pack|annotations|voc]

SAMPLES is a folder with `coco` in COCO's layout, whose photos are repeated to the number wanted. What each side wrote is
compared before a ratio is printed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import inside, interleaved, report, table

PEERS = ("datumaro",)
COMMAND = "python scripts/bench/conversion.py SAMPLES"


def anew(target: Path, work: Callable[[], object]) -> Callable[[], None]:
    """The same work, into an empty place every time."""

    def run() -> None:
        shutil.rmtree(target, ignore_errors=True)
        work()

    return run


def datumaro(folder: Path, target: Path, to: str, **options: Any) -> Callable[[], None]:
    from datumaro.components.dataset import Dataset

    def run() -> None:
        dataset = Dataset.import_from(str(folder), "coco_instances")
        if to == "voc":
            dataset.transform("polygons_to_masks")  # it writes no mask for a polygon otherwise
        dataset.export(str(target), to, save_media=True, **options)
        synced(target)

    return anew(target, run)


def synced(target: Path) -> None:
    """Wait until the files under a folder are on disk, as segdata does."""
    subprocess.run(["sync", *(str(path) for path in target.rglob("*") if path.is_file())], check=True)


def copied(folder: Path, target: Path) -> Callable[[], None]:
    def run() -> None:
        subprocess.run(["cp", "-r", folder, target], check=True)
        synced(target)

    return anew(target, run)


def segdata_to(folder: Path, target: Path, **options: Any) -> Callable[[], None]:
    import segdata

    return anew(target, lambda: segdata.convert(folder, target, workers=1, **options))


def the_same(folder: Path, pack: Path, theirs: Path) -> None:
    """The pack and datumaro's files hold the photos and objects of the source."""
    import json

    import numpy as np
    from pycocotools.coco import COCO

    import segdata

    api = COCO(folder / "annotations" / "instances_train.json")
    opened = segdata.open(pack)
    (document,) = theirs.rglob("annotations/*.json")
    items = {item["id"]: item for item in json.loads(document.read_text())["items"]}
    for number, image in api.imgs.items():
        sample = opened.find(image["file_name"][:-4])
        photo = (folder / "images/train" / image["file_name"]).read_bytes()
        if sample.encoded != photo or next(theirs.rglob(image["file_name"])).read_bytes() != photo:
            sys.exit(f"another photo: {image['file_name']}")
        own = api.imgToAnns[number]
        masks = np.stack([api.annToMask(item) for item in own]) if own else np.zeros((0, sample.height, sample.width))
        if not np.array_equal(sample.instances.masks.dense(), masks):
            sys.exit(f"other masks: {image['file_name']}")
        if [opened.labels[index].id for index in sample.instances.category] != [item["category_id"] for item in own]:
            sys.exit(f"other categories: {image['file_name']}")
        found = {annotation["group"] or annotation["id"] for annotation in items[sample.key]["annotations"]}
        if len(found) != len(own):
            sys.exit(f"datumaro has {len(found)} objects, the source {len(own)}: {image['file_name']}")
    print("equal photos, masks and categories in the pack; equal photos and as many objects in datumaro's", flush=True)


def to_pack(folder: Path, work: Path, images: int, rounds: int) -> None:
    ours, theirs = work / "pack", work / "datumaro"
    runs = {
        "segdata, COCO → pack": segdata_to(folder, ours),
        "cp -r": copied(folder, work / "copy"),
        "datumaro, COCO → its own format": datumaro(folder, theirs, "datumaro"),
    }
    for run in runs.values():
        run()
    the_same(folder, ours, theirs)
    seconds = interleaved(runs, rounds)
    first = seconds["segdata, COCO → pack"]
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    report(
        "COCO → pack",
        [
            f"{images:,} photos with {size:.0f} MB, copied verbatim and checked in structure, one process; all three wait "
            f"until everything is on disk; medians of {rounds} interleaved rounds.",
            "",
            *table(
                ["", "images/s", "MB/s", "times segdata's time"],
                [
                    [name, f"{images / value:,.0f}", f"{size / value:,.0f}", f"{value / first:.2f}"]
                    for name, value in seconds.items()
                ],
            ),
        ],
        COMMAND,
    )


def annotations_only(folder: Path, work: Path, images: int, rounds: int) -> None:
    run = segdata_to(folder, work / "pack", images="none")
    seconds = interleaved({"segdata": run}, rounds)["segdata"]
    report(
        "COCO → pack, annotations only",
        [
            f"{images:,} images with real annotations, one process, `--images none`: {images / seconds:,.0f} images/s "
            f"(median of {rounds}). At full-COCO size see above."
        ],
        COMMAND,
    )


def to_voc(folder: Path, work: Path, images: int, rounds: int) -> None:
    import numpy as np
    from PIL import Image

    ours, theirs = work / "voc", work / "datumaro-voc"
    runs = {
        "segdata, COCO → VOC": segdata_to(folder, ours, to="voc", allow_loss=True),
        "datumaro, COCO → VOC": datumaro(folder, theirs, "voc", label_map="source"),
    }
    for run in runs.values():
        run()
    shares = []
    for file in sorted((ours / "SegmentationClass").glob("*.png")):
        (other,) = theirs.rglob(f"SegmentationClass/{file.name}")
        mine, them = (np.asarray(Image.open(path).convert("RGB")).any(axis=2) for path in (file, other))
        shares.append(float((mine & them).sum() / max((mine | them).sum(), 1)))
    if not shares:
        sys.exit("no masks were written")
    seconds = interleaved(runs, rounds)
    first = seconds["segdata, COCO → VOC"]
    report(
        "COCO → VOC with both kinds of masks",
        [
            f"{images:,} photos, one process; both wait until everything is on disk; medians of {rounds} interleaved "
            f"rounds. What either calls an object "
            f"has an IoU of {np.mean(shares):.4f}: the masks cannot be equal, as crowds and overlaps are treated "
            "differently. segdata counts everything that VOC cannot hold, and stops unless that is allowed; datumaro "
            "logs crowds.",
            "",
            *table(
                ["", "images/s", "times segdata's time"],
                [[name, f"{images / value:,.0f}", f"{value / first:.2f}"] for name, value in seconds.items()],
            ),
        ],
        COMMAND,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=Path)
    parser.add_argument("--images", type=int, default=510)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("pack", "annotations", "voc"))
    arguments = parser.parse_args()
    inside("conversion", PEERS)
    import logging

    import photos

    logging.disable(logging.WARNING)  # datumaro logs every crowd

    with tempfile.TemporaryDirectory(prefix="segdata-bench-") as name:
        work = Path(name)
        folder = photos.coco(arguments.samples / "coco", work / "coco", arguments.images, "images/train")
        jobs = {"pack": to_pack, "annotations": annotations_only, "voc": to_voc}
        for kind, job in jobs.items():
            if arguments.only in (None, kind):
                job(folder, work, arguments.images, arguments.rounds)


if __name__ == "__main__":
    main()
