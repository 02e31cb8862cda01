#!/usr/bin/env python3
"""A training step on a GPU: segdata against torchvision's reference training, with the same network.

    scripts/bench/train_gpu.py [--model maskrcnn] [--images 256] [--batch 8] [--steps 20] [--rounds 3]
    scripts/bench/train_gpu.py --smoke           a tiny model on a CPU: shows that the script runs, measures nothing

`maskrcnn` is Mask R-CNN R50-FPN at 800 × 1333 on COCO-like data, which is drawn: photos of 640 × 480 with about twelve objects.
The contestant is what torchvision's reference scripts do: `CocoDetection` with polygons made into dense masks, a DataLoader,
float images and dense masks moved to the device, the model's own forward with its losses, SGD.

`deeplabv3plus` is DeepLabV3+ R50 with crops of 512 × 1024 from drawn Cityscapes frames of 2048 × 1024. The contestant is
torchvision's reference for segmentation: `Cityscapes`, the whole frame resized at random, flipped and cropped, ids looked up, a
DataLoader, float crops moved to the device, cross-entropy, SGD.

Steps are interleaved in rounds, in fp32 and bf16. Printed: images/s, the share of time that was spent waiting for data, and
peak memory.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from common import ROOT, report, table
from scenery import laid_table
from torch.nn import functional
from torchvision import tv_tensors
from torchvision.transforms import v2

import segdata
from segdata.demo.synthetic import cityscapes, objects
from segdata.models import registry
from segdata.training.batches import BatchStream
from segdata.training.config import TrainConfig
from segdata.training.distributed import World
from segdata.training.step import TrainStep, train_mode

Contestant = tuple[Iterator[Any], Callable[[Any], int]]
"""Batches without end, and a step that says how many images it had."""
VOID = 255


def coco_like(folder: Path, images: int, *, is_small: bool) -> tuple[Path, segdata.Pack]:
    """A drawn COCO folder and its pack."""
    height, width = (96, 128) if is_small else (480, 640)
    if not (folder / "pack" / "pack.json").exists():
        objects.draw(folder / "raw", train=images, val=1, height=height, width=width, scene=laid_table)
        segdata.convert(folder / "raw", folder / "pack", force=True)
    return folder / "raw", segdata.open(folder / "pack", split="train2017")


def cityscapes_like(folder: Path, images: int, *, is_small: bool) -> tuple[Path, segdata.Pack]:
    """A drawn Cityscapes folder and its pack; as many frames are for validation."""
    if not (folder / "pack" / "pack.json").exists():
        cityscapes.draw(folder / "raw", images=2 * images, size=(64, 128) if is_small else (1024, 2048))
        segdata.convert(folder / "raw", folder / "pack", force=True)
    return folder / "raw", segdata.open(folder / "pack", split="train", labels="cityscapes-19")


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


def ours(pack: segdata.Pack, config: TrainConfig, device: torch.device) -> Contestant:
    """segdata's batches and its step."""
    world = World(0, 1, device)
    model = registry.model(config.name)
    usable = model.usable(pack, config.model)
    learner = TrainStep(model, model.build(config.model, pack.labels, seed=0), config, world, usable.facts)
    learner.choose("all")

    def step(batch: Any) -> int:
        learner.update([batch.items], config.run.learning_rate)
        return len(batch.items)

    transform = model.transform(config.model, pack.labels, usable.facts)
    return iter(BatchStream(usable.pack, transform, config.run, world)), step


def coco_reference(raw: Path, pack: segdata.Pack, config: TrainConfig, device: torch.device) -> Contestant:
    """Torchvision's dataset, loader and step of detection, as in its reference scripts."""
    source = torchvision.datasets.CocoDetection(
        str(raw / "train2017"),
        str(raw / "annotations" / "instances_train2017.json"),
        transforms=v2.Compose([v2.ToImage(), v2.RandomHorizontalFlip(0.5), v2.ToDtype(torch.float32, scale=True)]),
    )
    dataset = torchvision.datasets.wrap_dataset_for_transforms_v2(source, target_keys=("boxes", "labels", "masks"))
    loader = loaded(dataset, config, collate=lambda items: tuple(zip(*items, strict=True)))
    network = registry.model("maskrcnn").build(config.model, pack.labels, seed=0).to(device)
    train_mode(network, frozen=True)
    optimizer = sgd(network, config)
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

    return endless(loader), step


def cityscapes_reference(raw: Path, pack: segdata.Pack, config: TrainConfig, device: torch.device) -> Contestant:
    """Torchvision's dataset, loader and step of semantic segmentation, as in its reference scripts."""
    height = pack[0].height
    low, high = config.model.scale_jitter
    steps = v2.Compose(
        [
            v2.ToImage(),
            v2.RandomResize(int(low * height), int(high * height)),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomCrop(config.model.crop, pad_if_needed=True, fill={tv_tensors.Mask: VOID, "others": 0}),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(config.model.mean, config.model.std),
        ]
    )
    class_of = torch.full((256,), VOID)
    for category in torchvision.datasets.Cityscapes.classes:
        if 0 <= category.train_id < VOID:
            class_of[category.id] = category.train_id

    def prepared(image: Any, ids: Any) -> tuple[Any, Any]:
        image, ids = steps(image, ids)
        return image, class_of[ids.long()].squeeze(0)

    source = torchvision.datasets.Cityscapes(str(raw), "train", "fine", "semantic", transforms=prepared)
    loader = loaded(torchvision.datasets.wrap_dataset_for_transforms_v2(source), config, collate=None)
    network = registry.model(config.name).build(config.model, pack.labels, seed=0).to(device).train()
    optimizer = sgd(network, config)

    def step(batch: Any) -> int:
        images, maps = (part.to(device) for part in batch)
        with config.run.autocast.on(device):
            loss = functional.cross_entropy(network(images), maps, ignore_index=VOID)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return len(images)

    return endless(loader), step


