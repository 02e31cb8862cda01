"""Networks for semantic segmentation as training and prediction see them: `SemanticModel`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from segdata.core.labels import LabelSpace
from segdata.errors import InvalidInput, UsageError, number_of
from segdata.models import class_names, losses
from segdata.models.contract import Autocast, Losses, Usable
from segdata.models.semantic import architectures, weights
from segdata.models.semantic.augment import Batch, TrainSample, TrainTransform, to_batch
from segdata.models.semantic.classes import ClassPixels, categories_of, ignore_index, label_map, remarks
from segdata.models.semantic.config import SemanticConfig
from segdata.models.semantic.judge import ConfusionJudge
from segdata.models.semantic.network import Network, Outputs, stage_of
from segdata.models.semantic.prediction.segmenter import Segmenter
from segdata.models.weights import Weights
from segdata.pack.read import Pack


@dataclass(frozen=True)
class Facts:
    """What of a pack the training needs.

    Attributes:
        counted: pixels of the classes.
        class_weights: of cross-entropy; None where all are 1.
        ignored: value of pixels that do not count.
    """

    counted: ClassPixels
    class_weights: tuple[float, ...] | None
    ignored: int


class SemanticModel:
    """A network for semantic segmentation; see `contract.Model`.

    Args:
        name: of the network.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.settings = architectures.architecture(name).settings

    # ------------------------------------------------------------------ training

    def usable(self, pack: Pack, settings: SemanticConfig, *, cache: Path | None = None) -> Usable:
        self.loss_names(settings)
        counted = ClassPixels.of(pack, from_objects=settings.from_objects, cache=cache)
        names = [pack.labels[int(category)].name for category in categories_of(pack.labels)]
        if not counted.pixels.any():
            raise _nothing(pack, names, from_objects=settings.from_objects)
        class_weights = counted.weights(settings, pack.labels)
        said = remarks(counted, names, class_weights)
        chosen = pack
        if len(counted.blank):
            said.append(
                f"{len(counted.blank):,} of {number_of(len(pack), 'image')} are left out: no pixel of theirs has a class"
            )
            chosen = pack.select(np.setdiff1d(np.arange(len(pack)), counted.blank))
        return Usable(chosen, tuple(said), Facts(counted, class_weights, ignore_index(pack.labels)))

    def judged(self, pack: Pack, settings: SemanticConfig, count: int) -> tuple[str, ...]:
        blank = sum(
            label_map(pack[index], pack.labels, from_objects=settings.from_objects) is None for index in range(count)
        )
        if blank < count:
            return (f"validation: {number_of(blank, 'image')} without a label map are left out",) if blank else ()
        return ("validation: no image has a label map, so mIoU is not defined and no best weights are kept",)

    def build(self, settings: SemanticConfig, labels: LabelSpace, *, seed: int) -> Network:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = architectures.built(self.name, settings, len(categories_of(labels)))
        network.settings = settings
        return network

    def transform(self, settings: SemanticConfig, labels: LabelSpace, facts: Facts) -> TrainTransform:
        return TrainTransform(settings, labels, facts.counted)

    def to_batch(
        self, samples: Sequence[TrainSample], settings: SemanticConfig, device: torch.device, *, memory_format: Any
    ) -> Batch:
        return to_batch(samples, settings, device, memory_format=memory_format)

    def losses(self, network: Network, batch: Batch, settings: SemanticConfig, facts: Facts) -> Losses:
        outputs = network.outputs(batch.images)
        pairs = [
            losses.make(part.name, **_options(part.name, facts)).sums(outputs.logits, batch.classes)
            for part in losses.parse(settings.loss)
        ]
        for name, of_outputs in _EXTRA.items():
            if _weight(name, settings) is not None:
                pairs.append(of_outputs(outputs, batch, facts))
        sums, counts = zip(*pairs, strict=True)
        return Losses(torch.stack([value.float() for value in sums]), torch.stack([value.float() for value in counts]))

    def loss_names(self, settings: SemanticConfig) -> tuple[str, ...]:
        extra = [name for name in _EXTRA if _weight(name, settings) is not None]
        return (*(f"{part.name}_loss" for part in losses.parse(settings.loss)), *extra)

    def loss_weights(self, settings: SemanticConfig, progress: float) -> tuple[float, ...]:
        extra = [weight for name in _EXTRA if (weight := _weight(name, settings)) is not None]
        return (*(part.at(progress) for part in losses.parse(settings.loss)), *extra)

    def stage_of(self, parameter: str) -> int | None:
        return stage_of(parameter)

    def has_frozen_norms(self, settings: SemanticConfig) -> bool:
        return settings.norm == "frozen"

    # ------------------------------------------------------------------ validation and prediction

    def predictor(
        self, network: Network, settings: SemanticConfig, labels: LabelSpace, autocast: Autocast
    ) -> Segmenter:
        return Segmenter(network, settings, labels, autocast=autocast)

    def judge(self, pack: Pack, settings: SemanticConfig) -> ConfusionJudge:
        return ConfusionJudge(pack, from_objects=settings.from_objects)

    # ------------------------------------------------------------------ weights

    def read(self, source: str | Path, settings: SemanticConfig | None = None) -> Weights:
        if ":" in str(source) and not Path(source).exists() and str(source).partition(":")[0] in ("torchvision", "smp"):
            return weights.by_name(self.name, settings or self.settings(), str(source))
        return weights.read(source)

    def put(self, source: Weights, network: Network, labels: LabelSpace | None = None) -> list[str]:
        of_classes = [] if labels is None else weights.class_tensors(self.name, network.settings)
        return weights.put(source, network, labels, of_classes)

    def state(self, network: Network) -> dict[str, Any]:
        return {}

    def implied_settings(self, source: Weights) -> SemanticConfig:
        raise InvalidInput(
            "the weights do not say what their settings are",
            file=source.source,
            fix="predict with a run or one of its checkpoints; segdata train --weights FILE makes one",
        )

    def named(self, source: Weights, names: class_names.Names) -> Weights:
        raise InvalidInput("the weights do not say what their settings are", file=source.source)

    def load(
        self,
        source: Weights,
        settings: SemanticConfig,
        *,
        record: Mapping[str, Any],
        autocast: Autocast,
        device: torch.device,
        flip: bool,
    ) -> Segmenter:
        labels = source.labels
        if labels is None:
            raise InvalidInput("the weights do not name their classes", file=source.source)
        count = len(categories_of(labels))
        with torch.device("meta"):  # what the settings of a file ask for takes no memory before its tensors fit
            weights.fits(source, architectures.built(self.name, settings, count).state_dict())
        network = architectures.built(self.name, settings, count)
        weights.put(source, network)
        network.to(device, memory_format=autocast.memory_format)  # type: ignore[call-overload]
        return Segmenter(
            network,
            settings,
            labels,
            autocast=autocast,
            flip=flip,
            source=source.source,
            record=record,
            remarks=source.remarks,
        )


