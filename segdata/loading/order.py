"""Which samples make which batch: decided by seed and epoch alone, and shared equally between ranks."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from segdata.errors import UsageError

Indices = npt.NDArray[np.int64]
Batches = Iterable[Sequence[int]] | Callable[[int], Iterable[Sequence[int]]]
"""Index lists, or a function of the epoch that returns them."""


class Draws(NamedTuple):
    """The samples of a batch.

    Attributes:
        indices: (B,) int64.
        earlier: (B,) int64, how often each was drawn before in the same epoch; None where no sample is repeated.
    """

    indices: Indices
    earlier: Indices | None = None


class Order:
    """The batches of every epoch, for one rank.

    Args:
        count: number of samples.
        batch_size, shuffle, seed, rank, world, drop_last, batches, repeat: as `Loader` says.

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
        repeat: npt.ArrayLike | None = None,
    ) -> None:
        if batch_size < 1 or not 0 <= rank < world or seed < 0:
            raise UsageError(
                "loader options are out of range",
                why=f"batch_size {batch_size} (≥ 1), rank {rank} of {world}, seed {seed} (≥ 0)",
            )
        if batches is not None and drop_last:
            raise UsageError("drop_last does not go with batches", fix="leave short batches out of the list")
        if batches is not None and repeat is not None:
            raise UsageError("repeat does not go with batches", fix="repeat samples in the list itself")
        self.count = count
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world = world
        self.drop_last = drop_last
        self._custom = batches if callable(batches) or batches is None else self._checked(batches)
        self._repeat = None if repeat is None else self._checked_factors(repeat)

    def batches(self, epoch: int) -> Sequence[Draws]:
        """This rank's batches of an epoch, of `batch_size` samples or fewer each."""
        order, custom = self._order(epoch)
        if custom is not None:
            shared = order[: len(custom) // self.world * self.world]
            return [Draws(custom[number]) for number in shared[self.rank :: self.world].tolist()]
        earlier = None if self._repeat is None else self._of_rank(_earlier(order))
        return _Chunks(Draws(self._of_rank(order), earlier), self.batch_size)

    def length(self, epoch: int) -> int:
        """How many batches this rank has in an epoch."""
        custom = self._custom_batches(epoch)
        if custom is not None:
            return len(custom) // self.world
        share = self._share(self.count if self._repeat is None else len(self._order(epoch)[0]))
        return share // self.batch_size if self.drop_last else -(-share // self.batch_size)

    def rng(self, epoch: int, index: int, earlier: int = 0) -> np.random.Generator:
        """The random number generator of a transform for this sample in this epoch, drawn `earlier` times before."""
        key = (epoch, index, earlier) if earlier else (epoch, index)
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))

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

    def _share(self, total: int) -> int:
        """Samples of each rank, of so many of all ranks."""
        return total // self.world if self.drop_last else -(-total // self.world)

    def _of_rank(self, values: Indices) -> Indices:
        """This rank's share of what is in the order of all ranks' samples."""
        of_rank = np.resize(values, self._share(len(values)) * self.world)[self.rank :: self.world]
        return of_rank[: len(of_rank) // self.batch_size * self.batch_size] if self.drop_last else of_rank

    def _order(self, epoch: int) -> tuple[Indices, list[Indices] | None]:
        """The order of all ranks' samples and None; or, with `batches`, the order of these and the batches."""
        custom = self._custom_batches(epoch)
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(epoch,)))
        drawn = np.arange(self.count if custom is None else len(custom))
        if self._repeat is not None:
            whole = np.floor(self._repeat)
            drawn = drawn.repeat(whole.astype(np.int64) + (rng.random(self.count) < self._repeat - whole))
        return rng.permutation(drawn) if self.shuffle else drawn, custom

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

    def _checked_factors(self, repeat: npt.ArrayLike) -> npt.NDArray[np.float64]:
        factors = np.array(repeat, np.float64)
        if factors.shape != (self.count,) or not (np.isfinite(factors) & (factors >= 0)).all():
            raise UsageError(
                "repeat is not one number for each sample",
                why=f"expected ({self.count},) numbers, none below 0, found {factors.shape}",
                fix="give segdata.loading.repeat_factors of the same pack and split",
            )
        return factors


def _earlier(order: Indices) -> Indices:
    """(N,) int64, how often each value stands before in the array."""
    by_value = np.argsort(order, kind="stable")
    values = order[by_value]
    earlier = np.empty(len(order), np.int64)
    earlier[by_value] = np.arange(len(order)) - np.searchsorted(values, values)
    return earlier


class _Chunks(Sequence[Draws]):
    """The samples of an epoch as batches, sliced on demand."""

    def __init__(self, draws: Draws, size: int) -> None:
        self._draws = draws
        self._size = size

    def __len__(self) -> int:
        return -(-len(self._draws.indices) // self._size)

    @overload
    def __getitem__(self, number: int) -> Draws: ...
    @overload
    def __getitem__(self, number: slice) -> list[Draws]: ...
    def __getitem__(self, number: int | slice) -> Any:
        if isinstance(number, slice):
            return [self[item] for item in range(len(self))[number]]
        begin = (number if number >= 0 else number + len(self)) * self._size
        indices, earlier = self._draws
        if not 0 <= begin < len(indices):
            raise IndexError(number)
        part = slice(begin, begin + self._size)
        return Draws(indices[part], None if earlier is None else earlier[part])
