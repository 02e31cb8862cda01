"""`Loader`: batches of a pack from worker threads; decoding releases the GIL, so no data has to cross processes.

The order of samples depends on (seed, epoch) alone, and a transform's random numbers on (seed, epoch, index) alone, and
on how often a repeated sample was drawn before: never on the number of workers, nor on where a run was resumed.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Annotated, Any, Literal, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.reprs import counted, line
from segdata.core.sample import Sample
from segdata.errors import SegdataError, UsageError, WorkerLost
from segdata.loading.batch import Batch
from segdata.loading.order import WINDOW, Batches, Draws, Order, Run, Shuffle
from segdata.pack.ahead import Ahead, ahead_of
from segdata.pack.read import Pack

Transform = Callable[[Sample, np.random.Generator], Any]

_log = logging.getLogger(__name__)
_UINT8 = np.dtype(np.uint8)
_PREFETCH = 2
"""Batches that are prepared ahead, per worker."""


class Samples(Protocol):
    """A dataset that can be loaded: a pack, or any sequence of samples with a label space."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Sample: ...
    @property
    def labels(self) -> LabelSpace:
        """What category indices mean."""


_Count = Annotated[int, Meta(ge=0, le=2**53)]
_Positive = Annotated[int, Meta(ge=1, le=2**31)]


class State(Struct, frozen=True):
    """Where a loader stands, as `Loader.state_dict` gives it."""

    epoch: _Count
    position: _Count
    order: dict[str, Any]
    before: tuple[tuple[_Positive, _Count], ...] = ()


def state_of(state: Mapping[str, Any]) -> State:
    """The state of a loader, checked.

    Raises:
        UsageError: it is none.
    """
    try:
        return msgspec.convert(dict(state), State)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise UsageError(
            "this is no state of a loader", why=str(error)[:200], fix="give what state_dict gave"
        ) from error


