#!/usr/bin/env python3
"""The article's semantic networks, narrow, from scratch: four frames of CamVid are learned by heart.

    scripts/bench/overfit_semantic.py --camvid FOLDER [--seconds 600] [--models unet fastfcn gated_scnn] [--report]

FOLDER is SegNet's tutorial copy of CamVid. Time is the processor time of a training, the score that of `segdata evaluate`
on what `segdata predict` writes for the same four frames.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from common import ROOT, report, table

import segdata
from segdata.system.files import remove_tree
from segdata.training import trainer
from segdata.training.config import TrainConfig

WORK = ROOT / ".bench" / "overfit_semantic"

SETTINGS: dict[str, Any] = {
    "crop": (256, 256),
    "scale_jitter": (0.7, 1.4),
    "color_jitter": 0.0,
    "class_weights": "median",
    "rare": 0.33,
    "learning_rate": 0.002,
    "warmup_steps": 20,
    "average": 0.98,
    "validate_epochs": 0,
    "checkpoint_steps": 1000,
    "workers": 1,
}

NETWORKS: dict[str, dict[str, Any]] = {
    "unet": {"padded": False, "width": 16},
    "fastfcn": {"backbone_width": 0.25, "jpu_channels": 64},
    "gated_scnn": {"backbone": "resnet50", "backbone_width": 0.25, "head_channels": 64},
}
"""The article's networks, with fewer channels."""

FIRST = 10
"""Updates that the speed is measured by, before the training."""


def main() -> int:
    """Train, predict, evaluate; print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--camvid", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=600.0, help="processor time of a training")
    parser.add_argument("--models", choices=NETWORKS, nargs="+", default=list(NETWORKS))
    parser.add_argument("--set", action="append", default=[], dest="changes")
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    segdata.convert(options.camvid, WORK / "camvid", splits=("train",), force=True)
    segdata.sample(WORK / "camvid", WORK / "four", 4, balance=True, force=True)
    rows = []
    for name in options.models:
        config = TrainConfig.from_dict({"model": name, **SETTINGS, **NETWORKS[name]})
        rows.append([name, *overfit(WORK / "four", config.changed(**config.parsed(options.changes)), options.seconds)])
        print(rows[-1], flush=True)
    header = ["network", "updates", "processor time", "mIoU of the four frames", "least class"]
    lines = table(header, [[str(value) for value in row] for row in rows])
    print("\n".join(lines))
    if options.report:
        command = f"scripts/bench/overfit_semantic.py --camvid CamVid --seconds {options.seconds:g}"
        report("Four frames of CamVid learned by heart", lines, command)
    return 0


def overfit(four: Path, config: TrainConfig, seconds: float) -> list[str]:
    """Updates, processor time, mIoU, the least IoU of a class."""
    run, predicted = WORK / "run", WORK / "predicted"
    remove_tree(run)
    trainer.train(segdata.open(four), run, config.changed(steps_per_epoch=2, epochs=1), device="cpu")
    remove_tree(run)
    began = time.process_time()
    trainer.train(segdata.open(four), run, config.changed(steps_per_epoch=FIRST, epochs=1), device="cpu")
    updates = max(FIRST, int(seconds / (time.process_time() - began) * FIRST))
    remove_tree(run)
    began = time.process_time()
    trainer.train(segdata.open(four), run, config.changed(steps_per_epoch=updates, epochs=1), device="cpu")
    taken = time.process_time() - began
    segdata.predict(run, four, predicted, force=True, embed=False)
    numbers = segdata.evaluate(predicted, four, metrics=["semantic"]).metrics["semantic"]
    least = min((v, key[len("IoU-") :]) for key, v in numbers.items() if key.startswith("IoU-") and v is not None)
    return [
        str(updates),
        f"{taken:.0f} s",
        f"{numbers['mIoU']:.3f}",
        f"{least[0]:.3f} ({least[1]})",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
