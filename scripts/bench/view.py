"""The server of `segdata view` on a pack of full-COCO size: processor time and memory until it answers, filters, thumbnails.

    python scripts/bench/view.py [--images 120000] [--folder /tmp/segdata-bench-view] [--pack PACK]
    python -m venv peers && peers/bin/pip install "hotcoco[browse]"
    python scripts/bench/view.py --hotcoco peers/bin/python [--rounds 3]

The server is a process of its own; its processor time and memory are read from /proc, which a busy machine changes little.
Without --pack, 120,000 drawn images with about seven objects each are converted first, where that is not done yet. The photos
of that pack are small; those of --photos, a second pack, say what a thumbnail of a real one costs.

With --hotcoco the pages of `segdata view` and of hotcoco's `coco explore` are opened in Chromium instead, in turns, on the same
images and objects; it needs playwright and a Chromium, and `coco explore` needs some minutes for each round.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from common import report, table
from explore import explored
from sets import draw

import segdata

FILTERS = [
    "any(category == 'category 3')",
    "count(category in ('category 1', 'category 2') and not iscrowd) >= 2",
    "any(category == 'category 18' and area > 20**2)",
    "key like '*77*'",
    "objects > 8 and not any(iscrowd)",
    "any(width > 0.2 * image.width) or split == 'val'",
]
SCREEN = 60
"""Tiles of a screen."""


class Cost(NamedTuple):
    """Of a step: processor seconds of the server, seconds on the wall."""

    processor: float
    wall: float


class Server:
    """A running `segdata view`."""

    def __init__(self, *packs: Path) -> None:
        command = [sys.executable, "-m", "segdata", "view", *map(str, packs), "--no-open", "--json"]
        compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self.began = time.perf_counter()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=compiled)
        assert self.process.stdout is not None
        address = json.loads(self.process.stdout.readline())["address"]
        self.root, self.token = address.partition("/#")[0], urlsplit(address).fragment.removeprefix("token=")
        self.version = ""
        self.version = json.loads(self.get("pack"))["version"]

    def get(self, name: str, **query: object) -> bytes:
        """What /api/NAME answers."""
        words = "&".join(f"{key}={quote(str(value), safe='')}" for key, value in {"v": self.version, **query}.items())
        request = urllib.request.Request(f"{self.root}/api/{name}?{words}", headers={"X-Segdata-Token": self.token})
        with urllib.request.urlopen(request) as answer:
            data: bytes = answer.read()
            return data

    def cost(self, name: str, **query: object) -> Cost:
        """Ask once, and what it cost."""
        before, began = self.processor(), time.perf_counter()
        self.get(name, **query)
        return Cost(self.processor() - before, time.perf_counter() - began)

    def processor(self) -> float:
        """Seconds so far, of the scheduler, which counts in nanoseconds."""
        threads = Path(f"/proc/{self.process.pid}/task")
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads.iterdir()) / 1e9

    def memory(self) -> dict[str, float]:
        """MB: resident, of it not of files, and the most that was resident."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        names = ("VmRSS", "RssAnon", "VmHWM")
        return {name: int(re.findall(rf"{name}:\s+(\d+)", status)[0]) / 1e3 for name in names}

    def ready(self, name: str, **query: object) -> None:
        """Ask until it is computed."""
        while "progress" in json.loads(self.get(name, **query)):
            time.sleep(1)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()


def screen(server: Server, numbers: list[int]) -> None:
    """Ask what a screen of the grid asks for."""
    server.get("tiles", ids=",".join(map(str, numbers)))
    for number in numbers:
        server.get(f"thumb/{number}")


def started(pack: Path, rounds: int) -> list[list[str]]:
    """Rows about the start, the first screen and the end of the grid, medians of some starts."""
    costs: dict[str, list[Cost]] = {}
    for _ in range(rounds):
        server = Server(pack)
        costs.setdefault("start, until `pack` is answered", []).append(
            Cost(server.processor(), time.perf_counter() - server.began)
        )
        before, began = server.processor(), time.perf_counter()
        server.get("ids")
        server.get("facets")
        screen(server, list(range(SCREEN)))
        costs.setdefault(f"first screen: all numbers, counts, {SCREEN} tiles with thumbnails", []).append(
            Cost(server.processor() - before, time.perf_counter() - began)
        )
        before, began = server.processor(), time.perf_counter()
        last = int(json.loads(server.get("pack"))["samples"])
        screen(server, list(range(last - SCREEN, last)))
        costs.setdefault("the last screen", []).append(Cost(server.processor() - before, time.perf_counter() - began))
        server.stop()
    return [[name, *_cells(values)] for name, values in costs.items()]


