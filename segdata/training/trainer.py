"""`train`: a pack → a run folder with weights, metrics and pictures; killed at any moment, it resumes exactly.

No hidden random state: order, augmentation and sampling follow from (seed, epoch, index), the learning rate from the
number of the update. A checkpoint is therefore weights, the optimiser's state and a few counts.
"""

from __future__ import annotations

import contextlib
import signal
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segdata.errors import NotThere
from segdata.models import checkpoint, registry
from segdata.models.contract import Judge
from segdata.pack.read import Pack, open_pack
from segdata.pack.verify import require_intact
from segdata.system.files import canonical_json, disk_errors, locked, remove_tree, require_replaceable, write_whole
from segdata.system.process import Stop
from segdata.training import narration, resumption, step, validation
from segdata.training.batches import BatchStream, split_names
from segdata.training.config import TrainConfig
from segdata.training.distributed import World, joined
from segdata.training.outcome import Status, TrainReport
from segdata.training.runs import report
from segdata.training.step import LossMeter, TrainStep
from segdata.training.trackers import run_folder
from segdata.training.trackers.background import Background
from segdata.training.trackers.base import All, Tracker
from segdata.training.trackers.run_folder import RunFolder

EXAMPLE_SCORE = 0.5
"""Score threshold of predictions in example pictures."""

_FEW = 100
"""Updates, after which a category is not expected to be learned."""


@disk_errors()
def train(
    pack: Pack | str | Path,
    run: str | Path,
    config: TrainConfig | Mapping[str, Any] | None = None,
    *,
    validate: Pack | str | Path | None = None,
    weights: str | Path | None = None,
    trackers: Sequence[Tracker] = (),
    device: str | None = None,
    wait: float = 0.0,
    progress: Callable[[Status], None] | None = None,
    remark: Callable[[str], None] | None = None,
    tell: Callable[[str], None] | None = None,
) -> TrainReport:
    """Train a model on a pack.

    The same call resumes a run that was stopped after its last checkpoint; if the run is done, it returns at once.

    Args:
        pack: what to train on. Of a path, that is the split called train…, validated on the one called val…, or all
            where there are no such splits.
        run: the run folder.
        config: settings, or names and values of those that differ from the defaults; `{"model": …}` among them names
            the model, which else is that of the weights.
        validate: what to validate on.
        weights: a run, a file or a name of weights to begin with; random ones by default.
        trackers: besides the run folder; each is called in a thread of its own.
        device: "cpu" or "cuda"; by default a GPU where there is one.
        wait: seconds to wait for another process on the same run.
        progress: called after every update.
        remark: called before the first update with each of `TrainReport.remarks`.
        tell: called with a line on device, images, classes and epochs before the first update, and with one after
            every validation.

    Raises:
        UsageError: an unknown setting, settings that contradict each other or have no effect, the run was made with
            other settings, or there is nothing to train on.
        LabelMismatch: the validation pack has other categories.
        InvalidInput: the loss is not finite any more.
    """
    run = Path(run)
    config = config if isinstance(config, TrainConfig) else TrainConfig.from_dict(config or {}, weights=weights)
    pack, validate = _packs(pack, validate)
    if validate is not None:
        validate.labels.require_equal(pack.labels, "training and validation")
    with joined(device) as world, contextlib.ExitStack() as stack:
        if world.is_main:
            for path in {pack.path, (validate or pack).path}:
                require_intact(path)
            stack.enter_context(locked(run, wait=wait))
            is_run = any((run / name).is_file() for name in ("config.toml", "state.json"))
            require_replaceable(run, force=is_run, what="the run", has_force=False)
            run.mkdir(parents=True, exist_ok=True)
            if not is_run:
                stack.push(partial(_forget_unbegun, run))
        world.wait()
        tracker = All(RunFolder(run), [report.Page(), *map(Background, trackers)])
        tell = tell if world.is_main else None
        config = config.resolved(world.device, resumption.made_with(run))
        training = _Training(pack, run, config, world, validate=validate, tracker=tracker, progress=progress, tell=tell)
        training.begin(weights)
        if remark is not None and world.is_main:
            for text in training.remarks:
                remark(text)
        return training.go()


