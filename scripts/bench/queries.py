"""Queries over a pack of full-COCO size: 120,000 drawn images with 880,000 objects.

    python scripts/bench/queries.py [--images 120000] [--folder /tmp/segdata-bench] [--pack PACK]

The first column is the first query of a process, which maps the tables and compares their checksums; the second is the
median of later ones. Without --pack, the pack is made as scripts/bench/full_coco.py makes it, where it is not there yet.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from common import report, table
from full_coco import draw_index

import segdata

QUERIES = [
    "split == 'train2017'",
    "key like '*77*'",
    "any(category == 'category 18')",
    "any(category == 'category 18' and area > 96**2)",
    "count(category in ('category 1', 'category 2') and not iscrowd) >= 2",
    "all(width > 0.1 * image.width)",
    "count(area in 32**2..96**2) > 3 and not any(iscrowd)",
    "any(x + width > image.width - 1 or y + height > image.height - 1)",
    "any(pixels < 0.5 * area)",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=120_000)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/segdata-bench"))
    parser.add_argument("--pack", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--print", action="store_true", help="Do not write the page.")
    arguments = parser.parse_args()
    path = arguments.pack or _made(arguments.folder, arguments.images)
    split = next(iter(segdata.open(path).splits))
    rows = []
    for query in QUERIES:
        pack = segdata.open(path)
        began = time.perf_counter()
        is_meant = pack.matching(query.replace("train2017", split))
        first = time.perf_counter() - began
        seconds = []
        for _ in range(arguments.rounds):
            began = time.perf_counter()
            pack.matching(query.replace("train2017", split))
            seconds.append(time.perf_counter() - began)
        cells = f"{first * 1000:.0f}", f"{statistics.median(seconds) * 1000:.1f}"
        rows.append([f"`{query}`", *cells, f"{is_meant.sum():,}"])
    lines = table(["query", "first, ms", "later, ms", "images"], rows)
    info = segdata.open(path).info
    title = f"{info['samples']:,} images and {info['instances']:,} objects in {len(info['shards'])} shards."
    if arguments.print:
        print("\n".join([title, *lines]))
    else:
        report("Queries", [title, "", *lines], "python scripts/bench/queries.py")


def _made(folder: Path, images: int) -> Path:
    """The pack of a drawn index."""
    pack = folder / f"pack-{images}"
    if not (pack / "pack.json").exists():
        source = folder / f"coco-{images}" / "annotations" / "instances_train2017.json"
        if not source.exists():
            part = source.with_suffix(".part")
            draw_index(part, images)
            part.rename(source)
        command = [sys.executable, "-m", "segdata", "convert", str(source.parents[1]), str(pack), "--images", "none"]
        subprocess.run(command, check=True)
    return pack


if __name__ == "__main__":
    main()
