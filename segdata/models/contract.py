"""What training and prediction know of a model: `Model`, and what passes between them.

    settings + labels → build → network ← put ← read (weights)
    sample → transform → train sample ┐
             train samples → to_batch → losses ← network
    network → predictor → predictions → judge → metrics, one of which (ModelSettings.METRIC) chooses the best weights

A model is an object with these methods, and a line in `segdata.models.registry`. Nothing in `segdata.training` imports one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from segdata.core.labels import LabelSpace
from segdata.core.sample import Instances, Sample
from segdata.models.class_names import Names
from segdata.models.settings import ModelSettings
from segdata.models.weights import Weights
from segdata.pack.read import Pack

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Autocast:
    """How a network calculates.

    Attributes:
        precision: "fp32" (no autocast), "bf16" or "fp16".
        channels_last: whether images and weights are (N, H, W, C) in memory.
    """

    precision: str = "fp32"
    channels_last: bool = False

    @property
    def memory_format(self) -> Any:
        """For `Tensor.to` and `contiguous`."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def on(self, device: torch.device) -> torch.autocast:
        """The context in which the network is called."""
        return torch.autocast(device.type, _DTYPES[self.precision], enabled=self.precision != "fp32")


FULL = Autocast()
"""Full precision."""


Image = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""


class Usable(NamedTuple):
    """What of a pack a model can be trained on.

    Attributes:
        pack: these samples.
        remarks: what was left out and why, and what is odd about the rest, with counts.
        facts: what else of the data `transform` and `losses` need, such as how many pixels a class has; None for nothing.
    """

    pack: Pack
    remarks: tuple[str, ...] = ()
    facts: Any = None


class Losses(NamedTuple):
    """A model's losses over a batch, in the order of `Model.loss_names`.

    Attributes:
        sums: (P,) float32, with gradients.
        counts: (P,) float32, what each is divided by, after both were summed over all processes.
    """

    sums: Tensor
    counts: Tensor


DIVERGED = "no objects: the network's numbers are not finite or beyond all measure; these weights have diverged"
"""Remark of a prediction without objects."""

LARGEST_OUTPUT = 2.0**24
"""float32 tells whole numbers apart up to here; beyond, scores that differ are equal, and shifted boxes lose their pixel."""


def is_plausible(values: Tensor) -> Tensor:
    """() bool, whether all of a network's numbers are finite and float32 can calculate with them."""
    return (values.abs() < LARGEST_OUTPUT).all()


def at_most(count: int) -> str:
    """Remark of a prediction that has as many objects as the settings allow, so that others may be missing."""
    return f"image with as many objects as detection_max_instances allows ({count}); --set detection_max_instances=…"


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model predicts for an image.

    Attributes:
        instances: objects with scores, in pixels of the image; None where the model finds none.
        semantic: (H, W) label map; None likewise.
        remarks: what was odd, by kind, such as numbers that are not finite.
        best: highest score that the model gave, also below its threshold; None where it does not say.
    """

    instances: Instances | None = None
    semantic: npt.NDArray[Any] | None = None
    remarks: tuple[str, ...] = ()
    best: float | None = None

    def on(self, sample: Sample) -> Sample:
        """The sample with this prediction in place of its annotations."""
        return sample.with_annotations(instances=self.instances, semantic=self.semantic, extra={})

    def above(self, score: float) -> Prediction:
        """Without the instances below a score."""
        if self.instances is None:
            return self
        return replace(self, instances=self.instances.take(self.instances.score >= score))


class Predictor(Protocol):
    """A trained model, ready to predict."""

    @property
    def labels(self) -> LabelSpace:
        """The categories of its predictions."""

    @property
    def source(self) -> str:
        """Where its weights come from."""

    @property
    def settings(self) -> Mapping[str, Any] | None:
        """Its settings as JSON holds them; None where there are none."""

    @property
    def remarks(self) -> Sequence[str]:
        """What a user may want to know of it, such as settings that its file does not hold."""

    def predict(self, images: Sequence[Image]) -> list[Prediction]:
        """The prediction for each image, (H, W, 3) uint8 RGB."""


class Judge(Protocol):
    """What becomes of predictions in validation; each process has one, and judges its share."""

    def add(self, index: int, prediction: Prediction) -> None:
        """Count the prediction for one sample of the pack."""

    def state(self) -> Any:
        """What was counted so far, for the judge of another process; it can be pickled."""

    def merge(self, state: Any) -> None:
        """Count what the judge of another process counted."""

    def tables(self) -> Mapping[str, Any]:
        """What else a run keeps of it, such as a confusion matrix; JSON, empty for nothing."""

    def metrics(self) -> dict[str, float | None]:
        """Metrics by name, `ModelSettings.METRIC` among them.

        A metric is None where it is not defined, as without any object in the ground truth. Values of single categories are
        called `category_METRIC/NAME`.
        """


class Collected:
    """A judge that keeps the predictions, and evaluates them all at once.

    Args:
        evaluate: predictions by index in the pack → metrics.
    """

    def __init__(self, evaluate: Callable[[Mapping[int, Prediction]], dict[str, float | None]]) -> None:
        self._evaluate = evaluate
        self._predictions: dict[int, Prediction] = {}

    def add(self, index: int, prediction: Prediction) -> None:
        """See `Judge`."""
        self._predictions[index] = prediction

    def state(self) -> Mapping[int, Prediction]:
        """See `Judge`."""
        return self._predictions

    def merge(self, state: Mapping[int, Prediction]) -> None:
        """See `Judge`."""
        self._predictions.update(state)

    def tables(self) -> Mapping[str, Any]:
        """See `Judge`."""
        return {}

    def metrics(self) -> dict[str, float | None]:
        """See `Judge`."""
        return self._evaluate(dict(sorted(self._predictions.items())))


S = TypeVar("S", bound=ModelSettings)
"""A model's settings."""
N = TypeVar("N", bound=nn.Module)
"""Its network."""
T = TypeVar("T")
"""A training sample: whatever `transform` makes of a sample."""
B = TypeVar("B")
"""A batch of them on the device."""