class Loader:
    """Iterate over batches of a pack, epoch after epoch; every iteration gives `Batch`es.

    Args:
        pack: the samples to load.
        batch_size: samples of a batch.
        shuffle: a new random order every epoch, decided by `seed` and the epoch. With "blocks" shards are in a random order,
            and samples in one of their own within each `window` of them; a rank has neighbours in this order, and so
            few shards.
        workers: worker threads; 0 decodes in the calling thread.
        transform: called as `transform(sample, rng)` in a worker; what it returns is `batch.items[i]`, and nothing else
            is decoded. `rng` is a numpy Generator of its own for every (seed, epoch, index), and for every time that
            `repeat` draws the sample.
        rank, world: rank of this process and number of processes. All get the same number of batches: without
            `drop_last` the order is continued from its beginning until it can be shared equally.
        drop_last: leave out samples that do not fill a batch on every rank.
        batches: index lists to use as batches instead of `batch_size`, read once; or a function of the epoch that
            returns them. `shuffle` shuffles the batches, not their samples. Every rank takes its share of whole
            batches; what cannot be shared is left out.
        repeat: (N,) numbers, how often each sample is in an epoch on average, as `repeat_factors` gives them: one with
            2.3 is there twice, or three times in three of ten epochs, as `seed` and the epoch decide.
        reuse: decode into buffers that are overwritten when the next batch is taken; saves the page faults of fresh
            memory. Dense masks are read-only then. Without it a batch can be kept.
        images, semantic: whether to decode images and label maps.
        masks: "runs" leaves masks as RLE (`batch.masks`), "dense" also decodes them (`batch.dense`).
        timeout: seconds that a worker may spend on one sample.
        read_ahead: of a pack at an address, photos that are fetched before a worker begins with them; neighbours by one
            request. The order does not depend on it.
        window: shards whose samples "blocks" mixes with one another.

    Raises:
        UsageError: an option is out of its range, or has no effect beside `transform`.
        IndexError: `batches` has an index that the pack does not have.
        SegdataError: from iteration: a damaged image or record, with its key, shard and record.
        WorkerLost: from iteration: a sample that took a worker longer than `timeout`.
    """

    def __init__(
        self,
        pack: Samples,
        batch_size: int = 1,
        *,
        shuffle: Shuffle = False,
        seed: int = 0,
        workers: int = 0,
        transform: Transform | None = None,
        rank: int = 0,
        world: int = 1,
        drop_last: bool = False,
        batches: Batches | None = None,
        repeat: npt.ArrayLike | None = None,
        reuse: bool = False,
        images: bool = True,
        semantic: bool = True,
        masks: Literal["runs", "dense"] = "runs",
        timeout: float = 300.0,
        read_ahead: int = 64,
        window: int = WINDOW,
    ) -> None:
        if workers < 0 or timeout <= 0 or read_ahead < 0 or masks not in ("runs", "dense"):
            raise UsageError(
                "loader options are out of range",
                why=f"workers {workers} (≥ 0), timeout {timeout} (> 0), read_ahead {read_ahead} (≥ 0), masks {masks!r} ('runs' or 'dense')",
            )
        _require_effect(transform, images=images, semantic=semantic, masks=masks, reuse=reuse)
        if masks == "dense":
            warn_of_boxes_alone(pack, "their dense masks are empty, and batch.has_mask is False for them")
        self._order = Order(
            len(pack),
            batch_size,
            shuffle=shuffle,
            seed=seed,
            rank=rank,
            world=world,
            drop_last=drop_last,
            batches=batches,
            repeat=repeat,
            shards=pack.shard_numbers() if shuffle == "blocks" and isinstance(pack, Pack) else None,
            window=window,
        )
        self.pack = pack
        self.workers = workers
        self.transform = transform
        self.reuse = reuse
        self.images = images
        self.semantic = semantic
        self.masks = masks
        self.timeout = timeout
        self.read_ahead = read_ahead
        self.epoch = 0
        self._position = 0
        self._before: tuple[Run, ...] = ()
        self._has_begun = False
        self._iteration: object = None
        self._dtype = pack.labels.dtype

    def __repr__(self) -> str:
        count = counted(len(self), "batch")
        return line(self, counted(len(self.pack), "sample"), f"{count} an epoch", f"epoch {self.epoch}")

    def __len__(self) -> int:
        """Batches of an epoch: of the current one, where `batches` is a function, `repeat` is given, or a run with another
        number of ranks began it."""
        return self._order.length(self.epoch, self._before)

    def __iter__(self) -> Iterator[Batch]:
        if self._has_begun:
            self.set_epoch(self.epoch + 1)
        self._has_begun = True
        self._iteration = iteration = object()
        plan = self._order.batches(self.epoch, self._before)
        begin = self._position
        rest: Iterator[Draws] = (plan[number] for number in range(begin, len(plan)))
        workers = min(self.workers, len(plan) - begin)
        ahead = ahead_of(self.pack) if self.read_ahead and (self.images or self.transform) else None
        if ahead is not None:
            rest = _ahead(rest, ahead, self.read_ahead)
        batches = self._in_threads(rest, self.epoch, workers) if workers > 0 else self._serial(rest, self.epoch)
        with closing(batches), nullcontext() if ahead is None else closing(ahead):
            for number, batch in enumerate(batches, begin + 1):
                if self._iteration is iteration:  # a later iteration has taken over otherwise
                    self._position = number
                yield batch

    # ------------------------------------------------------------------ epoch and position

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration start this epoch; without it every iteration starts the epoch after the last one."""
        self.epoch, self._position, self._before = epoch, 0, ()
        self._has_begun, self._iteration = False, None

    def state_dict(self) -> dict[str, Any]:
        """Epoch and position, for `load_state_dict` of a loader with the same options; plain numbers.

        The same on every rank, so that one checkpoint serves all, also of a run with more or fewer ranks.
        """
        before = [list(run) for run in self._before]
        state = {"epoch": self.epoch, "position": self._position, "order": self._order.state(self.epoch)}
        return {**state, "before": before} if before else state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue after the last batch that was taken before `state_dict` was called.

        With another number of ranks, these share what the others left of the epoch.

        Raises:
            UsageError: it is no state of a loader, or that of a loader with other options, whose batches would be others;
                the message shows the differences.
        """
        given = state_of(state)
        order = self._order.state(given.epoch)
        names = [name for name in order if name != "world" and given.order.get(name) != order[name]]
        world = given.order.get("world")
        if names or set(given.order) - set(order) or not isinstance(world, int) or world < 1:
            raise UsageError(
                "the state belongs to a loader with other options",
                why="; ".join(f"{name} was {given.order.get(name)!r:.80}, here {order[name]}" for name in names)
                or None,
                fix="load it with the same pack and options, or begin a new epoch with set_epoch",
            )
        self.set_epoch(given.epoch)
        self._before = tuple(Run(*run) for run in given.before)
        is_at_end = given.position >= self._order.length(given.epoch, self._before, world)
        if world == self._order.world:
            self._position = given.position
        elif given.position:
            self._before = (*self._before, Run(world, given.position))
            is_at_end = is_at_end or not len(self)
        if is_at_end:
            self.set_epoch(given.epoch + 1)

    # ------------------------------------------------------------------ making batches

    def _serial(self, plan: Iterator[Draws], epoch: int) -> Generator[Batch, None, None]:
        """The batches, made in the calling thread."""
        job = _Job(Draws(np.zeros(0, np.int64)), _Buffers())
        for job.draws in plan:
            yield self._make(job, epoch)

    def _in_threads(self, plan: Iterator[Draws], epoch: int, workers: int) -> Generator[Batch, None, None]:
        """The batches in order, made by worker threads a few ahead."""
        tasks: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        free = [_Buffers() for _ in range(_PREFETCH * workers + 1)]
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
                while len(waiting) < _PREFETCH * workers and (draws := next(plan, None)) is not None:
                    job = _Job(draws, free.pop())
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
        """Wait until the batch is ready, or one of its samples has taken too long."""
        while not job.is_done.wait(max(0.0, min(1.0, job.since + self.timeout - time.monotonic()))):
            if time.monotonic() - job.since > self.timeout:
                error = WorkerLost(
                    f"a sample was not ready after {self.timeout:g} seconds",
                    fix="look at its image and at the transform, or give a longer timeout",
                )
                raise locate(error, self.pack, job.current)
            if not any(thread.is_alive() for thread in threads):
                raise WorkerLost(
                    "the loader's threads are gone",
                    why="an iteration does not go on in a forked process",
                    fix="begin the iteration in the process that uses it",
                )

    def _make(self, job: _Job, epoch: int) -> Batch:
        """One batch; an error says which sample."""
        buffers = job.buffers if self.reuse else _Buffers()
        indices = job.draws.indices.tolist()
        samples: list[Sample] = []
        try:
            for index in indices:
                job.begin(index)
                samples.append(self.pack[index])
            if self.transform is not None:
                items: list[Any] = []
                earlier = [0] * len(indices) if job.draws.earlier is None else job.draws.earlier.tolist()
                for index, times, sample in zip(indices, earlier, samples, strict=True):
                    job.begin(index)
                    items.append(self.transform(sample, self._order.rng(epoch, index, times)))
                return Batch(samples, job.draws.indices, items=tuple(items))
            images: Any = None
            semantic = None
            dense: Any = None
            if self.images:
                images = buffers.arrays("images", [(sample.height, sample.width, 3) for sample in samples], _UINT8)
            if self.semantic:
                semantic = self._label_map_buffers(samples, buffers)
            if self.masks == "dense":
                dense = buffers.planes([sample.instances.masks for sample in samples])
            for row, sample in enumerate(samples):
                job.begin(indices[row])
                if images is not None:
                    sample.decode(images[row])
                if semantic is not None and sample.has_semantic:
                    sample.read_semantic(semantic[row])
                if dense is not None:
                    sample.instances.masks.dense(dense[row], blank=True)
            if dense is not None and self.reuse:
                dense = tuple(map(_read_only, dense))
            return Batch(samples, job.draws.indices, images, semantic, dense)
        except Exception as error:
            locate(error, self.pack, job.current)
            raise

    def _label_map_buffers(self, samples: Sequence[Sample], buffers: _Buffers) -> Any:
        """Buffers of the label maps: one array where all samples have one of the same size, else a tuple; None without any."""
        shapes = [(sample.height, sample.width) for sample in samples if sample.has_semantic]
        if not shapes:
            return None
        maps = buffers.arrays("semantic", shapes, self._dtype)
        if len(shapes) == len(samples):
            return maps
        maps = iter(maps)
        return tuple(next(maps) if sample.has_semantic else None for sample in samples)


