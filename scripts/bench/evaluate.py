"""Metrics against the official evaluators: the same files, the same numbers, how long each takes.

python scripts/bench/evaluate.py [--frames N] [--rounds N] [--write]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import inside, interleaved, report, table

PEERS = ("cityscapesscripts==2.3.0",)

HEIGHT, WIDTH = 1024, 2048
THINGS = range(24, 34)


def frames(root: Path, count: int) -> None:
    """Draw frames of Cityscapes' size: stripes of stuff, about thirty objects, label maps and forty scored masks each."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    truth, pixel, instance = root / "gtFine/val/town", root / "pixel", root / "instance"
    for folder in (truth, pixel, instance / "masks"):
        folder.mkdir(parents=True)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for number in range(count):
        frame = f"town_{number:06d}_000019"
        labels = np.select([y < 300 + 40 * np.sin(x / 90), y < 480, y < 560], [23, 11, 8], 7).astype(np.uint8)
        labels[(y > 250) & (np.sin(x / 37.0) + np.sin(y / 23.0) > 1.4) & (y < 520)] = 21
        numbers = labels.astype(np.uint16)
        for index in range(int(rng.integers(20, 40))):
            label = int(rng.choice(THINGS))
            height, width = int(rng.integers(12, 220)), int(rng.integers(8, 260))
            top, left = int(rng.integers(350, HEIGHT - height)), int(rng.integers(0, WIDTH - width))
            box = slice(top, top + height), slice(left, left + width)
            disc = ((y[box] - top) / height - 0.5) ** 2 + ((x[box] - left) / width - 0.5) ** 2 < 0.25
            labels[box][disc] = label
            numbers[box][disc] = label if rng.random() < 0.1 else label * 1000 + index
        predicted = np.roll(labels, (3, 5), (0, 1))
        Image.fromarray(labels).save(truth / f"{frame}_gtFine_labelIds.png")
        Image.fromarray(numbers).save(truth / f"{frame}_gtFine_instanceIds.png")
        Image.fromarray(predicted).save(pixel / f"{frame}_pred_labelIds.png")
        lines = []
        for index, value in enumerate([*np.unique(numbers[numbers >= 1000]).tolist()] + [0] * 10):
            mask = (
                np.roll(numbers == value, rng.integers(-8, 9, 2), (0, 1))
                if value
                else (x // 60 + y // 60) % 97 == index
            )
            label = value // 1000 if value else int(rng.choice(THINGS))
            Image.fromarray(mask).save(instance / f"masks/{frame}_{index}.png")
            lines.append(f"masks/{frame}_{index}.png {label} {rng.random():.3f}\n")
        (instance / f"{frame}_pred.txt").write_text("".join(lines))


def ours(root: Path, kind: str) -> Callable[[], dict[str, Any]]:
    """segdata from the same folders, in one process."""
    from segdata.metrics.evaluate import evaluate

    name = f"cityscapes-{kind}"
    return lambda: dict(evaluate(root / kind, root, metrics=[name]).metrics[name])


def official_pixel(root: Path) -> Callable[[], dict[str, Any]]:
    """The official evaluator, with the function that NumPy removed."""
    import numpy as np

    np.in1d = np.isin  # type: ignore[attr-defined]
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as evaluator  # noqa: N813

    evaluator.args.quiet, evaluator.args.JSONOutput = True, False
    truth = sorted(map(str, root.rglob("*_gtFine_labelIds.png")))
    predictions = sorted(map(str, (root / "pixel").glob("*.png")))
    return lambda: evaluator.evaluateImgLists(predictions, truth, evaluator.args)


def official_instance(root: Path) -> Callable[[], dict[str, Any]]:
    """The official evaluator with its cache of true instances, without the file of matches that it cannot write."""
    from cityscapesscripts.evaluation import evalInstanceLevelSemanticLabeling as evaluator  # noqa: N813

    write = evaluator.writeDict2JSON
    evaluator.writeDict2JSON = lambda what, name: None if name == "matches.json" else write(what, name)
    evaluator.args.quiet, evaluator.args.JSONOutput = True, False
    evaluator.args.predictionPath = str((root / "instance").resolve())
    evaluator.args.gtInstancesFile = str(root / "gtInstances.json")
    truth = sorted(map(str, root.rglob("*_gtFine_instanceIds.png")))
    predictions = sorted(map(str, (root / "instance").glob("*.txt")))

    def run() -> dict[str, Any]:
        averages: dict[str, Any] = evaluator.evaluateImgLists(predictions, truth, evaluator.args)["averages"]
        return averages

    return run


def main() -> None:
    """Check that the numbers are equal, then measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the result into docs/benchmarks.md")
    options = parser.parse_args()
    inside("evaluate", PEERS)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        frames(root, options.frames)
        for kind, official, key in (
            ("pixel", official_pixel(root), "averageScoreInstClasses"),
            ("instance", official_instance(root), "allAp"),
        ):
            mine = ours(root, kind)
            with contextlib.redirect_stdout(io.StringIO()):
                value, expected = mine()[key], official()[key]
                assert abs(value - expected) < 1e-9, (kind, value, expected)
                seconds = interleaved({"segdata": mine, "official": official}, options.rounds)
            per_frame = {name: 1000 * value / options.frames for name, value in seconds.items()}
            ratio = seconds["official"] / seconds["segdata"]
            figures = [f"{per_frame[name]:.0f} ms" for name in ("segdata", "official")]
            rows.append([f"cityscapes-{kind}", *figures, f"{ratio:.1f} ×"])
    lines = table(("per frame of 2048 × 1024", "segdata", "cityscapesscripts 2.3.0", "ratio"), rows)
    note = "One process each, from the same PNG files; the numbers are equal to 1e-9 (checked before measuring)."
    if options.write:
        report(
            "Cityscapes metrics against the official evaluators", [*lines, "", note], "python scripts/bench/evaluate.py"
        )
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    main()
