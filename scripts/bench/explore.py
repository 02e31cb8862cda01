"""The pages of `segdata view` and of hotcoco's `coco explore` in Chromium; `view.py --hotcoco` runs it.

Processor time and memory are those of the server's process, from /proc. Chromium is one process for all, which is started
before anything is measured; each round opens a page of its own in it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from common import table

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CATEGORY = "category 18"
"""What is filtered by."""

_SCROLL = """async selector => {
  let box = document.querySelector(selector);
  while (box && !(box.scrollHeight > box.clientHeight + 100 && getComputedStyle(box).overflowY !== 'visible'))
    box = box.parentElement;
  box ??= document.scrollingElement;
  const frames = [];
  let last = await new Promise(requestAnimationFrame);
  for (let n = 0; n < 120; n += 1) {
    box.scrollTop += 40;
    const now = await new Promise(requestAnimationFrame);
    frames.push(now - last);
    last = now;
  }
  return frames.sort((a, b) => a - b)[Math.floor(frames.length * 0.95)];
}"""
"""Milliseconds that 95 % of the frames take at most, while the tiles scroll."""


class Contestant(NamedTuple):
    """A command that serves a page, and what its page is like.

    Attributes:
        command: its words; `{port}` stands for the port.
        tile: selector of a tile.
        picture: selector of a tile's picture.
        asks: part of the address that a tile is asked for by.
        filter: script that filters by `CATEGORY`; None where the page is opened anew, at `filtered`.
        end: selector of the scrolling element whose end shows the last image; None where there is none to jump to.
    """

    command: list[str]
    tile: str
    picture: str
    asks: str
    filter: str | None
    filtered: str | None
    end: str | None


class Figures(NamedTuple):
    """What a round measures; seconds, milliseconds for frames, MB; NaN where there is no such thing.

    Attributes:
        processor: of the server until the first screen.
        ready: from the start of the command to the first screen.
        screen: from opening the page to the first screen.
        peak, memory, anonymous: of the server: at most; at the end, and of it not of files.
    """

    processor: float
    ready: float
    screen: float
    jump: float
    filter: float
    frames: float
    peak: float
    memory: float
    anonymous: float
    heap: float


def explored(pack: Path, dataset: Path, python: Path, rounds: int) -> list[str]:
    """Both pages, interleaved, as lines of the report."""
    from playwright.sync_api import sync_playwright

    truth = _one_file(dataset)
    contestants = {"segdata view": _segdata(pack), "coco explore": _hotcoco(python, truth, dataset)}
    figures: dict[str, list[Figures]] = {name: [] for name in contestants}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(rounds):
            for name, contestant in contestants.items():
                figures[name].append(_round(browser, contestant))
                print(name, figures[name][-1], file=sys.stderr)
        browser.close()
    document = json.loads((pack / "pack.json").read_bytes())
    return _lines(figures, document["samples"], document["instances"])


def _segdata(pack: Path) -> Contestant:
    return Contestant(
        command=[sys.executable, "-m", "segdata", "view", str(pack), "--no-open", "--port", "{port}"],
        tile=".tile:not([hidden])",
        picture="img.there",
        asks="/api/tiles",
        filter=f"location.hash = '#where=' + encodeURIComponent(\"any(category == '{CATEGORY}')\")",
        filtered=None,
        end=".tiles",
    )


def _hotcoco(python: Path, truth: Path, images: Path) -> Contestant:
    coco = str(python.parent / "coco")
    return Contestant(
        command=[coco, "explore", "--gt", str(truth), "--images", str(images), "--port", "{port}"],
        tile=".thumb-card",
        picture="img",
        asks="/thumbnail/",
        filter=None,
        filtered=f"/?categories={CATEGORY.replace(' ', '%20')}",
        end=None,
    )


def _one_file(dataset: Path) -> Path:
    """The annotations of all splits in one file, with the split in each image's name, as `coco explore` takes them."""
    path = dataset / "annotations/all.json"
    if not path.exists():
        whole: dict[str, list[Any]] = {"images": [], "annotations": []}
        for split in ("train", "val"):
            document = json.loads((dataset / f"annotations/instances_{split}.json").read_bytes())
            whole["categories"] = document["categories"]
            whole["annotations"] += document["annotations"]
            whole["images"] += [item | {"file_name": f"{split}/{item['file_name']}"} for item in document["images"]]
        path.write_text(json.dumps(whole))
    return path


