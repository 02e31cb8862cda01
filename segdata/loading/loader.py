"""Batches over a pack, made by threads: decoding leaves the interpreter free, so nothing has to cross processes.

The order depends on (seed, epoch) alone, and what a transform draws on (seed, epoch, index) alone: never on the number
of workers, nor on where a run was resumed.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from segdata.errors import SegdataError, UsageError, WorkerLost
from segdata.labels import LabelSpace
from segdata.loading.batch import Batch
from segdata.sample import Sample

Transform = Callable[[Sample, np.random.Generator], Any]
Indices = npt.NDArray[np.int64]

_AHEAD = 2
"""Batches in the making per worker."""


class Samples(Protocol):
    """What can be loaded: a pack, or any sequence of samples."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Sample: ...
    @property
    def labels(self) -> LabelSpace:
        """What category indices mean."""


class Loader:
    """Iterate over batches of a pack, epoch after epoch.

    Args:
        pack: what to load.
        batch_size: samples of a batch.
        shuffle: a new order every epoch, decided by `seed` and the epoch.
        workers: threads; 0 decodes in the caller's.
        transform: called as `transform(sample, rng)` in a worker; what it returns is `batch.items[i]`, and then nothing
            is decoded beside it. `rng` is a numpy Generator of its own for every (seed, epoch, index).
        rank, world: this process and how many there are. All get the same number of batches: without `drop_last` the
            order is continued from its beginning until it can be shared equally.
        drop_last: leave out what does not fill a batch on every rank.
        batches: index lists to use as batches, or a function of the epoch that returns them; every rank takes its
            share of whole batches, and what cannot be shared is left out.
        reuse: decode into buffers that are overwritten when the next batch is taken; saves the page faults of fresh
            memory. Without it every batch is yours to keep.
        images, semantic: whether to decode photos and label maps.
        masks: "runs" leaves masks as run lengths (`batch.masks`), "dense" also expands them (`batch.dense`).
        timeout: seconds to wait for a batch before naming the sample that holds it up.
    """

    def __init__(
        self,
        pack: Samples,
        batch_size: int = 1,
        *,
        shuffle: bool = False,
        seed: int = 0,
        workers: int = 0,
        transform: Transform | None = None,
        rank: int = 0,
        world: int = 1,
        drop_last: bool = False,
        batches: Iterable[Sequence[int]] | Callable[[int], Iterable[Sequence[int]]] | None = None,
        reuse: bool = False,
        images: bool = True,
        semantic: bool = True,
        masks: Literal["runs", "dense"] = "runs",
        timeout: float = 300.0,
    ) -> None:
        if batch_size < 1 or workers < 0 or not 0 <= rank < world:
            raise UsageError(
                "loader options are out of range",
                why=f"batch_size {batch_size} (≥ 1), workers {workers} (≥ 0), rank {rank} of {world}",
            )
        self.pack = pack
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.workers = workers
        self.transform = transform
        self.rank = rank
        self.world = world
        self.drop_last = drop_last
        self.reuse = reuse
        self.images = images
        self.semantic = semantic
        self.masks = masks
        self.timeout = timeout
        self._batches = batches if callable(batches) or batches is None else [list(batch) for batch in batches]
        self.epoch = 0
        self._position = 0
        self._has_begun = False

    def __len__(self) -> int:
        """Batches of an epoch (of the current one, where `batches` is a function)."""
        if self._batches is not None:
            return len(self._plan(self.epoch))
        count = len(self.pack)
        share = count // self.world if self.drop_last else -(-count // self.world)
        return share // self.batch_size if self.drop_last else -(-share // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        if self._has_begun:
            self.set_epoch(self.epoch + 1)
        self._has_begun = True
        plan = self._plan(self.epoch)[self._position :]
        made = (
            self._threaded(plan)
            if self.workers
            else (self._make(one, self.epoch, _Buffers(), _Job(one)) for one in plan)
        )
        for batch in made:
            self._position += 1
            yield batch

    # ------------------------------------------------------------------ order

    def set_epoch(self, epoch: int) -> None:
        """Begin the next iteration at the start of this epoch; otherwise every iteration begins the next one."""
        self.epoch, self._position, self._has_begun = epoch, 0, False

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands, for `load_state_dict` of a loader with the same options; plain numbers."""
        return {"epoch": self.epoch, "position": self._position, "seed": self.seed, "options": self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the last batch that was taken before `state_dict` was called.

        Raises:
            UsageError: the state is of a loader with other options; both are shown.
        """
        if list(state["options"]) != self._identity() or state["seed"] != self.seed:
            raise UsageError(
                "the state belongs to a loader with other options",
                why=f"samples, batch size, shuffle, drop_last, rank, world: {state['options']} with seed {state['seed']}; "
                f"here {self._identity()} with seed {self.seed}",
            )
        self.set_epoch(state["epoch"])
        self._position = state["position"]
        if self._position >= len(self):
            self.set_epoch(state["epoch"] + 1)

    def _identity(self) -> list[int]:
        return [len(self.pack), self.batch_size, int(self.shuffle), int(self.drop_last), self.rank, self.world]

    def _plan(self, epoch: int) -> list[Indices]:
        """This rank's batches of an epoch."""
        rng = np.random.default_rng((self.seed, epoch))
        if self._batches is not None:
            given = list(self._batches(epoch)) if callable(self._batches) else self._batches
            order = rng.permutation(len(given)) if self.shuffle else np.arange(len(given))
            shared = order[: len(given) // self.world * self.world]
            return [np.asarray(given[number], np.int64) for number in shared[self.rank :: self.world].tolist()]
        count = len(self.pack)
        order = rng.permutation(count) if self.shuffle else np.arange(count)
        share = count // self.world if self.drop_last else -(-count // self.world)
        own = np.resize(order, share * self.world)[self.rank :: self.world]
        end = len(own) // self.batch_size * self.batch_size if self.drop_last else len(own)
        return [own[begin : begin + self.batch_size] for begin in range(0, end, self.batch_size)]

    # ------------------------------------------------------------------ work

    def _threaded(self, plan: Sequence[Indices]) -> Iterator[Batch]:
        """The batches in order, made by threads a few ahead."""
        epoch = self.epoch
        tasks: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        workers = min(self.workers, len(plan))
        free = [_Buffers() for _ in range(_AHEAD * workers + 1)]
        stop = threading.Event()

        def work() -> None:
            while (job := tasks.get()) is not None:
                if not stop.is_set():
                    try:
                        job.batch = self._make(job.indices, epoch, job.buffers, job)
                    except BaseException as error:
                        job.error = error
                job.is_done.set()

        for _ in range(workers):
            threading.Thread(target=work, daemon=True, name="segdata-loader").start()
        waiting: deque[_Job] = deque()
        left = iter(plan)
        try:
            while True:
                while len(waiting) < _AHEAD * workers and (indices := next(left, None)) is not None:
                    job = _Job(indices, free.pop())
                    waiting.append(job)
                    tasks.put(job)
                if not waiting:
                    return
                job = waiting.popleft()
                if not job.is_done.wait(self.timeout):
                    raise WorkerLost(
                        f"a sample was not ready after {self.timeout:g} seconds",
                        key=self.pack[job.at].key,
                        fix="look at its image and at the transform, or give a longer timeout",
                    )
                if job.error is not None:
                    raise job.error
                assert job.batch is not None
                yield job.batch
                free.append(job.buffers)
        finally:
            stop.set()
            for _ in range(workers):
                tasks.put(None)

    def _make(self, indices: Indices, epoch: int, buffers: _Buffers, job: _Job) -> Batch:
        """One batch; an error names the sample."""
        if not self.reuse:
            buffers = _Buffers()
        samples = []
        items: list[Any] = []
        photos = None
        try:
            for index in indices.tolist():
                job.at = index
                samples.append(self.pack[index])
            if self.transform is not None:
                for index, sample in zip(indices.tolist(), samples, strict=True):
                    job.at = index
                    items.append(self.transform(sample, np.random.default_rng((self.seed, epoch, index))))
                return Batch(samples, indices, items=tuple(items))
            if self.images:
                views = buffers.views("images", [(sample.height, sample.width, 3) for sample in samples])
                for index, sample, view in zip(indices.tolist(), samples, views, strict=True):
                    job.at = index
                    decoded = sample.decode(out=view)
                    if decoded is not view:
                        view[...] = decoded
                photos = _together(views)
            semantic = dense = None
            if self.semantic:
                maps = []
                for index, sample in zip(indices.tolist(), samples, strict=True):
                    job.at = index
                    maps.append(sample.semantic)
                semantic = None if all(item is None for item in maps) else _stacked(maps)
            if self.masks == "dense":
                shapes = [(len(sample.instances), sample.height, sample.width) for sample in samples]
                planes = buffers.views("dense", shapes)
                for index, sample, view in zip(indices.tolist(), samples, planes, strict=True):
                    job.at = index
                    sample.instances.masks.dense(out=view)
                dense = tuple(planes)
            return Batch(samples, indices, photos, semantic, dense)
        except SegdataError as error:
            raise error.located(key=self.pack[job.at].key) from error
        except Exception as error:
            error.add_note(f"while sample {self.pack[job.at].key!r} (index {job.at}) was loaded")
            raise


@dataclass(eq=False)
class _Job:
    """A batch in the making; `at` is the sample that is being worked on."""

    indices: Indices
    buffers: _Buffers = field(default_factory=lambda: _Buffers())
    is_done: threading.Event = field(default_factory=threading.Event)
    batch: Batch | None = None
    error: BaseException | None = None
    at: int = 0


class _Buffers:
    """Memory of one batch, by purpose; grows to the largest batch."""

    def __init__(self) -> None:
        self._held: dict[str, npt.NDArray[np.uint8]] = {}

    def views(self, what: str, shapes: Sequence[tuple[int, ...]]) -> list[npt.NDArray[np.uint8]]:
        """One uint8 array per shape, lying one after another."""
        sizes = [int(np.prod(shape)) for shape in shapes]
        held = self._held.get(what)
        if held is None or held.size < sum(sizes):
            held = self._held[what] = np.empty(sum(sizes), np.uint8)
        views = []
        begin = 0
        for shape, size in zip(shapes, sizes, strict=True):
            views.append(held[begin : begin + size].reshape(shape))
            begin += size
        return views


def _together(views: Sequence[npt.NDArray[np.uint8]]) -> Any:
    """Neighbouring views of one size as one array without copying, else a tuple."""
    first = views[0]
    if any(view.shape != first.shape for view in views):
        return tuple(views)
    return np.lib.stride_tricks.as_strided(first, (len(views), *first.shape), (first.nbytes, *first.strides))


def _stacked(maps: Sequence[npt.NDArray[Any] | None]) -> Any:
    known = [item for item in maps if item is not None]
    if len(known) == len(maps) and len({item.shape for item in known}) == 1:
        return np.stack(known)
    return tuple(maps)
