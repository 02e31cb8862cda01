"""YOLO: COCO → YOLO against Ultralytics' `convert_coco`, YOLO → pack against supervision's `DetectionDataset.from_yolo`.

    python scripts/bench/yolo.py SAMPLES [--images 510] [--rounds 3] [--peers PYTHON]

SAMPLES is a folder with `coco` in COCO's layout, whose photos are repeated to the number wanted. --peers is a Python that
has ultralytics (with torch), supervision and segdata's own packages; without it, one is made in `.bench/yolo`. Every run
is a process of its own with one thread, and counts from behind its imports and a run over two photos: seconds of the processor (with child processes)
and how far memory rises. `convert_coco` writes label files alone, and segdata copies the photos, too: theirs are copied by
`shutil.copytree` in the same run. What was written is read back by pycocotools and OpenCV and compared with COCO's masks.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import photos
from common import ROOT, inside, report, table

PEERS = ("torch==2.14.1", "torchvision==0.29.1", "ultralytics", "supervision")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

# ---------------------------------------------------------------------- contestants


def convert_coco(source: Path, target: Path) -> Callable[[], object]:
    from ultralytics.data.converter import convert_coco  # type: ignore[import-not-found,unused-ignore]

    def run() -> None:
        convert_coco(str(source / "annotations"), str(target), use_segments=True, cls91to80=False)
        shutil.copytree(source / "train", target / "images" / "train")

    return run


def segdata_to(source: Path, target: Path, to: str) -> Callable[[], object]:
    import segdata

    return lambda: segdata.convert(source, target, to=to, allow_loss=True, workers=1)


def from_yolo(source: Path) -> Callable[[], object]:
    import supervision  # type: ignore[import-not-found,unused-ignore]

    def run() -> object:
        dataset = supervision.DetectionDataset.from_yolo(
            str(source / "images/train"), str(source / "labels/train"), str(source / "data.yaml"), force_masks=True
        )
        return sum(len(dataset.annotations[name]) for name in dataset.image_paths)

    return run


CONTESTANTS: dict[str, Callable[[Path, Path], Callable[[], object]]] = {
    "convert_coco": convert_coco,
    "segdata-yolo": lambda source, target: segdata_to(source, target, "yolo"),
    "supervision": lambda source, target: from_yolo(source),
    "segdata-pack": lambda source, target: segdata_to(source, target, "pack"),
}


def one(name: str, source: Path, target: Path) -> None:
    """Run one contestant in this process, and print its seconds and the bytes that memory rose by."""
    CONTESTANTS[name](
        source.parent / f"few-{source.name}", target.parent / f"few-{name}-out"
    )()  # imports what it needs
    run = CONTESTANTS[name](source, target)
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    before = [resource.getrusage(kind) for kind in kinds]
    begin = time.perf_counter()
    run()
    seconds = time.perf_counter() - begin
    after = [resource.getrusage(kind) for kind in kinds]
    cpu = sum(b.ru_utime + b.ru_stime - a.ru_utime - a.ru_stime for a, b in zip(before, after, strict=True))
    children = after[1].ru_maxrss if after[1].ru_maxrss > before[1].ru_maxrss else 0
    rise = max(after[0].ru_maxrss * 1024 - resident, children * 1024)
    print("\n" + json.dumps({"seconds": seconds, "cpu": cpu, "rise": rise}))


def measured(python: Path, name: str, source: Path, target: Path) -> dict[str, float]:
    command = [str(python), __file__, str(source), "--one", name, "--target", str(target)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **dict.fromkeys(_THREADS, "1"), "YOLO_OFFLINE": "true"}
    variables["YOLO_CONFIG_DIR"] = str(target.parent)
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    values: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return values


# ---------------------------------------------------------------------- what was written


def lines(folder: Path, numbers: dict[int, int]) -> Iterator[tuple[str, int, list[float]]]:
    """Photo, COCO's category and shares of every line below a folder."""
    for path in sorted((folder / "labels" / "train").glob("*.txt")):
        for line in path.read_text().splitlines():
            number, *shares = map(float, line.split())
            yield path.stem, numbers[int(number)], shares


