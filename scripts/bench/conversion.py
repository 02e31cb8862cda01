"""Conversion: COCO → pack against `cp` and datumaro's own format, COCO → VOC against datumaro.

Both in this process and as commands, both waiting for the disk (segdata always does; the others are followed by `sync`)
and not (then segdata's waiting is taken out by this script).

    python scripts/bench/conversion.py SAMPLES [--images 510] [--rounds 5] [--only pack|bytes|command|annotations|voc]

SAMPLES is a folder with `coco` in COCO's layout, whose photos are repeated to the number wanted. What each side wrote is
compared before a ratio is printed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from common import inside, interleaved, report, table

PEERS = ("datumaro", "tensorboardX", "tabulate", "scipy", "matplotlib")  # the others are for its command
COMMAND = "python scripts/bench/conversion.py SAMPLES"


def cleared(work: Path) -> Callable[[], None]:
    """Put aside what was made before, let the disk come to rest, and give back the memory that held it.

    Nothing is removed before the end: for minutes, ext4 looks long for room among files that were just removed. Memory
    that a virtual machine has never used costs ten times as much at its first use, so that whoever comes next would pay
    for what whoever came before has filled.
    """
    aside = work / "coco-aside"

    def clear() -> None:
        aside.mkdir(exist_ok=True)
        made = [target for target in work.iterdir() if not target.name.startswith("coco-")]
        moved = [target.rename(Path(tempfile.mkdtemp(dir=aside)) / target.name) for target in made]
        os.sync()
        for file in (file for target in moved for file in target.rglob("*") if file.is_file()):
            with file.open("rb") as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    return clear


def datumaro(folder: Path, target: Path, to: str, **options: Any) -> Callable[[], None]:
    from datumaro.components.dataset import Dataset

    def run() -> None:
        dataset = Dataset.import_from(str(folder), "coco_instances")
        if to == "voc":
            dataset.transform("polygons_to_masks")  # it writes no mask for a polygon otherwise
        dataset.export(str(target), to, save_media=True, **options)

    return run


def segdata_to(folder: Path, target: Path, **options: Any) -> Callable[[], object]:
    import segdata

    return lambda: segdata.convert(folder, target, workers=1, **options)


def command(*words: str | Path) -> Callable[[], object]:
    return lambda: subprocess.run(words, check=True, capture_output=True)


def and_sync(run: Callable[[], object], target: Path) -> Callable[[], None]:
    """Wait until a folder is on disk, all files at once."""

    def both() -> None:
        run()
        subprocess.run(["sync", "--file-system", target], check=True)

    return both


def without_waiting(run: Callable[[], object]) -> Callable[[], None]:
    def alone() -> None:
        with mock.patch("os.fsync"), mock.patch("segdata.conversion.to_folder.sync_disk"):
            run()

    return alone


def by_kind(
    kinds: dict[str, tuple[Callable[[], object], ...]], rounds: int, work: Path
) -> dict[str, tuple[float, ...]]:
    """Median seconds of every contestant in every kind of race, all interleaved."""
    runs = {f"{kind}, {index}": run for kind, group in kinds.items() for index, run in enumerate(group)}
    seconds = iter(interleaved(runs, rounds, cleared(work)).values())
    return {kind: tuple(next(seconds) for _ in group) for kind, group in kinds.items()}


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
        annotations = api.imgToAnns[number]
        masks = (
            np.stack([api.annToMask(item) for item in annotations])
            if annotations
            else np.zeros((0, sample.height, sample.width))
        )
        if not np.array_equal(sample.instances.masks.dense(), masks):
            sys.exit(f"other masks: {image['file_name']}")
        if [opened.labels[index].id for index in sample.instances.category] != [
            item["category_id"] for item in annotations
        ]:
            sys.exit(f"other categories: {image['file_name']}")
        groups = {annotation["group"] or annotation["id"] for annotation in items[sample.key]["annotations"]}
        if len(groups) != len(annotations):
            sys.exit(f"datumaro has {len(groups)} objects, the source {len(annotations)}: {image['file_name']}")
    print("equal photos, masks and categories in the pack; equal photos and as many objects in datumaro's", flush=True)


def to_pack(folder: Path, work: Path, images: int, rounds: int) -> None:
    ours, theirs, copy = work / "pack", work / "datumaro", work / "copy"
    here = segdata_to(folder, ours)
    there = datumaro(folder, theirs, "datumaro")
    copied = command("cp", "-r", folder, copy)
    kinds = {
        "without waiting for the disk": (without_waiting(here), copied, there),
        "until all is on disk": (here, and_sync(copied, copy), and_sync(there, theirs)),
    }
    here()
    there()
    the_same(folder, ours, theirs)
    seconds = by_kind(kinds, rounds, work)
    rows = []
    for kind, (segdata, cp, peer) in seconds.items():
        speeds = [speed(folder, images, value) for value in (segdata, cp, peer)]
        rows.append([kind, *speeds, f"{cp / segdata:.2f}", f"{peer / segdata:.2f}"])
    report(
        "COCO → pack, in one process",
        [
            f"{images:,} photos, copied verbatim and checked in structure; medians of {rounds} interleaved rounds. "
            "datumaro keeps polygons as they are and has no checksums; segdata draws every mask once, and hashes every "
            "byte.",
            "",
            *table(
                [
                    "",
                    "segdata",
                    "cp -r",
                    "datumaro to its own format",
                    "segdata's speed against cp's",
                    "against datumaro's",
                ],
                rows,
            ),
            "",
            *floors(folder, work, images),
            "",
            f"Five times datumaro's speed would be {next(iter(seconds.values()))[2] / 5:.2f} s.",
        ],
        COMMAND,
    )


def bytes_only(folder: Path, work: Path, images: int, rounds: int) -> None:
    import json

    path = folder / "annotations/instances_train.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "annotations": []}))
    here, copied = segdata_to(folder, work / "pack"), command("cp", "-r", folder, work / "copy")
    kinds = {
        "without waiting for the disk": (without_waiting(here), copied),
        "until all is on disk": (here, and_sync(copied, work / "copy")),
    }
    rows = [
        [kind, speed(folder, images, ours), speed(folder, images, theirs), f"{theirs / ours:.2f}"]
        for kind, (ours, theirs) in by_kind(kinds, rounds, work).items()
    ]
    report(
        "COCO → pack, photos only",
        [
            f"{images:,} photos without annotations, one process each: copied, checked in structure and hashed here, "
            f"copied by `cp -r` there; medians of {rounds} interleaved rounds.",
            "",
            *table(["", "segdata", "cp -r", "segdata's speed against cp's"], rows),
        ],
        COMMAND,
    )


def by_command(folder: Path, work: Path, images: int, rounds: int) -> None:
    ours, theirs, copy = work / "pack", work / "datumaro", work / "copy"
    binaries = Path(sys.prefix) / "bin"
    convert = (binaries / "segdata", "convert", folder, ours, "--quiet")
    datum = (binaries / "datum", "convert", "-i", folder, "-if", "coco_instances", "-f", "datumaro", "-o", theirs)
    seconds = interleaved(
        {
            f"segdata convert, {os.cpu_count()} processes (the default here)": command(*convert),
            "segdata convert --workers 1": command(*convert, "--workers", "1"),
            "cp -r": and_sync(command("cp", "-r", folder, copy), copy),
            "datum convert, to its own format": and_sync(command(*datum, "--", "--save-media"), theirs),
        },
        rounds,
        cleared(work),
    )
    first = next(iter(seconds.values()))
    report(
        "COCO → pack, as a command",
        [
            f"{images:,} photos; each waits until everything is on disk; start of the program included; medians of "
            f"{rounds} interleaved rounds.",
            "",
            *table(
                ["", "speed", "times the first one's time"],
                [[name, speed(folder, images, value), f"{value / first:.2f}"] for name, value in seconds.items()],
            ),
        ],
        COMMAND,
    )


def speed(folder: Path, images: int, seconds: float) -> str:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    return f"{images / seconds:,.0f} images/s, {size / seconds:,.0f} MB/s"


def floors(folder: Path, work: Path, images: int) -> list[str]:
    """What parts of the work take alone, in processor time."""
    import hashlib
    import json
    import time

    from pycocotools import mask as coco_mask

    photos = [path.read_bytes() for path in sorted((folder / "images/train").iterdir())]
    document = json.loads((folder / "annotations/instances_train.json").read_text())
    shapes = {image["id"]: (image["height"], image["width"]) for image in document["images"]}
    rings = [
        (item["segmentation"], *shapes[item["image_id"]])
        for item in document["annotations"]
        if isinstance(item["segmentation"], list)
    ]

    def read_and_write() -> None:
        (work / "all").mkdir()
        with (work / "all/photos").open("wb") as file:
            for path in sorted((folder / "images/train").iterdir()):
                file.write(path.read_bytes())

    parts = {
        "reading the photos and writing them into one file": read_and_write,
        "SHA-256 of the photos": lambda: [hashlib.sha256(photo).digest() for photo in photos],
        "pycocotools drawing the polygons": lambda: [coco_mask.frPyObjects(*item) for item in rings],
        "segdata, annotations only": segdata_to(folder, work / "pack", images="none"),
        "segdata, all of it": segdata_to(folder, work / "pack"),
    }
    parts = []
    for name, part in parts.items():
        times = []
        for _ in range(5):
            cleared(work)()
            began = time.process_time()
            part()
            times.append(time.process_time() - began)
        parts.append(f"{name} {min(times):.2f} s")
    return [f"Processor time of {images:,} images and {len(rings):,} polygons (least of 5): {', '.join(parts)}."]


def annotations_only(folder: Path, work: Path, images: int, rounds: int) -> None:
    seconds = interleaved({"segdata": segdata_to(folder, work / "pack", images="none")}, rounds, cleared(work))[
        "segdata"
    ]
    report(
        "COCO → pack, annotations only",
        [
            f"{images:,} images with real annotations, 10.7 objects each, one process, `--images none`: "
            f"{images / seconds:,.0f} images/s (median of {rounds}). At full-COCO size, with 7.3 objects each, see above."
        ],
        COMMAND,
    )


def to_voc(folder: Path, work: Path, images: int, rounds: int) -> None:
    import numpy as np
    from PIL import Image

    ours, theirs = work / "voc", work / "datumaro-voc"
    here = segdata_to(folder, ours, to="voc", allow_loss=True)
    there = datumaro(folder, theirs, "voc", label_map="source")
    kinds = {
        "without waiting for the disk": (without_waiting(here), there),
        "until all is on disk": (here, and_sync(there, theirs)),
    }
    here()
    there()
    shares = []
    for file in sorted((ours / "SegmentationClass").glob("*.png")):
        (other,) = theirs.rglob(f"SegmentationClass/{file.name}")
        mine, them = (np.asarray(Image.open(path).convert("RGB")).any(axis=2) for path in (file, other))
        shares.append(float((mine & them).sum() / max((mine | them).sum(), 1)))
    if not shares:
        sys.exit("no masks were written")
    rows = [
        [kind, f"{images / first:,.0f}", f"{images / second:,.0f}", f"{second / first:.2f}"]
        for kind, (first, second) in by_kind(kinds, rounds, work).items()
    ]
    report(
        "COCO → VOC with both kinds of masks",
        [
            f"{images:,} photos, one process each; medians of {rounds} interleaved rounds. What either calls an object "
            f"has an IoU of {np.mean(shares):.4f}: the masks cannot be equal, as crowds and overlaps are treated "
            "differently. segdata counts everything that VOC cannot hold, and stops unless that is allowed; datumaro "
            "logs crowds.",
            "",
            *table(["", "segdata, images/s", "datumaro, images/s", "segdata's speed against datumaro's"], rows),
        ],
        COMMAND,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=Path)
    parser.add_argument("--images", type=int, default=510)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("pack", "bytes", "command", "annotations", "voc"))
    arguments = parser.parse_args()
    inside("conversion", PEERS)
    import logging

    import photos

    logging.disable(logging.WARNING)  # datumaro logs every crowd

    with tempfile.TemporaryDirectory(prefix="segdata-bench-") as name:
        work = Path(name)
        jobs = {
            "pack": (to_pack, 1),
            "bytes": (bytes_only, 4),
            "command": (by_command, 8),
            "annotations": (annotations_only, 4),
            "voc": (to_voc, 1),
        }
        for kind, (job, times) in jobs.items():
            if arguments.only in (None, kind):
                images = arguments.images * times
                folder = photos.coco(arguments.samples / "coco", work / f"coco-{kind}", images, "images/train")
                job(folder, work, images, arguments.rounds)
                shutil.rmtree(folder)


if __name__ == "__main__":
    main()
