"""Merging and splitting packs of 120,000 images, against hotcoco's `coco merge` and `coco split` on the same annotations.

    python -m venv peers && peers/bin/pip install hotcoco
    python scripts/bench/sets.py --hotcoco peers/bin/python [--images 120000] [--rounds 3] [--folder DIR]

All are commands; processor time and memory are those of their processes, which a busy machine changes little. The images
are drawn once and have about seven objects each, of 80 categories of which most are rare; hotcoco writes annotations alone.
What each side made is counted before a ratio is printed. `segdata diff` compares the merged pack with itself, and with one
without the objects of its most frequent category: nearly all images differ.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from common import report, table

COMMAND = "python scripts/bench/sets.py --hotcoco peers/bin/python --images {images} --rounds {rounds}"
HEIGHT, WIDTH, CATEGORIES, VAL = 120, 160, 80, 24
FEWER = "category != 'category 1'"


class Cost(NamedTuple):
    """Of a command: seconds of the processor, MiB of memory at most, seconds on the wall."""

    processor: float
    memory: float
    wall: float


_MEASURE = """
import json, os, sys, time
began = time.perf_counter()
process = os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(process, 0)
cost = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, time.perf_counter() - began
print(json.dumps([os.waitstatus_to_exitcode(status), *cost]), file=sys.stderr)
"""
"""Run by a small process: the memory of the one that begins another counts as the other's, too."""


def measured(*words: str | Path, code: int = 0) -> Cost:
    """Run a command to its end, with this exit code."""
    small = [sys.executable, "-I", "-S", "-c", _MEASURE, *map(str, words)]
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # as installed
    done = subprocess.run(small, env=compiled, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True, text=True)
    ended, *cost = json.loads(done.stderr.splitlines()[-1])
    assert ended == code, (words, done.stderr)
    return Cost(*cost)


