"""Full-COCO size without pixels: convert a JSON of 120,000 images and 880,000 objects, open the pack, read in workers.

    python scripts/bench/full_coco.py [--images 120000] [--folder /tmp/segdata-bench]

Prints seconds, peak anonymous memory of the conversion, open time and memory, and what a forked worker dirties. The
peer (pycocotools.COCO on the same file) runs in the same round unless --no-peer is given.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

from common import report, table

CATEGORIES = [i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]


def draw_index(path: Path, images: int) -> None:
    """A COCO JSON with polygons and crowds as real ones have: 7.3 objects an image, 45 numbers a ring."""
    rng = random.Random(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    annotations = images * 22 // 3
    with path.open("w") as file:
        file.write('{"info":{},"licenses":[],"images":[')
        for i in range(images):
            record = {
                "license": 3,
                "file_name": f"{i:012d}.jpg",
                "coco_url": f"http://images.cocodataset.org/train2017/{i:012d}.jpg",
                "height": 480,
                "width": 640,
                "date_captured": "2013-11-14 17:02:52",
                "flickr_url": f"http://farm9.staticflickr.com/8186/8119368305_{i:010x}_z.jpg",
                "id": i + 1,
            }
            file.write(("," if i else "") + json.dumps(record))
        file.write('],"annotations":[')
        for a in range(annotations):
            x, y = rng.uniform(0, 500), rng.uniform(0, 350)
            w, h = rng.uniform(4, 139), rng.uniform(4, 129)
            if a % 88 == 87:
                run = 480 * 640 // 20
                segmentation: object = {"size": [480, 640], "counts": [run] * 20}
                crowd = 1
            else:
                points = rng.randint(6, 40)
                ring = []
                for k in range(points):
                    t = k / points
                    ring += [
                        round(x + w * (0.5 + 0.5 * _wave(t) * rng.uniform(0.8, 1)), 2),
                        round(y + h * (0.5 + 0.5 * _wave(t + 0.25) * rng.uniform(0.8, 1)), 2),
                    ]
                segmentation = [ring]
                crowd = 0
            record = {
                "segmentation": segmentation,
                "area": round(w * h * 0.7, 4),
                "iscrowd": crowd,
                "image_id": rng.randrange(images) + 1,
                "bbox": [round(x, 2), round(y, 2), round(w, 2), round(h, 2)],
                "category_id": rng.choice(CATEGORIES),
                "id": a + 1,
            }
            file.write(("," if a else "") + json.dumps(record))
        categories = [{"supercategory": "x", "id": c, "name": f"category {c}"} for c in CATEGORIES]
        file.write('],"categories":' + json.dumps(categories) + "}")


def _wave(t: float) -> float:
    t %= 1
    return 1 - 4 * t if t < 0.5 else 4 * t - 3


def status(pid: int | str, *names: str) -> dict[str, float]:
    """Fields of /proc/PID/status in MB."""
    values = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in names:
            values[name] = int(rest.split()[0]) / 1000
    return values


def watched(command: list[str]) -> tuple[float, float]:
    """Run a command; seconds and its peak anonymous memory in MB."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0.0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            try:
                peak = max(peak, status(process.pid, "RssAnon").get("RssAnon", 0))
            except OSError:
                return

    thread = threading.Thread(target=watch)
    thread.start()
    code = process.wait()
    done.set()
    thread.join()
    if code:
        sys.exit(f"{command} ended with {code}")
    return time.perf_counter() - start, peak


OPEN = """
import sys, time
import numpy
import segdata, segdata.pack.read
start = time.perf_counter()
pack = segdata.open(sys.argv[1])
seconds = time.perf_counter() - start
fields = dict(l.split(':', 1) for l in open('/proc/self/status').read().splitlines() if ':' in l)
print(seconds * 1000, int(fields['VmRSS'].split()[0]) / 1000)
"""

WORKER = """
import os, random, sys, time
import segdata
def private():
    lines = open('/proc/self/smaps_rollup').read().splitlines()
    return sum(int(l.split()[1]) for l in lines if l.startswith('Private_Dirty')) / 1000
pack = segdata.open(sys.argv[1])
pack[0].instances
if os.fork() == 0:
    rng = random.Random(0)
    before = private()
    start = time.perf_counter()
    for _ in range(20000):
        sample = pack[rng.randrange(len(pack))]
        sample.instances
    seconds = time.perf_counter() - start
    print(private() - before, seconds / 20000 * 1e6)
    os._exit(0)
os.wait()
"""