def _forget_unbegun(run: Path, kind: object, *_: object) -> None:
    """Remove what a training that was refused before its first update has left in its folder."""
    if kind is not None and not (run / "config.toml").exists():
        remove_tree(run)


def _packs(pack: Pack | str | Path, validate: Pack | str | Path | None) -> tuple[Pack, Pack | None]:
    """What to train and to validate on."""
    if isinstance(validate, (str, Path)):
        validate = open_pack(validate)
    if isinstance(pack, Pack):
        return pack, validate
    whole = open_pack(pack)
    training, validation = split_names(whole, None, None)
    if validate is None and validation is not None:
        validate = whole.split(validation)
    return whole if training is None else whole.split(training), validate


def _seed(*parts: int) -> int:
    """A random seed that follows from these numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


class _Training:
    """One training: its parts and its counts."""

    def __init__(
        self,
        pack: Pack,
        run: Path,
        config: TrainConfig,
        world: World,
        *,
        validate: Pack | None,
        tracker: All,
        progress: Callable[[Status], None] | None,
        tell: Callable[[str], None] | None,
    ) -> None:
        self.run, self.config, self.world, self.progress, self.tell = run, config, world, progress, tell
        self.model = registry.model(config.name)
        self.split = pack
        self.pack, remarks, facts = self.model.usable(pack, config.model, cache=run)
        self.remarks = list(remarks)
        self.validate = validate
        if validate is not None and config.run.validate_epochs:
            count = min(len(validate), config.run.validation_images or len(validate))
            self.remarks += self.model.judged(validate, config.model, count)
        self.labels = pack.labels
        self.data = f"{pack.info['provenance']['fingerprint'][:24]}-{zlib.crc32(pack.indices.tobytes()):08x}"
        self.tracker = tracker
        transform = self.model.transform(config.model, pack.labels, facts)
        self.stream = BatchStream(self.pack, transform, config.run, world, is_full=config.model.has_fixed_size)
        self.steps_per_epoch = config.run.steps_per_epoch or max(1, len(self.stream) // config.run.accumulate)
        self.plan = step.stages(config.run, self.steps_per_epoch)
        self.steps = self.plan[-1].end
        network = self.model.build(config.model, self.labels, seed=config.run.seed)
        self.learner = TrainStep(self.model, network, config, world, facts)
        self.step = 0
        self.best: float | None = None
        self.metrics: dict[str, float | None] = {}
        self.validated = 0
        self._is_halved = False
        self.meter = self._meter()
        self.values: dict[str, float | str] = {}

    def _meter(self, state: Mapping[str, Any] | None = None) -> LossMeter:
        return LossMeter(self.model.loss_names(self.config.model), self.world.device, state)

    def begin(self, start: str | Path | None) -> None:
        """Fresh, from other weights, or after the run's last checkpoint."""
        last = checkpoint.newest(self.run / "checkpoints")
        if last is None:
            self.config.require_consistent()
            self.remarks += self._warnings()
            if start is not None:
                weights = self.model.read(start, self.config.model)
                self.remarks += self.model.put(weights, self.learner.network, self.labels)
                if Path(start).is_dir() and weights.data not in (
                    None,
                    self.data,
                ):  # of a single checkpoint, other data are meant
                    self.remarks.append(
                        f"the weights were trained on other data ({str(weights.data)[:12]}, here {self.data[:12]})"
                    )
            return
        tensors, document = checkpoint.load(last)
        state = resumption.state_of(document, len(self.model.loss_names(self.config.model)), last.with_suffix(".json"))
        resumption.require_same(document, self.config, self.data, self.run)
        self.learner.restore(tensors, document, str(last))
        if state.validated and self.validate is None:
            self.remarks.append("the run was validated, and is not any more: --validation SPLIT goes on validating it")
        self.step, self.best, self.metrics, self.validated = state.step, state.best, state.metrics, state.validated
        self.meter = self._meter(state.window.as_dict())
        if not self.stream.load_state_dict(document["feed"]):
            self.remarks.append("the number of processes changed: the pass over the data begins anew")

    def _warnings(self) -> list[str]:
        parameters = sum(weights.numel() for weights in self.learner.network.parameters())
        config, device = self.config, self.world.device.type
        return narration.warnings(
            self.split, self.validate, config.run, config.model, device=device, parameters=parameters
        )

    # ------------------------------------------------------------------ go

    def go(self) -> TrainReport:
        """Train to the end, or until a signal."""
        resumed_at = self.step
        if self.step >= self.steps and not self._validation_is_due() and run_folder.is_done(self.run):
            return self._report(resumed_at, was_done=True)
        self._begin_to_tell()
        if self.world.is_main:
            if self.step:
                checkpoint.remove_old(self.run / "checkpoints")
            run_folder.cut_back(self.run, self.step)
            write_whole(self.run / "config.toml", self.config.as_toml().encode())
            self.tracker.start(self.run, self._settings(), run_folder.environment(self.world.device))
        state = "stopped"
        try:
            with Stop() as stop, torch.random.fork_rng():
                ends = self._trained(stop)
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

    def _begin_to_tell(self) -> None:
        self._began_at = time.monotonic(), self.step
        if self.tell is None:
            return
        self.tell(
            narration.beginning(
                self.split,
                self.validate,
                self.config.run,
                device=narration.device_text(self.world.device, self.config.run),
                classes=sum(not category.ignore for category in self.labels.categories),
                steps=self.steps,
                steps_per_epoch=self.steps_per_epoch,
            )
            + (f"; resumed after update {self.step:,}" if self.step else "")
        )

    def _tell_validation(self, *, is_best: bool) -> None:
        if self.tell is None:
            return
        began, first = self._began_at
        seconds = (time.monotonic() - began) / max(self.step - first, 1)
        self.tell(
            narration.validated(
                self.model.settings.METRIC,
                self.metrics,
                self.best,
                is_best=is_best,
                epoch=self.step // self.steps_per_epoch,
                epochs=self.steps // self.steps_per_epoch,
                seconds=seconds * (self.steps - self.step),
            )
        )

    def _trained(self, stop: Stop) -> bool:
        """All updates that are left; whether a signal ended them."""
        batches = iter(self.stream)
        if self._validation_is_due():
            self._validate(stop)
            self._save()
        while self.step < self.steps and not self._ends(stop):
            self._stage(step.stage_at(self.plan, self.step), batches, stop)
        ends = self._ends(stop)
        if ends:
            self._save()
        return ends

    def _ends(self, stop: Stop) -> bool:
        """True if any rank received a stop signal. Collective (all-reduce): every rank must call it at the same points."""
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
                "labels": [category.name for category in self.labels.categories if not category.ignore],
                "remarks": self.remarks,
            },
        }

    def _report(self, resumed_at: int, *, was_done: bool = False) -> TrainReport:
        return TrainReport(
            run=self.run,
            steps=self.step,
            epochs=self.step // self.steps_per_epoch,
            images=len(self.pack),
            metrics=dict(self.metrics),
            best=self.best,
            resumed_at=resumed_at,
            remarks=tuple(self.remarks),
            was_done=was_done,
        )

    def _stage(self, stage: step.Stage, batches: Iterator[Any], stop: Stop) -> None:
        """The updates of a stage: what is trained is fixed within it."""
        self.learner.choose(stage.layers)
        while self.step < stage.end and not self._ends(stop):
            began = time.perf_counter()
            rate = step.learning_rate(self.config.run, self.step, self.steps) * stage.factor
            progress, seed = self.step / self.steps, _seed(self.config.run.seed, self.step, self.world.rank)
            self.meter.add(self.learner.update(self._waited_for(batches), rate, progress=progress, seed=seed))
            self.step += 1
            self.meter.seconds += time.perf_counter() - began
            is_last = self.step == self.steps
            if self.step % self.config.run.log_steps == 0 or is_last:
                self._log()
            if self.progress is not None and self.world.is_main:
                self.progress(Status(self.step, self.steps, self.step // self.steps_per_epoch, self.values))
            if self._validation_is_due():
                self._validate(stop)
                self.learner.train_mode()
            every = self.config.run.checkpoint_steps or self.steps_per_epoch
            if self.step % every == 0 or is_last:
                self._save()

    def _waited_for(self, batches: Iterator[Any]) -> Iterator[Sequence[Any]]:
        """The batches of an update; the time that they take to come is counted."""
        for _ in range(self.config.run.accumulate):
            began = time.perf_counter()
            items = next(batches).items
            self.meter.waited += time.perf_counter() - began
            self.meter.images += len(items) * self.world.size
            yield items

    # ------------------------------------------------------------------ what is written

    def _log(self) -> None:
        self.meter.require_finite(self.step)
        self.values = {
            **self.meter.values(self.model.loss_weights(self.config.model, self.step / self.steps)),
            "train/learning_rate": self.learner.optimizer.param_groups[0]["lr"],
            "train/epoch": self.step / self.steps_per_epoch,
            **run_folder.system(self.world.device),
        }
        self.meter = self._meter()
        if self.world.is_main:
            self.tracker.log(self.step, self.values)

    def _validation_is_due(self) -> bool:
        """Whether these weights are to be validated and were not yet."""
        epoch, rest = divmod(self.step, self.steps_per_epoch)
        every = self.config.run.validate_epochs
        is_time = every > 0 and epoch > 0 and rest == 0 and (epoch % every == 0 or self.step == self.steps)
        return is_time and self.validated != self.step

    def _validate(self, stop: Stop) -> None:
        """Predict, evaluate, keep the best weights; without a validation split, only pictures of training images."""
        pack = self.pack if self.validate is None else self.validate
        run = self.config.run
        limit = run.validation_images if self.validate is not None else max(run.example_pictures, 1)
        if self.progress is not None and self.world.is_main:
            self.progress(Status(self.step, self.steps, self.step // self.steps_per_epoch, self.values, "validating"))
        predictor = self.model.predictor(self.learner.best, self.config.model, self.labels, run.autocast)
        judge = self.model.judge(pack, self.config.model)
        examples = validation.validated(
            predictor,
            pack,
            min(len(pack), limit or len(pack)),
            judge,
            examples=run.example_pictures,
            batch_size=run.batch_size,
            world=self.world,
            is_stopped=lambda: stop.number > 0,
        )
        if examples is None:
            return
        self.validated = self.step
        if self.world.is_main:
            is_best = self._is_best(judge) if self.validate is not None else False
            for index, prediction in examples.items():
                sample = pack[index]
                picture = validation.beside_truth(sample, prediction, self.labels, min_score=EXAMPLE_SCORE)
                self.tracker.log_image(self.step, sample.key, picture)
            if is_best:
                document = {**self._document(), "metrics": self.metrics}
                tensors = checkpoint.checkpoint_tensors(self.learner.best)
                checkpoint.save(self.run / "best", tensors, document)
        self.world.wait()

    def _is_best(self, judge: Judge) -> bool:
        """Log the metrics of predictions; whether they are better than those before."""
        self.metrics = judge.metrics()
        if tables := judge.tables():
            write_whole(self.run / run_folder.TABLES, canonical_json({"step": self.step, **tables}))
        score = self.metrics.get(self.model.settings.METRIC.name)
        is_best = score is not None and (self.best is None or score > self.best)
        if is_best:
            self.best = score
        defined = {f"validation/{name}": value for name, value in self.metrics.items() if value is not None}
        self.tracker.log(self.step, defined)
        self._tell_validation(is_best=is_best)
        is_half = 2 * self.step >= self.steps > max(self.step, _FEW) and not self._is_halved
        if is_half and self.tell is not None:  # once, at the first validation after half of the training
            self._is_halved = True
            if text := narration.unlearned(self.metrics):
                self.tell(text)
        return is_best

    def _document(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "config": self.config.as_dict(),
            "labels": self.labels.as_dict(),
            "data": self.data,
            **self.learner.document(),
        }

    def _save(self) -> None:
        """A checkpoint from which this run resumes exactly."""
        self.meter.require_finite(self.step)
        if self.world.is_main:
            document = {
                **self._document(),
                "feed": self.stream.state_dict(),
                "best": self.best,
                "metrics": self.metrics,
                "validated": self.validated,
                "window": self.meter.state(),
            }
            folder = self.run / "checkpoints"
            path = checkpoint.step_path(folder, self.step)
            checkpoint.save(path, self.learner.tensors(), document)
            checkpoint.remove_old(folder)
        self.world.wait()