class Model(Protocol[S, N, T, B]):
    """An architecture that `segdata.train` trains and `segdata.predict` runs."""

    @property
    def settings(self) -> type[S]:
        """Its settings."""

    # ------------------------------------------------------------------ training

    def usable(self, pack: Pack, settings: S, *, cache: Path | None = None) -> Usable:
        """The samples that can be trained on.

        Args:
            cache: a folder for what takes a pass over the pack to count, so that it is not counted again.

        Raises:
            UsageError: there are none; it says why.
        """

    def judged(self, pack: Pack, settings: S, count: int) -> tuple[str, ...]:
        """Remarks on a validation with the first `count` samples of a pack, such as that its metric is not defined."""

    def build(self, settings: S, labels: LabelSpace, *, seed: int) -> N:
        """A network with fresh weights drawn from a seed."""

    def transform(self, settings: S, labels: LabelSpace, facts: Any) -> Callable[[Sample, np.random.Generator], T]:
        """Sample → training sample, with augmentation; called in the threads of the Loader.

        Args:
            facts: of the pack, see `Usable`.
        """

    def to_batch(self, samples: Sequence[T], settings: S, device: torch.device, *, memory_format: Any) -> B:
        """Training samples → a batch on the device."""

    def losses(self, network: N, batch: B, settings: S, facts: Any) -> Losses:
        """The forward pass in training."""

    def loss_names(self, settings: S) -> tuple[str, ...]:
        """Names of its losses, as they are logged."""

    def loss_weights(self, settings: S, progress: float) -> tuple[float, ...]:
        """What each loss is multiplied by in the sum whose gradient is taken.

        Args:
            progress: the share of the training that is done, 0..1.
        """

    def stage_of(self, parameter: str) -> int | None:
        """The ResNet stage of a parameter by its name, 1 (stem) … 5; None for what always is trained, the heads."""

    def has_frozen_norms(self, settings: S) -> bool:
        """Whether batch norms keep their statistics in training."""

    # ------------------------------------------------------------------ validation and prediction

    def predictor(self, network: N, settings: S, labels: LabelSpace, autocast: Autocast) -> Predictor:
        """The network as a predictor; it is left in evaluation mode."""

    def judge(self, pack: Pack, settings: S) -> Judge:
        """What evaluates predictions for samples of a pack."""

    # ------------------------------------------------------------------ weights

    def read(self, source: str | Path, settings: S | None = None) -> Weights:
        """Weights by name or file.

        Args:
            settings: of the network that they are for, where published weights of the same name differ by them.

        Raises:
            NotThere: there are none.
            DamagedData: cut short or changed.
            Unsafe: a file that would run code.
        """

    def put(self, source: Weights, network: N, labels: LabelSpace | None = None) -> list[str]:
        """Copy weights into a network; returns remarks about what starts afresh.

        Args:
            labels: of the network, where it may have other categories than the weights; heads are then adapted.

        Raises:
            InvalidInput: weights of another model.
        """

    def state(self, network: N) -> dict[str, Any]:
        """What else belongs to a network's weights in a checkpoint; JSON, given back to `put` as `Weights.state`."""

    def implied_settings(self, source: Weights) -> S:
        """The settings of the model that weights without settings belong to.

        Raises:
            InvalidInput: they are not those of a trained model.
        """

    def named(self, source: Weights, names: Names) -> Weights:
        """The same weights with names for their classes, which they did not have.

        Raises:
            UsageError: the names do not fit the network's classes.
        """

    def load(
        self,
        source: Weights,
        settings: S,
        *,
        record: Mapping[str, Any],
        autocast: Autocast,
        device: torch.device,
        flip: bool,
    ) -> Predictor:
        """A predictor with these weights.

        Args:
            record: what `Predictor.settings` is to give: these settings and the run's.
            flip: also predict the horizontally flipped image, and merge.
        """


AnyModel = Model[Any, Any, Any, Any]
"""A model whose types the caller does not know, such as the training loop."""