def compared(folder: Path, truth: Path, numbers: dict[int, int]) -> tuple[int, float, float, float]:
    """Objects; the share whose mask pycocotools gives back from the line; the lowest IoU; the mean IoU by `fillPoly`."""
    import cv2
    import numpy as np
    from pycocotools import mask as coco_mask
    from pycocotools.coco import COCO

    api = COCO(truth / "annotations/instances_train.json")
    kept: dict[tuple[str, int], list[dict[str, Any]]] = {}
    sizes = {}
    for number, items in api.imgToAnns.items():
        image = api.imgs[number]
        stem = image["file_name"][:-4]
        sizes[stem] = (image["height"], image["width"])
        for item in items:
            if not item["iscrowd"]:
                kept.setdefault((stem, item["category_id"]), []).append(item)
    equal, lowest, filled, count = 0, 1.0, 0.0, 0
    for stem, category, shares in lines(folder, numbers):
        height, width = sizes[stem]
        expected = api.annToMask(kept[stem, category].pop(0))
        points = np.array(shares).reshape(-1, 2) * [width, height]
        rle = coco_mask.frPyObjects([points.reshape(-1).tolist()], height, width)
        mask = coco_mask.decode(rle)[:, :, 0]
        by_opencv = cv2.fillPoly(np.zeros(mask.shape, np.uint8), [points.astype(np.int32)], 1)
        ious = [np.sum(item & expected) / max(np.sum(item | expected), 1) for item in (mask, by_opencv)]
        equal += bool(np.array_equal(mask, expected))
        lowest, filled, count = min(lowest, float(ious[0])), filled + float(ious[1]), count + 1
    return count, equal / count, lowest, filled / count


# ---------------------------------------------------------------------- races


def race(python: Path, names: tuple[str, str], source: Path, work: Path, rounds: int) -> list[dict[str, float]]:
    """Medians of both contestants, who take turns; what the first round wrote stays in `work`.

    Every run writes to a folder of its own, and nothing is removed: ext4 looks for long for a place that was not freed just
    before.
    """
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names:
            target = work / name if number == 0 else work / f"round-{number}" / name
            target.parent.mkdir(exist_ok=True)
            runs[name].append(measured(python, name, source, target))
            print(name, runs[name][-1], file=sys.stderr)
    return [
        {key: statistics.median(values[key] for values in runs[name]) for key in ("seconds", "cpu", "rise")}
        for name in names
    ]


def row(title: str, values: dict[str, float], images: int, *more: str) -> list[str]:
    speed = f"{images / values['cpu']:,.0f} images/s"
    return [
        title,
        f"{values['cpu']:.1f} s, {speed}",
        f"{values['seconds']:.1f} s",
        f"{values['rise'] / 1e6:,.0f} MB",
        *more,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=Path)
    parser.add_argument("--images", type=int, default=510)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--one", choices=CONTESTANTS)
    parser.add_argument("--target", type=Path)
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments.one, arguments.samples, arguments.target)
        return
    if arguments.peers is None:
        inside("yolo", PEERS)
    python = (arguments.peers or Path(sys.executable)).absolute()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        source = photos.coco(arguments.samples / "coco", work / "coco", arguments.images)
        few = photos.coco(arguments.samples / "coco", work / "few-coco", 2)
        segdata_to(few, work / "few-segdata-yolo", "yolo")()
        document = json.loads((source / "annotations/instances_train.json").read_text())
        ids = sorted(item["id"] for item in document["categories"])
        theirs, ours = race(python, ("convert_coco", "segdata-yolo"), source, work, arguments.rounds)
        exact = []
        for name, numbers in (
            ("convert_coco", {number - 1: number for number in ids}),
            ("segdata-yolo", dict(enumerate(ids))),
        ):
            count, share, lowest, filled = compared(work / name, source, numbers)
            exact.append((f"{count:,}", f"{share:.1%}", f"{lowest:.3f}", f"{filled:.3f}"))
        supervision, pack = race(python, ("supervision", "segdata-pack"), work / "segdata-yolo", work, arguments.rounds)
    header = ["", "processor", "clock", "memory rises by"]
    of_masks = ["objects", "masks equal by pycocotools", "lowest IoU", "mean IoU by `fillPoly`"]
    command = f"python scripts/bench/yolo.py SAMPLES --images {arguments.images} --rounds {arguments.rounds}"
    written = [
        f"{arguments.images} photos of COCO with their objects; the median of {arguments.rounds} runs, one process and one "
        "thread each; photos are copied in both.",
        "",
        *table(
            header + of_masks,
            [
                row("`convert_coco` and `copytree`", theirs, arguments.images, *exact[0]),
                row("`segdata convert --to yolo`", ours, arguments.images, *exact[1]),
            ],
        ),
    ]
    report("COCO → YOLO", written, command)
    read = [
        f"What segdata wrote above. The pack is on disk with its photos; supervision has dense masks in memory, no photos. "
        f"segdata is {supervision['cpu'] / pack['cpu']:.1f} times as fast with 1/{supervision['rise'] / pack['rise']:.0f} of "
        "the memory.",
        "",
        *table(
            header,
            [
                row("`DetectionDataset.from_yolo`, masks", supervision, arguments.images),
                row("`segdata convert`", pack, arguments.images),
            ],
        ),
    ]
    report("YOLO → pack", read, command)


if __name__ == "__main__":
    main()