EPOCHS = """
import gc, os, sys
import segdata
from segdata import Sample
def private():
    lines = open('/proc/self/smaps_rollup').read().splitlines()
    return sum(int(l.split()[1]) for l in lines if l.startswith('Private_Dirty')) / 1000
pack = segdata.open(sys.argv[1])
loader = segdata.Loader(pack, 64, shuffle=True, workers=2, images=False)
held = []
for _ in range(2):
    for batch in loader:
        batch.boxes, batch.masks[0].areas
    gc.collect()
    held.append(private())
print('Loader', *held)
try:
    import torch.utils.data
except ImportError:
    sys.exit()
from PIL import Image
import io
from segdata.torch import Dataset
pixel = io.BytesIO()
Image.new('RGB', (1, 1)).save(pixel, 'JPEG')
class WithPixel:
    labels = pack.labels
    def __len__(self):
        return len(pack)
    def __getitem__(self, index):
        sample = pack[index]
        return Sample(sample.key, sample.height, sample.width, encoded=pixel.getvalue(), instances=sample.instances)
def read(items):
    for _, target in items:
        target['boxes'].sum(), target['area'].sum()
    return os.getpid(), private()
loader = torch.utils.data.DataLoader(
    Dataset(WithPixel()), 64, shuffle=True, num_workers=2, persistent_workers=True, collate_fn=read)
print('DataLoader', *(max(dict(loader).values()) for _ in range(2)))
"""


def measured(source: Path, pack: Path, images: int, rounds: int, *, with_peer: bool) -> list[list[str]]:
    """Rows of the table: convert, open, a forked worker, two epochs."""
    command = [
        sys.executable,
        "-m",
        "segdata",
        "convert",
        str(source.parents[1]),
        str(pack),
        "--images",
        "none",
        "-q",
        "--workers",
        "1",
    ]
    seconds, peak = watched(command)
    rows = [
        [
            "convert the JSON to a pack (once), one core",
            f"{seconds:.1f} s, {images / seconds:,.0f} images/s, {peak:.0f} MB anonymous memory at the peak",
            "–",
        ]
    ]
    opens = sorted(
        tuple(map(float, subprocess.check_output([sys.executable, "-c", OPEN, str(pack)], text=True).split()))
        for _ in range(rounds)
    )
    peer = "not measured"
    if with_peer:
        program = f"from pycocotools.coco import COCO; COCO({str(source)!r})"
        peer = "{:.1f} s, {:,.0f} MB anonymous at the peak".format(*watched([sys.executable, "-c", program]))
    millis = f"{opens[len(opens) // 2][0]:.1f} ms (median of {len(opens)})"
    rows.append(["open", f"{millis}, {max(resident for _, resident in opens):.1f} MB resident", peer])
    dirty, micro = map(float, subprocess.check_output([sys.executable, "-c", WORKER, str(pack)], text=True).split())
    rows.append(
        [
            "forked worker, 20,000 random samples with their columns",
            f"{dirty:.1f} MB dirtied, {micro:.0f} µs a sample",
            "–",
        ]
    )
    for line in subprocess.check_output([sys.executable, "-c", EPOCHS, str(pack)], text=True).splitlines():
        name, *held = line.split()
        what = {
            "Loader": "`segdata.Loader`, two threads, shuffled, boxes and areas: private memory of the process",
            "DataLoader": "`segdata.torch` in PyTorch's `DataLoader`, two processes, shuffled, boxes and areas: "
            "private memory of the larger one",
        }[name]
        megabytes = " and ".join(f"{float(value):.1f}" for value in held)
        rows.append([f"{what} after one and after two epochs", f"{megabytes} MB", "–"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=120_000)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/segdata-bench"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-peer", action="store_true")
    arguments = parser.parse_args()
    root = arguments.folder / f"coco-{arguments.images}"
    source = root / "annotations" / "instances_train2017.json"
    if not source.exists():
        print("writing the index …", flush=True)
        part = source.with_suffix(".part")
        draw_index(part, arguments.images)
        part.rename(source)
    print(f"source: {source.stat().st_size / 1e6:.0f} MB of JSON, {arguments.images:,} images")
    pack = arguments.folder / f"pack-{arguments.images}"
    subprocess.run(["rm", "-rf", str(pack)], check=True)
    rows = measured(source, pack, arguments.images, arguments.rounds, with_peer=not arguments.no_peer)
    objects = arguments.images * 22 // 3
    report(
        "Full-COCO size, without pixels",
        [
            f"A drawn index of {arguments.images:,} images and {objects:,} objects, "
            f"{source.stat().st_size / 1e6:.0f} MB of JSON.",
            "",
            *table(["", "segdata", "pycocotools.COCO, same file"], rows),
        ],
        "python scripts/bench/full_coco.py",
    )


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    main()