@contextmanager
def _served(contestant: Contestant) -> Iterator[tuple[int, str, float]]:
    """The server's process, its address, and when it was started."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [word.format(port=port) for word in contestant.command]
    environment = {**os.environ, "BROWSER": "/bin/true", "PYTHONUNBUFFERED": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        address = f"http://127.0.0.1:{port}/"
        if contestant.command[0] == sys.executable:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
        else:
            _wait_for(address, process)
        yield process.pid, address, began
    finally:
        process.terminate()
        process.wait()


def _wait_for(address: str, process: subprocess.Popen[str]) -> None:
    while process.poll() is None:
        try:
            urllib.request.urlopen(f"{address}static/none", timeout=5).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"{process.args} ended with {process.returncode}")


def _round(browser: Any, contestant: Contestant) -> Figures:
    with _served(contestant) as (pid, address, began):
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        tab = context.new_page()
        asked: list[float] = []
        tab.on("request", lambda request: asked.append(time.perf_counter()) if contestant.asks in request.url else None)
        opened = time.perf_counter()
        tab.goto(address, wait_until="commit")
        _until(tab, _screen(contestant))
        screen = time.perf_counter() - opened
        ready, processor = time.perf_counter() - began, _processor(pid)
        frames = tab.evaluate(_SCROLL, contestant.tile)
        jump = float("nan")
        if contestant.end is not None:
            jumped = time.perf_counter()
            tab.evaluate(
                f"(box => {{ box.scrollTop = box.scrollHeight; }})(document.querySelector('{contestant.end}'))"
            )
            total = tab.evaluate("Number(document.querySelector('.tile').getAttribute('aria-setsize'))")
            _until(tab, f"document.querySelector('.tile:not([hidden])[aria-posinset=\"{total}\"]')")
            _until(tab, _screen(contestant))
            jump = time.perf_counter() - jumped
        tab.wait_for_timeout(500)
        asked.clear()
        filtered = time.perf_counter()
        if contestant.filter is not None:
            tab.evaluate(contestant.filter)
        else:
            tab.goto(address.rstrip("/") + str(contestant.filtered), wait_until="commit")
        while not asked:
            tab.wait_for_timeout(5)
        filter_ = asked[0] - filtered
        _until(tab, _screen(contestant))
        session = context.new_cdp_session(tab)
        session.send("HeapProfiler.collectGarbage")
        session.send("Performance.enable")
        metrics = {item["name"]: item["value"] for item in session.send("Performance.getMetrics")["metrics"]}
        memory = _memory(pid)
        context.close()
    heap = metrics["JSHeapUsedSize"] / 1e6
    return Figures(processor, ready, screen, jump, filter_, frames, *memory, heap)


def _screen(contestant: Contestant) -> str:
    """Whether the tiles that are on the screen have their pictures: at least a dozen, or all that there are."""
    return f"""(() => {{
      const tiles = [...document.querySelectorAll({json.dumps(contestant.tile)})].filter(tile => {{
        const box = tile.getBoundingClientRect();
        return box.bottom > 0 && box.top < innerHeight;
      }});
      const there = tiles.map(tile => tile.querySelector({json.dumps(contestant.picture)}));
      return tiles.length > 0 && there.every(picture => picture && picture.complete && picture.naturalWidth > 0);
    }})()"""


def _until(tab: Any, script: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not tab.evaluate(script):
        assert time.monotonic() < end, script
        time.sleep(0.01)


def _processor(pid: int) -> float:
    """Seconds of a process so far, with those of its children that ended."""
    threads = Path(f"/proc/{pid}/task")
    spent = sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads.iterdir()) / 1e9
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return spent + (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> tuple[float, float, float]:
    """MB: at most, now, and of that not of files."""
    status = Path(f"/proc/{pid}/status").read_text()
    peak, now, anonymous = (
        int(re.findall(rf"{name}:\s+(\d+)", status)[0]) / 1e3 for name in ("VmHWM", "VmRSS", "RssAnon")
    )
    return peak, now, anonymous


_ROWS = {
    "processor": ("processor time until the first screen", "{:.2f} s"),
    "ready": ("from the command to the first screen", "{:.2f} s"),
    "screen": ("from opening the page to the first screen", "{:.2f} s"),
    "jump": ("jump to the last image", "{:.2f} s"),
    "filter": ("filter by a category, until new tiles are asked for", "{:.3f} s"),
    "frames": ("95 % of the frames while scrolling", "{:.0f} ms"),
    "peak": ("memory of the server, at most", "{:,.0f} MB"),
    "memory": ("memory of the server, at the end", "{:,.0f} MB"),
    "anonymous": ("of that not of files", "{:,.0f} MB"),
    "heap": ("heap of the page", "{:.1f} MB"),
}


def _lines(figures: dict[str, list[Figures]], images: int, objects: int) -> list[str]:
    median = {name: Figures(*map(statistics.median, zip(*values, strict=True))) for name, values in figures.items()}
    rows = []
    for name, (words, form) in _ROWS.items():
        values = [getattr(each, name) for each in median.values()]
        rows.append([words, *("none" if value != value else form.format(value) for value in values)])
    ours, theirs = median.values()
    return [
        f"{images:,} images and {objects:,} objects, medians of {len(figures['segdata view'])} rounds in turns. `coco explore` has "
        "no way to an image further down than by scrolling, a dozen images at a time, and filters by opening its page anew.",
        "",
        *table(["", *(f"`{name}`" for name in median)], rows),
        "",
        f"Until the first screen `segdata view` takes {theirs.processor / ours.processor:.0f} times less processor time; its server "
        f"needs {theirs.peak / ours.peak:.0f} times less memory at its peak.",
    ]
