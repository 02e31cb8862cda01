"""Matterport's Mask R-CNN as `segdata train` and the predictions of its runs see it: `MODEL`, and `Detector`, a trained one."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segdata.core.labels import LabelSpace
from segdata.core.sample import Sample
from segdata.errors import InvalidInput, UsageError
from segdata.models.class_names import Names
from segdata.models.contract import FULL, Autocast, Collected, Image, Losses, Model, Prediction, Usable
from segdata.models.maskrcnn import average_precision, survey
from segdata.models.maskrcnn.augment import categories_of, filled, label_of_category
from segdata.models.matterport import losses
from segdata.models.matterport.config import LOSSES, LoopConfig
from segdata.models.matterport.layers import Layer, initialise, layers_of
from segdata.models.matterport.model import Model as Trained
from segdata.models.matterport.network import Network, unfilled
from segdata.models.matterport.training import weights
from segdata.models.matterport.training.frames import Example, Frame, TrainSample
from segdata.models.matterport.training.objective import objective
from segdata.models.weights import Weights
from segdata.pack.read import Pack


class Detector:
    """A trained network with its settings and the categories of its classes: images → instances.

    Attributes:
        model: the network as `matterport.load` would give it; its labels are those categories that objects have.
        labels: all categories of the pack that it was trained on.
    """

    def __init__(
        self,
        network: Network,
        config: LoopConfig,
        labels: LabelSpace,
        *,
        autocast: Autocast = FULL,
        source: str = "",
        settings: Mapping[str, Any] | None = None,
        remarks: Sequence[str] = (),
    ) -> None:
        self.model = _trained(network.eval(), config, labels)
        self.labels = labels
        self.autocast = autocast
        self.source = source
        self.settings = settings
        self.remarks = remarks
        self._categories = categories_of(labels)

    def predict(self, images: Sequence[Image]) -> list[Prediction]:
        """See `contract.Predictor`."""
        with self.autocast.on(self.model.device):
            return [self._of_category(prediction) for prediction in self.model.predict(images)]

    def _of_category(self, prediction: Prediction) -> Prediction:
        instances = prediction.instances
        if instances is None:
            return prediction
        return replace(prediction, instances=replace(instances, category=self._categories[instances.category]))


def _trained(network: Network, config: LoopConfig, labels: LabelSpace) -> Trained:
    """The network as a model of objects alone."""
    things = LabelSpace(labels.name, tuple(labels[int(category)] for category in categories_of(labels)))
    return Trained(network, config.as_config(), config.backbone, things)


@dataclass(frozen=True, eq=False)
class Batch:
    """Training images on the device by their size, each (N, 3, H, W) float32 with the mean subtracted, and their samples.

    They are channels-last in any case, as in prediction: another order of sums would be another rounding.
    """

    groups: Sequence[tuple[Tensor, Sequence[TrainSample]]]


class Transform:
    """Sample → training sample; called in the threads of the Loader."""

    def __init__(self, config: LoopConfig, labels: LabelSpace) -> None:
        self.config = config
        self._class_of = label_of_category(labels)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> TrainSample:
        instances = filled(sample.instances) if self.config.boxes_as_masks else sample.instances
        example = Example.with_classes(sample, instances, self._class_of[instances.category])
        return TrainSample.of(Frame.of(example, self.config, rng), self.config, rng)


class _Matterport:
    """Matterport's Mask R-CNN; see `contract.Model`."""

    settings = LoopConfig

    def usable(self, pack: Pack, settings: LoopConfig, *, cache: Path | None = None) -> Usable:
        return survey.usable(pack, boxes_as_masks=settings.boxes_as_masks, with_background=False)

    def judged(self, pack: Pack, settings: LoopConfig, count: int) -> tuple[str, ...]:
        return survey.judged(pack, count, boxes_as_masks=settings.boxes_as_masks)

    def build(self, settings: LoopConfig, labels: LabelSpace, *, seed: int) -> Network:
        network = unfilled(settings.backbone, len(categories_of(labels)) + 1, settings)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for layer in layers_of(network):
                initialise(layer)
        return network

    def transform(self, settings: LoopConfig, labels: LabelSpace, facts: Any = None) -> Transform:
        return Transform(settings, labels)

    def to_batch(
        self, samples: Sequence[TrainSample], settings: LoopConfig, device: torch.device, *, memory_format: Any
    ) -> Batch:
        by_size: dict[tuple[int, ...], list[TrainSample]] = {}
        for sample in samples:
            if sample.frame.has_object:
                by_size.setdefault(sample.frame.image.shape, []).append(sample)
        mean = torch.tensor(settings.mean_pixel, dtype=torch.float64, device=device)
        groups = []
        for group in by_size.values():
            pixels = torch.from_numpy(np.stack([sample.frame.image for sample in group])).to(device, non_blocking=True)
            groups.append(((pixels.double() - mean).float().permute(0, 3, 1, 2), group))
        return Batch(groups)

    def losses(self, network: Network, batch: Batch, settings: LoopConfig, facts: Any = None) -> Losses:
        """The five losses and the L2 penalty, in the order of their names."""
        classes = network.box_predictor.cls_score.bias
        nothing = torch.zeros((), device=classes.device)
        sums, counts = [nothing] * len(LOSSES), [nothing] * len(LOSSES)
        if not batch.groups:  # then, too, every parameter has a gradient, as training in several processes needs
            sums = [_zero(network)] * len(LOSSES)
        model = Trained(network, settings.as_config(), settings.backbone, LabelSpace("", ()))
        active = torch.ones(len(classes), device=classes.device)
        for images, samples in batch.groups:
            rngs = [copy.deepcopy(sample.rng) for sample in samples]
            values = objective(model, images, samples, active, rngs)
            for number, name in enumerate(LOSSES):
                sums[number] = sums[number] + values.means[name] * values.counts[name]
                counts[number] = counts[number] + values.counts[name]
        penalty = losses.weight_penalty(_penalised(layers_of(network)), 1.0)
        return Losses(torch.stack((*sums, penalty)), torch.stack((*counts, torch.ones_like(nothing))))

    def loss_names(self, settings: LoopConfig) -> tuple[str, ...]:
        return (*LOSSES, "weight_penalty")

    def loss_weights(self, settings: LoopConfig, progress: float = 0.0) -> tuple[float, ...]:
        return tuple(getattr(settings, name) for name in self.loss_names(settings))

    def stage_of(self, parameter: str) -> int | None:
        if not parameter.startswith("backbone."):
            return None
        layer = parameter.split(".")[1]
        return int(layer.removeprefix("layer")) + 1 if layer.startswith("layer") else 1

    def has_frozen_norms(self, settings: LoopConfig) -> bool:
        return not settings.train_bn

    def predictor(self, network: Network, settings: LoopConfig, labels: LabelSpace, autocast: Autocast) -> Detector:
        return Detector(network, settings, labels, autocast=autocast)

    def judge(self, pack: Pack, settings: LoopConfig) -> Collected:
        return Collected(partial(average_precision.average_precision, pack, boxes_as_masks=settings.boxes_as_masks))

    def read(self, source: str | Path, settings: LoopConfig | None = None) -> Weights:
        return weights.read(source)

    def put(self, source: Weights, network: Network, labels: LabelSpace | None = None) -> list[str]:
        return weights.put(source, network, labels)

    def state(self, network: Network) -> dict[str, Any]:
        return {}

    def implied_settings(self, source: Weights) -> LoopConfig:
        raise InvalidInput(
            "these weights do not say their settings", file=source.source, fix="give a run or a .h5 file"
        )

    def named(self, source: Weights, names: Names) -> Weights:
        raise InvalidInput("these weights cannot be named", file=source.source, fix="give a run or a .h5 file")

    def load(
        self,
        source: Weights,
        settings: LoopConfig,
        *,
        record: Mapping[str, Any],
        autocast: Autocast,
        device: torch.device,
        flip: bool,
    ) -> Detector:
        if flip:
            raise UsageError(
                "Matterport's model has no test-time augmentation by flipped images", fix="leave out --flip"
            )
        assert source.labels is not None, "a run says its labels"
        network = unfilled(settings.backbone, len(categories_of(source.labels)) + 1, settings)
        remarks = weights.put(source, network)
        network.to(device, memory_format=autocast.memory_format)  # type: ignore[call-overload]
        return Detector(
            network,
            settings,
            source.labels,
            autocast=autocast,
            source=source.source,
            settings=record,
            remarks=remarks,
        )


def _zero(network: Network) -> Tensor:
    """() float32, 0, with a gradient of 0 for every parameter in training."""
    return torch.stack([weight.sum() for weight in network.parameters() if weight.requires_grad]).sum() * 0


def _penalised(layers: Sequence[Layer]) -> list[Tensor]:
    """The weights in the L2 penalty: of all layers in training but batch norms."""
    return [
        weight for layer in layers if not layer.is_norm for weight in layer.module.parameters() if weight.requires_grad
    ]


MODEL: Model[LoopConfig, Network, TrainSample, Batch] = _Matterport()
