#!/usr/bin/env python3
"""Large JPEGs made ready for a training of smaller images: decoded to a half, a quarter or an eighth, and in full.

    scripts/bench/reduced.py SAMPLES [--photos 12] [--rounds 5] [--report]

SAMPLES is a folder with COCO photos (JPEG), which are enlarged, with noise, to 2, 5 and 12 megapixels. Measured is what a
training does with a photo before the network: decode, crop, resize and normalise, on a processor, in processor time.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from common import ROOT, interleaved, report, table
from PIL import Image

import segdata
from segdata.core.sample import Sample
from segdata.models import registry
from segdata.training.batches import BatchStream
from segdata.training.config import TrainConfig
from segdata.training.distributed import World

WORK = ROOT / ".bench" / "reduced"
ALONE = World(0, 1, torch.device("cpu"))
SIZES = {2: (1152, 1728), 5: (1824, 2736), 12: (2832, 4256)}
"""Megapixels → height and width of the photos."""


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=Path)
    parser.add_argument("--photos", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    photos = sorted(options.samples.rglob("*.jpg"))[: options.photos]
    rows = []
    for megapixels, size in SIZES.items():
        pack = enlarged(photos, megapixels, size)
        for side in (512, 800):
            work = {text: passes(pack, side, reduction) for text, reduction in (("whole", False), ("reduced", True))}
            seconds = interleaved(work, options.rounds, clock=time.process_time)
            whole, reduced = (1000 * value / len(pack) for value in seconds.values())
            rows.append([str(megapixels), str(side), f"{whole:.0f} ms", f"{reduced:.0f} ms", f"{whole / reduced:.1f}"])
    header = ["megapixels", "shorter side in training", "whole, a photo", "reduced, a photo", "times as fast"]
    lines = table(header, rows)
    print("\n".join(lines))
    if options.report:
        report("Large JPEGs in a training of smaller images", lines, "scripts/bench/reduced.py SAMPLES")
    return 0


def enlarged(photos: list[Path], megapixels: int, size: tuple[int, int]) -> segdata.Pack:
    """A pack of the photos in another size, with the noise of a sensor."""
    rng = np.random.default_rng(0)

    def samples() -> Iterator[Sample]:
        for photo in photos:
            image = np.asarray(Image.open(photo).convert("RGB").resize(size[::-1], Image.Resampling.LANCZOS))
            noisy = (image + rng.normal(0, 4, image.shape)).clip(0, 255).astype(np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(noisy).save(buffer, "JPEG", quality=90)
            mask = np.zeros((1, *size), np.uint8)
            mask[0, 300:700, 200:900] = 1
            yield Sample.build(photo.stem, buffer.getvalue(), masks=mask, category=[0])

    segdata.write(samples(), WORK / str(megapixels), labels=["thing"], force=True)
    return segdata.open(WORK / str(megapixels))


def passes(pack: segdata.Pack, side: int, reduction: bool) -> Callable[[], None]:
    """One pass over the photos, as a training of Mask R-CNN reads them."""
    settings = {"min_size": side, "max_size": 2 * side, "jpeg_reduction": reduction, "batch_size": 1, "workers": 1}
    config = TrainConfig.from_dict(settings)
    model = registry.model(config.name)
    stream = BatchStream(pack, model.transform(config.model, pack.labels), config.run, ALONE)
    batches = iter(stream)

    def run() -> None:
        for _ in range(len(stream)):
            made = model.to_batch(
                next(batches).items, config.model, ALONE.device, memory_format=torch.contiguous_format
            )
            assert made.images.tensors.shape[0] == 1

    return run


if __name__ == "__main__":
    raise SystemExit(main())
