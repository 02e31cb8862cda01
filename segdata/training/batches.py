"""Batches for training: which splits, which order, and where the stream stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.sample import Sample
from segdata.loading import Batch, Loader, loader
from segdata.loading.loader import Samples
from segdata.pack.read import Pack
from segdata.training.config import RunConfig
from segdata.training.distributed import World

Transform = Callable[[Sample, np.random.Generator], Any]


def split_names(pack: Pack, train: str | None, validation: str | None) -> tuple[str | None, str | None]:
    """The splits to train on and to validate on: those named, else those called train… and val…; None for none."""
    names = list(pack.splits)
    if train is None:
        train = _starting(names, "train")
    if validation is None:
        validation = _starting([name for name in names if name != train], "val")
    return train, None if validation in ("", "none") else validation


def _starting(names: list[str], start: str) -> str | None:
    """The name, without folders and shortest, that begins so; "trainval" is neither."""
    matches = [name for name in names if name.rsplit("/", 1)[-1].startswith(start) and "trainval" not in name]
    return min(matches, key=lambda name: (name.count("/"), len(name), name), default=None)


class BatchStream:
    """Batches of training samples, epoch after epoch; every random choice follows from (seed, epoch, index) alone.

    Args:
        transform: sample → training sample.
        is_full: every batch is full, as `aspect_batches` are; the last one of an epoch is filled up from its beginning.
    """

    def __init__(
        self, pack: Samples, transform: Transform, config: RunConfig, world: World, *, is_full: bool = False
    ) -> None:
        self._world = world
        batches = None
        if config.aspect_batches or is_full:
            sizes = _sizes(pack) if config.aspect_batches else np.ones((len(pack), 2), np.int64)
            batches = partial(aspect_batches, sizes, config.batch_size, world.size, config.seed)
        self._loader = Loader(
            pack,
            config.batch_size,
            shuffle=batches is None,
            seed=config.seed,
            workers=config.workers,
            transform=transform,
            rank=world.rank,
            world=world.size,
            batches=batches,
        )

    def __len__(self) -> int:
        """Batches per epoch."""
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield from self._loader

    def state_dict(self) -> dict[str, Any]:
        """Where the next batch comes from; the same on every rank."""
        return {"loader": self._loader.state_dict(), "processes": self._world.size}

    def load_state_dict(self, state: Mapping[str, Any]) -> bool:
        """Continue there; False where another number of ranks makes it the beginning of that epoch."""
        if state["processes"] != self._world.size:
            self._loader.set_epoch(loader.state_of(state["loader"]).epoch)
            return False
        self._loader.load_state_dict(state["loader"])
        return True


def aspect_batches(sizes: npt.NDArray[Any], batch: int, world: int, seed: int, epoch: int) -> list[list[int]]:
    """The batches of an epoch, landscape images together and portrait images together.

    Neighbours in the list are what the ranks take at one step. Every image is in the epoch once; where a last batch is
    not full on every rank, images of the same orientation are repeated.

    Args:
        sizes: (N, 2) heights and widths.
        batch: images per rank and batch.
        world: number of ranks.
    """
    rng = np.random.default_rng((seed, epoch, 1))
    order = rng.permutation(len(sizes))
    is_wide = sizes[order, 1] >= sizes[order, 0]
    groups = []
    for members in (order[is_wide], order[~is_wide]):
        if len(members):
            full = np.resize(members, -(-len(members) // (batch * world)) * batch * world)
            groups += list(full.reshape(-1, world, batch))
    shuffled = [groups[index] for index in rng.permutation(len(groups)).tolist()]
    return [members.tolist() for group in shuffled for members in group]


def _sizes(pack: Samples) -> npt.NDArray[np.int64]:
    """(N, 2) heights and widths."""
    return np.array([(pack[i].height, pack[i].width) for i in range(len(pack))], np.int64).reshape(-1, 2)