def _ahead(plan: Iterator[Draws], ahead: Ahead, most: int) -> Iterator[Draws]:
    """The same batches, the photos of those that follow on their way.

    Many are asked for at once, so that neighbours among them share a request: when half of them were taken.
    """
    waiting: deque[Draws] = deque()
    samples = 0
    while True:
        if samples <= most // 2:
            fresh: list[npt.NDArray[np.int64]] = []
            while samples < most and (draws := next(plan, None)) is not None:
                waiting.append(draws)
                fresh.append(draws.indices)
                samples += len(draws.indices)
            if fresh:
                ahead.begin(np.concatenate(fresh))
        if not waiting:
            return
        draws = waiting.popleft()
        samples -= len(draws.indices)
        yield draws


def _require_effect(transform: Transform | None, *, images: bool, semantic: bool, masks: str, reuse: bool) -> None:
    """Refuse options that have no effect beside a transform, which decodes what it needs itself."""
    wrong = {
        "images=False": not images,
        "semantic=False": not semantic,
        "masks='dense'": masks == "dense",
        "reuse": reuse,
    }
    given = [name for name, is_given in wrong.items() if is_given]
    if transform is not None and given:
        raise UsageError(
            f"{', '.join(given)} has no effect with a transform",
            why="nothing is decoded but what the transform reads: sample.image, sample.semantic, sample.instances.masks",
            fix="leave it out, or decode in the transform",
        )


