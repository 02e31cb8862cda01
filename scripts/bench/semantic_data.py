#!/usr/bin/env python3
"""What the data of a semantic training cost: a step with them and one on tensors in memory, crops and albumentations.

    scripts/bench/semantic_data.py --camvid FOLDER [--rounds 10] [--report]

FOLDER is SegNet's tutorial copy of CamVid. The pack is made with `--recode lossless`. All times are processor time, of one thread of PyTorch.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import albumentations as A  # noqa: N812
import cv2
import numpy as np
import torch
from albumentations.pytorch import ToTensorV2
from common import ROOT, interleaved, report, table
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

import segdata
from segdata.models import registry
from segdata.training.batches import BatchStream
from segdata.training.config import TrainConfig
from segdata.training.distributed import World
from segdata.training.step import TrainStep, optimizer

WORK = ROOT / ".bench" / "semantic_data"
CPU = torch.device("cpu")
ALONE = World(0, 1, CPU)
CROP, BATCH = 256, 4
SCALES = (0.6, 1.8)
PASSES = 3
"""Passes over the frames in one run of the crops."""


def main() -> int:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--camvid", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    segdata.convert(options.camvid, WORK / "camvid", recode="lossless", force=True)
    train = segdata.open(WORK / "camvid").split("train")
    lines = [*step_lines(train, options.rounds), "", *crop_lines(train, options.camvid, options.rounds)]
    print("\n".join(lines))
    if options.report:
        report("The data of a semantic training", lines, "scripts/bench/semantic_data.py --camvid CamVid")
    return 0


def step_lines(train: segdata.Pack, rounds: int) -> list[str]:
    """An update of U-Net ResNet-18 with its data, and the bare network on tensors in memory."""
    config = TrainConfig.from_dict(
        {
            "model": "smp:unet",
            "backbone": "resnet18",
            "crop": (CROP, CROP),
            "scale_jitter": SCALES,
            "precision": "bf16",
            "batch_size": BATCH,
            "workers": 1,
        }
    )
    model = registry.model(config.name)
    facts = model.usable(train, config.model).facts
    stream = BatchStream(train, model.transform(config.model, train.labels, facts), config.run, ALONE)
    learner = TrainStep(model, model.build(config.model, train.labels, seed=0), config, ALONE, facts)
    learner.choose("all")
    batches = iter(stream)
    updates = {
        "a training step with its data": lambda: learner.update([next(batches).items], 1e-4, seed=1),
        "the bare network, tensors in memory": bare(model, config, train),
    }
    seconds = interleaved(updates, rounds, clock=time.process_time)
    alone = seconds["the bare network, tensors in memory"]
    rows = [[name, f"{1000 * value:.0f} ms", f"{alone / value:.2f}"] for name, value in seconds.items()]
    return table(["U-Net ResNet-18, bf16, 4 crops of 256 × 256", "an update", "of the bare speed"], rows)


def bare(model: Any, config: TrainConfig, train: segdata.Pack) -> Callable[[], None]:
    """An update on one batch that is in memory: forward, cross-entropy, backward, optimiser."""
    autocast = config.run.autocast
    network = model.build(config.model, train.labels, seed=0).to(memory_format=autocast.memory_format)
    network.train()
    descent = optimizer(config.run, network, model.stage_of)
    images = torch.rand(BATCH, 3, CROP, CROP).contiguous(memory_format=autocast.memory_format)
    classes = torch.randint(0, sum(not one.ignore for one in train.labels.categories), (BATCH, CROP, CROP))

    def update() -> None:
        descent.zero_grad(set_to_none=True)
        with autocast.on(CPU):
            logits = network(images)
            loss = functional.cross_entropy(logits if isinstance(logits, torch.Tensor) else logits[0], classes)
        loss.backward()
        descent.step()

    return update


def crop_lines(train: segdata.Pack, camvid: Path, rounds: int) -> list[str]:
    """Batches of cropped, scaled and flipped frames, as normalised tensors."""
    config = TrainConfig.from_dict(
        {
            "model": "smp:unet",
            "crop": (CROP, CROP),
            "scale_jitter": SCALES,
            "color_jitter": 0.0,
            "rare": 0.0,
            "max_one_class": 1.0,
            "batch_size": BATCH,
            "workers": 1,
        }
    )
    model = registry.model(config.name)
    facts = model.usable(train, config.model).facts
    stream = BatchStream(train, model.transform(config.model, train.labels, facts), config.run, ALONE)
    batches = iter(stream)

    def ours() -> None:
        for batch in itertools.islice(batches, PASSES * len(stream)):
            made = model.to_batch(batch.items, config.model, CPU, memory_format=torch.contiguous_format)
            assert made.images.shape[1:] == (3, CROP, CROP)

    work = {"segdata": ours}
    low, high = SCALES
    area = (CROP * CROP) / (360 * 480)
    chosen = {
        "albumentations, RandomScale and RandomCrop": [
            A.RandomScale((low - 1, high - 1), p=1),
            A.PadIfNeeded(CROP, CROP, border_mode=cv2.BORDER_CONSTANT, fill_mask=255),
            A.RandomCrop(CROP, CROP),
        ],
        "albumentations, RandomResizedCrop": [
            A.RandomResizedCrop((CROP, CROP), scale=(area / high**2, min(1.0, area / low**2)), ratio=(1.0, 1.0))
        ],
    }
    for name, transforms in chosen.items():
        compose = A.Compose([*transforms, A.HorizontalFlip(p=0.5), A.Normalize(), ToTensorV2()])
        loader = DataLoader(Frames(camvid, compose), BATCH, shuffle=True, num_workers=0)
        work[name] = peer(loader)
    seconds = interleaved(work, rounds, clock=time.process_time)
    mine = seconds["segdata"]
    rows = [
        [name, f"{1000 * value / PASSES / len(train):.1f} ms", f"{value / mine:.2f}"] for name, value in seconds.items()
    ]
    return table(["crop, scale and flip of CamVid's frames, 256 × 256", "a frame", "of segdata's time"], rows)


class Frames(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """CamVid's training frames, as a user's own dataset reads them."""

    def __init__(self, camvid: Path, transform: Any) -> None:
        self.frames = sorted((camvid / "train").glob("*.png"))
        self.masks = [camvid / "trainannot" / frame.name for frame in self.frames]
        self.transform = transform

    def __len__(self) -> int:
        """How many frames."""
        return len(self.frames)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Image and label map."""
        image = cv2.cvtColor(cv2.imread(str(self.frames[index])), cv2.COLOR_BGR2RGB)
        mask = cv2.imread(str(self.masks[index]), cv2.IMREAD_UNCHANGED)
        made = self.transform(image=image, mask=np.asarray(mask))
        return made["image"], made["mask"].long()


def peer(loader: DataLoader[Any]) -> Callable[[], None]:
    """The same passes over the frames."""

    def run() -> None:
        for images, _ in itertools.chain.from_iterable(itertools.repeat(loader, PASSES)):
            assert images.shape[1:] == (3, CROP, CROP)

    return run


if __name__ == "__main__":
    raise SystemExit(main())