def draw(folder: Path, images: int) -> None:
    """A dataset in COCO's layout; every 24th image is of val."""
    import msgspec
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((WIDTH, HEIGHT)).save(buffer, "JPEG")
    share = 1 / np.arange(1, CATEGORIES + 1) ** 1.3
    turns = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    count = rng.poisson(7.3, images)
    image = np.repeat(np.arange(images), count)
    category = rng.choice(CATEGORIES, len(image), p=share / share.sum()) + 1
    center, radius = rng.uniform(30, 90, (len(image), 2)), rng.uniform(3, 25, (len(image), 1))
    x = (center[:, :1] + radius * np.cos(turns)).round(2)
    y = (center[:, 1:] + radius * np.sin(turns)).round(2)
    rings = np.stack([x, y], axis=2).reshape(len(image), -1)
    boxes = np.stack([x.min(1), y.min(1), np.ptp(x, 1), np.ptp(y, 1)], axis=1).round(2)
    categories = [{"id": n, "name": f"category {n}", "supercategory": "all"} for n in range(1, CATEGORIES + 1)]
    (folder / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        (folder / split).mkdir()
        members = [index for index in range(images) if (index % VAL == 0) == (split == "val")]
        for index in members:
            (folder / split / f"{index:06d}.jpg").write_bytes(buffer.getvalue())
        records = (
            {"id": index, "file_name": f"{index:06d}.jpg", "height": HEIGHT, "width": WIDTH} for index in members
        )
        objects = (
            {
                "id": row + 1,
                "image_id": int(image[row]),
                "category_id": int(category[row]),
                "iscrowd": 0,
                "area": round(float(boxes[row, 2] * boxes[row, 3]), 2),
                "bbox": boxes[row].tolist(),
                "segmentation": [rings[row].tolist()],
            }
            for row in np.flatnonzero((image % VAL == 0) == (split == "val")).tolist()
        )
        with (folder / "annotations" / f"instances_{split}.json").open("wb") as file:
            file.write(b'{"images":[' + b",\n".join(map(msgspec.json.encode, records)) + b'],"annotations":[')
            for number, record in enumerate(objects):
                file.write((b",\n" if number else b"") + msgspec.json.encode(record))
            file.write(b'],"categories":' + msgspec.json.encode(categories) + b"}")


def packs(folder: Path) -> list[Path]:
    """The splits of the dataset as packs."""
    import segdata

    for split in ("train", "val"):
        segdata.convert(folder / "coco", folder / f"pack-{split}", splits=[split])
    return [folder / f"pack-{split}" for split in ("train", "val")]


def written(pack: Path) -> int:
    """Bytes of a pack's files that no other pack has."""
    return sum(path.stat().st_size for path in pack.iterdir() if path.stat().st_nlink == 1)


def counts(paths: list[Path]) -> tuple[int, int]:
    """Images and objects of COCO's documents."""
    documents = [json.loads(path.read_bytes()) for path in paths]
    return sum(len(item["images"]) for item in documents), sum(len(item["annotations"]) for item in documents)


def run(folder: Path, work: Path, python: Path, rounds: int) -> tuple[dict[str, list[Cost]], Mapping[str, Path]]:
    """Costs of all commands, interleaved: each round runs all of them in a folder of `work`."""
    parts = packs(folder)
    annotations = [folder / "coco/annotations" / f"instances_{split}.json" for split in ("train", "val")]
    coco = python.parent / "coco"
    costs: dict[str, list[Cost]] = {}
    made: dict[str, Path] = {}
    for number in range(rounds):
        out = work / f"round-{number}"
        out.mkdir()
        made = {name: out / name for name in ("merged", "split", "fewer", "all.json", "cut")}
        segdata = [sys.executable, "-m", "segdata"]
        shares = ["--into", "train=0.8,val=0.1,test=0.1"]
        hotcoco = ["--val-frac", "0.1", "--test-frac", "0.1"]
        commands: dict[str, list[str | Path]] = {
            "segdata merge": [*segdata, "merge", *parts, "-o", made["merged"], "-q"],
            "coco merge": [coco, "merge", *annotations, "-o", made["all.json"]],
            "segdata split": [*segdata, "split", made["merged"], "-o", made["split"], *shares, "-q"],
            "coco split": [coco, "split", made["all.json"], "-o", made["cut"], *hotcoco],
            "segdata filter": [*segdata, "filter", made["merged"], "-o", made["fewer"], "--objects", FEWER, "-q"],
            "segdata diff, the same": [*segdata, "diff", made["merged"], made["merged"], "-q"],
            "segdata diff, fewer objects": [*segdata, "diff", made["merged"], made["fewer"], "-q"],
        }
        for name, words in commands.items():
            costs.setdefault(name, []).append(measured(*words, code=int(name == "segdata diff, fewer objects")))
            print(name, costs[name][-1], file=sys.stderr)
    return costs, made


def require_equal(made: Mapping[str, Path]) -> tuple[int, int]:
    """The images and objects that all results have alike."""
    import segdata

    theirs = counts([made["all.json"]])
    assert theirs == counts([made["cut"].with_name(f"cut_{split}.json") for split in ("train", "val", "test")])
    for name in ("merged", "split"):
        info = segdata.open(made[name]).info
        assert (info["samples"], info["instances"]) == theirs, name
    return theirs


def differing(made: Mapping[str, Path]) -> tuple[int, int]:
    """Images with objects of the most frequent category, and these objects: what the packs differ in, by the columns."""
    import numpy as np

    import segdata

    merged = segdata.open(made["merged"])
    image, category = merged.object_categories()
    is_gone = category == merged.labels.index_of_name["category 1"]
    counts = len(np.unique(image[is_gone])), int(is_gone.sum())
    difference = segdata.diff(made["merged"], made["fewer"])
    assert (difference.images["changed"], difference.objects["removed"]) == counts
    assert not segdata.diff(made["merged"], made["merged"])
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hotcoco", type=Path, required=True, help="the Python of an environment with hotcoco")
    parser.add_argument("--images", type=int, default=120_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the dataset is drawn and converted, and kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-sets-") as scratch:
        folder = arguments.folder or Path(scratch)
        if not (folder / "coco/annotations").is_dir():
            draw(folder / "coco", arguments.images)
        with tempfile.TemporaryDirectory(prefix="rounds-", dir=folder) as rounds:
            costs, made = run(folder, Path(rounds), arguments.hotcoco.absolute(), arguments.rounds)
            images, objects = require_equal(made)
            changed, removed = differing(made)
            size = sum(path.stat().st_size for path in made["merged"].iterdir())
            bytes_written = {name: written(made[name]) for name in ("merged", "split")}
    median = {name: Cost(*map(statistics.median, zip(*values, strict=True))) for name, values in costs.items()}
    rows = [
        [f"`{name}`", f"{cost.processor:.2f} s", f"{cost.memory:,.0f} MiB", f"{cost.wall:.1f} s"]
        for name, cost in median.items()
    ]
    lines = table(["", "processor time", "memory", "wall"], rows)
    for verb, name in (("merge", "merged"), ("split", "split")):
        ours, theirs = median[f"segdata {verb}"], median[f"coco {verb}"]
        lines += [
            "",
            f"`segdata {verb}` takes {theirs.processor / ours.processor:.0f} times less processor time and "
            f"{theirs.memory / ours.memory:.0f} times less memory than `coco {verb}`, and writes "
            f"{bytes_written[name] / 1e6:.2f} MB, {bytes_written[name] / size:.2%} of the pack's {size / 1e6:,.0f} MB.",
        ]
    diff = median["segdata diff, fewer objects"]
    lines += [
        "",
        f"`segdata diff` of packs that differ in {changed:,} images, by {removed:,} objects, takes {diff.processor:.1f} s "
        f"of the processor and {diff.memory:,.0f} MiB.",
    ]
    about = f"{images:,} images with {objects:,} objects; hotcoco writes annotations alone, segdata's packs hold the images, too."
    command = COMMAND.format(images=arguments.images, rounds=arguments.rounds)
    report("Packs of packs", [about, "", *lines], command)


if __name__ == "__main__":
    main()
