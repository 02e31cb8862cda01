"""Batches without end for training, from a pack, and where they stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.errors import UsageError
from segdata.loading import Batch, Loader
from segdata.loading.loader import Samples
from segdata.models.maskrcnn.augment import Prepare, label_of_category
from segdata.models.maskrcnn.config import Config
from segdata.models.maskrcnn.inputs import aspect_batches
from segdata.pack.read import Pack
from segdata.training.distributed import World


def split_names(pack: Pack, train: str | None, validation: str | None) -> tuple[str | None, str | None]:
    """Which splits to train on and to validate on: those named, else those called train… and val…; None for none."""
    own = list(pack.splits)
    if train is None:
        train = _like(own, "train")
    if validation is None:
        validation = _like([name for name in own if name != train], "val")
    return train, None if validation in ("", "none") else validation


def _like(names: list[str], start: str) -> str | None:
    found = [name for name in names if name.rsplit("/", 1)[-1].startswith(start) and "trainval" not in name]
    return min(found, key=lambda name: (name.count("/"), len(name), name)) if found else None


def usable(pack: Pack) -> tuple[Pack, dict[str, int]]:
    """The samples that can be trained on, and how many were left out, by reason."""
    label = label_of_category(pack.labels)
    kept = []
    reasons: dict[str, int] = {}
    objects = 0
    for index in range(len(pack)):
        sample = pack[index]
        if not sample.has_instances:
            reason = "objects were not annotated"
        else:
            own = ~sample.instances.iscrowd & (label[sample.instances.category] > 0)
            if sample.instances.has_mask[own].all():
                kept.append(index)
                objects += int(own.sum())
                continue
            reason = "some objects have a box and no mask"
        reasons[reason] = reasons.get(reason, 0) + 1
    if not objects:
        raise UsageError(
            "there is nothing to train on: no image has objects with masks",
            file=pack.path,
            why=", ".join(f"{count} × {reason}" for reason, count in reasons.items()) or f"{len(pack)} images",
            fix="choose another split with --split",
        )
    return (pack if len(kept) == len(pack) else pack.select(np.array(kept, np.int64))), reasons


class Feed:
    """Batches epoch after epoch; every random choice follows from (seed, epoch, index), none from who asks."""

    def __init__(self, pack: Samples, config: Config, world: World) -> None:
        self._world = world
        batches = None
        if config.aspect_batches:
            sizes = _sizes(pack)
            batches = partial(aspect_batches, sizes, config.batch_size, world.size, config.seed)
        self._loader = Loader(
            pack,
            config.batch_size,
            shuffle=batches is None,
            seed=config.seed,
            workers=config.workers,
            transform=Prepare(config, pack.labels),
            rank=world.rank,
            world=world.size,
            batches=batches,
        )

    def __len__(self) -> int:
        """Batches of a pass over the data."""
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield from self._loader

    def state(self) -> dict[str, Any]:
        """Where the next batch comes from; the same in every process."""
        return {"loader": self._loader.state_dict(), "processes": self._world.size}

    def go_on(self, state: Mapping[str, Any]) -> bool:
        """Continue there; False where another number of processes makes it the beginning of that pass."""
        if state["processes"] != self._world.size:
            self._loader.set_epoch(state["loader"]["epoch"])
            return False
        self._loader.load_state_dict(state["loader"])
        return True


def _sizes(pack: Samples) -> npt.NDArray[np.int64]:
    """(N, 2) heights and widths."""
    return np.array([(pack[i].height, pack[i].width) for i in range(len(pack))], np.int64).reshape(-1, 2)