def _cells(costs: list[Cost]) -> tuple[str, str]:
    processor, wall = (statistics.median(column) for column in zip(*costs, strict=True))
    return f"{processor * 1000:,.0f}", f"{wall * 1000:,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=120_000)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/segdata-bench-view"))
    parser.add_argument("--pack", type=Path)
    parser.add_argument("--predictions", type=Path, help="a pack of predictions about the images of the pack")
    parser.add_argument("--photos", type=Path, help="a pack with photos of the usual size")
    parser.add_argument(
        "--hotcoco", type=Path, help="the Python of an environment with hotcoco, which is compared with"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--print", action="store_true", help="Do not write the page.")
    arguments = parser.parse_args()
    pack = arguments.pack or _made(arguments.folder, arguments.images)
    if arguments.hotcoco is not None:
        lines = explored(
            pack, arguments.folder / f"coco-{arguments.images}", arguments.hotcoco.absolute(), arguments.rounds
        )
        command = f"python scripts/bench/view.py --hotcoco peers/bin/python --rounds {arguments.rounds}"
        _tell("The viewer's page", lines, command, is_written=not arguments.print)
        return
    rows = started(pack, arguments.rounds)
    server = Server(pack)
    screen(server, list(range(SCREEN)))
    server.get("ids")
    server.get("facets")
    memory = server.memory()
    for query in FILTERS:
        first = server.cost("ids", where=query)
        parts = [(server.cost("ids", where=query), server.cost("facets", where=query)) for _ in range(arguments.rounds)]
        costs = [Cost(*map(sum, zip(*part, strict=True))) for part in parts]
        rows.append([f"filter and counts: `{query}` (the first time {first.wall * 1000:.0f})", *_cells(costs)])
    after = server.memory()
    server.stop()
    if arguments.photos is not None:
        rows.append(thumbnails(arguments.photos))
    info = segdata.open(pack).info
    lines = [
        f"{info['samples']:,} images and {info['instances']:,} objects. After the first screen the server has "
        f"{memory['VmRSS']:,.0f} MB resident, {memory['RssAnon']:,.0f} MB of it not of the pack's files; after all filters "
        f"{after['VmRSS']:,.0f} MB and {after['RssAnon']:,.0f} MB, at most {after['VmHWM']:,.0f} MB.",
        "",
        *table(["step", "processor, ms", "wall, ms"], rows),
    ]
    if arguments.predictions is not None:
        lines += compared(pack, arguments.predictions)
    _tell("The viewer's server", lines, "python scripts/bench/view.py", is_written=not arguments.print)


def _tell(title: str, lines: list[str], command: str, *, is_written: bool) -> None:
    if is_written:
        report(title, lines, command)
    else:
        print("\n".join(lines))


def compared(pack: Path, predictions: Path) -> list[str]:
    """Lines about the memory of a server with predictions, and what counting them anew costs."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        server = Server(pack, predictions)
        began, before = time.perf_counter(), server.processor()
        server.ready("confusion")
        wall, processor = time.perf_counter() - began, server.processor() - before
        matched = server.memory()
        costs = [server.cost("facets", where="any(not matched)", score=0.01 * number) for number in range(1, 20)]
        anew = [server.cost("facets", where="any(not matched)", iou=0.5 + 0.05 * number) for number in range(1, 6)]
        after = server.memory()
        server.stop()
    info = segdata.open(predictions).info
    return [
        "",
        f"With {info['instances']:,} predictions: what overlaps is found in {wall:,.0f} s by another process, in which the server "
        f"spends {processor:.1f} s; it has {matched['VmRSS']:,.0f} MB resident then, {matched['RssAnon']:,.0f} MB not of files, and "
        f"{after['VmRSS']:,.0f} MB and {after['RssAnon']:,.0f} MB after counting at {len(costs)} scores and {len(anew)} IoUs.",
        "",
        *table(
            ["step", "processor, ms", "wall, ms"],
            [["filter and counts at another score", *_cells(costs)], ["at another IoU", *_cells(anew)]],
        ),
    ]


def thumbnails(pack: Path) -> list[str]:
    """A row about the thumbnail of one photo."""
    server = Server(pack)
    count = int(json.loads(server.get("pack"))["samples"])
    server.get("thumb/0", side=161)
    costs = [server.cost(f"thumb/{number % count}", side=162 + number // count) for number in range(200)]
    server.stop()
    processor, wall = (statistics.median(column) for column in zip(*costs, strict=True))
    return ["one thumbnail of a photo", f"{processor * 1000:.1f}", f"{wall * 1000:.1f}"]


def _made(folder: Path, images: int) -> Path:
    """The pack of a drawn dataset."""
    pack = folder / f"pack-{images}"
    if not (pack / "pack.json").exists():
        if not (folder / f"coco-{images}/annotations").is_dir():
            draw(folder / f"coco-{images}", images)
        segdata.convert(folder / f"coco-{images}", pack)
    return pack


if __name__ == "__main__":
    main()
