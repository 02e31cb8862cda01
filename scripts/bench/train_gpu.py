#!/usr/bin/env python3
"""A training step of Mask R-CNN R50-FPN at 800 × 1333 on a GPU: segdata against torchvision's reference training.

    scripts/bench/train_gpu.py [--images 256] [--batch 8] [--steps 20] [--rounds 3]
    scripts/bench/train_gpu.py --smoke           a tiny model on a CPU: shows that the script runs, measures nothing

Both train the same model on the same COCO-like data, which is drawn: photos of 640 × 480 with about twelve objects. The
contestant is what torchvision's reference scripts do: `CocoDetection` with polygons made into dense masks, a DataLoader,
float images and dense masks moved to the device, the model's own forward with its losses, SGD. Steps are interleaved
in rounds, in fp32 and bf16. Printed: images/s, the share of time that was spent waiting for data, and peak memory.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torchvision
from common import ROOT, report, table
from scenery import laid_table

import segdata
from segdata.demo.synthetic import objects
from segdata.models.maskrcnn.model import MODEL
from segdata.training.batches import BatchStream
from segdata.training.config import TrainConfig
from segdata.training.distributed import World
from segdata.training.step import TrainStep, train_mode

WORK = ROOT / ".bench" / "train_gpu"

SMOKE: dict[str, Any] = {
    "backbone": "resnet18",
    "fpn_channels": 32,
    "box_head_size": 64,
    "mask_head_channels": 32,
    "min_size": 96,
    "max_size": 160,
}


def data(images: int, height: int, width: int) -> tuple[Path, segdata.Pack]:
    """A drawn COCO folder and its pack."""
    folder = WORK / f"{images}-{height}"
    if not (folder / "pack" / "pack.json").exists():
        objects.draw(folder / "raw", train=images, val=1, height=height, width=width, scene=laid_table)
        segdata.convert(folder / "raw", folder / "pack", force=True)
    return folder / "raw", segdata.open(folder / "pack", split="train2017")


class Meter:
    """Seconds of steps, and of those the ones spent waiting for the next batch."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.images = 0
        self.seconds = self.waited = 0.0
        self.memory = 0.0

    def run(self, batches: Iterator[Any], step: Callable[[Any], int], steps: int) -> None:
        """Some steps, timed from the first wait to the last kernel."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        began = time.perf_counter()
        for _ in range(steps):
            asked = time.perf_counter()
            batch = next(batches)
            self.waited += time.perf_counter() - asked
            self.images += step(batch)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            self.memory = max(self.memory, torch.cuda.max_memory_allocated(self.device) / 2**30)
        self.seconds += time.perf_counter() - began

    def row(self, name: str) -> list[str]:
        """A line of the table."""
        return [
            name,
            f"{self.images / self.seconds:.1f}",
            f"{self.waited / self.seconds:.0%}",
            f"{self.memory:.1f} GiB" if self.memory else "–",
        ]


def ours(pack: segdata.Pack, config: TrainConfig, device: torch.device) -> tuple[Iterator[Any], Callable[[Any], int]]:
    """segdata's batches and its step."""
    world = World(0, 1, device)
    network = MODEL.build(config.model, pack.labels, seed=0)
    learner = TrainStep(MODEL, network, config, world)
    learner.choose("all")

    def step(batch: Any) -> int:
        learner.update([batch.items], config.run.learning_rate)
        return len(batch.items)

    return iter(BatchStream(pack, MODEL.transform(config.model, pack.labels, None), config.run, world)), step


