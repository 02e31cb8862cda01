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

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.image_list import ImageList

from segdata.errors import NotThere, UsageError
from segdata.files import free_for, locked, write_whole
from segdata.pack.read import Pack
from segdata.train import checkpoint, losses, maskrcnn, report, schedule, trackers, validation, weights
from segdata.train.config import Config
from segdata.train.detect import memory_format, precision
from segdata.train.distributed import World, joined
from segdata.train.feed import Feed, usable
from segdata.train.predict import Model
from segdata.train.signals import Stop
from segdata.train.trackers import All, RunFolder, Tracker
from segdata.train.views import Item, categories_of, placed
from segdata.train.window import Window

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
        trackers: besides the run folder.
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
            stack.enter_context(locked(run, wait=wait))
            free_for(run, force=any((run / name).is_file() for name in ("config.toml", "state.json")), what="the run")
            run.mkdir(parents=True, exist_ok=True)
        world.wait()
        return _Training(pack, run, config, validate, start, trackers, world, tell).go()


class _Forward(nn.Module):
    """The losses as a module's forward, so that gradients can be shared between processes."""

    def __init__(self, network: MaskRCNN, config: Config) -> None:
        super().__init__()
        self.network = network
        self.config = config

    def forward(self, images: Tensor, sizes: list[tuple[int, int]], items: Sequence[Item]) -> losses.Losses:
        return losses.losses(self.network, ImageList(images, sizes), items, self.config)


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
        self.tracker = All(RunFolder(run), [report.Page(), *others])
        self.network = maskrcnn.build(config, len(categories_of(self.labels)))
        self.feed = Feed(self.pack, config, world)
        self.steps_per_epoch = config.steps_per_epoch or max(1, len(self.feed) // config.accumulate)
        self.plan = schedule.stages(config, self.steps_per_epoch)
        self.steps = self.plan[-1].end
        self.optimizer = schedule.optimizer(config, self.network)
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=config.precision == "fp16")
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
                self.remarks += weights.put(given, self.network, self.labels)
                if given.data is not None and given.data != self.data:
                    self.remarks.append(
                        f"the weights were trained on other data ({given.data[:12]}, here {self.data[:12]})"
                    )
            self._to_device()
            return
        tensors, document = checkpoint.load(found)
        self._require_same(document)
        prefix = "model."
        state = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        weights.put(weights.Weights(str(found), state, eps=document["eps"]), self.network)
        self._to_device()
        self._restore_optimizer(tensors)
        if self.config.precision == "fp16":
            self.scaler.load_state_dict(document["scaler"])
        self.step, self.best, self.metrics = document["step"], document["best"], document["metrics"]
        self.validated = document["validated"]
        self.window = Window(self.world.device, document["window"])
        if not self.feed.go_on(document["feed"]):
            self.remarks.append("the number of processes changed: the pass over the data begins anew")

    def _to_device(self) -> None:
        self.network.to(self.world.device, memory_format=memory_format(self.config))

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

    def _restore_optimizer(self, tensors: Mapping[str, Tensor]) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, number, key = name.split(".", 2)
                state.setdefault(int(number), {})[key] = value
        whole = self.optimizer.state_dict()
        self.optimizer.load_state_dict({"state": state, "param_groups": whole["param_groups"]})

    # ------------------------------------------------------------------ go

    def go(self) -> Report:
        """Train to the end, or until a signal."""
        resumed_at = self.step
        if self.step >= self.steps and not self._validation_is_due():
            return self._report(resumed_at, was_done=True)
        if self.world.is_main:
            trackers.cut_back(self.run, self.step)
            write_whole(self.run / "config.toml", self.config.as_toml().encode())
            self.tracker.start(self.run, self._settings(), trackers.environment())
        state = "failed"
        try:
            with Stop() as stop:
                batches = iter(self.feed)
                if self._validation_is_due():
                    self._validate(stop)
                    self._save()
                while self.step < self.steps and not stop.number:
                    stage = schedule.stage_at(self.plan, self.step)
                    self._stage(stage, batches, stop)
                if stop.number:
                    self._save()
            state = "stopped" if stop.number else "done"
        finally:
            if self.world.is_main:
                with contextlib.suppress(NotThere):
                    self.tracker.log_artifact(self.step, checkpoint.of_run(self.run).with_suffix(".safetensors"))
                self.tracker.finish(state)
        if stop.number:
            signal.raise_signal(stop.number)
        return self._report(resumed_at)

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
        maskrcnn.choose_layers(self.network, stage.layers)
        forward: nn.Module = _Forward(self.network, self.config)
        if self.world.size > 1:
            gpus = [self.world.device.index] if self.world.device.type == "cuda" else None
            forward = DistributedDataParallel(forward, device_ids=gpus, broadcast_buffers=self.config.norm == "batch")
        maskrcnn.train_mode(self.network, frozen=self.config.norm == "frozen")
        while self.step < stage.end and not stop.number:
            began = time.perf_counter()
            self._update(forward, batches, stage, stop)
            self.step += 1
            self.window.seconds += time.perf_counter() - began
            is_last = self.step == self.steps
            if self.step % self.config.log_steps == 0 or is_last:
                self._log()
            if self.tell is not None and self.world.is_main:
                self.tell(Status(self.step, self.steps, self.step // self.steps_per_epoch, self.values))
            if self._validation_is_due():
                self._validate(stop)
                maskrcnn.train_mode(self.network, frozen=self.config.norm == "frozen")
            every = self.config.checkpoint_steps or self.steps_per_epoch
            if self.step % every == 0 or is_last:
                self._save()

    def _update(self, forward: nn.Module, batches: Iterator[Any], stage: schedule.Stage, stop: Stop) -> None:
        """One update of the weights, from `accumulate` batches."""
        config, world = self.config, self.world
        rate = schedule.learning_rate(config, self.step, self.steps) * stage.factor
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        weight = torch.tensor([getattr(config, name) for name in losses.NAMES], device=world.device)
        self.optimizer.zero_grad(set_to_none=True)
        for number in range(config.accumulate):
            began = time.perf_counter()
            items = next(batches).items
            self.window.waited += time.perf_counter() - began
            is_last = number == config.accumulate - 1
            alone = forward.no_sync() if isinstance(forward, DistributedDataParallel) and not is_last else None
            with alone or contextlib.nullcontext():
                with torch.autocast(world.device.type, precision(config), enabled=config.precision != "fp32"):
                    images = placed(
                        [item.pixels for item in items],
                        [item.view for item in items],
                        config,
                        world.device,
                        memory_format=memory_format(config),
                    )
                    found = forward(images.tensors, images.image_sizes, items)
                counts = world.sum(torch.cat((found.counts, found.counts.new_tensor([float(stop.number)]))))
                means = found.sums / counts[:-1].clamp(min=1)
                total = (means * weight).sum() * (world.size / config.accumulate)
                self.scaler.scale(total).backward()
            self.window.add(world.sum(means.detach().clone()), 1 / config.accumulate)
            self.window.images += len(items) * world.size
            if world.size > 1 and counts[-1] and not stop.number:
                stop.number = int(signal.SIGTERM)
        if config.gradient_clip_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), config.gradient_clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.window.close_update()

    # ------------------------------------------------------------------ what is written

    def _log(self) -> None:
        self.window.require_finite(self.step)
        self.values = {
            **self.window.values(self.config),
            "train/learning_rate": self.optimizer.param_groups[0]["lr"],
            "train/epoch": self.step / self.steps_per_epoch,
            **trackers.system(self.world.device),
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
        model = Model(self.network, self.config, self.labels)
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
                checkpoint.save(self.run / "best", weights.as_tensors(self.network), document)
        self.world.wait()

    def _document(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "config": self.config.as_dict(),
            "labels": self.labels.as_dict(),
            "data": self.data,
            "eps": weights.frozen_eps(self.network),
        }

    def _save(self) -> None:
        """A checkpoint from which this run goes on exactly."""
        self.window.require_finite(self.step)
        if self.world.is_main:
            tensors = weights.as_tensors(self.network)
            for number, state in self.optimizer.state_dict()["state"].items():
                for key, value in state.items():
                    if isinstance(value, Tensor):
                        tensors[f"optimizer.{number}.{key}"] = value
            document = {
                **self._document(),
                "feed": self.feed.state(),
                "scaler": self.scaler.state_dict(),
                "best": self.best,
                "metrics": self.metrics,
                "validated": self.validated,
                "window": self.window.state(),
            }
            folder = self.run / "checkpoints"
            path = checkpoint.step_path(folder, self.step)
            checkpoint.save(path, tensors, document)
            checkpoint.remove_old(folder)
        self.world.wait()