# ------------------------------------------------------------------ losses beside those that the settings name


def _weight(name: str, settings: SemanticConfig) -> float | None:
    """The weight of a loss of the network's further outputs; None where the network does not have it."""
    if name == "aux_loss":
        return settings.aux_loss if getattr(settings, "auxiliary", False) else None
    if name == "se_loss" and not str(getattr(settings, "head", "")).startswith("encnet"):
        return None
    return getattr(settings, name, None)


def _auxiliary(outputs: Outputs, batch: Batch, facts: Facts) -> tuple[Tensor, Tensor]:
    assert outputs.auxiliary is not None
    return losses.make("ce", **_options("ce", facts)).sums(outputs.auxiliary, batch.classes)


def _presence(outputs: Outputs, batch: Batch, facts: Facts) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy of which classes are in each crop (Zhang et al. 2018)."""
    assert outputs.presence is not None
    logits = outputs.presence.float()
    classes = torch.where(batch.classes == batch.ignore_index, logits.shape[1], batch.classes)
    is_there = torch.zeros(len(logits), logits.shape[1] + 1, device=logits.device)
    is_there.scatter_(1, classes.flatten(1), 1.0)
    counts = torch.tensor(float(logits.numel()), device=logits.device)
    return functional.binary_cross_entropy_with_logits(logits, is_there[:, :-1], reduction="sum"), counts


def _edges(outputs: Outputs, batch: Batch, facts: Facts) -> tuple[Tensor, Tensor]:
    assert outputs.edges is not None
    return losses.make("edge", ignore_index=facts.ignored).sums(outputs.edges, batch.classes)


def _edge_attention(outputs: Outputs, batch: Batch, facts: Facts) -> tuple[Tensor, Tensor]:
    assert outputs.edges is not None
    edges = outputs.edges.detach().float().sigmoid()
    return losses.make("edge_attention", ignore_index=facts.ignored).sums(outputs.logits, batch.classes, edges)


def _dual_task(outputs: Outputs, batch: Batch, facts: Facts) -> tuple[Tensor, Tensor]:
    return losses.make("dual_task", ignore_index=facts.ignored).sums(outputs.logits, batch.classes)


_EXTRA = {
    "aux_loss": _auxiliary,
    "se_loss": _presence,
    "edge_loss": _edges,
    "edge_attention_loss": _edge_attention,
    "dual_task_loss": _dual_task,
}
"""Setting of its weight → a loss of the network's further outputs."""


def _options(name: str, facts: Facts) -> dict[str, Any]:
    options: dict[str, Any] = {"ignore_index": facts.ignored}
    if name == "ce" and facts.class_weights is not None:
        options["weight"] = facts.class_weights
    return options


def _nothing(pack: Pack, names: Sequence[str], *, from_objects: bool) -> UsageError:
    """Why there is nothing to train on."""
    has_maps = any(pack[index].has_semantic for index in range(len(pack)))
    has_objects = any(len(pack[index].instances) for index in range(len(pack)) if pack[index].has_instances)
    if has_maps or from_objects:
        listed = ", ".join(names[:8]) + (" …" if len(names) > 8 else "")
        why = f"of {number_of(len(pack), 'image')}, none has a pixel of {listed}"
        fix = "choose another split with --split, or another view of the label space with --labels"
    elif has_objects:
        why = f"of {number_of(len(pack), 'image')}, none has a label map; they have objects"
        fix = "--set from_objects=true makes label maps of the masks of objects, or train Mask R-CNN: --model maskrcnn"
    else:
        why, fix = f"of {number_of(len(pack), 'image')}, none has a label map", "choose another split with --split"
    return UsageError("there is nothing to train on: no pixel has a class", file=pack.path, why=why, fix=fix)
