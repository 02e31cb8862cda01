#!/usr/bin/env python3
"""Semantic segmentation learns, from scratch, on two processors: CamVid's training frames, and frames of other drives.

    scripts/bench/train_semantic.py --camvid FOLDER [--seconds 1800] [--seeds 0 1 2] [--set NAME=VALUE …] [--without rare]

FOLDER is SegNet's tutorial copy of CamVid with its splits train, val and test. Time is the processor time of the training;
the scores are those of `segdata evaluate` on what `segdata predict` writes. `--report` puts the figures into
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from common import ROOT, report, table

import segdata
from segdata.training import trainer
from segdata.training.config import TrainConfig

WORK = ROOT / ".bench" / "train_semantic"

SETTINGS: dict[str, Any] = {
    "model": "smp:unet",
    "backbone": "resnet18",
    "crop": (256, 256),
    "scale_jitter": (0.6, 1.8),
    "loss": ("ce", "dice"),
    "class_weights": "median",
    "rare": 0.33,
    "batch_size": 4,
    "learning_rate": 0.0008,
    "warmup_steps": 50,
    "validate_epochs": 0,
    "checkpoint_steps": 1000,
    "workers": 1,
}
FIRST = 30
"""Updates that the speed is measured by, before the training."""

OFF: dict[str, dict[str, Any]] = {"class_weights": {"class_weights": "none"}, "rare": {"rare": 0.0}}


def main() -> int:
    """Train, predict, evaluate; print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--camvid", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=1800.0, help="processor time of a training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", action="append", default=[], dest="changes")
    parser.add_argument("--without", choices=OFF, action="append", default=[])
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    pack = WORK / "camvid"
    segdata.convert(options.camvid, pack, force=True)
    changes = {name: value for off in options.without for name, value in OFF[off].items()}
    config = TrainConfig.from_dict({**SETTINGS, **changes})
    config = config.changed(**config.parsed(options.changes))
    rows, names = [], []
    for seed in options.seeds:
        scores, seconds, updates = trained(pack, config.changed(seed=seed), options.seconds)
        rows.append([seed, updates, f"{seconds:.0f} s", *(scores[split][0] for split in ("train", "val", "test"))])
        names = list(scores["train"][1])
        least = min((value, name) for name, value in scores["train"][1].items() if value is not None)
        rows[-1] += [f"{least[0]:.3f} ({least[1]})"]
        for split in scores:
            print(split, {name: None if value is None else round(value, 3) for name, value in scores[split][1].items()})
    medians = [statistics.median(row[column] for row in rows) for column in (3, 4, 5)]
    written = [[str(value) if not isinstance(value, float) else f"{value:.3f}" for value in row] for row in rows]
    written.append(["median", "", "", *(f"{value:.3f}" for value in medians), ""])
    header = ["seed", "updates", "processor time", "mIoU train", "val", "test", "least class of train"]
    lines = table(header, written)
    print("\n".join(lines), f"\n{len(names)} classes")
    if options.report:
        without = f" without {', '.join(options.without)}" if options.without else ""
        command = f"scripts/bench/train_semantic.py --camvid CamVid --seconds {options.seconds:g}"
        report(f"Semantic segmentation from scratch on CamVid{without}", lines, command)
    return 0


def trained(pack: Path, config: TrainConfig, seconds: float) -> tuple[dict[str, Any], float, int]:
    """Scores by split: (mIoU, IoU by class); processor seconds; updates."""
    opened = segdata.open(pack)
    split = opened.split("train")
    trial = WORK / "trial"
    began = time.process_time()
    trainer.train(split, trial, config.changed(steps_per_epoch=FIRST, epochs=1), device="cpu")
    each = (time.process_time() - began) / FIRST
    remove(trial)
    updates = max(FIRST, int(seconds / each))
    run = WORK / f"run-{config.run.seed}"
    remove(run)
    began = time.process_time()
    trainer.train(split, run, config.changed(steps_per_epoch=updates, epochs=1), device="cpu")
    taken = time.process_time() - began
    predicted = WORK / "predicted"
    segdata.predict(run, pack, predicted, force=True, embed=False)
    scores = {}
    for name in ("train", "val", "test"):
        numbers = segdata.evaluate(predicted, pack, split=name, metrics=["semantic"]).metrics["semantic"]
        by_class = {key[len("IoU-") :]: value for key, value in numbers.items() if key.startswith("IoU-")}
        scores[name] = (numbers["mIoU"], by_class)
    return scores, taken, updates


def remove(folder: Path) -> None:
    """Remove what an earlier run of this script left."""
    from segdata.system.files import remove_tree

    remove_tree(folder)


if __name__ == "__main__":
    raise SystemExit(main())
