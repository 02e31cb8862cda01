"""Which samples make which batch: decided by seed and epoch alone, and shared equally between ranks."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from segdata.errors import UsageError

Indices = npt.NDArray[np.int64]
Batches = Iterable[Sequence[int]] | Callable[[int], Iterable[Sequence[int]]]
"""Index lists, or a function of the epoch that returns them."""


class Order:
    """The batches of every epoch, for one rank.

    Args:
        count: number of samples.
        batch_size, shuffle, seed, rank, world, drop_last, batches: as `Loader` says.

    Raises:
        UsageError: an option is out of its range.
        IndexError: `batches` has an index ≥ `count` or below 0.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int,
        rank: int,
        world: int,
        drop_last: bool,
        batches: Batches | None,
    ) -> None:
        if batch_size < 1 or not 0 <= rank < world or seed < 0:
            raise UsageError(
                "loader options are out of range",
                why=f"batch_size {batch_size} (≥ 1), rank {rank} of {world}, seed {seed} (≥ 0)",
            )
        if batches is not None and drop_last:
            raise UsageError("drop_last does not go with batches", fix="leave short batches out of the list")
        self.count = count
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world = world
        self.drop_last = drop_last
        self._custom = batches if callable(batches) or batches is None else self._checked(batches)

    def batches(self, epoch: int) -> Sequence[Indices]:
        """This rank's batches of an epoch, (≤ batch_size,) int64 each."""
        order, custom = self._order(epoch)
        if custom is not None:
            shared = order[: len(custom) // self.world * self.world]
            return [custom[number] for number in shared[self.rank :: self.world].tolist()]
        of_rank = np.resize(order, self._share * self.world)[self.rank :: self.world]
        if self.drop_last:
            of_rank = of_rank[: len(of_rank) // self.batch_size * self.batch_size]
        return _Chunks(of_rank, self.batch_size)

    def length(self, epoch: int) -> int:
        """How many batches this rank has in an epoch."""
        custom = self._custom_batches(epoch)
        if custom is not None:
            return len(custom) // self.world
        return self._share // self.batch_size if self.drop_last else -(-self._share // self.batch_size)

    def rng(self, epoch: int, index: int) -> np.random.Generator:
        """The random number generator of a transform for this sample in this epoch."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(epoch, index)))

    def state(self, epoch: int) -> dict[str, Any]:
        """What an epoch's batches depend on, the same on every rank; `crc32` is that of all ranks' batches."""
        order, custom = self._order(epoch)
        crc32 = zlib.crc32(order.tobytes())
        for batch in custom or ():
            crc32 = zlib.crc32(batch.tobytes(), zlib.crc32(str(len(batch)).encode(), crc32))
        return {
            "samples": self.count,
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "seed": self.seed,
            "world": self.world,
            "drop_last": self.drop_last,
            "crc32": crc32,
        }

    @property
    def _share(self) -> int:
        """Samples of each rank."""
        return self.count // self.world if self.drop_last else -(-self.count // self.world)

    def _order(self, epoch: int) -> tuple[Indices, list[Indices] | None]:
        """The order of all ranks' samples and None; or, with `batches`, the order of these and the batches."""
        custom = self._custom_batches(epoch)
        count = self.count if custom is None else len(custom)
        if not self.shuffle:
            return np.arange(count), custom
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(epoch,)))
        return rng.permutation(count), custom

    def _custom_batches(self, epoch: int) -> list[Indices] | None:
        """The batches that `batches` asks for in an epoch; None without it."""
        return self._checked(self._custom(epoch)) if callable(self._custom) else self._custom

    def _checked(self, batches: Iterable[Sequence[int]]) -> list[Indices]:
        checked = []
        for number, batch in enumerate(batches):
            indices = np.asarray(list(batch))
            if not len(indices):
                raise UsageError(f"batch {number} of batches is empty")
            if indices.dtype.kind not in "iu" or indices.ndim != 1:
                raise UsageError(f"batch {number} of batches holds no integers", why=f"found {indices[:3].tolist()}")
            if indices.min() < 0 or indices.max() >= self.count:
                wrong = indices[(indices < 0) | (indices >= self.count)][0]
                raise IndexError(f"batch {number} of batches asks for sample {wrong}; there are 0 … {self.count - 1}")
            checked.append(indices.astype(np.int64))
        return checked


class _Chunks(Sequence[Indices]):
    """An array of indices as batches, sliced on demand."""

    def __init__(self, indices: Indices, size: int) -> None:
        self._indices = indices
        self._size = size

    def __len__(self) -> int:
        return -(-len(self._indices) // self._size)

    @overload
    def __getitem__(self, number: int) -> Indices: ...
    @overload
    def __getitem__(self, number: slice) -> list[Indices]: ...
    def __getitem__(self, number: int | slice) -> Any:
        if isinstance(number, slice):
            return [self[item] for item in range(len(self))[number]]
        begin = (number if number >= 0 else number + len(self)) * self._size
        if not 0 <= begin < len(self._indices):
            raise IndexError(number)
        return self._indices[begin : begin + self._size]
