"""`train`: from a pack to a run folder with weights, metrics and pictures; killed at any moment, it goes on exactly.

Nothing here draws from a hidden random state: order, augmentation and sampling follow from (seed, epoch, index), the
learning rate from the number of the update. A checkpoint is therefore weights, the optimiser's sums and a few counts.
"""

from __future__ import annotations

import contextlib
import signal
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdata.errors import NotThere, UsageError
from segdata.models import checkpoint
from segdata.models.maskrcnn import network as maskrcnn
from segdata.models.maskrcnn import weights
from segdata.models.maskrcnn.augment import Item, categories_of
from segdata.models.maskrcnn.config import Config
from segdata.pack.read import Pack
from segdata.pack.verify import require_intact
from segdata.system.files import require_replaceable, write_whole
from segdata.system.locks import locked
from segdata.training import schedule, validation
from segdata.training.batches import Feed, usable
from segdata.training.distributed import World, joined
from segdata.training.predict import Model
from segdata.training.running_losses import Window
from segdata.training.runs import report
from segdata.training.step import Learner
from segdata.training.stop_signal import Stop
from segdata.training.trackers import run_folder
from segdata.training.trackers.background import Background
from segdata.training.trackers.base import All, Tracker
from segdata.training.trackers.run_folder import RunFolder

EXAMPLE_CONFIDENCE = 0.5
"""Detections on example pictures have at least this score."""


@dataclass(frozen=True)
class Status:
    """How far a training is.

    Attributes:
        step, steps: updates done and in all.
        values: the last numbers that were logged.
        doing: "training" or "validating".
    """

    step: int
    steps: int
    epoch: int
    values: Mapping[str, float | str]
    doing: str = "training"


@dataclass(frozen=True)
class Report:
    """What a training came to."""

    run: Path
    steps: int
    epochs: int
    images: int
    metrics: Mapping[str, float]
    best: float | None
    resumed_at: int
    remarks: tuple[str, ...]
    was_done: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return {**vars(self), "run": str(self.run), "metrics": dict(self.metrics), "remarks": list(self.remarks)}


def train(
    pack: Pack,
    run: Path,
    config: Config,
    *,
    validate: Pack | None = None,
    start: str | Path | None = None,
    trackers: Sequence[Tracker] = (),
    device: str | None = None,
    wait: float = 0.0,
    tell: Callable[[Status], None] | None = None,
) -> Report:
    """Train Mask R-CNN on a pack.

    The same call on a run that was stopped goes on after its last checkpoint; on one that is done, it returns.

    Args:
        pack: what to train on.
        run: the run's folder.
        validate: what to validate on.
        start: weights to begin with: see `weights.read`; fresh ones by default.
        trackers: besides the run folder; each is called in a thread of its own.
        device: "cpu" or "cuda"; by default a GPU where there is one.
        wait: seconds to wait for another process on the same run.
        tell: called after every update.

    Raises:
        UsageError: the run was made with other settings, or there is nothing to train on.
        LabelMismatch: the validation pack has other categories.
        InvalidInput: the loss is not finite any more.
    """
    if validate is not None:
        validate.labels.require_equal(pack.labels, "training and validation")
    with joined(device) as world, contextlib.ExitStack() as stack:
        if world.is_main:
            for path in {pack.path, (validate or pack).path}:
                require_intact(path)
            stack.enter_context(locked(run, wait=wait))
            require_replaceable(
                run, force=any((run / name).is_file() for name in ("config.toml", "state.json")), what="the run"
            )
            run.mkdir(parents=True, exist_ok=True)
        world.wait()
        return _Training(pack, run, config, validate, start, trackers, world, tell).go()


