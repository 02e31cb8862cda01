"""A network of one convolution that labels pixels: enough for every method of `contract.Model`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from segdata.core.labels import LabelSpace
from segdata.core.sample import Sample
from segdata.errors import InvalidInput, UsageError
from segdata.models import class_names, weights
from segdata.models.contract import Autocast, Collected, Image, Judge, Losses, Model, Prediction, Usable
from segdata.models.weights import Weights
from segdata.pack.read import Pack
from tests.contracts.toy_model.config import Config


class Batch(NamedTuple):
    """Images (N, 3, size, size) float32 in 0..1, and their classes (N, size, size) int64; 0 is the background."""

    images: Tensor
    classes: Tensor


TrainSample = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]
"""An image (size, size, 3) and the class of each of its pixels."""


def resized(pixels: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[Any]:
    """The nearest pixels."""
    rows = np.arange(height) * pixels.shape[0] // height
    columns = np.arange(width) * pixels.shape[1] // width
    nearest: npt.NDArray[Any] = pixels[rows][:, columns]
    return nearest


def painted(sample: Sample) -> npt.NDArray[np.int64]:
    """(H, W) class of each pixel: 1 + the category of an object that covers it, else 0."""
    classes = np.zeros((sample.height, sample.width), np.int64)
    for category, mask in zip(sample.instances.category.tolist(), sample.instances.masks.dense(), strict=True):
        classes[mask.astype(bool)] = category + 1
    return classes


class Labeller:
    """A trained network: images → label maps."""

    def __init__(
        self,
        network: nn.Conv2d,
        config: Config,
        labels: LabelSpace,
        *,
        source: str = "",
        settings: Mapping[str, Any] | None = None,
        remarks: Sequence[str] = (),
    ) -> None:
        self.network = network.eval()
        self.config = config
        self.labels = labels
        self.source = source
        self.settings = settings
        self.remarks = remarks

    def predict(self, images: Sequence[Image]) -> list[Prediction]:
        """See `contract.Predictor`."""
        predictions = []
        for image in images:
            small = resized(image, self.config.size, self.config.size)
            with torch.inference_mode():
                logits = self.network(torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255)
            classes = resized(logits[0].argmax(0).numpy(), *image.shape[:2])
            label_map = np.where(classes == 0, self.labels.void, classes - 1).astype(self.labels.dtype)
            predictions.append(Prediction(semantic=label_map))
        return predictions


def accuracy(pack: Pack, predictions: Mapping[int, Prediction]) -> dict[str, float | None]:
    """The share of pixels that are right, as a mean over images."""
    right = []
    for index, prediction in predictions.items():
        assert prediction.semantic is not None
        classes = painted(pack[index])
        right.append(np.where(classes == 0, pack.labels.void, classes - 1) == prediction.semantic)
    return {"accuracy": float(np.mean([share.mean() for share in right]))}


class Toy:
    """See `contract.Model`."""

    settings = Config

    def usable(self, pack: Pack, settings: Config, *, cache: Path | None = None) -> Usable:
        if not len(pack):
            raise UsageError("there is nothing to train on", file=pack.path)
        return Usable(pack)

    def judged(self, pack: Pack, settings: Config, count: int) -> tuple[str, ...]:
        return ()

    def build(self, settings: Config, labels: LabelSpace, *, seed: int) -> nn.Conv2d:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Conv2d(3, len(labels) + 1, 1)

    def transform(
        self, settings: Config, labels: LabelSpace, facts: None
    ) -> Callable[[Sample, np.random.Generator], TrainSample]:
        def flipped(sample: Sample, rng: np.random.Generator) -> TrainSample:
            step = -1 if rng.random() < 0.5 else 1
            image, classes = (
                resized(pixels, settings.size, settings.size)[:, ::step] for pixels in (sample.image, painted(sample))
            )
            return np.ascontiguousarray(image), np.ascontiguousarray(classes)

        return flipped

    def to_batch(
        self, samples: Sequence[TrainSample], settings: Config, device: torch.device, *, memory_format: Any
    ) -> Batch:
        images = torch.from_numpy(np.stack([image for image, _ in samples])).to(device).permute(0, 3, 1, 2)
        classes = torch.from_numpy(np.stack([classes for _, classes in samples])).to(device)
        return Batch((images.float() / 255).contiguous(memory_format=memory_format), classes)

    def losses(self, network: nn.Conv2d, batch: Batch, settings: Config, facts: None) -> Losses:
        logits = network(batch.images)
        sums = (functional.cross_entropy(logits, batch.classes, reduction="sum"), logits.square().sum())
        counts = (float(batch.classes.numel()), float(logits.numel()))
        return Losses(torch.stack(sums), torch.tensor(counts, device=logits.device))

    def loss_names(self, settings: Config) -> tuple[str, ...]:
        return "pixel_loss", "logit_loss"

    def loss_weights(self, settings: Config, progress: float) -> tuple[float, ...]:
        return settings.pixel_loss, settings.logit_loss

    def stage_of(self, parameter: str) -> int | None:
        return None

    def has_frozen_norms(self, settings: Config) -> bool:
        return False

    def predictor(self, network: nn.Conv2d, settings: Config, labels: LabelSpace, autocast: Autocast) -> Labeller:
        return Labeller(network, settings, labels)

    def judge(self, pack: Pack, settings: Config) -> Judge:
        return Collected(lambda predictions: accuracy(pack, predictions))

    def read(self, source: str | Path, settings: Config | None = None) -> Weights:
        checkpoint = weights.of_checkpoint(source)
        return Weights(str(source), weights.of_pytorch(Path(source))) if checkpoint is None else checkpoint

    def put(self, source: Weights, network: nn.Conv2d, labels: LabelSpace | None = None) -> list[str]:
        try:
            network.load_state_dict(source.tensors)
        except RuntimeError as error:
            raise InvalidInput("the weights are of another model", file=source.source, why=str(error)) from error
        return []

    def state(self, network: nn.Conv2d) -> dict[str, Any]:
        return {}

    def implied_settings(self, source: Weights) -> Config:
        raise InvalidInput("the weights do not say what their model is", file=source.source)

    def named(self, source: Weights, names: class_names.Names) -> Weights:
        labels, categories, remarks = class_names.fitted(names, len(source.tensors["bias"]) - 1, source.source)
        return replace(source, labels=labels, categories=categories, remarks=remarks)

    def load(
        self,
        source: Weights,
        settings: Config,
        *,
        record: Mapping[str, Any],
        autocast: Autocast,
        device: torch.device,
        flip: bool,
    ) -> Labeller:
        assert source.labels is not None
        network = self.build(settings, source.labels, seed=0)
        self.put(source, network)
        network.to(device)
        return Labeller(network, settings, source.labels, source=source.source, settings=record, remarks=source.remarks)


MODEL: Model[Config, nn.Conv2d, TrainSample, Batch] = Toy()
