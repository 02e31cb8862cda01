"""What all benches share: an environment for the peers, interleaved rounds, and the page that results go to."""

from __future__ import annotations

import datetime
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"

PEERS = (
    "torch==2.14.1",
    "torchvision==0.29.1",
    "opencv-python-headless",
    "datasets",
    "webdataset",
    "mosaicml-streaming",
    "scipy",
)
"""What loading is measured against, and what draws the frames."""


def inside(name: str, packages: Sequence[str]) -> None:
    """Go on in an environment of its own, `.bench/NAME`, with segdata and the peers in it (made at the first run)."""
    folder = ROOT / ".bench" / name
    python = folder / "bin" / "python"
    if Path(sys.prefix).resolve() == folder.resolve():
        return
    done = folder / "done"
    if not done.exists() or done.read_text() != "\n".join(packages):
        print(f"installing {', '.join(packages)} …", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "uv"], check=True)  # pip tries versions for an hour
        uv = [folder / "bin" / "uv", "pip", "install", "--quiet", "--python", python]
        subprocess.run([*uv, *packages, "-e", ROOT], check=True)
        done.write_text("\n".join(packages))
    os.execv(python, [str(python), *sys.argv])


def interleaved(
    work: Mapping[str, Callable[[], object]],
    rounds: int,
    before: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each contestant; every round runs all of them, each after one unmeasured run at the start.

    `before` comes before each run, and its time does not count.
    """
    for run in work.values():
        before()
        run()
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, run in work.items():
            before()
            began = clock()
            run()
            seconds[name].append(clock() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def drain(items: Callable[[], Iterable[object]]) -> Callable[[], None]:
    """Take all items and keep none."""

    def run() -> None:
        for _ in items():
            pass

    return run


def report(title: str, lines: Sequence[str], command: str) -> None:
    """Print the lines, and put them under their title into docs/benchmarks.md."""
    print(f"\n{title}\n")
    print("\n".join(lines))
    model = (
        re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()) if Path("/proc/cpuinfo").exists() else None
    )
    cpu = model[1].strip() if model else platform.processor()
    where = f"{datetime.date.today()}, {cpu}, {os.cpu_count()} processors, Python {platform.python_version()}"
    section = "\n".join([f"## {title}", "", f"`{command}` on {where}.", "", *lines, ""])
    page = PAGE.read_text()
    pattern = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    page = pattern.sub(lambda _: section + "\n", page) if pattern.search(page) else page.rstrip() + "\n\n" + section
    PAGE.write_text(page.rstrip() + "\n")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    return [
        "| " + " | ".join(header) + " |",
        "|" + "|".join("---" for _ in header) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
