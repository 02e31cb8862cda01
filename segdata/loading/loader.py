"""Batches over a pack, made by threads: decoding leaves the interpreter free, so nothing has to cross processes.

The order depends on (seed, epoch) alone, and what a transform draws on (seed, epoch, index) alone: never on the number
of workers, nor on where a run was resumed.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.sample import Sample
from segdata.errors import SegdataError, UsageError, WorkerLost
from segdata.loading.batch import Batch
from segdata.loading.order import Batches, Indices, Order
from segdata.pack.read import Pack

Transform = Callable[[Sample, np.random.Generator], Any]

_UINT8 = np.dtype(np.uint8)
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
        batches: index lists to use as batches instead of `batch_size`, read once; or a function of the epoch that
            returns them. `shuffle` shuffles the batches, not their samples. Every rank takes its share of whole
            batches; what cannot be shared is left out.
        reuse: decode into buffers that are overwritten when the next batch is taken; saves the page faults of fresh
            memory. Dense masks are read-only then. Without it every batch is yours to keep.
        images, semantic: whether to decode photos and label maps.
        masks: "runs" leaves masks as run lengths (`batch.masks`), "dense" also expands them (`batch.dense`).
        timeout: seconds that a worker may spend on one sample; then the sample is named.

    Raises:
        UsageError: an option is out of its range.
        IndexError: `batches` names a sample that is not there.
        SegdataError: from iteration: a damaged image or record, with its key, shard and record.
        WorkerLost: from iteration: a sample that held a worker up for longer than `timeout`.
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
        batches: Batches | None = None,
        reuse: bool = False,
        images: bool = True,
        semantic: bool = True,
        masks: Literal["runs", "dense"] = "runs",
        timeout: float = 300.0,
    ) -> None:
        if workers < 0 or timeout <= 0 or masks not in ("runs", "dense"):
            raise UsageError(
                "loader options are out of range",
                why=f"workers {workers} (≥ 0), timeout {timeout} (> 0), masks {masks!r} ('runs' or 'dense')",
            )
        self._order = Order(
            len(pack),
            batch_size,
            shuffle=shuffle,
            seed=seed,
            rank=rank,
            world=world,
            drop_last=drop_last,
            batches=batches,
        )
        self.pack = pack
        self.workers = workers
        self.transform = transform
        self.reuse = reuse
        self.images = images
        self.semantic = semantic
        self.masks = masks
        self.timeout = timeout
        self.epoch = 0
        self._position = 0
        self._has_begun = False
        self._iteration: object = None
        self._dtype = pack.labels.dtype

    def __len__(self) -> int:
        """Batches of an epoch (of the current one, where `batches` is a function)."""
        return self._order.length(self.epoch)

    def __iter__(self) -> Iterator[Batch]:
        if self._has_begun:
            self.set_epoch(self.epoch + 1)
        self._has_begun = True
        self._iteration = iteration = object()
        plan = self._order.batches(self.epoch)
        begin = self._position
        left = (plan[number] for number in range(begin, len(plan)))
        workers = min(self.workers, len(plan) - begin)
        made = self._threaded(left, self.epoch, workers) if workers > 0 else self._here(left, self.epoch)
        with closing(made):
            for number, batch in enumerate(made, begin + 1):
                if self._iteration is iteration:  # a later iteration has taken over otherwise
                    self._position = number
                yield batch

    # ------------------------------------------------------------------ where it stands

    def set_epoch(self, epoch: int) -> None:
        """Begin the next iteration at the start of this epoch; otherwise every iteration begins the next one."""
        self.epoch, self._position, self._has_begun, self._iteration = epoch, 0, False, None

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands, for `load_state_dict` of a loader with the same options; plain numbers.

        It is the same on every rank, so that one checkpoint serves all.
        """
        return {"epoch": self.epoch, "position": self._position, "order": self._order.state(self.epoch)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the last batch that was taken before `state_dict` was called.

        Raises:
            UsageError: the state is of a loader with other options, which would go on with other batches; the
                differences are shown.
        """
        here = self._order.state(state["epoch"])
        if dict(state["order"]) != here:
            names = [name for name in here if state["order"].get(name) != here[name]]
            raise UsageError(
                "the state belongs to a loader with other options",
                why="; ".join(f"{name} was {state['order'].get(name)}, here {here[name]}" for name in names),
                fix="load it with the same pack and options, or begin a new epoch with set_epoch",
            )
        self.set_epoch(state["epoch"])
        if state["position"] >= len(self):
            self.set_epoch(state["epoch"] + 1)
        else:
            self._position = state["position"]

    # ------------------------------------------------------------------ work

    def _here(self, plan: Iterator[Indices], epoch: int) -> Generator[Batch, None, None]:
        """The batches, made by the caller's own thread."""
        job = _Job(_NONE, _Buffers())
        for job.indices in plan:
            yield self._make(job, epoch)

    def _threaded(self, plan: Iterator[Indices], epoch: int, workers: int) -> Generator[Batch, None, None]:
        """The batches in order, made by threads a few ahead."""
        tasks: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        free = [_Buffers() for _ in range(_AHEAD * workers + 1)]
        stop = threading.Event()

        def work() -> None:
            while (job := tasks.get()) is not None:
                if not stop.is_set():
                    try:
                        job.batch = self._make(job, epoch)
                    except BaseException as error:
                        job.error = error
                job.is_done.set()

        threads = [threading.Thread(target=work, daemon=True, name="segdata-loader") for _ in range(workers)]
        for thread in threads:
            thread.start()
        waiting: deque[_Job] = deque()
        try:
            while True:
                while len(waiting) < _AHEAD * workers and (indices := next(plan, None)) is not None:
                    job = _Job(indices, free.pop())
                    waiting.append(job)
                    tasks.put(job)
                if not waiting:
                    return
                job = waiting.popleft()
                self._wait(job, threads)
                if job.error is not None:
                    raise job.error
                assert job.batch is not None
                yield job.batch
                job.batch = None
                free.append(job.buffers)
        finally:
            stop.set()
            for _ in threads:
                tasks.put(None)

    def _wait(self, job: _Job, threads: Sequence[threading.Thread]) -> None:
        """Until the batch is there, or one of its samples has held it up for too long."""
        while not job.is_done.wait(max(0.0, min(1.0, job.since + self.timeout - time.monotonic()))):
            if time.monotonic() - job.since > self.timeout:
                error = WorkerLost(
                    f"a sample was not ready after {self.timeout:g} seconds",
                    fix="look at its image and at the transform, or give a longer timeout",
                )
                raise locate(error, self.pack, job.at)
            if not any(thread.is_alive() for thread in threads):
                raise WorkerLost(
                    "the loader's threads are gone",
                    why="an iteration does not go on in a forked process",
                    fix="begin the iteration in the process that uses it",
                )

    def _make(self, job: _Job, epoch: int) -> Batch:
        """One batch; an error names the sample."""
        buffers = job.buffers if self.reuse else _Buffers()
        indices = job.indices.tolist()
        samples: list[Sample] = []
        try:
            for index in indices:
                job.begin(index)
                samples.append(self.pack[index])
            if self.transform is not None:
                items: list[Any] = []
                for index, sample in zip(indices, samples, strict=True):
                    job.begin(index)
                    items.append(self.transform(sample, self._order.rng(epoch, index)))
                return Batch(samples, job.indices, items=tuple(items))
            images = semantic = dense = None
            if self.images:
                images = buffers.arrays("images", [(sample.height, sample.width, 3) for sample in samples], _UINT8)
            if self.semantic:
                semantic = self._maps(samples, buffers)
            if self.masks == "dense":
                dense = buffers.planes([sample.instances.masks for sample in samples])
            for place, sample in enumerate(samples):
                job.begin(indices[place])
                if images is not None:
                    sample.decode(images[place])
                if semantic is not None and sample.has_semantic:
                    sample.read_semantic(semantic[place])
                if dense is not None:
                    sample.instances.masks.dense(dense[place], blank=True)
            if dense is not None and self.reuse:
                dense = tuple(map(_read_only, dense))
            return Batch(samples, job.indices, images, semantic, dense)
        except Exception as error:
            locate(error, self.pack, job.at)
            raise

    def _maps(self, samples: Sequence[Sample], buffers: _Buffers) -> Any:
        """Room for the label maps: one array where all are there and of one size, else a tuple; None without any."""
        shapes = [(sample.height, sample.width) for sample in samples if sample.has_semantic]
        if not shapes:
            return None
        maps = buffers.arrays("semantic", shapes, self._dtype)
        if len(shapes) == len(samples):
            return maps
        left = iter(maps)
        return tuple(next(left) if sample.has_semantic else None for sample in samples)


def locate(error: Exception, pack: Samples, index: int) -> Exception:
    """The same error with the key, shard and record of the sample at which it happened."""
    key = pack[index].key
    if isinstance(error, SegdataError):
        return error.located(key=key, place=pack.place(index) if isinstance(pack, Pack) else f"sample {index}")
    error.add_note(f"while sample {key!r} (index {index}) was loaded")
    return error


_NONE: Indices = np.zeros(0, np.int64)


@dataclass(eq=False)
class _Job:
    """A batch in the making; `at` is the sample that is being worked on, `since` when that began."""

    indices: Indices
    buffers: _Buffers
    is_done: threading.Event = field(default_factory=threading.Event)
    since: float = field(default_factory=time.monotonic)
    batch: Batch | None = None
    error: BaseException | None = None
    at: int = 0

    def begin(self, index: int) -> None:
        self.at, self.since = index, time.monotonic()


class _Buffers:
    """Memory of one batch, by purpose; grows to the largest batch."""

    def __init__(self) -> None:
        self._held: dict[str, npt.NDArray[Any]] = {}
        self._drawn: Sequence[tuple[Masks, npt.NDArray[np.uint8]]] = ()

    def arrays(self, what: str, shapes: Sequence[tuple[int, ...]], dtype: np.dtype[Any]) -> Any:
        """Room for one array per shape: (B, *shape) where all shapes agree, else a tuple; always of one `dtype`."""
        first = shapes[0]
        if shapes.count(first) == len(shapes):
            shape = (len(shapes), *first)
            return self._room(what, math.prod(shape), dtype).reshape(shape)
        ends = list(accumulate(map(math.prod, shapes), initial=0))
        room = self._room(what, ends[-1], dtype)
        return tuple(room[begin:end].reshape(shape) for (begin, end), shape in zip(pairwise(ends), shapes, strict=True))

    def planes(self, masks: Sequence[Masks]) -> tuple[npt.NDArray[np.uint8], ...]:
        """Room for the dense masks of each sample, all zero: what was drawn before is erased, far less than all."""
        for own, planes in self._drawn:
            own.erase(planes)
        shapes = [(len(own), own.height, own.width) for own in masks]
        dense: tuple[npt.NDArray[np.uint8], ...] = tuple(self.arrays("dense", shapes, _UINT8))
        self._drawn = list(zip(masks, dense, strict=True))
        return dense

    def _room(self, what: str, size: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        held = self._held.get(what)
        if held is None or held.size < size:
            held = self._held[what] = np.zeros(size, dtype) if what == "dense" else np.empty(size, dtype)
        return held[:size]


def _read_only(array: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """What is written into planes that are erased frame by frame would come back in a later batch."""
    view = array.view()
    view.flags.writeable = False
    return view