def theirs(
    raw: Path, pack: segdata.Pack, config: TrainConfig, device: torch.device
) -> tuple[Iterator[Any], Callable[[Any], int]]:
    """Torchvision's dataset, loader and step, as in its reference scripts."""
    from torchvision.transforms import v2

    source = torchvision.datasets.CocoDetection(
        str(raw / "train2017"),
        str(raw / "annotations" / "instances_train2017.json"),
        transforms=v2.Compose([v2.ToImage(), v2.RandomHorizontalFlip(0.5), v2.ToDtype(torch.float32, scale=True)]),
    )
    dataset = torchvision.datasets.wrap_dataset_for_transforms_v2(source, target_keys=("boxes", "labels", "masks"))
    loader = torch.utils.data.DataLoader(
        dataset,
        config.run.batch_size,
        shuffle=True,
        num_workers=config.run.workers,
        drop_last=True,
        collate_fn=lambda items: tuple(zip(*items, strict=True)),
        persistent_workers=config.run.workers > 0,
    )
    network = MODEL.build(config.model, pack.labels, seed=0).to(device)
    train_mode(network, frozen=True)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=config.run.learning_rate, momentum=0.9, weight_decay=1e-4)
    number_of: dict[int, int] = {category: number for number, category in enumerate(sorted(source.coco.getCatIds()), 1)}

    def step(batch: Any) -> int:
        images = [image.to(device) for image in batch[0]]
        targets = [
            {
                "boxes": target["boxes"].to(device),
                "labels": torch.tensor([number_of[int(label)] for label in target["labels"]], device=device),
                "masks": target["masks"].to(device),
            }
            for target in batch[1]
        ]
        with config.run.autocast.on(device):
            losses = network(images, targets)
        optimizer.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        optimizer.step()
        return len(images)

    def endless() -> Iterator[Any]:
        while True:
            yield from loader

    return endless(), step


def detecting(pack: segdata.Pack, config: TrainConfig, device: torch.device, count: int) -> float:
    """Images/s of detection, photos already decoded."""
    autocast = config.run.autocast
    network = MODEL.build(config.model, pack.labels, seed=0).to(device, memory_format=autocast.memory_format)
    model = MODEL.predictor(network, config.model, pack.labels, autocast)
    photos = [pack[index % len(pack)].image for index in range(count)]
    size = config.run.batch_size
    model(photos[:size])
    began = time.perf_counter()
    for begin in range(0, count, size):
        model(photos[begin : begin + size])
    return count / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--smoke", action="store_true", help="a tiny model on a CPU, two steps, nothing is measured")
    options = parser.parse_args()
    if options.smoke:
        options.images, options.batch, options.steps, options.rounds, options.workers = 4, 2, 1, 1, 0
        torch.set_num_threads(1)
    elif not torch.cuda.is_available():
        sys.exit("no GPU is here; --smoke shows that the script runs, and measures nothing")
    device = torch.device("cpu" if options.smoke else "cuda")
    raw, pack = data(options.images, *((96, 128) if options.smoke else (480, 640)))
    base = TrainConfig.from_dict({"batch_size": options.batch, "workers": options.workers, "learning_rate": 0.0001})
    base = base.changed(**SMOKE) if options.smoke else base
    rows = []
    for kind in ("fp32", "bf16"):
        mine = base.changed(precision=kind, channels_last=kind == "bf16")
        contestants = {
            f"segdata, {kind}": ours(pack, mine, device),
            f"torchvision, {kind}": theirs(raw, pack, base.changed(precision=kind), device),
        }
        for batches, step in contestants.values():
            Meter(device).run(batches, step, 1 if options.smoke else 5)
        meters = {name: Meter(device) for name in contestants}
        for _ in range(options.rounds):
            for name, (batches, step) in contestants.items():
                meters[name].run(batches, step, options.steps)
        rows += [meter.row(name) for name, meter in meters.items()]
        speed = detecting(pack, mine, device, 2 if options.smoke else 128)
        rows.append([f"segdata, detection, {kind}", f"{speed:.1f}", "–", "–"])
        with contextlib.suppress(AttributeError):
            torch.cuda.empty_cache()
    lines = table(["what", "images/s", "waiting for data", "peak memory"], rows)
    if options.smoke:
        print("smoke run on a CPU: it works; figures are only taken on a GPU")
        return
    lines = [f"{torch.cuda.get_device_name()}, torch {torch.__version__}, batches of {options.batch}.", "", *lines]
    report("Training on a GPU", lines, "scripts/bench/train_gpu.py")


if __name__ == "__main__":
    main()