def warn_of_boxes_alone(pack: Samples, consequence: str) -> None:
    """Log how many objects of a pack have no mask, where masks were asked for; nothing for other datasets."""
    if not isinstance(pack, Pack):
        return
    without, objects, images = pack.count_without_mask()
    if without:
        _log.warning(
            "%s of %s objects, in %s images, have no mask: %s",
            f"{without:,}",
            f"{objects:,}",
            f"{images:,}",
            consequence,
        )


def locate(error: Exception, pack: Samples, index: int) -> Exception:
    """The same error with the key, shard and record of the sample that raised it."""
    key = pack[index].key
    if isinstance(error, SegdataError):
        return error.located(key=key, place=pack.place(index) if isinstance(pack, Pack) else f"sample {index}")
    error.add_note(f"while sample {key!r} (index {index}) was loaded")
    return error


@dataclass(eq=False)
class _Job:
    """A batch in the making; `current` is the index of the sample that is worked on, `since` the time that it began."""

    draws: Draws
    buffers: _Buffers
    is_done: threading.Event = field(default_factory=threading.Event)
    since: float = field(default_factory=time.monotonic)
    batch: Batch | None = None
    error: BaseException | None = None
    current: int = 0

    def begin(self, index: int) -> None:
        self.current, self.since = index, time.monotonic()


class _Buffers:
    """Memory of one batch, by purpose ("images", "semantic", "dense"); grows to the largest batch."""

    def __init__(self) -> None:
        self._memory: dict[str, npt.NDArray[Any]] = {}
        self._decoded: Sequence[tuple[Masks, npt.NDArray[np.uint8]]] = ()

    def arrays(self, purpose: str, shapes: Sequence[tuple[int, ...]], dtype: np.dtype[Any]) -> Any:
        """One array per shape: (B, *shape) where all shapes agree, else a tuple; every purpose has one `dtype`."""
        first = shapes[0]
        if shapes.count(first) == len(shapes):
            shape = (len(shapes), *first)
            return self._flat(purpose, math.prod(shape), dtype).reshape(shape)
        ends = list(accumulate(map(math.prod, shapes), initial=0))
        flat = self._flat(purpose, ends[-1], dtype)
        return tuple(flat[begin:end].reshape(shape) for (begin, end), shape in zip(pairwise(ends), shapes, strict=True))

    def planes(self, masks: Sequence[Masks]) -> tuple[npt.NDArray[np.uint8], ...]:
        """Arrays for the dense masks of each sample, all zero: only the pixels of the last batch's masks are cleared."""
        for of_sample, planes in self._decoded:
            of_sample.erase(planes)
        shapes = [(len(of_sample), of_sample.height, of_sample.width) for of_sample in masks]
        dense: tuple[npt.NDArray[np.uint8], ...] = tuple(self.arrays("dense", shapes, _UINT8))
        self._decoded = list(zip(masks, dense, strict=True))
        return dense

    def _flat(self, purpose: str, size: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        memory = self._memory.get(purpose)
        if memory is None or memory.size < size:
            memory = np.zeros(size, dtype) if purpose == "dense" else np.empty(size, dtype)
            self._memory[purpose] = memory
        return memory[:size]


def _read_only(array: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A read-only view: only the masks' boxes are cleared for the next batch, so pixels written elsewhere would stay."""
    view = array.view()
    view.flags.writeable = False
    return view
