"""Which samples make which batch: decided by seed and epoch alone, and shared equally between ranks."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from segdata.errors import UsageError

Indices = npt.NDArray[np.int64]
Shuffle = bool | Literal["blocks"]
Batches = Iterable[Sequence[int]] | Callable[[int], Iterable[Sequence[int]]]
"""Index lists, or a function of the epoch that returns them."""

WINDOW = 8
"""Shards whose samples are mixed with one another by "blocks"."""


class Draws(NamedTuple):
    """The samples of a batch.

    Attributes:
        indices: (B,) int64.
        earlier: (B,) int64, how often each was drawn before in the same epoch; None where no sample is repeated.
    """

    indices: Indices
    earlier: Indices | None = None


class Run(NamedTuple):
    """What earlier runs, with other numbers of ranks, took of an epoch.

    Attributes:
        world: number of ranks.
        batches: that each of them took.
    """

    world: int
    batches: int


class Order:
    """The batches of every epoch, for one rank.

    Args:
        count: number of samples.
        batch_size, shuffle, seed, rank, world, drop_last, batches, repeat, window: as `Loader` says.
        shards: (count,) int64, each sample's shard, for "blocks".

    Raises:
        UsageError: an option is out of its range.
        IndexError: `batches` has an index ≥ `count` or below 0.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        shuffle: Shuffle,
        seed: int,
        rank: int,
        world: int,
        drop_last: bool,
        batches: Batches | None,
        repeat: npt.ArrayLike | None = None,
        shards: Indices | None = None,
        window: int = WINDOW,
    ) -> None:
        if batch_size < 1 or not 0 <= rank < world or seed < 0 or window < 1 or shuffle not in (True, False, "blocks"):
            raise UsageError(
                "loader options are out of range",
                why=f"batch_size {batch_size} (≥ 1), rank {rank} of {world}, seed {seed} (≥ 0), window {window} (≥ 1), "
                f"shuffle {shuffle!r} (True, False or 'blocks')",
            )
        if shuffle == "blocks" and (batches is not None or shards is None):
            raise UsageError(
                "shuffle='blocks' needs the samples of a pack",
                why="batches say themselves which samples are together"
                if shards is not None
                else "only packs have shards",
                fix="use shuffle=True, or leave batches out" if shards is not None else "use shuffle=True",
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
        self._shards = shards
        self._window = window
        self._custom = batches if callable(batches) or batches is None else self._checked(batches)
        self._repeat = None if repeat is None else self._checked_factors(repeat)

    def batches(self, epoch: int, before: Sequence[Run] = ()) -> Sequence[Draws]:
        """This rank's batches of an epoch, or of what earlier runs left of it, of `batch_size` samples or fewer each."""
        order, custom = self._order(epoch)
        if custom is not None:
            shared = self._left(order, before)
            shared = shared[: len(shared) // self.world * self.world]
            return [Draws(custom[number]) for number in shared[self.rank :: self.world].tolist()]
        earlier = None if self._repeat is None else self._of_rank(self._left(_earlier(order), before))
        return _Chunks(Draws(self._of_rank(self._left(order, before)), earlier), self.batch_size)

    def length(self, epoch: int, before: Sequence[Run] = (), world: int | None = None) -> int:
        """How many batches a rank has in an epoch, or in what earlier runs left of it.

        Args:
            world: number of ranks, if it is another one.
        """
        world, custom = world or self.world, self._custom_batches(epoch)
        total = self.count if custom is None else len(custom)
        if before or self._repeat is not None:
            total = len(self._left(self._order(epoch)[0], before))
        return total // world if custom is not None else self._batches_of(self._share(total, world))

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

    def _share(self, total: int, world: int) -> int:
        """Samples of each rank, of so many of all ranks."""
        return total // world if self.drop_last else -(-total // world)

    def _batches_of(self, share: int) -> int:
        return share // self.batch_size if self.drop_last else -(-share // self.batch_size)

    def _of_rank(self, values: Indices) -> Indices:
        """This rank's share of what is in the order of all ranks' samples."""
        share = self._share(len(values), self.world)
        dealt = np.resize(values, share * self.world)
        mine = dealt.reshape(self.world, share)[self.rank] if self._is_in_blocks else dealt[self.rank :: self.world]
        return mine[: self._batches_of(share) * self.batch_size]

    def _left(self, values: Indices, before: Sequence[Run]) -> Indices:
        """What no rank of earlier runs has taken, in the same order."""
        for world, batches in before:
            taken = batches * (self.batch_size if self._custom is None else 1)
            if not self._is_in_blocks:
                values = values[taken * world :]
                continue
            share = self._share(len(values), world)
            left = np.arange(world * share).reshape(world, share)[:, taken:].reshape(-1)
            undealt = np.arange(world * share, len(values))  # with drop_last
            values = values[np.concatenate([left[left < len(values)], undealt])]
        return values

    @property
    def _is_in_blocks(self) -> bool:
        """Whether each rank gets a run of neighbours, rather than every so manieth sample."""
        return self.shuffle == "blocks"

    def _order(self, epoch: int) -> tuple[Indices, list[Indices] | None]:
        """The order of all ranks' samples and None; or, with `batches`, the order of these and the batches."""
        custom = self._custom_batches(epoch)
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(epoch,)))
        drawn = np.arange(self.count if custom is None else len(custom))
        if self._repeat is not None:
            whole = np.floor(self._repeat)
            drawn = drawn.repeat(whole.astype(np.int64) + (rng.random(self.count) < self._repeat - whole))
        if self._is_in_blocks:
            return self._in_blocks(drawn, rng), custom
        return rng.permutation(drawn) if self.shuffle else drawn, custom

    def _in_blocks(self, drawn: Indices, rng: np.random.Generator) -> Indices:
        """Samples in a random order of their shards, and in one of their own within each `window` of these."""
        assert self._shards is not None
        numbers, shard = np.unique(self._shards[drawn], return_inverse=True)
        window = rng.permutation(len(numbers))[shard] // self._window
        return drawn[np.lexsort((rng.random(len(drawn)), window))]

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