class _Training:
    """One training: its parts and its counts."""

    def __init__(
        self,
        pack: Pack,
        run: Path,
        config: Config,
        validate: Pack | None,
        start: str | Path | None,
        others: Sequence[Tracker],
        world: World,
        tell: Callable[[Status], None] | None,
    ) -> None:
        self.run, self.config, self.world, self.tell = run, config, world, tell
        self.pack, left_out = usable(pack)
        self.remarks = [f"{count} images left out: {reason}" for reason, count in left_out.items()]
        self.validate = validate
        self.labels = pack.labels
        self.data = f"{pack.info['provenance']['fingerprint'][:24]}-{zlib.crc32(pack.indices.tobytes()):08x}"
        self.tracker = All(RunFolder(run), [report.Page(), *map(Background, others)])
        self.feed = Feed(self.pack, config, world)
        self.steps_per_epoch = config.steps_per_epoch or max(1, len(self.feed) // config.accumulate)
        self.plan = schedule.stages(config, self.steps_per_epoch)
        self.steps = self.plan[-1].end
        self.learner = Learner(maskrcnn.build(config, len(categories_of(self.labels))), config, world)
        self.step = 0
        self.best: float | None = None
        self.metrics: dict[str, float] = {}
        self.validated = 0
        self.window = Window(world.device)
        self.values: dict[str, float | str] = {}
        self._begin(start)

    # ------------------------------------------------------------------ begin

    def _begin(self, start: str | Path | None) -> None:
        """Fresh, from given weights, or after the run's last checkpoint."""
        found = checkpoint.newest(self.run / "checkpoints")
        if found is None:
            if start is not None:
                given = weights.read(start)
                self.remarks += weights.put(given, self.learner.network, self.labels)
                if given.data is not None and given.data != self.data:
                    self.remarks.append(
                        f"the weights were trained on other data ({given.data[:12]}, here {self.data[:12]})"
                    )
            return
        tensors, document = checkpoint.load(found)
        self._require_same(document)
        self.learner.restore(tensors, document, str(found))
        self.step, self.best, self.metrics = document["step"], document["best"], document["metrics"]
        self.validated = document["validated"]
        self.window = Window(self.world.device, document["window"])
        if not self.feed.go_on(document["feed"]):
            self.remarks.append("the number of processes changed: the pass over the data begins anew")

    def _require_same(self, document: Mapping[str, Any]) -> None:
        mine, theirs = self.config.as_dict(), document["config"]
        different = [name for name in mine if mine[name] != theirs.get(name)]
        free = {"epochs", "stages", "workers", "log_steps", "checkpoint_steps", "validate_epochs", "example_pictures"}
        wrong = [name for name in different if name not in free]
        if wrong:
            raise UsageError(
                "the run was made with other settings",
                file=self.run,
                why="; ".join(f"{name}: {theirs.get(name)!r} there, {mine[name]!r} here" for name in wrong[:5]),
                fix="choose another folder, or go on with the run's own settings: --resume",
            )
        if document["data"] != self.data:
            raise UsageError(
                "the run was made with other data",
                file=self.run,
                why=f"fingerprint {document['data'][:12]} there, {self.data[:12]} here",
                fix="choose another folder; --weights RUN begins with this run's weights",
            )

    # ------------------------------------------------------------------ go

    def go(self) -> Report:
        """Train to the end, or until a signal."""
        resumed_at = self.step
        if self.step >= self.steps and not self._validation_is_due():
            return self._report(resumed_at, was_done=True)
        if self.world.is_main:
            run_folder.cut_back(self.run, self.step)
            write_whole(self.run / "config.toml", self.config.as_toml().encode())
            self.tracker.start(self.run, self._settings(), run_folder.environment())
        state = "stopped"
        try:
            with Stop() as stop:
                batches = iter(self.feed)
                if self._validation_is_due():
                    self._validate(stop)
                    self._save()
                while self.step < self.steps and not self._ends(stop):
                    stage = schedule.stage_at(self.plan, self.step)
                    self._stage(stage, batches, stop)
                ends = self._ends(stop)
                if ends:
                    self._save()
            state = "stopped" if ends else "done"
        except Exception:
            state = "failed"
            raise
        finally:
            if self.world.is_main:
                with contextlib.suppress(NotThere):
                    path = checkpoint.of_run(self.run)
                    self.tracker.log_artifact(self.step, checkpoint.tensors_file(path, checkpoint.read_document(path)))
                self.tracker.finish(state)
        if ends:
            signal.raise_signal(stop.number)
        return self._report(resumed_at)

    def _ends(self, stop: Stop) -> bool:
        """Whether one of the processes was asked to stop. All of them ask at the same places and hear the same."""
        ends = self.world.any(stop.number > 0)
        if ends and not stop.number:
            stop.number = int(signal.SIGTERM)
        return ends

    def _settings(self) -> dict[str, Any]:
        return {
            **self.config.as_dict(),
            "data": {
                "pack": self.pack.path.name,
                "fingerprint": self.data,
                "images": len(self.pack),
                "validation_images": 0 if self.validate is None else len(self.validate),
                "labels": [category.name for category in self.labels.categories],
            },
        }

    def _report(self, resumed_at: int, *, was_done: bool = False) -> Report:
        return Report(
            self.run,
            self.step,
            self.step // self.steps_per_epoch,
            len(self.pack),
            dict(self.metrics),
            self.best,
            resumed_at,
            tuple(self.remarks),
            was_done,
        )

    def _stage(self, stage: schedule.Stage, batches: Iterator[Any], stop: Stop) -> None:
        """The updates of a stage: what is trained is fixed within it."""
        self.learner.choose(stage.layers)
        while self.step < stage.end and not self._ends(stop):
            began = time.perf_counter()
            rate = schedule.learning_rate(self.config, self.step, self.steps) * stage.factor
            self.window.add(self.learner.update(self._waited_for(batches), rate))
            self.step += 1
            self.window.seconds += time.perf_counter() - began
            is_last = self.step == self.steps
            if self.step % self.config.log_steps == 0 or is_last:
                self._log()
            if self.tell is not None and self.world.is_main:
                self.tell(Status(self.step, self.steps, self.step // self.steps_per_epoch, self.values))
            if self._validation_is_due():
                self._validate(stop)
                self.learner.train_mode()
            every = self.config.checkpoint_steps or self.steps_per_epoch
            if self.step % every == 0 or is_last:
                self._save()

    def _waited_for(self, batches: Iterator[Any]) -> Iterator[Sequence[Item]]:
        """The batches of an update; the time that they take to come is counted."""
        for _ in range(self.config.accumulate):
            began = time.perf_counter()
            items = next(batches).items
            self.window.waited += time.perf_counter() - began
            self.window.images += len(items) * self.world.size
            yield items

    # ------------------------------------------------------------------ what is written

    def _log(self) -> None:
        self.window.require_finite(self.step)
        self.values = {
            **self.window.values(self.config),
            "train/learning_rate": self.learner.optimizer.param_groups[0]["lr"],
            "train/epoch": self.step / self.steps_per_epoch,
            **run_folder.system(self.world.device),
        }
        self.window = Window(self.world.device)
        if self.world.is_main:
            self.tracker.log(self.step, self.values)

    def _validation_is_due(self) -> bool:
        """Whether these weights are to be validated and were not yet."""
        epoch, rest = divmod(self.step, self.steps_per_epoch)
        every = self.config.validate_epochs
        is_time = every > 0 and epoch > 0 and rest == 0 and (epoch % every == 0 or self.step == self.steps)
        return is_time and self.validated != self.step

    def _validate(self, stop: Stop) -> None:
        """Detect, score, keep the best; without a validation split, only pictures of training images."""
        pack = self.pack if self.validate is None else self.validate
        config = self.config
        if self.validate is None:
            config = config.changed(validation_images=max(config.example_pictures, 1))
        if self.tell is not None and self.world.is_main:
            self.tell(Status(self.step, self.steps, self.step // self.steps_per_epoch, self.values, "validating"))
        model = Model(self.learner.network, self.config, self.labels)
        found = validation.detections(model, pack, config, self.world, lambda: stop.number > 0)
        if found is None:
            return
        self.validated = self.step
        is_best = False
        if self.validate is not None and self.world.is_main:
            self.metrics = validation.average_precision(pack, found)
            score = self.metrics.get("AP")
            is_best = score is not None and (self.best is None or score > self.best)
            if is_best:
                self.best = score
            self.tracker.log(self.step, {f"validation/{name}": value for name, value in self.metrics.items()})
        if self.world.is_main:
            for place in list(found)[: self.config.example_pictures]:
                sample = pack[place]
                picture = validation.beside_truth(sample, found[place], self.labels, least=EXAMPLE_CONFIDENCE)
                self.tracker.log_image(self.step, sample.key, picture)
            if is_best:
                document = {**self._document(), "metrics": self.metrics}
                checkpoint.save(self.run / "best", weights.as_tensors(self.learner.network), document)
        self.world.wait()

    def _document(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "config": self.config.as_dict(),
            "labels": self.labels.as_dict(),
            "data": self.data,
            **self.learner.document(),
        }

    def _save(self) -> None:
        """A checkpoint from which this run goes on exactly."""
        self.window.require_finite(self.step)
        if self.world.is_main:
            document = {
                **self._document(),
                "feed": self.feed.state(),
                "best": self.best,
                "metrics": self.metrics,
                "validated": self.validated,
                "window": self.window.state(),
            }
            folder = self.run / "checkpoints"
            path = checkpoint.step_path(folder, self.step)
            checkpoint.save(path, self.learner.tensors(), document)
            checkpoint.remove_old(folder)
        self.world.wait()