def loaded(dataset: Any, config: TrainConfig, collate: Any) -> Any:
    """The loader of both references."""
    return torch.utils.data.DataLoader(
        dataset,
        config.run.batch_size,
        shuffle=True,
        num_workers=config.run.workers,
        drop_last=True,
        collate_fn=collate,
        persistent_workers=config.run.workers > 0,
    )


def sgd(network: torch.nn.Module, config: TrainConfig) -> torch.optim.SGD:
    """The optimiser of both references."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return torch.optim.SGD(parameters, lr=config.run.learning_rate, momentum=0.9, weight_decay=1e-4)


def endless(loader: Any) -> Iterator[Any]:
    """Epoch after epoch."""
    while True:
        yield from loader


@dataclass(frozen=True)
class Contest:
    """What is trained, and on what.

    Attributes:
        title: of the section of docs/benchmarks.md.
        data: (folder, images, is_small) → the folder that the reference reads, and the pack.
        reference: torchvision's batches and step.
        settings: those of both.
        smoke: what makes the model tiny.
    """

    title: str
    data: Callable[..., tuple[Path, segdata.Pack]]
    reference: Callable[[Path, segdata.Pack, TrainConfig, torch.device], Contestant]
    settings: dict[str, Any]
    smoke: dict[str, Any]


CONTESTS = {
    "maskrcnn": Contest(
        "Training on a GPU",
        coco_like,
        coco_reference,
        {"learning_rate": 0.0001},
        {
            "backbone": "resnet18",
            "fpn_channels": 32,
            "box_head_size": 64,
            "mask_head_channels": 32,
            "min_size": 96,
            "max_size": 160,
        },
    ),
    "deeplabv3plus": Contest(
        "Training a semantic model on a GPU",
        cityscapes_like,
        cityscapes_reference,
        {
            "learning_rate": 0.01,
            "optimizer": "sgd",
            "weight_decay": 0.0001,
            "average": 0.0,
            "crop": (512, 1024),
            "color_jitter": 0.0,
            "rare": 0.0,
            "max_one_class": 1.0,
        },
        {"backbone": "resnet18", "backbone_width": 0.125, "head_channels": 8, "crop": (32, 64)},
    ),
}
"""Model → its contest."""


def detecting(pack: segdata.Pack, config: TrainConfig, device: torch.device, count: int) -> float:
    """Images/s of prediction, photos already decoded."""
    autocast = config.run.autocast
    kind = registry.model(config.name)
    network = kind.build(config.model, pack.labels, seed=0).to(device, memory_format=autocast.memory_format)
    model = kind.predictor(network, config.model, pack.labels, autocast)
    photos = [pack[index % len(pack)].image for index in range(count)]
    size = config.run.batch_size
    model.predict(photos[:size])
    began = time.perf_counter()
    for begin in range(0, count, size):
        model.predict(photos[begin : begin + size])
    return count / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=CONTESTS, default="maskrcnn")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--work", type=Path, default=ROOT / ".bench" / "train_gpu", help="what is drawn")
    parser.add_argument("--smoke", action="store_true", help="a tiny model on a CPU, two steps, nothing is measured")
    options = parser.parse_args()
    if options.smoke:
        options.images, options.batch, options.steps, options.rounds, options.workers = 4, 2, 1, 1, 0
        torch.set_num_threads(1)
    elif not torch.cuda.is_available():
        sys.exit("no GPU is here; --smoke shows that the script runs, and measures nothing")
    device = torch.device("cpu" if options.smoke else "cuda")
    contest = CONTESTS[options.model]
    folder = options.work / f"{options.model}-{options.images}{'-small' * options.smoke}"
    raw, pack = contest.data(folder, options.images, is_small=options.smoke)
    base = TrainConfig.from_dict(
        {"model": options.model, "batch_size": options.batch, "workers": options.workers, **contest.settings}
    )
    base = base.changed(**contest.smoke) if options.smoke else base
    rows = []
    for kind in ("fp32", "bf16"):
        mine = base.changed(precision=kind, channels_last=kind == "bf16")
        contestants = {
            f"segdata, {kind}": ours(pack, mine, device),
            f"torchvision, {kind}": contest.reference(
                raw, pack, base.changed(precision=kind, channels_last=False), device
            ),
        }
        for batches, step in contestants.values():
            Meter(device).run(batches, step, 1 if options.smoke else 5)
        meters = {name: Meter(device) for name in contestants}
        for _ in range(options.rounds):
            for name, (batches, step) in contestants.items():
                meters[name].run(batches, step, options.steps)
        rows += [meter.row(name) for name, meter in meters.items()]
        speed = detecting(pack, mine, device, 2 if options.smoke else 128)
        rows.append([f"segdata, prediction, {kind}", f"{speed:.1f}", "–", "–"])
        with contextlib.suppress(AttributeError):
            torch.cuda.empty_cache()
    lines = table(["what", "images/s", "waiting for data", "peak memory"], rows)
    if options.smoke:
        print(f"smoke run on a CPU: it works ({'; '.join(row[0] for row in rows)}); figures are only taken on a GPU")
        return
    lines = [f"{torch.cuda.get_device_name()}, torch {torch.__version__}, batches of {options.batch}.", "", *lines]
    command = "scripts/bench/train_gpu.py" + f" --model {options.model}" * (options.model != "maskrcnn")
    report(contest.title, lines, command)


if __name__ == "__main__":
    main()
