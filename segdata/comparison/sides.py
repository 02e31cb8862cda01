"""A pack that is compared with another one, and what its samples are found by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray, IntArray
from segdata.pack import layout
from segdata.pack.store import Store
from segdata.places.address import located


@dataclass(frozen=True)
class Side:
    """One of the two packs.

    Attributes:
        store: its files; tables are read when they are asked for.
    """

    store: Store

    @classmethod
    def open(cls, folder: str | Path) -> Side:
        """Open a pack.

        Raises:
            NotThere: there is no pack in this folder.
            DamagedData: its index is damaged, or a file is missing or of another size.
        """
        folder = located(folder)
        return cls(Store(folder, layout.read_index(folder), None))

    @cached_property
    def keys(self) -> list[str]:
        """Of every sample, in order."""
        return self.store.keys()

    @cached_property
    def splits(self) -> list[tuple[str, ...]]:
        """The names of every sample's splits, sorted."""
        splits: list[list[str]] = [[] for _ in range(self.store.count)]
        for name, members in sorted(self.store.splits.items()):
            for index in members.tolist():
                splits[index].append(name)
        return [tuple(names) for names in splits]

    @cached_property
    def has_image(self) -> BoolArray:
        """(N,) bool, whether the bytes of a sample's image are known."""
        return np.asarray(self.column("image/codec") != 0, bool)

    @cached_property
    def has_ids(self) -> bool:
        """Whether no two objects of the pack have the same number: else numbers count the objects of an image."""
        ids = np.sort(self.column("instance/id"))
        return not (ids[1:] == ids[:-1]).any()

    def column(self, name: str) -> npt.NDArray[Any]:
        """A column of all samples or objects."""
        return self.store.column(name)

    def located(self, samples: IntArray) -> tuple[IntArray, IntArray]:
        """(K,) int64 numbers of the samples' shards, as positions in `store.shards`, and (K,) int64 rows in them."""
        starts = np.array(self.store.starts, np.int64)
        shards = np.searchsorted(starts, samples, side="right") - 1
        return shards, samples - starts[shards]
