#!/usr/bin/env python3
"""The small Mask R-CNN learns, from scratch, on two processors: drawn objects it has not seen, and eight photos overfitted.

    scripts/bench/train_small.py drawn                      400 drawn images; mask AP on 100 others
    scripts/bench/train_small.py photos --samples FOLDER    the 8 lowest ids of COCO train2017 in FOLDER, overfitted

Scored by pycocotools from the COCO results that `segdata predict` writes. `--report` puts the figures into
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from common import ROOT, report, table
from scenery import laid_table

import segdata
from segdata.cli import extras as needs
from segdata.demo.synthetic import objects
from segdata.system.files import write_whole
from segdata.training import predict, trainer
from segdata.training.config import TrainConfig

WORK = ROOT / ".bench" / "train_small"

SMALL: dict[str, Any] = {
    "backbone": "resnet18",
    "norm": "group",
    "fpn_channels": 64,
    "box_head_size": 256,
    "mask_head_channels": 64,
    "anchor_sizes": (16.0, 32.0, 64.0, 128.0, 256.0),
    "rois_per_image": 128,
    "pre_nms_limit_training": 500,
    "post_nms_rois_training": 500,
    "pre_nms_limit": 500,
    "post_nms_rois": 300,
    "optimizer": "adamw",
    "weight_decay": 0.05,
    "gradient_clip_norm": 5.0,
    "schedule": "cosine",
    "warmup_steps": 50,
    "warmup_factor": 0.01,
    "validate_epochs": 0,
    "workers": 1,
}

DRAWN = {**SMALL, "min_size": (192,), "max_size": 256, "batch_size": 2, "epochs": 5, "learning_rate": 0.0005}
PHOTOS = {
    **SMALL,
    "min_size": (256,),
    "max_size": 320,
    "batch_size": 2,
    "rois_per_image": 64,
    "epochs": 240,
    "learning_rate": 0.0008,
    "flip": 0.0,
}
GOALS = {"drawn": (0.5, 20), "photos": (0.7, 30)}


def drawn() -> tuple[segdata.Pack, segdata.Pack, Path]:
    """400 images to train on, 100 others, and the ground truth of these."""
    raw = WORK / "drawn"
    if not (raw / "annotations" / "instances_val2017.json").exists():
        objects.draw(
            raw,
            scene=laid_table,
            tell=lambda done, count: print(f"\rdrawing {done} of {count}", end="", file=sys.stderr),
        )
    segdata.convert(raw, WORK / "drawn.pack", force=True, clean=True)
    pack = segdata.open(WORK / "drawn.pack")
    return pack.split("train2017"), pack.split("val2017"), raw / "annotations" / "instances_val2017.json"


def photos(samples: Path) -> tuple[segdata.Pack, segdata.Pack, Path]:
    """The eight photos, with objects of at least 32² pixels of annotated area, for training and as ground truth."""
    document = json.loads((samples / "annotations" / "instances_train2017.json").read_bytes())
    there = {path.name for path in (samples / "train2017").iterdir()}
    rows = sorted((row for row in document["images"] if row["file_name"] in there), key=lambda row: row["id"])[:8]
    ids = {row["id"] for row in rows}
    annotations = [
        item
        for item in document["annotations"]
        if item["image_id"] in ids and item["area"] >= 32**2 and not item["iscrowd"]
    ]
    folder = WORK / "photos"
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / "train2017").mkdir(exist_ok=True)
    for row in rows:
        write_whole(folder / "train2017" / row["file_name"], (samples / "train2017" / row["file_name"]).read_bytes())
    file = folder / "annotations" / "instances_train2017.json"
    file.write_text(json.dumps({"images": rows, "annotations": annotations, "categories": document["categories"]}))
    segdata.convert(folder, WORK / "photos.pack", force=True, clean=True)
    pack = segdata.open(WORK / "photos.pack")
    return pack, pack, file


def score(truth: Path, results: Path) -> dict[str, float]:
    """Mask AP, AP50 and AP75 by pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotated = COCO(str(truth))
    judged = COCOeval(annotated, annotated.loadRes(str(results)), "segm")
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    return {name: float(judged.stats[index]) for index, name in enumerate(("AP", "AP50", "AP75"))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("drawn", "photos"))
    parser.add_argument("--report", action="store_true", help="write docs/benchmarks.md")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], dest="changes", help="a setting as NAME=VALUE")
    parser.add_argument("--run", default=None, help="name of the run's folder")
    parser.add_argument("--samples", type=Path, help="a folder in COCO's layout with train2017")
    options = parser.parse_args()
    if options.what == "photos" and options.samples is None:
        parser.error("photos needs --samples FOLDER")
    needs.torch(options.threads)
    config = TrainConfig.from_dict(DRAWN if options.what == "drawn" else PHOTOS)
    config = config.changed(**config.parsed(options.changes))
    learn, judge, truth = drawn() if options.what == "drawn" else photos(options.samples)
    run = WORK / (options.run or f"{options.what}-{time.strftime('%Y%m%d-%H%M%S')}")
    began = time.perf_counter()

    def progress(status: trainer.Status) -> None:
        if status.step % 20 == 0 or status.step == status.steps:
            loss = status.values.get("train/loss", 0.0)
            spent = (time.perf_counter() - began) / 60
            print(f"{status.step} of {status.steps}, loss {loss:.3f}, {spent:.1f} min", file=sys.stderr)

    trainer.train(learn, run, config, device="cpu", progress=progress)
    minutes = (time.perf_counter() - began) / 60
    results = run / "results.json"
    prediction = predict.predict(predict.load(run, device="cpu"), judge, run / "predictions", results=results)
    numbers = score(truth, results)
    print(json.dumps({**numbers, "minutes": minutes, "detections": prediction.instances}))
    if options.report:
        goal, limit = GOALS[options.what]
        what = "400 drawn images, evaluated on 100 others" if options.what == "drawn" else "8 photos, overfitted"
        lines = table(
            ["data", "mask AP", "AP50", "AP75", "training", "goal"],
            [
                [
                    what,
                    *(f"{numbers[name]:.3f}" for name in ("AP", "AP50", "AP75")),
                    f"{minutes:.1f} min",
                    f"AP ≥ {goal} in < {limit} min",
                ]
            ],
        )
        size = f"{config.model.backbone}, {config.model.fpn_channels} channels, {config.model.min_size[0]}–{config.model.max_size} pixels"
        lines = [f"From scratch, {size}, {config.run.epochs} epochs, fp32, {options.threads} threads.", "", *lines]
        if options.what == "drawn":
            lines += [
                "",
                "The images are laid tables (`scripts/bench/scenery/laid_table.py`), chosen because their objects are easier to tell "
                "apart than those of the mixed scenes, about which this figure says nothing.",
            ]
        report(
            f"Learning: {options.what}",
            lines,
            f"scripts/bench/train_small.py {options.what}{' --samples SAMPLES' if options.samples else ''}",
        )


if __name__ == "__main__":
    main()
