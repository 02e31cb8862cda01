"""Packs of any size: how long opening takes, how much memory and how many files it needs.

    scripts/bench/scale.py [--folder /tmp/segdata-bench] [--print]

The packs have the shards of COCO, of Open Images with its 9.2 million images and of SA-1B with its 11.2 million. All
their shards are hard links to the files of one real shard, so that tables are real and take no space. Every line is a
process of its own that may open 1,024 files. Beside it stands what `json.loads` of the same index takes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from common import report, table

SETS = {"COCO": 31, "Open Images": 2_565, "SA-1B": 10_425}
SAMPLES = 1_074
"""Samples of a shard."""
RANDOM = 1_000
OPEN_FILES = 1_024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/segdata-bench"))
    parser.add_argument("--print", action="store_true", help="Do not write the page.")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measured(arguments.measure)))
        return
    source = arguments.folder / "scale-one"
    if not (source / "pack.json").exists():
        make_one(arguments.folder / "scale-coco", source)
    rows = []
    for name, shards in SETS.items():
        pack = arguments.folder / f"scale-{shards}"
        if not (pack / "pack.json").exists():
            linked(source, pack, shards)
        command = [sys.executable, __file__, "--measure", str(pack)]
        rounds = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(5)]
        middle = {key: float(np.median([each[key] for each in rounds])) for key in rounds[0]}
        rows.append(
            [
                f"{name}: {shards:,} shards, {shards * SAMPLES:,} images",
                f"{(pack / 'pack.json').stat().st_size / 1e6:.1f}",
                f"{middle['open'] * 1000:.0f}",
                f"{middle['memory'] / 2**20:.0f}",
                f"{middle['random'] * 1000:.0f}",
                f"{middle['files']:.0f}",
                f"{middle['find'] * 1000:.0f}",
                f"{middle['json'] * 1000:.0f}",
            ]
        )
    header = ["pack", "index, MB", "open, ms", "open, MiB", f"{RANDOM:,} random samples, ms", "files then open"]
    lines = table([*header, "find by key, ms", "`json.loads` of the index, ms"], rows)
    note = "Milliseconds of processor time, MiB above a process that has imported segdata; median of five processes."
    if arguments.print:
        print("\n".join([note, "", *lines]))
    else:
        report("Packs of any size", [note, "", *lines], "python scripts/bench/scale.py")


def measured(pack: Path) -> dict[str, float]:
    """Processor seconds, bytes and descriptors of one process."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    import segdata
    import segdata.pack.read
    import segdata.pack.store

    before, began = peak(), time.process_time()
    opened = segdata.open(pack)
    _ = len(opened), opened.labels
    numbers = {"open": time.process_time() - began, "memory": peak() - before}
    chosen = np.random.default_rng(0).integers(0, len(opened), RANDOM).tolist()
    began = time.process_time()
    for index in chosen:
        _ = opened[index].instances
    numbers["random"] = time.process_time() - began
    numbers["files"] = len(list(Path("/proc/self/fd").iterdir()))
    began = time.process_time()
    text = (pack / "pack.json").read_bytes()
    json.loads(text)
    numbers["json"] = time.process_time() - began
    began = time.process_time()
    with contextlib.suppress(segdata.errors.NotThere):  # every shard has this key
        opened.find(opened.keys[7])
    numbers["find"] = time.process_time() - began
    return numbers


def peak() -> int:
    """Largest resident size of this process so far, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def make_one(source: Path, pack: Path) -> None:
    """A pack of one shard of COCO's kind: small photos, some objects each."""
    from PIL import Image

    import segdata

    random_ = np.random.default_rng(0)
    (source / "annotations").mkdir(parents=True, exist_ok=True)
    (source / "train").mkdir(exist_ok=True)
    images, objects = [], []
    for number in range(1, SAMPLES + 1):
        name = f"{number:012d}.jpg"
        Image.fromarray(random_.integers(0, 255, (24, 32, 3), np.uint8)).save(source / "train" / name, quality=40)
        images.append({"id": number, "file_name": name, "width": 32, "height": 24})
        for _ in range(7):
            x, y = random_.integers(0, 20, 2).tolist()
            ring = [x, y, x + 9, y, x + 9, y + 4, x, y + 4]
            box = {"bbox": [x, y, 9, 4], "area": 36.0, "iscrowd": 0}
            numbers = {"id": len(objects) + 1, "image_id": number, "category_id": 1}
            objects.append({**numbers, **box, "segmentation": [ring]})
    document = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "thing"}]}
    (source / "annotations" / "instances_train.json").write_text(json.dumps(document))
    segdata.convert(source, pack, shard_samples=SAMPLES)


def linked(source: Path, pack: Path, shards: int) -> None:
    """A pack of so many shards, each a link to the one of `source`."""
    from segdata.pack import layout

    index = layout.read_index(source)
    (entry,) = index["shards"]
    pack.mkdir()
    (pack / index["dataset"]["file"]).hardlink_to(source / index["dataset"]["file"])
    entries = []
    for number in range(shards):
        copy = {**entry}
        for kind in ("annotations", "images"):
            name = f"{kind}-{number:05d}-{number:012x}.h5"
            (pack / name).hardlink_to(source / entry[kind]["file"])
            copy[kind] = {**entry[kind], "file": name}
        entries.append(copy)
    counts = {name: index[name] * shards for name in ("samples", "instances")}
    (pack / "pack.json").write_bytes(layout.encode_index({**index, **counts, "shards": entries}))


if __name__ == "__main__":
    main()
