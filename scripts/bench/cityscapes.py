"""Frames of 2048 × 1024 in Cityscapes' layout: segdata against torchvision's `Cityscapes`.

    python scripts/bench/cityscapes.py SAMPLES [--frames 30] [--rounds 7]

SAMPLES is a folder with `camvid/segnet/CamVid`, whose frames are laid side by side. Both sides are shown to give the
same pixels, label maps and objects before anything is timed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from common import PEERS, drain, inside, interleaved, report, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=Path)
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    inside("loading", PEERS)
    import numpy as np
    import photos
    from PIL import Image
    from torchvision.datasets import Cityscapes

    import segdata

    with tempfile.TemporaryDirectory(prefix="segdata-bench-") as name:
        folder = photos.cityscapes(arguments.samples / "camvid/segnet/CamVid", Path(name) / "city", arguments.frames)
        segdata.convert(folder, Path(name) / "pack")
        segdata.convert(folder, Path(name) / "recoded", recode="lossless")
        pack = segdata.open(Path(name) / "pack", split="train")
        recoded = segdata.open(Path(name) / "recoded", split="train")
        dataset = Cityscapes(folder, split="train", mode="fine", target_type=["semantic", "instance"])

        order = np.argsort(dataset.images).tolist()  # they come as the file system lists them

        def theirs() -> Iterator[Any]:
            for index in order:
                image, (semantic, numbers) = dataset[index]
                yield np.asarray(image), np.asarray(semantic), np.asarray(numbers)

        def label_files() -> Iterator[Any]:
            for semantic, numbers in zip(
                sorted(folder.rglob("*labelIds.png")), sorted(folder.rglob("*instanceIds.png")), strict=True
            ):
                yield None, np.asarray(Image.open(semantic)), np.asarray(Image.open(numbers))

        def ours(pack: segdata.Pack = pack, **options: Any) -> Iterator[Any]:
            for batch in segdata.Loader(pack, reuse=True, **options):
                yield None if batch.images is None else batch.images[0], batch.semantic[0], batch.samples[0].instances

        ids = np.array([category.id for category in pack.labels.categories] + [0] * 221, np.int64)
        compare(theirs(), ours(), ids)
        compare(theirs(), ours(recoded), ids)
        print("equal pixels, label maps and objects", flush=True)
        seconds = interleaved(
            {
                "segdata, image and labels": drain(ours),
                "segdata, image and labels, --recode lossless": drain(lambda: ours(recoded)),
                "torchvision Cityscapes": drain(theirs),
                "segdata, labels only": drain(lambda: ours(images=False)),
                "label PNGs alone, with Pillow": drain(label_files),
            },
            arguments.rounds,
        )
        write(seconds, arguments.frames, arguments.rounds)


def compare(theirs: Iterator[Any], ours: Iterator[Any], ids: Any) -> None:
    """End the program unless both sides give the same pixels, label maps and objects; `ids` are Cityscapes' by index."""
    import numpy as np

    for (image, semantic, numbers), (pixels, labels, instances) in zip(theirs, ours, strict=True):
        if not np.array_equal(image, pixels) or not np.array_equal(semantic, ids[labels]):
            sys.exit("the two sides give other pixels or label maps")
        dense = instances.masks.dense()
        values = np.array([numbers[mask != 0][0] for mask in dense])
        if sorted(values) != np.unique(numbers[numbers >= 1000]).tolist() or any(
            not np.array_equal(mask != 0, numbers == value) for mask, value in zip(dense, values, strict=True)
        ):
            sys.exit("the two sides give other objects")


def write(seconds: Mapping[str, float], frames: int, rounds: int) -> None:
    """Put the table into docs/benchmarks.md."""
    full, labels_only = seconds["torchvision Cityscapes"], seconds["label PNGs alone, with Pillow"]
    report(
        "Loading frames of Cityscapes' size",
        [
            f"{frames} frames of 2048 × 1024 (CamVid's frames side by side, as PNG), label maps and "
            f"objects as run lengths; medians of {rounds} interleaved rounds; both gave equal pixels, "
            "label maps and objects before. torchvision always decodes the image.",
            "",
            *table(
                ["", "frames/s", "times torchvision's speed", "times the label PNGs' speed"],
                [
                    [name, f"{frames / value:,.1f}", f"{full / value:.2f}", f"{labels_only / value:.2f}"]
                    for name, value in seconds.items()
                ],
            ),
        ],
        "python scripts/bench/cityscapes.py SAMPLES",
    )


if __name__ == "__main__":
    main()
