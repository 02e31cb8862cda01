"""Mask R-CNN as training and prediction see it: `MODEL`, and `Detector`, a trained one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.image_list import ImageList

from segdata.core.labels import LabelSpace
from segdata.core.sample import Instances
from segdata.models import class_names
from segdata.models.contract import FULL, Autocast, Collected, Image, Losses, Model, Prediction, Usable
from segdata.models.maskrcnn import average_precision, losses, network, survey, torchvision_weights, weights
from segdata.models.maskrcnn.augment import TrainSample, TrainTransform, categories_of, to_batch
from segdata.models.maskrcnn.config import Config
from segdata.models.maskrcnn.detect import detect
from segdata.models.maskrcnn.network import frozen_eps
from segdata.models.weights import Weights
from segdata.pack.read import Pack


class Detector:
    """A trained Mask R-CNN with its settings and categories: images → instances.

    Args:
        categories: the category of each of the network's classes from 1 on, −1 for classes to leave out; by default the
            things of the label space.
        flip: also detect in the horizontally flipped image, and merge.
        source: where the weights come from.
        settings: all settings by name, as a pack of predictions records them.
        remarks: what a user may want to know of the weights.
    """

    def __init__(
        self,
        network: MaskRCNN,
        config: Config,
        labels: LabelSpace,
        *,
        autocast: Autocast = FULL,
        categories: npt.NDArray[np.int64] | None = None,
        flip: bool = False,
        source: str = "",
        settings: Mapping[str, Any] | None = None,
        remarks: Sequence[str] = (),
    ) -> None:
        self.network = network.eval()
        self.config = config
        self.labels = labels
        self.autocast = autocast
        self.flip = flip
        self.source = source
        self.settings = settings
        self.remarks = remarks
        self.categories = categories_of(labels) if categories is None else categories

    def __call__(self, images: Sequence[Image]) -> list[Instances]:
        """Instances of each image, (H, W, 3) uint8 RGB; highest scores first."""
        return [prediction.instances for prediction in self.predict(images) if prediction.instances is not None]

    def predict(self, images: Sequence[Image]) -> list[Prediction]:
        """See `contract.Predictor`."""
        return detect(self.network, images, self.config, self.categories, flip=self.flip, autocast=self.autocast)


@dataclass(frozen=True, eq=False)
class Batch:
    """Training images on the device, and their objects."""

    images: ImageList
    samples: Sequence[TrainSample]


class _MaskRCNN:
    """Mask R-CNN; see `contract.Model`."""

    settings = Config

    def usable(self, pack: Pack, settings: Config, *, cache: Path | None = None) -> Usable:
        return survey.usable(pack, boxes_as_masks=settings.boxes_as_masks)

    def judged(self, pack: Pack, settings: Config, count: int) -> tuple[str, ...]:
        return survey.judged(pack, count, boxes_as_masks=settings.boxes_as_masks)

    def build(self, settings: Config, labels: LabelSpace, *, seed: int) -> MaskRCNN:
        return network.build(settings, len(categories_of(labels)), seed=seed)

    def transform(self, settings: Config, labels: LabelSpace, facts: Any = None) -> TrainTransform:
        return TrainTransform(settings, labels)

    def to_batch(
        self, samples: Sequence[TrainSample], settings: Config, device: torch.device, *, memory_format: Any
    ) -> Batch:
        pixels, transforms = [sample.pixels for sample in samples], [sample.transform for sample in samples]
        return Batch(to_batch(pixels, transforms, settings, device, memory_format=memory_format), samples)

    def losses(self, network: MaskRCNN, batch: Batch, settings: Config, facts: Any = None) -> Losses:
        return losses.losses(network, batch.images, batch.samples, settings)

    def loss_names(self, settings: Config) -> tuple[str, ...]:
        return losses.NAMES

    def loss_weights(self, settings: Config, progress: float = 0.0) -> tuple[float, ...]:
        return tuple(getattr(settings, name) for name in losses.NAMES)

    def stage_of(self, parameter: str) -> int | None:
        return network.stage_of(parameter)

    def has_frozen_norms(self, settings: Config) -> bool:
        return settings.norm == "frozen"

    def predictor(self, network: MaskRCNN, settings: Config, labels: LabelSpace, autocast: Autocast) -> Detector:
        return Detector(network, settings, labels, autocast=autocast)

    def judge(self, pack: Pack, settings: Config) -> Collected:
        return Collected(
            partial(average_precision.average_precision, pack, boxes_as_masks=settings.boxes_as_masks),
        )

    def read(self, source: str | Path, settings: Config | None = None) -> Weights:
        return weights.read(source)

    def put(self, source: Weights, network: MaskRCNN, labels: LabelSpace | None = None) -> list[str]:
        return weights.put(source, network, labels)

    def state(self, network: MaskRCNN) -> dict[str, Any]:
        return {"eps": frozen_eps(network)}

    def implied_settings(self, source: Weights) -> Config:
        torchvision_weights.class_count(source.tensors, source.source)
        return torchvision_weights.config_of(source.tensors, source.source)

    def named(self, source: Weights, names: class_names.Names) -> Weights:
        count = torchvision_weights.class_count(source.tensors, source.source)
        labels, categories, remarks = class_names.fitted(names, count, source.source)
        return replace(source, labels=labels, categories=categories, remarks=source.remarks + remarks)

    def load(
        self,
        source: Weights,
        settings: Config,
        *,
        record: Mapping[str, Any],
        autocast: Autocast,
        device: torch.device,
        flip: bool,
    ) -> Detector:
        labels, categories, remarks = source.labels, source.categories, source.remarks
        if labels is None:
            labels, categories, unnamed = torchvision_weights.classes_of(source.tensors, source.source)
            remarks += unnamed
        categories = categories_of(labels) if categories is None else categories
        with torch.device("meta"):  # what the settings of a file ask for takes no memory before its tensors fit
            weights.fits(source, network.build(settings, len(categories)))
        model = network.build(settings, len(categories))
        weights.put(source, model)
        model.to(device, memory_format=autocast.memory_format)
        return Detector(
            model,
            settings,
            labels,
            autocast=autocast,
            categories=categories,
            flip=flip,
            source=source.source,
            settings=record,
            remarks=remarks,
        )


MODEL: Model[Config, MaskRCNN, TrainSample, Batch] = _MaskRCNN()
