"""What `shuffle="blocks"` costs in mixing and saves in shards, from the tables of packs; no photo is read.

    python scripts/bench/mixing.py [PACK] [--unsorted] [--batch 32] [--world 8]

Without a pack, one is imagined: 400,000 samples in 400 shards, each of one of 100 categories, and sorted by these, as a
folder for each class would be: the worst order that there is; or, unsorted, in no order. The distance of a batch is half the sum of the differences between its
shares of categories and those of all samples (0: the same, 1: nothing in common); a full shuffle has what chance gives.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import numpy.typing as npt

import segdata
from segdata.loading.order import Order

Numbers = npt.NDArray[np.int64]


def of_pack(path: str) -> tuple[Numbers, Numbers, Numbers]:
    """Each sample's shard; each object's sample and category."""
    pack = segdata.open(path)
    return pack.shard_numbers(), *pack.object_categories()


def imagined(*, is_sorted: bool) -> tuple[Numbers, Numbers, Numbers]:
    """The same of a pack that is sorted by category, or in no order."""
    samples = np.arange(400_000)
    category = samples // 4000
    return samples // 1000, samples, category if is_sorted else np.random.default_rng(0).permutation(category)


def distance(batches: list[Numbers], image: Numbers, category: Numbers, samples: int) -> float:
    """Mean distance between the categories of a batch and those of all samples."""
    of_sample = np.zeros((samples, int(category.max()) + 1))
    np.add.at(of_sample, (image, category), 1)
    whole = of_sample.sum(0) / of_sample.sum()
    counts = np.array([of_sample[batch].sum(0) for batch in batches])
    counts = counts[counts.sum(1) > 0]
    return float((np.abs(counts / counts.sum(1, keepdims=True) - whole).sum(1) / 2).mean())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("pack", nargs="?")
    parser.add_argument("--unsorted", action="store_true")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--world", type=int, default=8)
    asked = parser.parse_args()
    shards, image, category = of_pack(asked.pack) if asked.pack else imagined(is_sorted=not asked.unsorted)
    print(f"{len(shards):,} samples, {shards.max() + 1} shards; batches of {asked.batch}, {asked.world} ranks")
    print("order           shards of a rank  in 1,000 samples  in a batch  distance of a rank's batch  of all ranks'")
    contestants: dict[str, dict[str, Any]] = {"True": {"shuffle": True}}
    contestants |= {f"blocks, {window:3}": {"shuffle": "blocks", "window": window} for window in (32, 8, 2)}
    contestants["False"] = {"shuffle": False}
    for name, options in contestants.items():
        ranks = [
            [
                draws.indices
                for draws in Order(
                    len(shards),
                    asked.batch,
                    rank=rank,
                    world=asked.world,
                    seed=0,
                    drop_last=True,
                    batches=None,
                    shards=shards,
                    **options,
                ).batches(0)
            ]
            for rank in range(asked.world)
        ]
        of_rank = np.concatenate(ranks[0])
        near = [len(set(shards[of_rank[at : at + 1000]])) for at in range(0, max(len(of_rank) - 999, 1), 1000)]
        in_batch = [len(set(shards[batch])) for batch in ranks[0]]
        together = [np.concatenate(step) for step in zip(*ranks, strict=True)]
        print(
            f"{name:14} {len(set(shards[of_rank])):17} {np.mean(near):17.1f} {np.mean(in_batch):11.1f} "
            f"{distance(ranks[0], image, category, len(shards)):27.3f} {distance(together, image, category, len(shards)):14.3f}"
        )


if __name__ == "__main__":
    main()
